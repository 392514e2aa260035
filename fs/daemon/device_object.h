// `DeviceObject`: a whole block device as an object of disklib, to read and to write.
//
// Any offset and length: what is no whole sector is read, changed and written back, one writer at a
// time on each sector. It has its space and never grows. Thread rule: the executor of the device.
// Place in the stack: what `HostDevices` opens; under the flat extents of raw device maps.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "disklib/buffers.h"
#include "fs/base/block_device.h"
#include "fs/base/executor.h"
#include "fs/base/range_lock.h"
#include "fs/fss/file_system.h"

namespace stratad {

class DeviceObject final : public fss::File {
 public:
  // `device` has sectors of 512 bytes (`base::AlignFilter`). `hold`, a descriptor or -1, is closed
  // with the object: it keeps others from the device.
  DeviceObject(base::Executor& executor, std::unique_ptr<base::BlockDevice> device, int hold);
  ~DeviceObject() override;

  // Devices have no number among the files of a datastore.
  fss::InodeNumber inode() const override { return 0; }

  uint64_t size_bytes() const override { return device_->size_bytes(); }

  base::Task<base::Result<uint64_t>> Read(base::IoRequest request) override;

  // Errors beside those of the device: kTooLarge, behind its end.
  base::Task<base::Result<uint64_t>> Write(base::IoRequest request) override;
  base::Task<base::Status> Sync(bool data_only) override;
  base::Task<base::Status> Allocate(fss::AllocateMode mode, uint64_t offset_bytes,
                                    uint64_t length_bytes) override;
  base::Task<base::Result<uint64_t>> Seek(fss::SeekKind kind, uint64_t offset_bytes) override;
  base::Task<base::Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                     std::vector<base::MapRun>& runs) override;
  base::Task<base::Status> Close() override;

 private:
  // Memory for one part of a transfer, and the whole sectors it stands for.
  struct Window;

  bool Suits(const base::IoRequest& request) const;
  base::Task<base::Status> ReadWindow(Window& window);
  base::Task<base::Status> WriteInWindows(base::IoRequest request);
  base::Task<base::Status> WriteWindow(Window& window, disklib::BufferCursor& source, bool fua);

  std::unique_ptr<base::BlockDevice> device_;
  base::RangeLock writers_;
  int hold_;
};

}  // namespace stratad
