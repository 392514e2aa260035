// Blocks that belong to nothing because what said whose they are is lost.
//
// Leaked blocks are freed, but not where a descriptor or an address was lost: then they may be the
// only copy of somebody's data. They become files, in the order of their addresses, which the next
// round names in lost+found.
#include <algorithm>
#include <vector>

#include "vmfs/fsck/new_descriptor.h"
#include "vmfs/fsck/repair_work.h"

namespace vmfs::fsck {
namespace {

using base::Status;
using base::Task;

constexpr uint32_t kRescuedMode = 0600;

std::vector<Address> FindLeaks(RepairWork& work, ResourceKind kind) {
  const Usage& usage = work.state()->usage(kind);
  const uint32_t per_cluster = work.volume().geometry(kind).resources_per_cluster;
  std::vector<Address> leaks;
  for (uint64_t index = 0; index < usage.marked.count(); ++index) {
    if (!usage.marked.Get(index) || usage.seen.Get(index)) continue;
    const auto item = static_cast<uint32_t>(index % per_cluster);
    leaks.push_back(kind == ResourceKind::kSmallBlock
                        ? Address::MakeFileBlock(index)
                        : Address::MakeSubBlock(index / per_cluster, item));
  }
  return leaks;
}

Task<Status> MakeFiles(RepairWork& work, ResourceKind kind) {
  const std::vector<Address> leaks = FindLeaks(work, kind);
  for (size_t first = 0; first < leaks.size(); first += kSlotCount) {
    const size_t count = std::min<size_t>(kSlotCount, leaks.size() - first);
    std::vector<Address> slots(leaks.begin() + static_cast<std::ptrdiff_t>(first),
                               leaks.begin() + static_cast<std::ptrdiff_t>(first + count));
    CO_TRY(const NewDescriptor descriptor, ReserveDescriptor(work));
    InodeMetadata inode = MakeInode(descriptor.fd, descriptor.generation, InodeType::kFile);
    inode.link_count = 1;
    inode.mode = kRescuedMode;
    inode.affinity_fd = kRootFd.raw();
    inode.flags = kInodeOutgrewInline;
    inode.SetMapKind(kind == ResourceKind::kSmallBlock ? MapKind::kFileBlocks
                                                       : MapKind::kSubBlocks);
    inode.length_bytes = count * inode.block_bytes;
    CO_TRY_STATUS(co_await WriteDescriptor(work, descriptor, inode, slots));
    work.Act(FindingCode::kBlockLeaked,
             "{}: made of {} {}s that belong to nothing, as they may be "
             "of a file that was lost",
             descriptor.fd.ToString(), count, NameOf(kind));
  }
  co_return base::Ok();
}

}  // namespace

Task<Status> RepairLeaks(RepairWork& work) {
  if (work.state() == nullptr || !work.state()->report().is_whole) co_return base::Ok();
  if (!work.has_lost_something() || IsBlind(work.state()->report())) co_return base::Ok();
  CO_TRY_STATUS(co_await MakeFiles(work, ResourceKind::kSmallBlock));
  co_return co_await MakeFiles(work, ResourceKind::kSubBlock);
}

}  // namespace vmfs::fsck
