#include "vmfs/vmfs5/block_cache.h"

#include "vmfs/format/corrupt.h"

namespace vmfs::vmfs5 {

base::Task<base::Result<CachedBlock>> BlockCache::Get(uint64_t address) {
  address = address / kMetadataBlockBytes * kMetadataBlockBytes;
  const auto found = blocks_.find(address);
  if (found != blocks_.end()) {
    recent_.splice(recent_.begin(), recent_, found->second);
    co_return found->second->second;
  }
  if (volume_.size_bytes() < kMetadataBlockBytes ||
      address > volume_.size_bytes() - kMetadataBlockBytes) {
    co_return CorruptError("metadata at {:#x} of {}: behind the end of the volume", address,
                           volume_.name());
  }
  auto bytes = std::make_shared<MetadataBytes>();
  const base::IoVec piece{bytes->data(), kMetadataBlockBytes};
  const base::IoRequest request{address, std::span(&piece, 1)};
  CO_TRY_STATUS(co_await volume_.Read(request));
  CachedBlock block = std::move(bytes);
  Keep(address, block);
  co_return block;
}

void BlockCache::Keep(uint64_t address, const CachedBlock& block) {
  if (blocks_.contains(address)) return;  // somebody else read it meanwhile
  recent_.emplace_front(address, block);
  blocks_[address] = recent_.begin();
  while (recent_.size() > blocks_max_) {
    blocks_.erase(recent_.back().first);
    recent_.pop_back();
  }
}

}  // namespace vmfs::vmfs5
