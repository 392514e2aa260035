// A `base::BlockDevice` as a file to read: what `devices/disks` shows.
//
// Read-only: a volume stands on it, and bytes written behind its back would destroy it. Any offset
// and length; partial blocks go through a bounce buffer. Thread rule: the device's executor. Place
// in the stack: fills devfs.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "fs/base/block_device.h"
#include "fs/fss/devfs.h"
#include "fs/fss/file_system.h"

namespace stratad {

class BlockDeviceNode final : public fss::DeviceNode {
 public:
  // `device` outlives the node and every file opened on it.
  explicit BlockDeviceNode(base::BlockDevice& device) : device_(device) {}

  uint64_t size_bytes() const override { return device_.size_bytes(); }

  bool read_only() const override { return true; }

  base::Task<base::Result<std::unique_ptr<fss::File>>> Open(fss::InodeNumber inode,
                                                            fss::OpenMode mode) override;

 private:
  base::BlockDevice& device_;
};

class BlockDeviceFile final : public fss::File {
 public:
  BlockDeviceFile(base::BlockDevice& device, fss::InodeNumber inode)
      : device_(device), inode_(inode) {}

  fss::InodeNumber inode() const override { return inode_; }

  uint64_t size_bytes() const override { return device_.size_bytes(); }

  base::Task<base::Result<uint64_t>> Read(base::IoRequest request) override;
  base::Task<base::Result<uint64_t>> Write(base::IoRequest request) override;
  base::Task<base::Status> Sync(bool data_only) override;
  base::Task<base::Status> Allocate(fss::AllocateMode mode, uint64_t offset_bytes,
                                    uint64_t length_bytes) override;
  base::Task<base::Result<uint64_t>> Seek(fss::SeekKind kind, uint64_t offset_bytes) override;
  base::Task<base::Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                     std::vector<base::MapRun>& runs) override;
  base::Task<base::Status> Close() override;

 private:
  base::BlockDevice& device_;
  const fss::InodeNumber inode_;
};

}  // namespace stratad
