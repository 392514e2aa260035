#include "disklib/attach.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "disklib/children.h"
#include "disklib/copy.h"
#include "disklib/descriptor_edit.h"
#include "disklib/descriptor_store.h"
#include "disklib/device_map.h"
#include "disklib/extent_places.h"
#include "disklib/names.h"
#include "disklib/vm_folder/vm_state.h"
#include "fs/base/aligned_buffer.h"
#include "fs/base/log.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::IoVec;
using base::MapRun;
using base::MapState;
using base::Result;
using base::Status;
using base::Task;
using fds::GrainRun;
using fds::GrainState;

constexpr uint64_t kPieceBytes = uint64_t{1} << 20;
constexpr uint64_t kWindowBytes = uint64_t{64} << 20;

bool IsFlatLine(const ExtentLine& extent) {
  return extent.type == ExtentType::kFlat || extent.type == ExtentType::kVmfs;
}

Status CheckFits(const LoadedDescriptor& link, const LoadedDescriptor& parent,
                 AttachOptions options) {
  const Descriptor& own = link.descriptor;
  const Descriptor& above = parent.descriptor;
  if (std::any_of(own.extents.begin(), own.extents.end(), IsFlatLine)) {
    return Error(Code::kInvalidArgument,
                 fmt::format("attach {}: a flat disk reads nothing from a parent", link.path));
  }
  if (own.capacity_sectors() < above.capacity_sectors()) {
    return Error(Code::kInvalidArgument,
                 fmt::format("attach {}: its {} sectors are fewer than the {} of {}", link.path,
                             own.capacity_sectors(), above.capacity_sectors(), parent.path));
  }
  if (own.parent_content_id == above.content_id || options.changes_content) return base::Ok();
  if (!own.has_parent()) {
    return Error(Code::kMiscompare,
                 fmt::format("attach {}: it is a base and would read differently over {}",
                             link.path, parent.path));
  }
  return Error(Code::kMiscompare,
               fmt::format("attach {}: it was made over content id {}, {} has {}", link.path,
                           FormatContentId(own.parent_content_id), parent.path,
                           FormatContentId(above.content_id)));
}

// A parent that stands on the link itself would make a ring, one of too many links no disk.
Task<Status> CheckPlace(Lib& lib, const LoadedDescriptor* link, std::string_view parent_path) {
  const OpenOptions options{.writable = false, .user = "strata disk attach"};
  CO_TRY(const std::unique_ptr<Chain> chain, co_await lib.Open(parent_path, options));
  const auto& links = chain->links();
  const bool is_ring = std::any_of(
      links.begin(), links.end(),
      [link](const std::unique_ptr<Link>& other) { return other->path() == link->path; });
  const bool is_too_long = links.size() >= kChainLinksMax;
  CO_TRY_STATUS(co_await chain->Close());
  if (is_too_long) {
    co_return Error(Code::kTooManyLinks, fmt::format("attach {}: {} stands on {} links already",
                                                     link->path, parent_path, kChainLinksMax - 1));
  }
  if (!is_ring) co_return base::Ok();
  co_return Error(Code::kLoop, fmt::format("attach {}: {} stands on it", link->path, parent_path));
}

// A base and a linked clone are disks of their own and stay so; other links are links of the
// parent's disk, which its folder shows.
Task<Result<bool>> NeedsEntry(Lib& lib, const LoadedDescriptor* link,
                              std::string_view parent_path) {
  // Nothing is written on another datastore.
  if (!VolumeOf(parent_path).empty()) co_return false;
  const std::string_view folder = FolderOf(link->path);
  if (FolderOf(parent_path) != folder || !link->descriptor.has_parent()) co_return true;
  const Result<std::string> old_parent =
      ResolvePath(lib.backend(), folder, link->descriptor.parent_file_name_hint);
  if (!old_parent) co_return false;
  CO_TRY(const std::vector<std::string> children,
         co_await RegisteredChildren(lib.backend(), *old_parent));
  co_return std::find(children.begin(), children.end(), link->path) != children.end();
}

Task<Status> LeaveParent(Lib& lib, const LoadedDescriptor* link, std::string_view kept_path) {
  if (!link->descriptor.has_parent()) co_return base::Ok();
  const Result<std::string> parent = ParentPathOf(lib.backend(), link->descriptor, link->path);
  if (!parent || *parent == kept_path || !VolumeOf(*parent).empty()) co_return base::Ok();
  CO_TRY_STATUS(co_await UnregisterChild(lib.backend(), *parent, link->path));
  co_return base::Ok();
}

// A range of the parent that has to be zeros; kUnsupported naming the first byte that is not.
Task<Status> CheckZeros(Chain& parent, std::string_view path, uint64_t offset_bytes,
                        uint64_t length_bytes) {
  base::AlignedBuffer buffer(kPieceBytes);
  while (length_bytes > 0) {
    const IoVec piece{buffer.data(), std::min(kPieceBytes, length_bytes)};
    CO_TRY_STATUS(co_await parent.Read({.offset_bytes = offset_bytes, .buffers = {&piece, 1}}));
    if (!IsZero({piece.data, piece.size_bytes})) {
      co_return Error(Code::kUnsupported,
                      fmt::format("detach {}: data near byte {} is read from {}: clone the disk "
                                  "instead",
                                  path, offset_bytes, parent.name()));
    }
    offset_bytes += piece.size_bytes;
    length_bytes -= piece.size_bytes;
  }
  co_return base::Ok();
}

// The parts of `hole` that the parent may hold data in.
Task<Status> CheckHole(Chain& parent, std::string_view path, uint64_t offset_bytes,
                       uint64_t length_bytes) {
  if (offset_bytes >= parent.size_bytes()) co_return base::Ok();
  length_bytes = std::min(length_bytes, parent.size_bytes() - offset_bytes);
  std::vector<MapRun> runs;
  CO_TRY_STATUS(co_await parent.MapStatus(offset_bytes, length_bytes, runs));
  for (const MapRun& run : runs) {
    if (run.state != MapState::kData) continue;
    CO_TRY_STATUS(co_await CheckZeros(parent, path, run.offset_bytes, run.length_bytes));
  }
  co_return base::Ok();
}

Task<Status> CheckReadsNothing(Link& leaf, Chain& parent, Progress* progress) {
  const uint64_t size_bytes = leaf.size_bytes();
  for (uint64_t at_bytes = 0; at_bytes < size_bytes; at_bytes += kWindowBytes) {
    std::vector<GrainRun> runs;
    const uint64_t window_bytes = std::min(kWindowBytes, size_bytes - at_bytes);
    CO_TRY_STATUS(co_await leaf.Lookup(at_bytes, window_bytes, runs));
    for (const GrainRun& run : runs) {
      if (run.state != GrainState::kUnallocated) continue;
      CO_TRY_STATUS(co_await CheckHole(parent, leaf.path(), run.offset_bytes, run.length_bytes));
    }
    if (progress != nullptr && !progress->Advance(at_bytes + window_bytes, size_bytes)) {
      co_return Error(Code::kInterrupted, "detach: stopped");
    }
  }
  co_return base::Ok();
}

// Its parent goes on without the link.
Task<Status> CheckMayLeave(Lib& lib, const LoadedDescriptor* link, std::string_view new_parent) {
  if (!link->descriptor.has_parent()) co_return base::Ok();
  const Result<std::string> parent =
      ResolveName(FolderOf(link->path), link->descriptor.parent_file_name_hint);
  if (!parent || *parent == new_parent) co_return base::Ok();
  CO_TRY_STATUS(co_await CheckStaysFrozen(lib, link->path, *parent, "attach"));
  co_return base::Ok();
}

Task<Status> Detach(Lib& lib, Chain& chain, Progress* progress) {
  if (chain.links().size() < 2) {
    co_return Error(Code::kInvalidArgument,
                    fmt::format("detach {}: it has no parent", chain.name()));
  }
  const std::string parent_path = chain.links()[chain.links().size() - 2]->path();
  CO_TRY_STATUS(co_await CheckStaysFrozen(lib, chain.name(), parent_path, "detach"));
  const OpenOptions options{.writable = false, .user = "strata disk detach"};
  CO_TRY(const std::unique_ptr<Chain> parent, co_await lib.Open(parent_path, options));
  const Status checked = co_await CheckReadsNothing(chain.top(), *parent, progress);
  const Status closed = co_await parent->Close();
  CO_TRY_STATUS(checked);
  CO_TRY_STATUS(closed);
  CO_TRY(const DescriptorText old, co_await ReadDescriptorAt(lib.backend(), chain.name()));
  DescriptorEdit edit(old.text);
  edit.SetHeader("parentCID", FormatContentId(kNoParentContentId));
  edit.RemoveHeader("parentFileNameHint");
  CO_TRY(const std::string text, edit.Finish());
  CO_TRY_STATUS(co_await chain.StoreDescriptor(text));
  if (VolumeOf(parent_path).empty()) {
    CO_TRY_STATUS(co_await UnregisterChild(lib.backend(), parent_path, chain.name()));
  }
  base::LogInfo("disklib", "detached disk={} parent={}", chain.name(), parent_path);
  co_return base::Ok();
}

}  // namespace

Task<Status> AttachLink(Lib& lib, std::string_view path, std::string_view parent_path,
                        AttachOptions options) {
  CO_TRY(LoadedDescriptor link, co_await lib.Load(path, /*need_extents=*/true));
  CO_TRY(const LoadedDescriptor parent, co_await lib.Load(parent_path, /*need_extents=*/true));
  CO_TRY_STATUS(CheckNotPhysical(parent.descriptor, parent.path, "attach to"));
  CO_TRY_STATUS(CheckFits(link, parent, options));
  CO_TRY_STATUS(co_await CheckPlace(lib, &link, parent.path));
  CO_TRY_STATUS(co_await lib.CheckAlone(link, "attach"));
  CO_TRY_STATUS(co_await CheckMayLeave(lib, &link, parent.path));
  const OpenOptions own_options{.writable = true, .user = "strata disk attach"};
  const OpenOptions parent_options{.writable = false, .user = "strata disk attach"};
  CO_TRY(const OpenDisks::Claim own_claim, lib.ClaimDisk(link, own_options));
  CO_TRY(const OpenDisks::Claim parent_claim, lib.ClaimDisk(parent, parent_options));
  DescriptorEdit edit(link.text);
  const bool is_same = link.descriptor.parent_content_id == parent.descriptor.content_id;
  if (!is_same) {
    CO_TRY_STATUS(co_await CheckNoLivingChildren(lib.backend(), link.path, "attach"));
    edit.SetContentId(DrawContentId(lib.executor().random()), lib.executor().random());
    edit.EndChangeTracking();
  }
  edit.SetHeader("parentCID", FormatContentId(parent.descriptor.content_id));
  const std::string hint = RelativeName(FolderOf(link.path), parent.path);
  edit.SetHeader("parentFileNameHint", fmt::format("\"{}\"", hint));
  CO_TRY(const std::string text, edit.Finish());
  CO_TRY(const bool needs_entry, co_await NeedsEntry(lib, &link, parent.path));
  if (needs_entry) {
    CO_TRY_STATUS(co_await RegisterChild(lib.backend(), parent.path, link.path));
  }
  CO_TRY_STATUS(co_await ReplaceDescriptor(lib.backend(), link.path, text));
  CO_TRY_STATUS(co_await LeaveParent(lib, &link, parent.path));
  base::LogInfo("disklib", "attached disk={} parent={}", link.path, parent.path);
  co_return base::Ok();
}

Task<Status> DetachLink(Lib& lib, std::string_view path, Progress* progress) {
  const OpenOptions options{.writable = true, .user = "strata disk detach"};
  CO_TRY(const std::unique_ptr<Chain> chain, co_await lib.Open(path, options));
  const Status detached = co_await Detach(lib, *chain, progress);
  const Status closed = co_await chain->Close();
  co_return detached ? closed : detached;
}

}  // namespace disklib
