// Reads a VMFS-5 volume: descriptors, block maps, the bytes of files, counts of free space.
//
// Nothing is written and no lock is taken: while a host has the volume mounted, what is read may be
// older than what it sees. Every value from the disk is checked where it is used. Thread rule: the
// device's executor. Place: above the logical volume; under the mounted volume and `volume info`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/vmfs5/block_cache.h"
#include "vmfs/vmfs5/format.h"

namespace vmfs::vmfs5 {

// Whether the superblock of `device` (addressed by volume offset) says VMFS-5. Errors: those of the
// device; a superblock that cannot be one is not VMFS-5.
base::Task<base::Result<bool>> IsVmfs5(base::BlockDevice& device);

// Where a byte of a file lies, and how many bytes behind it lie the same way.
struct Run {
  base::MapState state = base::MapState::kHole;
  uint64_t address = 0;  // volume address; kData only
  uint64_t length_bytes = 0;
};

// A resource file: its descriptor and the shape of what is in it.
struct ResourceFile {
  Descriptor descriptor;
  Geometry geometry;
};

class Reader {
 public:
  // Reads what every other call needs. `device` (addressed by volume offset) outlives the reader.
  // Errors: kNotRecognized, kVersionUnsupported, kCorrupt, those of the device.
  static base::Task<base::Result<std::unique_ptr<Reader>>> Open(base::BlockDevice& device,
                                                                size_t cache_blocks_max);

  const Superblock& superblock() const { return superblock_; }
  const ResourceFile& file_blocks() const { return file_blocks_; }
  const ResourceFile& descriptors() const { return descriptors_; }
  const ResourceFile& sub_blocks() const { return sub_blocks_; }
  const ResourceFile& pointer_blocks() const { return pointer_blocks_; }
  const ResourceFile& pb2_blocks() const { return pb2_blocks_; }
  size_t cached_block_count() const { return cache_.block_count(); }

  // Errors: kNotFound (no address of a descriptor, or there is none), kStale (deleted), kCorrupt,
  // those of the device.
  base::Task<base::Result<Descriptor>> ReadDescriptor(FdAddress fd);

  // Where byte `offset_bytes` lies. Not for inline files. Errors: kCorrupt, those of the device.
  base::Task<base::Result<Run>> FindRun(const Descriptor* descriptor, uint64_t offset_bytes);

  // Reads up to the end of the file; answers the number of bytes read. Errors: as FindRun.
  base::Task<base::Result<uint64_t>> ReadFile(const Descriptor* descriptor,
                                              base::IoRequest request);

  // Reads one range of a file into plain memory, all of it. Errors: as FindRun; kCorrupt where the
  // file is shorter.
  base::Task<base::Status> ReadExactly(const Descriptor* descriptor, uint64_t offset_bytes,
                                       std::span<std::byte> target);

  // Free items of a resource file, by its clusters' headers. Errors: as FindRun.
  base::Task<base::Result<uint64_t>> CountFreeItems(const ResourceFile* file);

  // The heartbeats in use. Slots that are not readable as heartbeats count as free.
  base::Task<base::Result<std::vector<HeartbeatSlot>>> ReadHeartbeats();

 private:
  Reader(base::BlockDevice& device, size_t cache_blocks_max)
      : device_(device), cache_(device, cache_blocks_max) {}

  base::Task<base::Status> Load();
  base::Task<base::Status> LoadDescriptorFile();
  base::Task<base::Status> LoadResource(ResourceFile& file, FdAddress fd, uint32_t item_bytes,
                                        bool may_use_pointer_blocks);
  base::Task<base::Result<Descriptor>> ReadDescriptorAt(uint64_t address, FdAddress fd);
  base::Task<base::Result<uint64_t>> FileAddress(const Descriptor* file, uint64_t offset_bytes);
  base::Task<base::Result<uint64_t>> Resolve(Address5 address, AddressKind expected);
  base::Task<base::Result<Address5>> ReadPointer(Address5 block, AddressKind kind, uint64_t index);
  base::Task<base::Status> ReadBytes(uint64_t address, std::span<const base::IoVec> pieces);

  base::BlockDevice& device_;
  BlockCache cache_;
  Superblock superblock_;
  UnitSizes sizes_;
  ResourceFile descriptors_, pb2_blocks_, pointer_blocks_, sub_blocks_, file_blocks_;
};

}  // namespace vmfs::vmfs5
