#include "disklib/check/check.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "disklib/check/chain_state.h"
#include "disklib/names.h"

namespace disklib {
namespace check {

using base::Code;
using base::Result;
using base::Status;
using base::Task;

namespace {

CheckedLink Describe(const ChainLink& link) {
  CheckedLink checked{.path = link.file->path, .is_whole = link.is_whole};
  if (!link.is_usable()) return checked;
  const Descriptor& descriptor = link.descriptor();
  checked.create_type = descriptor.create_type;
  checked.content_id = FormatContentId(descriptor.content_id);
  if (descriptor.has_parent()) {
    checked.parent_content_id = FormatContentId(descriptor.parent_content_id);
  }
  checked.capacity_bytes = descriptor.capacity_sectors() * kSectorBytes;
  checked.allocated_bytes = link.held_bytes;
  return checked;
}

}  // namespace

Task<Status> RunChainCheck(CheckRun& run, std::string_view path, ChainState& chain) {
  Folders folders(run);
  CO_TRY(Folder* const folder, co_await folders.Get(FolderOf(path)));
  if (folder->Find(path) == nullptr) {
    CO_TRY(const bool is_lost, co_await CheckLostDescriptor(run, *folder, path));
    if (is_lost) co_return base::Ok();
  }
  CO_TRY_STATUS(co_await WalkChain(run, folders, path, chain));
  CheckConnections(run, chain);
  for (ChainLink& link : chain.links) {
    CO_TRY_STATUS(co_await CheckExtents(run, link));
    CO_TRY_STATUS(co_await StoreWanted(run, chain, link));
    CO_TRY_STATUS(co_await GrowLink(run, chain, link));
    run.report().links.push_back(Describe(link));
  }
  for (size_t i = 0; i + 1 < chain.links.size(); ++i) {
    if (!run.options().explain || !chain.links[i].is_cut_off) continue;
    GatherEvidence(run, chain.links[i], chain.links[i + 1]);
  }
  co_return base::Ok();
}

namespace {

// Every disk of a folder by itself, with its parent: a chain is not walked once per branch.
Task<Status> CheckEachLink(CheckRun& run, Folders& folders, std::string_view path) {
  ChainState pair;
  CO_TRY_STATUS(co_await WalkOne(run, folders, path, pair));
  CheckConnections(run, pair);
  ChainLink& link = pair.links.front();
  CO_TRY_STATUS(co_await CheckExtents(run, link));
  run.report().links.push_back(Describe(link));
  if (run.options().explain && link.is_cut_off) GatherEvidence(run, link, pair.links[1]);
  co_return base::Ok();
}

// C4: a link that is its own ancestor, told once for each link of the ring.
void CheckRings(CheckRun& run, Folder& folder) {
  for (auto& [path, file] : folder.files) {
    const FolderFile* below = &file;
    for (size_t i = 0; below != nullptr && i <= folder.files.size(); ++i) {
      below = folder.Find(below->parent_path);
      if (below != &file) continue;
      run.findings().BeginFile(path);
      run.findings().Add(
          {.id = Invariant::kC4, .text = fmt::format("the chain comes back to {}", path)});
      run.findings().NoteUnchecked();
      break;
    }
  }
}

}  // namespace

Task<Status> RunFolderCheck(CheckRun& run, std::string_view path) {
  Folders folders(run);
  CO_TRY(Folder* const folder, co_await folders.Get(path));
  CheckRings(run, *folder);
  for (auto& [file_path, file] : folder->files) {
    // A repair of a folder leaves its disks alone: each is repaired by itself, when it is held.
    if (!file.has_descriptor() || run.findings().repairs()) continue;
    CO_TRY_STATUS(co_await CheckEachLink(run, folders, file_path));
  }
  co_return co_await CheckBelongings(run, *folder);
}

}  // namespace check

base::Task<base::Result<CheckReport>> CheckDisk(Lib& lib, std::string_view path,
                                                CheckOptions options, Progress* progress) {
  CheckReport report;
  CO_TRY(report.path, ResolveName("", path));
  check::CheckRun run(lib, options, report, progress);
  check::ChainState chain;
  CO_TRY_STATUS(co_await check::RunChainCheck(run, report.path, chain));
  co_return report;
}

base::Task<base::Result<CheckReport>> CheckFolder(Lib& lib, std::string_view folder,
                                                  CheckOptions options, Progress* progress) {
  CheckReport report;
  if (!folder.empty()) {
    CO_TRY(report.path, ResolveName("", folder));
  }
  check::CheckRun run(lib, options, report, progress);
  CO_TRY_STATUS(co_await check::RunFolderCheck(run, report.path));
  co_return report;
}

}  // namespace disklib
