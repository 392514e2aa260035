#include "vmfs/journal/metadata_cache.h"

#include <cstring>
#include <vector>

#include <fmt/format.h>

#include "fs/base/aligned_buffer.h"
#include "fs/base/check.h"

namespace vmfs {

void BlockRef::Add() {
  if (block_ && block_->reference_count_++ == 0) block_->cache_.LeaveIdle(*block_);
}

void BlockRef::Drop() {
  if (!block_) return;
  DCHECK(block_->reference_count_ > 0);
  if (--block_->reference_count_ == 0) block_->cache_.BecomeIdle(*block_);
  block_ = nullptr;
}

MetadataCache::MetadataCache(base::Executor& executor, base::BlockDevice& volume,
                             size_t idle_blocks_max)
    : volume_(volume), idle_blocks_max_(idle_blocks_max), loaded_(executor) {}

MetadataCache::~MetadataCache() = default;

MetadataBlock& MetadataCache::Insert(uint64_t address) {
  auto& slot = blocks_[address];
  CHECK(!slot);
  slot = std::make_unique<MetadataBlock>(*this, address);
  return *slot;
}

void MetadataCache::BecomeIdle(MetadataBlock& block) {
  if (!IsClean(block)) return;  // the journal lets it go once it is home
  block.idle_position_ = idle_.insert(idle_.end(), &block);
  block.idle_ = true;
  while (idle_.size() > idle_blocks_max_) Erase(*idle_.front());
}

void MetadataCache::LeaveIdle(MetadataBlock& block) {
  if (!block.idle_) return;
  idle_.erase(block.idle_position_);
  block.idle_ = false;
}

void MetadataCache::Erase(MetadataBlock& block) {
  CHECK(block.reference_count_ == 0 && IsClean(block));
  LeaveIdle(block);
  blocks_.erase(block.address());
}

BlockRef MetadataCache::Peek(uint64_t address) {
  const auto found = blocks_.find(address);
  return found == blocks_.end() ? BlockRef() : BlockRef(found->second.get());
}

base::Task<base::Result<BlockRef>> MetadataCache::Get(uint64_t address) {
  while (loading_.contains(address)) co_await loaded_.Wait();
  if (const BlockRef present = Peek(address)) co_return present;
  if (address % kMetadataBlockBytes != 0 || volume_.size_bytes() < kMetadataBlockBytes ||
      address > volume_.size_bytes() - kMetadataBlockBytes) {
    co_return base::Error(base::Code::kOutOfRange,
                          fmt::format("read metadata at {:#x} of {}: outside the volume or "
                                      "misaligned",
                                      address, volume_.name()));
  }
  auto bytes = std::make_unique<MetadataBytes>();
  const std::optional<uint64_t> ticket = BeginLoading(address);
  CHECK(ticket.has_value());
  const base::IoVec piece{bytes->data(), kMetadataBlockBytes};
  const base::IoRequest request{address, std::span(&piece, 1)};
  const base::Status status = co_await volume_.Read(request);
  const bool is_current = EndLoading(address, *ticket);
  loaded_.NotifyAll();
  if (!is_current) co_return co_await Get(address);
  if (!status) co_return status.error();
  MetadataBlock& block = Insert(address);
  block.bytes_ = std::move(bytes);
  co_return BlockRef(&block);
}

// Nothing: somebody else is reading it.
std::optional<uint64_t> MetadataCache::BeginLoading(uint64_t address) {
  if (!loading_.try_emplace(address, last_ticket_ + 1).second) return std::nullopt;
  return ++last_ticket_;
}

// False: the block was made fresh while it was being read, so what was read is old.
bool MetadataCache::EndLoading(uint64_t address, uint64_t ticket) {
  const auto found = loading_.find(address);
  if (found == loading_.end() || found->second != ticket) return false;
  loading_.erase(found);
  return true;
}

base::Task<void> MetadataCache::ReadAhead(uint64_t address, uint64_t count) {
  constexpr uint64_t kStrideBytes = 2 * kMetadataBlockBytes;
  const uint64_t length = count * kStrideBytes - kMetadataBlockBytes;
  if (count == 0 || address + length > volume_.size_bytes()) co_return;

  struct Wanted {
    uint64_t address;
    uint64_t ticket;
  };

  std::vector<Wanted> wanted;
  for (uint64_t at = address; at < address + length; at += kStrideBytes) {
    if (blocks_.contains(at)) continue;
    if (const auto ticket = BeginLoading(at)) wanted.push_back({at, *ticket});
  }
  base::AlignedBuffer buffer(length);
  const base::IoVec piece = buffer.piece();
  const base::IoRequest request{address, std::span(&piece, 1)};
  const base::Status status = co_await volume_.Read(request);
  for (const auto [at, ticket] : wanted) {
    if (!EndLoading(at, ticket) || !status) continue;
    MetadataBlock& block = Insert(at);
    std::memcpy(block.bytes_->data(), buffer.data() + (at - address), kMetadataBlockBytes);
    const BlockRef unused(&block);  // which makes it idle
  }
  loaded_.NotifyAll();
}

BlockRef MetadataCache::Fresh(uint64_t address) {
  CHECK(address % kMetadataBlockBytes == 0);
  loading_.erase(address);
  const auto found = blocks_.find(address);
  MetadataBlock& block = found == blocks_.end() ? Insert(address) : *found->second;
  const BlockRef reference(&block);
  block.bytes_->fill(std::byte{0});
  return reference;
}

BlockRef MetadataCache::Overlay(uint64_t address, const MetadataBytes& bytes) {
  const BlockRef block = Fresh(address);
  *block->bytes_ = bytes;
  return block;
}

void MetadataCache::Forget(uint64_t address, uint64_t length_bytes) {
  for (uint64_t at = address; at < address + length_bytes; at += kMetadataBlockBytes) {
    const auto found = blocks_.find(at);
    if (found == blocks_.end()) continue;
    MetadataBlock& block = *found->second;
    if (block.reference_count_ == 0 && IsClean(block)) Erase(block);
  }
}

}  // namespace vmfs
