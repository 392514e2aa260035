// `RawVolume`: a VMFS-6 volume read straight from its device with the pure decoders.
//
// For what must not trust or disturb the mounted volume's own code: the checker, `volume info` and
// `dump`. Reads only. An overlay of 4 KiB blocks stands over the device, so that a valid journal
// can be seen as if it had been replayed. Thread rule: the device's executor.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <unordered_set>
#include <vector>

#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/format/inode.h"
#include "vmfs/format/metadata_block.h"
#include "vmfs/format/resource.h"
#include "vmfs/format/superblock.h"

namespace vmfs {

// A system file as it lies on the volume.
struct SystemFileMap {
  InodeMetadata inode;
  std::vector<Address> blocks;  // by 1 MiB block of the file
};

// Receives a descriptor's block map in order of file offset.
class MapVisitor {
 public:
  virtual ~MapVisitor() = default;
  // A slot of the descriptor, whatever it holds.
  virtual void Slot(uint32_t slot, Address address) { (void)slot, (void)address; }
  // A pointer block before its contents. `level` 1: holds addresses of data. Returns whether to
  // read it: no when its address is impossible.
  virtual bool PointerBlock(Address address, uint32_t level) = 0;
  // A unit of data that is not a hole: `index` counts units of the descriptor's block size.
  virtual void Data(uint64_t index, Address address) = 0;
  // Whether nothing from unit `index` on is of interest: the walk ends.
  virtual bool IsDone(uint64_t index) {
    (void)index;
    return false;
  }
};

class RawVolume {
 public:
  // Reads superblock and mark. `volume` is addressed by volume offset and outlives the object.
  // Errors: as DecodeSuperblock; kVersionUnsupported for VMFS-5; those of Read.
  static base::Task<base::Result<std::unique_ptr<RawVolume>>> Open(base::BlockDevice& volume);
  RawVolume(const RawVolume&) = delete;
  RawVolume& operator=(const RawVolume&) = delete;

  const Superblock& superblock() const { return superblock_; }
  // Our mark, or why there is none (kNotRecognized: a foreign volume).
  const base::Result<StrataMark>& mark() const { return mark_; }
  bool is_ours() const {
    return mark_.has_value() || mark_.error().code() != base::Code::kNotRecognized;
  }
  base::BlockDevice& device() { return device_; }
  uint64_t size_bytes() const { return device_.size_bytes(); }
  uint64_t block_count() const { return device_.size_bytes() / kFileBlockBytes; }

  // Reads whole metadata blocks through the overlay; any length, split as the device wants it.
  // Errors: kOutOfRange, and those of Read.
  base::Task<base::Status> Read(uint64_t volume_address, std::span<std::byte> target);

  // Puts an image over the block at `volume_address`.
  void Overlay(uint64_t volume_address, ConstMetadataSpan image);
  size_t overlay_count() const { return overlay_.size(); }
  const std::map<uint64_t, std::unique_ptr<MetadataBytes>>& overlay() const { return overlay_; }

  // Reads the system files' descriptors, maps and headers. Again after the overlay has changed.
  // Errors: kCorrupt naming the structure, and those of Read.
  base::Task<base::Status> LoadSystemFiles();

  // After LoadSystemFiles(). `fd` is a system file.
  const SystemFileMap& system_file(FdAddress fd) const { return system_files_[fd.item()]; }
  const ResourceGeometry& geometry(ResourceKind kind) const {
    return geometries_[static_cast<size_t>(kind)];
  }

  // Volume address of a byte of a system file. Errors: kCorrupt (a hole or behind the map's end).
  base::Result<uint64_t> AddressInFile(FdAddress system_file, uint64_t file_offset) const;
  // Volume address of a cluster's lock block, of a resource, of a descriptor's lock block.
  base::Result<uint64_t> ClusterAddress(ResourceKind kind, uint64_t cluster) const;
  base::Result<uint64_t> ItemAddress(ResourceKind kind, ResourceIndex index) const;
  base::Result<uint64_t> InodeAddress(FdAddress fd) const {
    return ItemAddress(ResourceKind::kFd, {fd.cluster(), fd.item()});
  }
  // Where the data of an address lies. Errors: kCorrupt (no such resource on this volume).
  base::Result<uint64_t> DataAddress(Address address) const;

  // Reads a descriptor's metadata block without judging it. Errors: kCorrupt, those of Read.
  base::Task<base::Status> ReadInodeBlock(FdAddress fd, MetadataBytes& block);

  // Shows the block map of a decoded descriptor. A pointer block that the map names again is shown,
  // but not read again: a damaged map may lead in circles. Errors: those of Read; impossible
  // addresses are the visitor's matter.
  base::Task<base::Status> WalkMap(const InodeMetadata* inode, const MetadataBytes* block,
                                   MapVisitor& visitor);

  // Reads the begin of a file, at most `bytes_max`; holes and TBZ blocks as zeros.
  // Errors: kCorrupt (impossible address), those of Read.
  base::Task<base::Result<std::vector<std::byte>>> ReadFile(const InodeMetadata* inode,
                                                            const MetadataBytes* block,
                                                            uint64_t bytes_max);

 private:
  explicit RawVolume(base::BlockDevice& device)
      : device_(device), mark_(base::Code::kNotRecognized) {}
  base::Task<base::Status> LoadSystemFile(FdAddress fd, uint64_t metadata_address);
  base::Task<base::Status> LoadHeader(ResourceKind kind, uint64_t header_offset);
  // Where a walk is, and which pointer blocks it has read.
  struct Walk {
    MapVisitor& visitor;
    uint64_t index = 0;
    std::unordered_set<uint64_t> pointer_blocks = {};
  };
  base::Task<base::Status> WalkPointers(Address address, uint32_t level, Walk& walk);

  base::BlockDevice& device_;
  Superblock superblock_;
  base::Result<StrataMark> mark_;
  std::map<uint64_t, std::unique_ptr<MetadataBytes>> overlay_;
  std::array<SystemFileMap, kSystemFdCount> system_files_;
  std::array<ResourceGeometry, 7> geometries_;
};

}  // namespace vmfs
