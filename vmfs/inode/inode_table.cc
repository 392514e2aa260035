#include "vmfs/inode/inode_table.h"

#include <algorithm>

#include <fmt/format.h>

#include "vmfs/directory/directory.h"
#include "vmfs/inode/directory_file.h"

namespace vmfs {
namespace {

constexpr uint64_t kReadAheadMax = 64;
constexpr uint32_t kReadAheadStepMax = 8;
constexpr uint32_t kReadAheadAfter = 3;

}  // namespace

InodeRef::InodeRef(InodeTable& table, Inode& inode) : table_(&table), inode_(&inode) {
  if (inode.use_count++ == 0) table.LeaveIdle(inode);
}

InodeRef::InodeRef(const InodeRef& other) : table_(other.table_), inode_(other.inode_) {
  if (inode_) ++inode_->use_count;
}

InodeRef::~InodeRef() {
  if (inode_ && --inode_->use_count == 0) table_->BecomeUnused(*inode_);
}

InodeTable::~InodeTable() = default;

void InodeTable::LeaveIdle(Inode& inode) {
  if (!inode.idle) return;
  idle_.erase(inode.idle_position);
  inode.idle = false;
}

void InodeTable::Erase(Inode& inode) {
  LeaveIdle(inode);
  const auto found = inodes_.find(inode.fd.raw());
  if (found != inodes_.end() && found->second.get() == &inode) {
    inodes_.erase(found);
  } else {
    std::erase_if(replaced_, [&](const auto& replaced) { return replaced.get() == &inode; });
  }
}

void InodeTable::BecomeUnused(Inode& inode) {
  if (inode.removed) return Erase(inode);
  inode.idle_position = idle_.insert(idle_.end(), &inode);
  inode.idle = true;
  // Those with times still to be written stay until the next tick has written them.
  for (auto at = idle_.begin(); idle_.size() > idle_max_ && at != idle_.end();) {
    Inode& oldest = **at++;
    if (!oldest.lazy_modified_s && !oldest.lazy_accessed_s) Erase(oldest);
  }
}

void InodeTable::DropIdle() {
  while (!idle_.empty()) Erase(*idle_.front());
}

base::Task<base::Result<InodeRef>> InodeTable::Get(FdAddress fd) {
  if (const auto found = inodes_.find(fd.raw()); found != inodes_.end()) {
    if (found->second->removed) co_return base::Code::kStale;
    co_return InodeRef(*this, *found->second);
  }
  if (!fd.is_valid()) {
    co_return base::Error(base::Code::kStale, fmt::format("inode {:#x}: no descriptor", fd.raw()));
  }
  CO_TRY(const uint64_t lock_address, core_.LockAddressOf(fd));
  co_await ReadAhead(fd, lock_address);
  CO_TRY(const BlockRef block, co_await core_.cache->Get(lock_address + kMetadataBlockBytes));
  const base::Result<InodeMetadata> metadata = DecodeInode(block->bytes(), fd);
  if (!metadata) {
    if (metadata.error().code() == base::Code::kNotRecognized) co_return base::Code::kStale;
    co_return metadata.error();
  }
  co_return Add(fd, lock_address, block);
}

// Whoever asks for one descriptor after the other, as a listing does, gets the next ones with one
// read. Small steps forward count as such: entries of other folders lie between.
base::Task<void> InodeTable::ReadAhead(FdAddress fd, uint64_t lock_address) {
  const bool follows = fd.cluster() == last_read_.cluster() && fd.item() > last_read_.item() &&
                       fd.item() <= last_read_.item() + kReadAheadStepMax;
  last_read_ = fd;
  follow_count_ = follows ? follow_count_ + 1 : 0;
  const uint64_t address = lock_address + kMetadataBlockBytes;
  if (follow_count_ < kReadAheadAfter || core_.cache->Peek(address)) co_return;
  const Resource& descriptors = core_.descriptors;
  const ResourceGeometry& geometry = descriptors.allocator->geometry();
  const uint64_t left = geometry.ResourcesIn(fd.cluster()) - fd.item();
  const uint64_t item_bytes = geometry.resource_bytes;
  const uint64_t bytes = descriptors.file.AdjacentBytes(
      geometry.ItemOffset({fd.cluster(), fd.item()}), std::min(left, kReadAheadMax) * item_bytes);
  co_await core_.cache->ReadAhead(address, bytes / item_bytes);
}

InodeRef InodeTable::Add(FdAddress fd, uint64_t lock_address, BlockRef block) {
  std::unique_ptr<Inode>& slot = inodes_[fd.raw()];
  if (slot && slot->removed) replaced_.push_back(std::move(slot));
  if (!slot) {
    slot = std::make_unique<Inode>(core_.executor, fd, lock_address, std::move(block));
  }
  return InodeRef(*this, *slot);
}

base::Task<base::Result<InodeRef>> InodeTable::GetDirectory(FdAddress fd) {
  CO_TRY(InodeRef inode, co_await Get(fd));
  const bool is_directory =
      inode->type == InodeType::kDirectory || (inode->type == InodeType::kSystem && fd == kSddFd);
  if (!is_directory) co_return base::Code::kNotDirectory;
  if (!inode->directory) {
    inode->directory_file = std::make_unique<DirectoryFile>(core_, *inode);
    inode->directory = std::make_unique<Directory>(*inode->directory_file, fd == kRootFd);
  }
  co_return inode;
}

std::vector<InodeRef> InodeTable::WithLazyTimes() {
  std::vector<InodeRef> result;
  for (const auto& [fd, inode] : inodes_) {
    if (!inode->removed && (inode->lazy_modified_s || inode->lazy_accessed_s)) {
      result.emplace_back(*this, *inode);
    }
  }
  return result;
}

bool InodeTable::HasLazyTimes() const {
  return std::any_of(inodes_.begin(), inodes_.end(), [](const auto& entry) {
    return entry.second->lazy_modified_s || entry.second->lazy_accessed_s;
  });
}

}  // namespace vmfs
