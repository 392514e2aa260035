#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "disklib/check/chain_state.h"
#include "disklib/descriptor_edit.h"
#include "disklib/names.h"

namespace disklib::check {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

constexpr size_t kLinksMax = 32;
constexpr size_t kLinksToWarn = 8;

// Whether `file` is `child` or stands on it.
bool StandsOn(Folder& folder, const FolderFile* file, const FolderFile& child) {
  for (size_t i = 0; file != nullptr && i <= folder.files.size(); ++i) {
    if (file == &child) return true;
    file = folder.Find(file->parent_path);
  }
  return false;
}

// The one link of a folder that has the content a child was made of, if it is only one.
const FolderFile* FindByContent(Folder& folder, const FolderFile& child) {
  const Descriptor& wanted = child.descriptor.descriptor;
  const FolderFile* candidate = nullptr;
  for (const auto& [path, file] : folder.files) {
    if (!file.descriptor.is_usable || StandsOn(folder, &file, child)) continue;
    const Descriptor& other = file.descriptor.descriptor;
    if (other.content_id != wanted.parent_content_id) continue;
    if (other.capacity_sectors() > wanted.capacity_sectors()) continue;
    if (candidate != nullptr) return nullptr;
    candidate = &file;
  }
  return candidate;
}

// The name by which the descriptor at `from` calls the file `to` of the same folder.
void SetParentHint(ChainLink& link, const FolderFile& parent) {
  DescriptorEdit edit(link.wanted);
  edit.SetHeader("parentFileNameHint", fmt::format("\"{}\"", NameOf(parent.path)));
  link.wanted = edit.text();
}

void SetParentContentId(ChainLink& link, uint32_t content_id) {
  DescriptorEdit edit(link.wanted);
  edit.SetHeader("parentCID", FormatContentId(content_id));
  link.wanted = edit.text();
}

// A child whose parent cannot be found by its name: by content, perhaps.
const FolderFile* ReportLostParent(Findings& findings, ChainLink& link, Invariant id,
                                   std::string what) {
  const FolderFile* const candidate = FindByContent(*link.folder, *link.file);
  Found found{.id = id, .text = std::move(what)};
  if (candidate != nullptr) {
    found.repair = RepairClass::kOnRequest;
    found.repair_text = fmt::format("{}, which has that content, becomes the parent",
                                    candidate->path);
  }
  if (findings.Add(std::move(found))) SetParentHint(link, *candidate);
  if (candidate == nullptr) findings.NoteUnchecked();
  return candidate;
}

// A datastore that is away comes back: nothing here takes the parent's place meanwhile.
void ReportAwayDatastore(Findings& findings, std::string_view parent_path) {
  findings.Add({.id = Invariant::kC1,
                .text = fmt::format("the parent {} is on the datastore {}, which is not mounted "
                                    "here: mount it together with this one",
                                    parent_path, VolumeOf(parent_path))});
  findings.NoteUnchecked();
}

// What a link says of its parent, one way or the other: C2.
void CheckBothOrNeither(Findings& findings, ChainLink& link, const FolderFile* parent) {
  const Descriptor& descriptor = link.descriptor();
  if (descriptor.has_parent() || descriptor.parent_file_name_hint.empty()) return;
  Found found{.id = Invariant::kC2,
              .text = fmt::format("parentFileNameHint is {}, but parentCID says there is none",
                                  descriptor.parent_file_name_hint)};
  if (parent != nullptr && parent->descriptor.is_usable) {
    found.repair = RepairClass::kOnRequest;
    found.repair_text = fmt::format("parentCID becomes {}",
                                    FormatContentId(parent->descriptor.descriptor.content_id));
  }
  if (findings.Add(std::move(found))) {
    SetParentContentId(link, parent->descriptor.descriptor.content_id);
  }
}

struct Parent {
  FolderFile* file = nullptr;
  Folder* folder = nullptr;
};

// The link below, if there is to be one and it can be found.
Task<Result<Parent>> FindParent(CheckRun& run, Folders& folders, ChainLink& link) {
  Findings& findings = run.findings();
  findings.BeginFile(link.file->path);
  const Descriptor& descriptor = link.descriptor();
  Parent parent;
  if (descriptor.parent_file_name_hint.empty()) {
    if (!descriptor.has_parent()) co_return parent;
    const FolderFile* const by_content = ReportLostParent(
        findings, link, Invariant::kC2,
        fmt::format("parentCID is {}, but the parent's name is lost",
                    FormatContentId(descriptor.parent_content_id)));
    if (by_content == nullptr) co_return parent;
    parent = {link.folder->Find(by_content->path), link.folder};
    co_return parent;
  }
  if (!link.file->parent_path.empty()) {
    const Result<Folder*> folder = co_await folders.Get(FolderOf(link.file->parent_path));
    if (!folder && folder.error().code() == Code::kInterrupted) co_return folder.error();
    if (folder) parent = {(*folder)->Find(link.file->parent_path), *folder};
    if (!folder && folder.error().code() == Code::kDeviceLost) {
      ReportAwayDatastore(findings, link.file->parent_path);
      co_return parent;
    }
  }
  if (parent.file != nullptr && parent.file->has_descriptor()) {
    CheckBothOrNeither(findings, link, parent.file);
    co_return parent;
  }
  const std::string& hint = descriptor.parent_file_name_hint;
  const std::string why = parent.file != nullptr ? "is no descriptor" : "is not there";
  const FolderFile* const by_content = ReportLostParent(
      findings, link, Invariant::kC1,
      link.file->parent_error.empty() ? fmt::format("the parent {} {}", hint, why)
                                      : fmt::format("the parent: {}", link.file->parent_error));
  parent = {};
  if (by_content != nullptr) parent = {link.folder->Find(by_content->path), link.folder};
  co_return parent;
}

Task<Result<Parent>> FindLeaf(Folders& folders, std::string_view path) {
  CO_TRY(Folder* const folder, co_await folders.Get(FolderOf(path)));
  FolderFile* const file = folder->Find(path);
  if (file == nullptr) {
    co_return Error(Code::kNotFound,
                    fmt::format("check {}: no disk of this name; --folder checks a folder", path));
  }
  if (!file->open_error.empty()) {
    co_return Error(Code::kBusy, fmt::format("check {}: {}", path, file->open_error));
  }
  if (!file->has_descriptor()) {
    co_return Error(Code::kNotRecognized, fmt::format("check {}: not a disk descriptor", path));
  }
  const Parent leaf{file, folder};
  co_return leaf;
}

void CheckDepth(Findings& findings, const ChainState& chain) {
  const size_t depth = chain.links.size();
  if (depth <= kLinksToWarn || depth > kLinksMax) return;
  findings.BeginFile(chain.links.front().file->path);
  findings.Add({.id = Invariant::kC4,
                .text = fmt::format("the chain has {} links", depth),
                .severity = CheckSeverity::kWarning});
}

void CheckContentIds(Findings& findings, ChainLink& child, const ChainLink& parent) {
  const uint32_t expected = child.descriptor().parent_content_id;
  const uint32_t found_id = parent.descriptor().content_id;
  if (!child.descriptor().has_parent() || expected == found_id) return;
  child.is_cut_off = true;
  const bool repairs = findings.Add(
      {.id = Invariant::kC1,
       .text = fmt::format("parentCID is {}, but {} has CID {}", FormatContentId(expected),
                           parent.file->path, FormatContentId(found_id)),
       .repair = RepairClass::kOnRequest,
       .repair_text = fmt::format("parentCID becomes {}", FormatContentId(found_id))});
  if (repairs) SetParentContentId(child, found_id);
}

void CheckSizes(Findings& findings, ChainLink& child, const ChainLink& parent) {
  const uint64_t own = child.descriptor().capacity_sectors();
  const uint64_t below = parent.descriptor().capacity_sectors();
  if (own == below) return;
  Found found{.id = Invariant::kC3,
              .text = fmt::format("the link has {} sectors, its parent {} has {}", own,
                                  parent.file->path, below),
              .severity = own > below ? CheckSeverity::kWarning : CheckSeverity::kError};
  if (own < below && CanGrow(child)) {
    found.repair = RepairClass::kOnRequest;
    found.repair_text = fmt::format("the link grows to {} sectors", below);
  }
  if (findings.Add(std::move(found))) child.wanted_sectors = below;
}

void CheckHolder(CheckRun& run, const ChainLink& child, const ChainLink& parent) {
  for (const uint64_t id : {parent.file->info.id}) {
    const DiskHolder* const holder = run.lib().OpenDisksOf(parent.file->path).HolderOf(id);
    if (holder == nullptr || !holder->writes || run.findings().repairs()) continue;
    if (holder->disk == child.file->path) continue;
    run.findings().Add({.id = Invariant::kC5,
                        .text = fmt::format("{} is the parent of {}: {}", parent.file->path,
                                            child.file->path, holder->Describe())});
  }
}

void CheckSiblings(Findings& findings, const ChainLink& child, const ChainLink& parent) {
  for (const FolderFile* const other : parent.folder->ChildrenOf(parent.file->path)) {
    if (other == child.file) continue;
    findings.Add({.id = Invariant::kC6,
                  .text = fmt::format("{} is a child of {}, too", other->path,
                                      parent.file->path)});
  }
}

// Adds a link and checks its descriptor.
Task<Status> AddLink(CheckRun& run, Parent found, ChainState& chain) {
  ChainLink link;
  link.file = found.file;
  link.folder = found.folder;
  chain.links.push_back(std::move(link));
  co_return co_await CheckDescriptor(run, chain.links.back());
}

}  // namespace

Task<Status> WalkOne(CheckRun& run, Folders& folders, std::string_view path, ChainState& pair) {
  CO_TRY(const Parent leaf, co_await FindLeaf(folders, path));
  CO_TRY_STATUS(co_await AddLink(run, leaf, pair));
  if (!pair.links.front().is_usable()) co_return base::Ok();
  CO_TRY(const Parent below, co_await FindParent(run, folders, pair.links.front()));
  if (below.file == nullptr) co_return base::Ok();
  ChainLink parent;
  parent.file = below.file;
  parent.folder = below.folder;
  pair.links.push_back(std::move(parent));
  co_return base::Ok();
}

Task<Status> WalkChain(CheckRun& run, Folders& folders, std::string_view path,
                       ChainState& chain) {
  CO_TRY(Parent next, co_await FindLeaf(folders, path));
  std::set<const FolderFile*> visited;
  while (next.file != nullptr) {
    run.findings().BeginFile(std::string(path));
    if (!visited.insert(next.file).second) {
      run.findings().Add({.id = Invariant::kC4,
                          .text = fmt::format("the chain comes back to {}", next.file->path)});
      run.findings().NoteUnchecked();
      break;
    }
    if (chain.links.size() == kLinksMax) {
      run.findings().Add({.id = Invariant::kC4,
                          .text = fmt::format("the chain has more than {} links", kLinksMax)});
      run.findings().NoteUnchecked();
      break;
    }
    CO_TRY_STATUS(co_await AddLink(run, next, chain));
    ChainLink& added = chain.links.back();
    if (!added.is_usable()) break;
    CO_TRY(next, co_await FindParent(run, folders, added));
  }
  CheckDepth(run.findings(), chain);
  co_return base::Ok();
}

void CheckConnections(CheckRun& run, ChainState& chain) {
  for (size_t i = 0; i + 1 < chain.links.size(); ++i) {
    ChainLink& child = chain.links[i];
    const ChainLink& parent = chain.links[i + 1];
    if (!child.is_usable() || !parent.is_usable()) continue;
    run.findings().BeginFile(child.file->path);
    CheckContentIds(run.findings(), child, parent);
    CheckSizes(run.findings(), child, parent);
    CheckHolder(run, child, parent);
    CheckSiblings(run.findings(), child, parent);
  }
}

}  // namespace disklib::check
