// `MemoryDirectoryFile`: a directory file in memory, for tests of the directory code.
//
// Strict where the volume is: a piece may be touched without waiting only while somebody holds it,
// growth must have been prepared, preparing growth may move the whole file, and any read can be
// made to fail. What an operation modified becomes part of the file at `EndOperation`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "fs/base/block_device.h"
#include "fs/base/executor.h"
#include "vmfs/directory/block_file.h"

namespace vmfs {

// A fixed range of bytes that only reads: all the metadata cache asks for.
class MemoryBytesDevice : public base::BlockDevice {
 public:
  explicit MemoryBytesDevice(size_t size_bytes) : bytes_(size_bytes) {}

  std::span<std::byte> bytes() { return bytes_; }

  const base::Limits& limits() const override { return limits_; }

  uint64_t size_bytes() const override { return bytes_.size(); }

  const std::string& name() const override { return name_; }

  base::Task<base::Status> Read(base::IoRequest request) override;
  base::Task<base::Status> Write(base::IoRequest request) override;
  base::Task<base::Status> Flush() override;
  base::Task<base::Status> Unmap(uint64_t offset_bytes, uint64_t length_bytes) override;
  base::Task<base::Status> WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes,
                                       bool may_unmap) override;
  base::Task<base::Status> CompareAndWrite(uint64_t offset_bytes,
                                           std::span<const std::byte> expected,
                                           std::span<const std::byte> replacement) override;
  base::Task<base::Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                     std::vector<base::MapRun>& runs) override;
  base::Task<base::Status> Close() override;

 private:
  base::Limits limits_;
  std::string name_ = "memory";
  std::vector<std::byte> bytes_;
};

class MemoryDirectoryFile : public BlockFile {
 public:
  // `content` is the file's first content; it can grow to `piece_count_max` pieces.
  MemoryDirectoryFile(base::Executor& executor, std::span<const std::byte> content,
                      uint64_t piece_count_max);

  uint64_t size_bytes() const override { return piece_count_ * kMetadataBlockBytes; }

  base::Task<base::Result<BlockRef>> Piece(uint64_t piece_index) override;
  std::span<std::byte, kMetadataBlockBytes> Modify(Transaction& transaction,
                                                   MetadataBlock& piece) override;
  base::Task<base::Status> PrepareToExtend(uint64_t piece_count) override;
  void Extend(Transaction& transaction, uint64_t piece_count) override;
  BlockRef LoadedPiece(uint64_t piece_index) override;

  // The file's bytes, for looking at and for damaging them between operations.
  std::span<std::byte> bytes();

  // Takes over what was modified; answers how many pieces of those that existed before, or were
  // added and not only zero, that was. Nothing may be held any more.
  size_t EndOperation();

  // The read after the next `count` fails with kIo.
  void FailReadAfter(uint64_t count) { reads_until_failure_ = count; }

  void StopFailing() { reads_until_failure_ = UINT64_MAX; }

  // Every preparation of growth moves the file to another place.
  void set_moves_when_growing(bool moves) { moves_when_growing_ = moves; }

  void set_piece_count_max(uint64_t count) { piece_count_max_ = count; }

  size_t read_count() const { return read_count_; }

 private:
  uint64_t AddressOf(uint64_t piece_index) const {
    return base_address_ + piece_index * kMetadataBlockBytes;
  }

  uint64_t piece_count_;
  uint64_t piece_count_max_;
  MemoryBytesDevice device_;  // two places of the largest size
  MetadataCache cache_;
  const uint64_t place_bytes_;
  uint64_t base_address_ = 0;
  uint64_t prepared_count_ = 0;
  uint64_t reads_until_failure_ = UINT64_MAX;
  size_t read_count_ = 0;
  bool moves_when_growing_ = false;
  std::map<uint64_t, BlockRef> dirty_;  // by address
  std::set<uint64_t> modified_;         // addresses passed to Modify
};

}  // namespace vmfs
