// `SystemFile`: where the bytes of a resource file (`.fdc.sf` …) lie on the volume.
//
// Its block map is small and kept whole in memory: one number per MiB. Thread rule: the volume's
// executor. Place: above the metadata cache, below the allocator.
#pragma once

#include <cstdint>
#include <vector>

#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/format/address.h"
#include "vmfs/format/inode.h"
#include "vmfs/format/resource.h"
#include "vmfs/journal/metadata_cache.h"

namespace vmfs {

class SystemFile {
 public:
  // Reads the descriptor at `inode_address` (volume address of its metadata block) and its block
  // map. `pb2` resolves pointer blocks of maps that go through `.pb2.sf`; null where there can be
  // none. Errors: kCorrupt, those of the device.
  static base::Task<base::Result<SystemFile>> Load(MetadataCache& cache, FdAddress fd,
                                                   uint64_t inode_address, const SystemFile* pb2,
                                                   const ResourceGeometry* pb2_geometry);

  // Volume address of byte `file_offset`. Errors: kCorrupt behind the end or in a hole: system
  // files have none.
  base::Result<uint64_t> AddressOf(uint64_t file_offset) const;

  // How many bytes from `file_offset` on lie adjacent on the volume, up to `bytes_max`.
  uint64_t AdjacentBytes(uint64_t file_offset, uint64_t bytes_max) const;

  FdAddress fd() const { return fd_; }

  uint64_t inode_address() const { return inode_address_; }

  uint64_t length_bytes() const { return length_bytes_; }

  uint64_t block_count() const { return blocks_.size(); }

  // After the file has grown on disk.
  void AppendBlock(uint64_t volume_block) { blocks_.push_back(volume_block); }

  void SetLength(uint64_t length_bytes) { length_bytes_ = length_bytes; }

 private:
  base::Task<base::Status> LoadPointers(MetadataCache& cache, MetadataBlock& inode,
                                        const SystemFile* pb2,
                                        const ResourceGeometry* pb2_geometry);
  base::Status AddPointer(Address address);

  FdAddress fd_;
  uint64_t inode_address_ = 0;
  uint64_t length_bytes_ = 0;
  std::vector<uint64_t> blocks_;  // volume block of each MiB of the file
};

}  // namespace vmfs
