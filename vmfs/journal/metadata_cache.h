// The metadata cache: 4 KiB blocks of a volume by volume address, with bounded memory.
//
// All metadata is read and modified through it; file data never is. A block that a transaction has
// modified stays in memory until it has been written home, so a read never meets an old image.
// Thread rule: the volume's executor. Bytes change only through `Transaction::Modify`.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>

#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/sync.h"
#include "fs/base/task.h"
#include "vmfs/format/metadata_block.h"

namespace vmfs {

class MetadataCache;

// One cached block. Owned by the cache; referred to by `BlockRef`.
class MetadataBlock {
 public:
  MetadataBlock(MetadataCache& cache, uint64_t address) : cache_(cache), address_(address) {}

  MetadataBlock(const MetadataBlock&) = delete;
  MetadataBlock& operator=(const MetadataBlock&) = delete;

  uint64_t address() const { return address_; }

  std::span<const std::byte, kMetadataBlockBytes> bytes() const { return *bytes_; }

 private:
  friend class MetadataCache;
  friend class BlockRef;
  friend class Journal;
  friend class Transaction;

  MetadataCache& cache_;
  const uint64_t address_;
  std::unique_ptr<MetadataBytes> bytes_ = std::make_unique<MetadataBytes>();
  uint32_t reference_count_ = 0;
  bool in_running_transaction_ = false;
  uint64_t covering_lock_ = 0;          // of the running transaction's image
  uint32_t images_not_home_count_ = 0;  // committed images not yet written home
  std::list<MetadataBlock*>::iterator idle_position_;
  bool idle_ = false;
};

// A counted reference; the block stays in memory while one exists.
class BlockRef {
 public:
  BlockRef() = default;

  explicit BlockRef(MetadataBlock* block) : block_(block) { Add(); }

  BlockRef(const BlockRef& other) : block_(other.block_) { Add(); }

  BlockRef(BlockRef&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}

  BlockRef& operator=(BlockRef other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }

  ~BlockRef() { Drop(); }

  explicit operator bool() const { return block_ != nullptr; }

  MetadataBlock& operator*() const { return *block_; }

  MetadataBlock* operator->() const { return block_; }

  MetadataBlock* get() const { return block_; }

 private:
  void Add();
  void Drop();
  MetadataBlock* block_ = nullptr;
};

class MetadataCache {
 public:
  // `volume` is addressed by volume address. At most `idle_blocks_max` unreferenced, clean blocks
  // are kept; blocks in use or not yet home are bounded by the journal's size and open operations.
  MetadataCache(base::Executor& executor, base::BlockDevice& volume, size_t idle_blocks_max);
  MetadataCache(const MetadataCache&) = delete;
  MetadataCache& operator=(const MetadataCache&) = delete;
  ~MetadataCache();

  // The block at `address` (a multiple of 4 KiB), from memory or the device.
  // Errors: those of BlockDevice::Read; kOutOfRange for an address outside the volume.
  base::Task<base::Result<BlockRef>> Get(uint64_t address);

  // Brings every second block from `address` on into memory, `count` in all, with one read: the
  // metadata blocks of objects that lie side by side, whose lock blocks stand between them. Says
  // nothing of errors: whoever then asks for a block meets them.
  base::Task<void> ReadAhead(uint64_t address, uint64_t count);

  // The block at `address` if it is in memory.
  BlockRef Peek(uint64_t address);

  // The block as zeros, without reading: for space that was just allocated and zeroed. Whatever the
  // cache held for that address is replaced.
  BlockRef Fresh(uint64_t address);

  // The block with the given bytes instead of the device's: for read-only mounts of a volume whose
  // journal has not been replayed. Stays so while the reference lives.
  BlockRef Overlay(uint64_t address, const MetadataBytes& bytes);

  // Forgets clean blocks of a range that was freed and may be used for file data.
  void Forget(uint64_t address, uint64_t length_bytes);

  base::BlockDevice& volume() { return volume_; }

  size_t block_count() const { return blocks_.size(); }

 private:
  friend class BlockRef;
  friend class Journal;

  std::optional<uint64_t> BeginLoading(uint64_t address);
  bool EndLoading(uint64_t address, uint64_t ticket);
  MetadataBlock& Insert(uint64_t address);
  void BecomeIdle(MetadataBlock& block);
  void LeaveIdle(MetadataBlock& block);
  void Erase(MetadataBlock& block);

  bool IsClean(const MetadataBlock& block) const {
    return !block.in_running_transaction_ && block.images_not_home_count_ == 0;
  }

  base::BlockDevice& volume_;
  const size_t idle_blocks_max_;
  base::AsyncCondition loaded_;
  // Being read right now, and not made anew meanwhile: address -> ticket of the read.
  std::unordered_map<uint64_t, uint64_t> loading_;
  uint64_t last_ticket_ = 0;
  std::unordered_map<uint64_t, std::unique_ptr<MetadataBlock>> blocks_;
  std::list<MetadataBlock*> idle_;  // least recently used first
};

}  // namespace vmfs
