#include "vmfs/fsck/new_descriptor.h"

#include <algorithm>

namespace vmfs::fsck {

using base::Result;
using base::Status;
using base::Task;

Result<NewDescriptor> ReserveDescriptor(RepairWork& work) {
  TRY(const ResourceIndex where, work.Allocate(ResourceKind::kFd));
  uint32_t& last = work.state()->last_generations[where.cluster];
  ++last;
  return NewDescriptor{FdAddress::Make(static_cast<uint32_t>(where.cluster), where.item), last};
}

Task<Status> MarkDescriptor(RepairWork& work, FdAddress fd, bool is_free, uint32_t generation) {
  const ResourceGeometry geometry = work.volume().geometry(ResourceKind::kFd);
  CO_TRY(const uint64_t address, work.volume().ClusterAddress(ResourceKind::kFd, fd.cluster()));
  MetadataBytes block;
  CO_TRY_STATUS(co_await work.ReadBlock(address + kMetadataBlockBytes, block));
  SetFree(block, geometry.bits_per_resource, fd.item(), is_free);
  SetAffinityKey(block, geometry, fd.item(), is_free ? FdAddress() : kRootFd);
  auto metadata = base::LoadAs<ClusterMetadata>(block);
  metadata.fd_generation = std::max<uint32_t>(metadata.fd_generation, generation);
  base::StoreAs(std::span<std::byte>(block), 0, metadata);
  co_return co_await work.WriteBlock(address + kMetadataBlockBytes, block);
}

Task<Status> WriteDescriptor(RepairWork& work, NewDescriptor descriptor, InodeMetadata& inode,
                             std::vector<Address>& slots) {
  CO_TRY(const uint64_t address, work.volume().InodeAddress(descriptor.fd));
  MetadataBytes block;
  CO_TRY_STATUS(co_await work.ReadBlock(address, block));
  const Result<LockBlock> old = DecodeLockBlock(block, address, LockType::kFd);
  LockBlock lock = MakeFreeLock(LockType::kFd, address);
  if (old) lock.token = old->token + 1;
  block.fill(std::byte{0});
  base::StoreAs(std::span<std::byte>(block), 0, lock);
  CO_TRY_STATUS(co_await work.WriteBlock(address, block));
  MetadataBytes root;
  CO_TRY_STATUS(co_await work.volume().ReadInodeBlock(kRootFd, root));
  const auto parent = base::LoadAs<InodeMetadata>(root);
  inode.uid = uint32_t{parent.uid};
  inode.gid = uint32_t{parent.gid};
  inode.modified_s = uint32_t{parent.modified_s};
  inode.changed_s = uint32_t{parent.modified_s};
  inode.accessed_s = uint32_t{parent.modified_s};
  inode.parent_fd = kRootFd.raw();
  inode.SetBlockCount(slots.size());
  block.fill(std::byte{0});
  base::StoreAs(std::span<std::byte>(block), 0, inode);
  for (uint32_t i = 0; i < slots.size(); ++i) SetSlot(block, i, slots[i]);
  CO_TRY_STATUS(co_await work.WriteBlock(address + kMetadataBlockBytes, block));
  co_return co_await MarkDescriptor(work, descriptor.fd, /*is_free=*/false, descriptor.generation);
}

}  // namespace vmfs::fsck
