#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "disklib/children.h"
#include "disklib/extent_places.h"
#include "disklib/lib.h"
#include "disklib/names.h"
#include "disklib/snapshot_record.h"
#include "fs/base/log.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

// A content id without a name would read zeros for the parent's data; a name without an id proves
// nothing about what is found there.
Status CheckParentKeys(const Descriptor& descriptor, std::string_view path) {
  const bool has_hint = !descriptor.parent_file_name_hint.empty();
  if (descriptor.has_parent() == has_hint) return base::Ok();
  const std::string found = has_hint
                                ? fmt::format("names the parent {} without its content id",
                                              descriptor.parent_file_name_hint)
                                : fmt::format("has the content id {} of a parent without its name",
                                              FormatContentId(descriptor.parent_content_id));
  return Error(
      Code::kCorrupt,
      fmt::format("open {}: it {}; strata disk check {} says what can be done", path, found, path));
}

Status CheckContentIds(const LoadedDescriptor& child, const LoadedDescriptor& parent) {
  if (child.descriptor.parent_content_id == parent.descriptor.content_id) return base::Ok();
  return Error(
      Code::kCorrupt,
      fmt::format("open {}: content id mismatch: it was made over {} with content id {}, which now "
                  "has {}: the parent has been modified since the child was created; strata disk "
                  "check --explain {} shows what was written when, and what can be done",
                  child.path, parent.path, FormatContentId(child.descriptor.parent_content_id),
                  FormatContentId(parent.descriptor.content_id), child.path));
}

Status CheckPlace(std::span<const LoadedDescriptor> links, const LoadedDescriptor& parent) {
  for (const LoadedDescriptor& link : links) {
    if (link.info.id != parent.info.id || VolumeOf(link.path) != VolumeOf(parent.path)) continue;
    return Error(Code::kLoop,
                 fmt::format("open {}: {} is its own ancestor", links.front().path, parent.path));
  }
  if (links.size() < kChainLinksMax) return base::Ok();
  return Error(Code::kTooManyLinks, fmt::format("open {}: the chain has more than {} links",
                                                links.front().path, kChainLinksMax));
}

// While a child is committed into a link, the link alone holds half of something else.
Status CheckNoCommit(const LoadedDescriptor& loaded, const OpenOptions& options) {
  const std::string* const child = loaded.descriptor.FindDatabase(kCommittingKey);
  if (child == nullptr || options.single_link || !options.except_child.empty()) return base::Ok();
  return Error(Code::kBusy,
               fmt::format("open {}: {} is being committed into it, and that was cut: run it again "
                           "first",
                           loaded.path, *child));
}

// Linked clones in other folders are known by their parent's registry.
Task<Status> CheckNoClones(ObjectBackend& backend, std::string_view path,
                           std::string_view except_child) {
  CO_TRY(const std::vector<std::string> clones, co_await LivingChildren(backend, path));
  for (const std::string& clone : clones) {
    if (clone == except_child) continue;
    co_return Error(
        Code::kUnsupported,
        fmt::format("open {} for writing: the linked clone {} stands on it", path, clone));
  }
  co_return base::Ok();
}

Task<Status> CloseAll(std::vector<std::unique_ptr<Link>>& links) {
  for (const auto& link : links) {
    const Status closed = co_await link->Close();
    static_cast<void>(closed);  // the first error is the one to tell
  }
  co_return base::Ok();
}

}  // namespace

Task<Status> Lib::LoadParents(std::vector<LoadedDescriptor>& links) {
  while (true) {
    const LoadedDescriptor& child = links.back();
    CO_TRY_STATUS(CheckParentKeys(child.descriptor, child.path));
    if (!child.descriptor.has_parent()) co_return base::Ok();
    Result<std::string> path = ParentPathOf(backend_, child.descriptor, child.path);
    if (!path) co_return path.error().Within(fmt::format("open {}: parent", child.path));
    Result<LoadedDescriptor> parent = co_await Load(*path, /*need_extents=*/false);
    if (!parent) co_return parent.error().Within(fmt::format("open {}: parent", child.path));
    CO_TRY_STATUS(CheckPlace(links, *parent));
    CO_TRY_STATUS(CheckContentIds(child, *parent));
    links.push_back(*std::move(parent));
  }
}

// What the disk is made of, leaf first, every kind known and every file found.
Task<Status> Lib::LoadLinks(std::string_view path, OpenOptions options,
                            std::vector<LoadedDescriptor>& loaded) {
  // An operation on snapshots that was cut is finished before its files are believed.
  CO_TRY_STATUS(co_await FinishIntents(*this, FolderOf(path)));
  CO_TRY(LoadedDescriptor leaf, co_await Load(path, /*need_extents=*/false));
  CO_TRY_STATUS(CheckNoCommit(leaf, options));
  loaded.push_back(std::move(leaf));
  if (!options.single_link) CO_TRY_STATUS(co_await LoadParents(loaded));
  for (LoadedDescriptor& link : loaded) {
    CO_TRY_STATUS(CheckKind(link.descriptor, link.path));
    CO_TRY_STATUS(CheckDevices(link));
    CO_TRY_STATUS(co_await FindExtents(link, /*need_extents=*/true));
  }
  if (loaded.size() > kChainLinksAdvised) {
    base::LogWarn("disklib", "long chain, snapshots are no backups disk={} links={}", path,
                  loaded.size());
  }
  co_return base::Ok();
}

// Opens all extents of a link, or none.
Task<Status> Lib::OpenExtents(LoadedDescriptor& loaded, bool writable,
                              std::vector<std::unique_ptr<Extent>>& extents) {
  for (size_t i = 0; i < loaded.descriptor.extents.size(); ++i) {
    Result<std::unique_ptr<Extent>> opened = co_await OpenExtent(loaded, i, writable);
    if (opened) {
      extents.push_back(*std::move(opened));
      continue;
    }
    for (const auto& extent : extents) {
      const Status closed = co_await extent->Close();
      static_cast<void>(closed);  // the first error is the one to tell
    }
    co_return opened.error();
  }
  co_return base::Ok();
}

// Opens all links, or none. `loaded` leaf first, `links` base first; only the leaf is written.
Task<Status> Lib::OpenLinks(std::vector<LoadedDescriptor>& loaded, bool writable,
                            std::vector<std::unique_ptr<Link>>& links) {
  for (size_t i = loaded.size(); i-- > 0;) {
    std::vector<std::unique_ptr<Extent>> extents;
    const Status opened = co_await OpenExtents(loaded[i], writable && i == 0, extents);
    if (!opened) {
      CO_TRY_STATUS(co_await CloseAll(links));
      co_return opened;
    }
    links.push_back(std::make_unique<Link>(loaded[i].path, loaded[i].info.id,
                                           std::move(loaded[i].descriptor), std::move(extents)));
    links.back()->SetEmbedded(loaded[i].embedded);
  }
  co_return base::Ok();
}

Task<Result<std::unique_ptr<Chain>>> Lib::Open(std::string_view path, OpenOptions options) {
  if (options.writable && options.single_link) {
    co_return Error(Code::kInvalidArgument,
                    fmt::format("open {} for writing: one link of a chain is only read", path));
  }
  if (options.writable && backend_.read_only()) {
    co_return Error(Code::kReadOnly,
                    fmt::format("open {} for writing: the datastore is read-only", path));
  }
  std::vector<LoadedDescriptor> loaded;
  CO_TRY_STATUS(co_await LoadLinks(path, options, loaded));
  if (options.writable) {
    CO_TRY_STATUS(co_await CheckAlone(loaded[0], "open for writing", options.except_child));
    CO_TRY_STATUS(co_await CheckNoClones(backend_, loaded[0].path, options.except_child));
  }
  OpenDisks::Claim claim;
  OpenDisks::Claim parents_claim;
  Chain* const old = options.successor_of;
  if (old == nullptr) {
    CO_TRY(claim, ClaimDisk(loaded[0], options));
    const auto parents = std::span<const LoadedDescriptor>(loaded).subspan(1);
    CO_TRY(parents_claim, ClaimParents(parents, loaded[0].path, options.user));
  } else {
    CO_TRY_STATUS(old->claim().AllowWrites());
  }
  const ChainOptions chain_options{.is_thin = loaded[0].is_thin()};
  std::vector<std::unique_ptr<Link>> links;
  const Status opened = co_await OpenLinks(loaded, options.writable, links);
  if (!opened) {
    if (old != nullptr) old->claim().ForbidWrites();
    co_return opened.error();
  }
  if (old != nullptr) {
    claim = std::move(old->claim());
    parents_claim = std::move(old->parents_claim());
  }
  co_return std::make_unique<Chain>(executor_, backend_, windows_, std::move(links),
                                    std::move(claim), std::move(parents_claim), chain_options);
}

}  // namespace disklib
