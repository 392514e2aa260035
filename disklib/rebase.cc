#include "disklib/rebase.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "disklib/children.h"
#include "disklib/compare.h"
#include "disklib/descriptor_edit.h"
#include "disklib/descriptor_store.h"
#include "disklib/device_map.h"
#include "disklib/link_tree.h"
#include "disklib/names.h"
#include "disklib/vm_folder/vm_state.h"
#include "fs/base/aligned_buffer.h"
#include "fs/base/log.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

constexpr uint64_t kPieceBytes = uint64_t{1} << 20;

struct Rebase {
  std::string path;
  std::string old_parent_path;
  std::string new_parent_path;
  uint32_t parent_content_id = 0;                   // that the link was made over
  uint32_t new_parent_content_id = 0;               // of the new parent
  std::optional<uint32_t> old_parent_content_id{};  // of the old one; unset: it is not there
};

// The links of the longest branch that begins with `path`, itself counted.
size_t HeightOf(const LinkTree& tree, std::string_view path, size_t height_max) {
  if (height_max == 0) return 0;
  size_t above = 0;
  for (const TreeLink* const child : tree.ChildrenOf(path)) {
    above = std::max(above, HeightOf(tree, child->path, height_max - 1));
  }
  return above + 1;
}

Status CheckPlace(const LinkTree& tree, const TreeLink& link,
                  const std::vector<const TreeLink*>& chain) {
  const TreeLink& parent = *chain.front();
  if (std::find(chain.begin(), chain.end(), &link) != chain.end()) {
    return Error(Code::kLoop, fmt::format("rebase {}: {} stands on it", link.path, parent.path));
  }
  if (parent.descriptor.capacity_sectors() > link.descriptor.capacity_sectors()) {
    return Error(Code::kInvalidArgument,
                 fmt::format("rebase {}: {} is larger", link.path, parent.path));
  }
  const size_t links = chain.size() + HeightOf(tree, link.path, kChainLinksMax + 1);
  if (links <= kChainLinksMax) return base::Ok();
  return Error(Code::kTooManyLinks,
               fmt::format("rebase {}: on {} a chain would have {} links, at most {} are opened",
                           link.path, parent.path, links, kChainLinksMax));
}

Task<Status> PlanRebase(Lib& lib, RebaseMode mode, Rebase& rebase) {
  LinkTree tree;
  CO_TRY_STATUS(co_await LoadLinkTree(lib, FolderOf(rebase.path), tree));
  CO_TRY_STATUS(co_await LoadLinkTree(lib, FolderOf(rebase.new_parent_path), tree));
  const TreeLink* const link = tree.Find(rebase.path);
  if (link == nullptr || link->is_base()) {
    co_return Error(Code::kUnsupported, fmt::format("rebase {}: it has no parent", rebase.path));
  }
  CO_TRY(const std::vector<const TreeLink*> chain, tree.ChainOf(rebase.new_parent_path));
  CO_TRY_STATUS(CheckNotPhysical(chain.back()->descriptor, chain.back()->path, "rebase onto"));
  CO_TRY_STATUS(CheckPlace(tree, *link, chain));
  const std::vector<const TreeLink*> children = tree.ChildrenOf(rebase.path);
  if (mode == RebaseMode::kForce && !children.empty()) {
    co_return Error(Code::kUnsupported, fmt::format("rebase {}: {} stands on it and would change",
                                                    rebase.path, children.front()->path));
  }
  rebase.old_parent_path = link->parent_path;
  rebase.parent_content_id = link->descriptor.parent_content_id;
  rebase.new_parent_content_id = chain.front()->descriptor.content_id;
  const TreeLink* const old_parent = tree.Find(link->parent_path);
  if (old_parent != nullptr) rebase.old_parent_content_id = old_parent->descriptor.content_id;
  co_return base::Ok();
}

// A parent that is lost, or not what the link was made over, proves nothing by its content.
Status CheckOldParent(const Rebase& rebase) {
  const std::string made_over = FormatContentId(rebase.parent_content_id);
  if (!rebase.old_parent_content_id) {
    return Error(Code::kNotFound,
                 fmt::format("rebase {}: its parent {} is not there, and {} has content id {}, not "
                             "the {} it was made over: nothing proves that they hold the same; "
                             "only force is left",
                             rebase.path, rebase.old_parent_path, rebase.new_parent_path,
                             FormatContentId(rebase.new_parent_content_id), made_over));
  }
  if (*rebase.old_parent_content_id == rebase.parent_content_id) return base::Ok();
  return Error(
      Code::kMiscompare,
      fmt::format("rebase {}: it was made over content id {}, but {} has {} and {} has {}: "
                  "strata disk check --explain shows what was written when",
                  rebase.path, made_over, rebase.old_parent_path,
                  FormatContentId(*rebase.old_parent_content_id), rebase.new_parent_path,
                  FormatContentId(rebase.new_parent_content_id)));
}

// Both parents hold the same, byte for byte.
Task<Status> ProveByContent(Lib& lib, Rebase& rebase, RebaseOptions options, Progress* progress) {
  CO_TRY_STATUS(CheckOldParent(rebase));
  const CompareOptions compare{.stops_at_first = true, .user = options.user};
  CO_TRY(const CompareResult result,
         co_await CompareDisks(lib, rebase.old_parent_path, lib, rebase.new_parent_path, compare,
                               progress));
  if (result.is_same()) co_return base::Ok();
  co_return Error(Code::kMiscompare,
                  fmt::format("rebase {}: {} and {} differ at byte {}: copy the difference, or "
                              "force it and lose what the link does not hold itself",
                              rebase.path, rebase.old_parent_path, rebase.new_parent_path,
                              result.first_difference_bytes.value_or(0)));
}

// The descriptor that names the new parent. A link that reads differently is another content, and
// no tracking file knows where.
Result<std::string> RebasedText(Lib& lib, const Rebase& rebase, RebaseMode mode,
                                const std::string& old_text) {
  DescriptorEdit edit(old_text);
  edit.SetParent(RelativeName(FolderOf(rebase.path), rebase.new_parent_path),
                 rebase.new_parent_content_id);
  if (mode == RebaseMode::kForce) {
    edit.SetContentId(DrawContentId(lib.executor().random()), lib.executor().random());
    edit.EndChangeTracking();
  }
  return edit.Finish();
}

// Names the new parent in the descriptor and in the registries of linked clones. The link is
// claimed for writing: by `open_disk`, or if that is null by the caller.
Task<Status> MovePointer(Lib& lib, Rebase& rebase, RebaseMode mode, Chain* open_disk) {
  CO_TRY(const std::vector<std::string> registered,
         co_await RegisteredChildren(lib.backend(), rebase.old_parent_path));
  const bool is_registered =
      std::find(registered.begin(), registered.end(), rebase.path) != registered.end();
  // Nobody sees the children that a link has in other folders.
  if (is_registered || FolderOf(rebase.path) != FolderOf(rebase.new_parent_path)) {
    CO_TRY_STATUS(co_await RegisterChild(lib.backend(), rebase.new_parent_path, rebase.path));
  }
  CO_TRY(const DescriptorText old, co_await ReadDescriptorAt(lib.backend(), rebase.path));
  CO_TRY(const std::string text, RebasedText(lib, rebase, mode, old.text));
  if (open_disk != nullptr) {
    CO_TRY_STATUS(co_await open_disk->StoreDescriptor(text));
  } else {
    CO_TRY_STATUS(co_await ReplaceDescriptor(lib.backend(), rebase.path, text));
  }
  if (is_registered && rebase.old_parent_path != rebase.new_parent_path) {
    CO_TRY_STATUS(co_await UnregisterChild(lib.backend(), rebase.old_parent_path, rebase.path));
  }
  base::LogInfo("disklib", "rebased link={} onto={}", rebase.path, rebase.new_parent_path);
  co_return base::Ok();
}

// Copies into a link what it reads from its old parent and would not read from the new one.
class DifferenceCopier {
 public:
  DifferenceCopier(Chain& disk, Chain& new_parent) : disk_(disk), new_parent_(new_parent) {}

  Task<Result<uint64_t>> Run(Progress* progress) {
    for (uint64_t at_bytes = 0; at_bytes < disk_.size_bytes(); at_bytes += kPieceBytes) {
      const uint64_t length_bytes = std::min(kPieceBytes, disk_.size_bytes() - at_bytes);
      std::vector<fds::GrainRun> runs;
      CO_TRY_STATUS(co_await disk_.top().Lookup(at_bytes, length_bytes, runs));
      for (const fds::GrainRun& run : runs) {
        if (run.state != fds::GrainState::kUnallocated) continue;
        CO_TRY_STATUS(co_await CopyHole(run.offset_bytes, run.length_bytes));
      }
      if (progress != nullptr && !progress->Advance(at_bytes + length_bytes, disk_.size_bytes())) {
        co_return Error(Code::kInterrupted, "rebase: stopped; the link is as it was");
      }
    }
    CO_TRY_STATUS(co_await disk_.Flush());
    co_return copied_bytes_;
  }

 private:
  // What the link does not hold itself; where neither side has data nothing is to be read.
  Task<Status> CopyHole(uint64_t offset_bytes, uint64_t length_bytes) {
    CO_TRY(const bool has_old, co_await HasData(disk_, offset_bytes, length_bytes));
    CO_TRY(const bool has_new, co_await HasData(new_parent_, offset_bytes, length_bytes));
    if (!has_old && !has_new) co_return base::Ok();
    CO_TRY_STATUS(co_await CopyRange(offset_bytes, length_bytes));
    co_return base::Ok();
  }

  static Task<Result<bool>> HasData(Chain& disk, uint64_t offset_bytes, uint64_t length_bytes) {
    if (offset_bytes >= disk.size_bytes()) co_return false;
    std::vector<base::MapRun> runs;
    const uint64_t there_bytes = std::min(length_bytes, disk.size_bytes() - offset_bytes);
    CO_TRY_STATUS(co_await disk.MapStatus(offset_bytes, there_bytes, runs));
    co_return std::any_of(runs.begin(), runs.end(), [](const base::MapRun& run) {
      return run.state == base::MapState::kData;
    });
  }

  // The sectors of a range that differ, neighbours together.
  Task<Status> CopyRange(uint64_t offset_bytes, uint64_t length_bytes) {
    base::AlignedBuffer old_bytes(length_bytes);
    base::AlignedBuffer new_bytes(length_bytes);
    CO_TRY_STATUS(co_await ReadPart(disk_, offset_bytes, old_bytes));
    CO_TRY_STATUS(co_await ReadPart(new_parent_, offset_bytes, new_bytes));
    for (uint64_t from = 0; from < length_bytes;) {
      uint64_t to = from;
      while (to < length_bytes && Differs(old_bytes, new_bytes, to)) to += kSectorBytes;
      if (to > from) {
        const base::IoVec piece{old_bytes.data() + from, to - from};
        const base::IoRequest request{.offset_bytes = offset_bytes + from, .buffers = {&piece, 1}};
        CO_TRY_STATUS(co_await disk_.Write(request));
        copied_bytes_ += to - from;
      }
      from = std::max(to, from + kSectorBytes);
    }
    co_return base::Ok();
  }

  static bool Differs(base::AlignedBuffer& a, base::AlignedBuffer& b, uint64_t at) {
    return !std::equal(a.data() + at, a.data() + at + kSectorBytes, b.data() + at);
  }

  // Behind its end a parent reads as zeros.
  static Task<Status> ReadPart(Chain& disk, uint64_t offset_bytes, base::AlignedBuffer& buffer) {
    std::fill(buffer.span().begin(), buffer.span().end(), std::byte{0});
    if (offset_bytes >= disk.size_bytes()) co_return base::Ok();
    const uint64_t there_bytes =
        std::min<uint64_t>(buffer.size(), disk.size_bytes() - offset_bytes);
    const base::IoVec piece{buffer.data(), there_bytes};
    const base::IoRequest request{.offset_bytes = offset_bytes, .buffers = {&piece, 1}};
    CO_TRY_STATUS(co_await disk.Read(request));
    co_return base::Ok();
  }

  Chain& disk_;
  Chain& new_parent_;
  uint64_t copied_bytes_ = 0;
};

Task<Result<uint64_t>> CopyDifference(Lib& lib, Chain& disk, std::string_view new_parent_path,
                                      RebaseOptions options, Progress* progress) {
  const OpenOptions for_reading{.writable = false, .user = options.user};
  CO_TRY(const std::unique_ptr<Chain> parent, co_await lib.Open(new_parent_path, for_reading));
  DifferenceCopier copier(disk, *parent);
  const Result<uint64_t> copied = co_await copier.Run(progress);
  const Status closed = co_await parent->Close();
  if (copied && !closed) co_return closed.error();
  co_return copied;
}

// The link stays open until its pointer has moved, so that nobody writes to it in between.
Task<Result<uint64_t>> MoveByCopy(Lib& lib, Rebase& rebase, RebaseOptions options,
                                  Progress* progress) {
  const OpenOptions for_writing{.writable = true, .user = options.user};
  CO_TRY(const std::unique_ptr<Chain> disk, co_await lib.Open(rebase.path, for_writing));
  Result<uint64_t> copied =
      co_await CopyDifference(lib, *disk, rebase.new_parent_path, options, progress);
  if (copied) {
    const Status moved = co_await MovePointer(lib, rebase, options.mode, disk.get());
    if (!moved) copied = moved.error();
  }
  const Status closed = co_await disk->Close();
  if (copied && !closed) copied = closed.error();
  co_return copied;
}

// By proof or by force. Gives whether the content ids were the proof.
Task<Result<bool>> MoveByProof(Lib& lib, Rebase& rebase, RebaseOptions options,
                               Progress* progress) {
  CO_TRY(const LoadedDescriptor link, co_await lib.Load(rebase.path, /*need_extents=*/true));
  const OpenOptions for_writing{.writable = true, .user = options.user};
  CO_TRY(const OpenDisks::Claim claim, lib.ClaimDisk(link, for_writing));
  const bool is_forced = options.mode == RebaseMode::kForce;
  const bool has_id = rebase.parent_content_id == rebase.new_parent_content_id &&
                      rebase.parent_content_id != kFreshContentId;
  if (is_forced) {
    CO_TRY_STATUS(co_await CheckNoLivingChildren(lib.backend(), rebase.path, "rebase"));
  } else if (!has_id) {
    CO_TRY_STATUS(co_await ProveByContent(lib, rebase, options, progress));
  }
  CO_TRY_STATUS(co_await MovePointer(lib, rebase, options.mode, /*open_disk=*/nullptr));
  co_return has_id && !is_forced;
}

}  // namespace

Task<Result<RebaseResult>> RebaseLink(Lib& lib, std::string_view path, RebaseOptions options,
                                      Progress* progress) {
  Rebase rebase;
  CO_TRY(rebase.path, ResolvePath(lib.backend(), "", path));
  CO_TRY(rebase.new_parent_path, ResolvePath(lib.backend(), "", options.new_parent));
  CO_TRY(const Lib::PathHold hold, lib.HoldPath(rebase.path));
  CO_TRY(const LoadedDescriptor parent,
         co_await lib.Load(rebase.new_parent_path, /*need_extents=*/true));
  const OpenOptions for_reading{.writable = false, .user = options.user};
  // Nobody begins to write to the new parent before it has its child.
  CO_TRY(const OpenDisks::Claim claim, lib.ClaimDisk(parent, for_reading));
  CO_TRY_STATUS(co_await PlanRebase(lib, options.mode, rebase));
  if (rebase.old_parent_path != rebase.new_parent_path) {
    CO_TRY_STATUS(co_await CheckStaysFrozen(lib, rebase.path, rebase.old_parent_path, "rebase"));
  }
  RebaseResult result;
  if (options.mode == RebaseMode::kCopy) {
    CO_TRY(result.copied_bytes, co_await MoveByCopy(lib, rebase, options, progress));
  } else {
    CO_TRY(result.was_proven_by_id, co_await MoveByProof(lib, rebase, options, progress));
  }
  co_return result;
}

}  // namespace disklib
