#include "disklib/rebase.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "disklib/children.h"
#include "disklib/compare.h"
#include "disklib/descriptor_edit.h"
#include "disklib/descriptor_store.h"
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
  uint32_t parent_content_id = 0;      // that the link was made over
  uint32_t new_parent_content_id = 0;  // of the new parent
};

Task<Status> PlanRebase(Lib& lib, std::string_view path, RebaseOptions options, Rebase& rebase) {
  CO_TRY(rebase.path, ResolveName("", path));
  CO_TRY(rebase.new_parent_path, ResolveName("", options.new_parent));
  LinkTree tree;
  CO_TRY_STATUS(co_await LoadLinkTree(lib, FolderOf(rebase.path), tree));
  CO_TRY_STATUS(co_await LoadLinkTree(lib, FolderOf(rebase.new_parent_path), tree));
  const TreeLink* const link = tree.Find(rebase.path);
  if (link == nullptr || link->is_base()) {
    co_return Error(Code::kUnsupported, fmt::format("rebase {}: it has no parent", path));
  }
  CO_TRY(const std::vector<const TreeLink*> chain, tree.ChainOf(rebase.new_parent_path));
  if (std::find(chain.begin(), chain.end(), link) != chain.end()) {
    co_return Error(Code::kLoop,
                    fmt::format("rebase {}: {} stands on it", path, rebase.new_parent_path));
  }
  if (chain.front()->descriptor.capacity_sectors() > link->descriptor.capacity_sectors()) {
    co_return Error(Code::kInvalidArgument,
                    fmt::format("rebase {}: {} is larger", path, rebase.new_parent_path));
  }
  if (options.mode == RebaseMode::kForce && !tree.ChildrenOf(rebase.path).empty()) {
    co_return Error(Code::kUnsupported,
                    fmt::format("rebase {}: {} stands on it and would change", path,
                                tree.ChildrenOf(rebase.path).front()->path));
  }
  rebase.old_parent_path = link->parent_path;
  rebase.parent_content_id = link->descriptor.parent_content_id;
  rebase.new_parent_content_id = chain.front()->descriptor.content_id;
  co_return base::Ok();
}

// Both parents hold the same, byte for byte.
Task<Status> ProveByContent(Lib& lib, Rebase& rebase, RebaseOptions options, Progress* progress) {
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

// Names the new parent in the descriptor and in the registries of linked clones.
Task<Status> MovePointer(Lib& lib, Rebase& rebase, RebaseOptions options) {
  CO_TRY(LoadedDescriptor loaded, co_await lib.Load(rebase.path, /*need_extents=*/true));
  const OpenOptions open_options{.writable = true, .user = options.user};
  CO_TRY(const OpenDisks::Claim claim, lib.ClaimDisk(loaded, open_options));
  CO_TRY(const std::vector<std::string> registered,
         co_await RegisteredChildren(lib.backend(), rebase.old_parent_path));
  const bool is_registered =
      std::find(registered.begin(), registered.end(), rebase.path) != registered.end();
  if (is_registered) {
    CO_TRY_STATUS(co_await RegisterChild(lib.backend(), rebase.new_parent_path, rebase.path));
  }
  DescriptorEdit edit(loaded.text);
  edit.SetParent(RelativeName(FolderOf(rebase.path), rebase.new_parent_path),
                 rebase.new_parent_content_id);
  CO_TRY(const std::string text, edit.Finish());
  CO_TRY_STATUS(co_await ReplaceDescriptor(lib.backend(), rebase.path, text));
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
        CO_TRY_STATUS(co_await CopyRange(run.offset_bytes, run.length_bytes));
      }
      if (progress != nullptr && !progress->Advance(at_bytes + length_bytes, disk_.size_bytes())) {
        co_return Error(Code::kInterrupted, "rebase: stopped; the link is as it was");
      }
    }
    CO_TRY_STATUS(co_await disk_.Flush());
    co_return copied_bytes_;
  }

 private:
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

Task<Result<uint64_t>> CopyDifference(Lib& lib, Rebase& rebase, RebaseOptions options,
                                      Progress* progress) {
  const OpenOptions for_writing{.writable = true, .user = options.user};
  const OpenOptions for_reading{.writable = false, .user = options.user};
  CO_TRY(const std::unique_ptr<Chain> disk, co_await lib.Open(rebase.path, for_writing));
  Result<std::unique_ptr<Chain>> parent = co_await lib.Open(rebase.new_parent_path, for_reading);
  Result<uint64_t> copied = Code::kInternal;
  if (parent) {
    DifferenceCopier copier(*disk, **parent);
    copied = co_await copier.Run(progress);
    const Status closed = co_await (*parent)->Close();
    if (copied && !closed) copied = closed.error();
  } else {
    copied = parent.error();
  }
  const Status closed = co_await disk->Close();
  if (copied && !closed) copied = closed.error();
  co_return copied;
}

}  // namespace

Task<Result<RebaseResult>> RebaseLink(Lib& lib, std::string_view path, RebaseOptions options,
                                      Progress* progress) {
  Rebase rebase;
  CO_TRY_STATUS(co_await PlanRebase(lib, path, options, rebase));
  CO_TRY(const Lib::PathHold hold, lib.HoldPath(rebase.path));
  RebaseResult result;
  const bool has_id = rebase.parent_content_id == rebase.new_parent_content_id &&
                      rebase.parent_content_id != kFreshContentId;
  if (options.mode == RebaseMode::kCopy) {
    CO_TRY(result.copied_bytes, co_await CopyDifference(lib, rebase, options, progress));
  } else if (options.mode == RebaseMode::kProve && has_id) {
    result.was_proven_by_id = true;
  } else if (options.mode == RebaseMode::kProve) {
    CO_TRY_STATUS(co_await ProveByContent(lib, rebase, options, progress));
  }
  CO_TRY_STATUS(co_await MovePointer(lib, rebase, options));
  co_return result;
}

}  // namespace disklib
