#include "tests/support/memory_directory_file.h"

#include <algorithm>
#include <cstring>

#include "fs/base/check.h"

namespace vmfs {

base::Task<base::Status> MemoryBytesDevice::Read(base::IoRequest request) {
  uint64_t offset = request.offset_bytes;
  for (const base::IoVec& piece : request.buffers) {
    CHECK(offset + piece.size_bytes <= bytes_.size());
    std::memcpy(piece.data, &bytes_[offset], piece.size_bytes);
    offset += piece.size_bytes;
  }
  co_return base::Ok();
}

base::Task<base::Status> MemoryBytesDevice::Write(base::IoRequest) {
  co_return base::Code::kReadOnly;
}

base::Task<base::Status> MemoryBytesDevice::Flush() {
  co_return base::Ok();
}

base::Task<base::Status> MemoryBytesDevice::Unmap(uint64_t, uint64_t) {
  co_return base::Code::kReadOnly;
}

base::Task<base::Status> MemoryBytesDevice::WriteZeroes(uint64_t, uint64_t, bool) {
  co_return base::Code::kReadOnly;
}

base::Task<base::Status> MemoryBytesDevice::CompareAndWrite(uint64_t, std::span<const std::byte>,
                                                            std::span<const std::byte>) {
  co_return base::Code::kUnsupported;
}

base::Task<base::Status> MemoryBytesDevice::MapStatus(uint64_t, uint64_t,
                                                      std::vector<base::MapRun>&) {
  co_return base::Code::kUnsupported;
}

base::Task<base::Status> MemoryBytesDevice::Close() {
  co_return base::Ok();
}

MemoryDirectoryFile::MemoryDirectoryFile(base::Executor& executor,
                                         std::span<const std::byte> content,
                                         uint64_t piece_count_max)
    : piece_count_(content.size() / kMetadataBlockBytes),
      piece_count_max_(piece_count_max),
      device_(2 * std::max(piece_count_, piece_count_max) * kMetadataBlockBytes),
      cache_(executor, device_, /*idle_blocks_max=*/0),
      place_bytes_(device_.size_bytes() / 2) {
  const size_t size = piece_count_ * kMetadataBlockBytes;
  if (size > 0) std::memcpy(device_.bytes().data(), content.data(), size);
}

base::Task<base::Result<BlockRef>> MemoryDirectoryFile::Piece(uint64_t piece_index) {
  if (piece_index >= piece_count_) co_return base::Code::kOutOfRange;
  ++read_count_;
  if (reads_until_failure_ != UINT64_MAX && reads_until_failure_-- == 0) {
    reads_until_failure_ = 0;
    co_return base::Error(base::Code::kIo, "read piece: made to fail");
  }
  CO_TRY(const BlockRef block, co_await cache_.Get(AddressOf(piece_index)));
  co_return block;
}

std::span<std::byte, kMetadataBlockBytes> MemoryDirectoryFile::Modify(Transaction&,
                                                                      MetadataBlock& piece) {
  CHECK(piece.address() >= base_address_ && piece.address() < AddressOf(piece_count_));
  dirty_.try_emplace(piece.address(), &piece);
  modified_.insert(piece.address());
  // The journal hands out the bytes in production; here the file is its own journal.
  auto* const bytes = const_cast<std::byte*>(piece.bytes().data());
  return std::span<std::byte, kMetadataBlockBytes>(bytes, kMetadataBlockBytes);
}

base::Task<base::Status> MemoryDirectoryFile::PrepareToExtend(uint64_t piece_count) {
  if (piece_count_ + piece_count > piece_count_max_) {
    co_return base::Error(base::Code::kNoSpace, "extend: the volume is full");
  }
  prepared_count_ = piece_count;
  if (moves_when_growing_) {
    CHECK(dirty_.empty());
    const uint64_t target = base_address_ == 0 ? place_bytes_ : 0;
    std::memcpy(&device_.bytes()[target], &device_.bytes()[base_address_], place_bytes_);
    std::memset(&device_.bytes()[base_address_], 0xEE, place_bytes_);
    base_address_ = target;
  }
  co_return base::Ok();
}

void MemoryDirectoryFile::Extend(Transaction&, uint64_t piece_count) {
  CHECK(piece_count <= prepared_count_);
  prepared_count_ -= piece_count;
  for (uint64_t i = 0; i < piece_count; ++i) {
    const uint64_t address = AddressOf(piece_count_++);
    dirty_.try_emplace(address, cache_.Fresh(address));
  }
}

BlockRef MemoryDirectoryFile::LoadedPiece(uint64_t piece_index) {
  CHECK(piece_index < piece_count_);
  const BlockRef block = cache_.Peek(AddressOf(piece_index));
  CHECK(block);
  return block;
}

std::span<std::byte> MemoryDirectoryFile::bytes() {
  CHECK(dirty_.empty());
  return device_.bytes().subspan(base_address_, size_bytes());
}

size_t MemoryDirectoryFile::EndOperation() {
  for (const auto& [address, block] : dirty_) {
    std::memcpy(&device_.bytes()[address], block->bytes().data(), kMetadataBlockBytes);
  }
  dirty_.clear();
  CHECK(cache_.block_count() == 0);
  prepared_count_ = 0;
  const size_t modified_count = modified_.size();
  modified_.clear();
  return modified_count;
}

}  // namespace vmfs
