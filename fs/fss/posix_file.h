// An open file of the posix driver: data through the executor's ring, the rest on its helper.
//
// Thread rule: the executor's thread. Place in the stack: made by `PosixFileSystem::Open`.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "fs/base/uring_executor.h"
#include "fs/fss/disk_locks.h"
#include "fs/fss/file_system.h"
#include "fs/fss/posix_copy.h"

namespace fss {

class PosixFile final : public File {
 public:
  // Takes over `descriptor`, opened for I/O.
  PosixFile(base::UringExecutor& executor, InodeNumber inode, int descriptor)
      : executor_(executor), inode_(inode), descriptor_(descriptor) {}

  ~PosixFile() override;

  // Holds the lock of a disk as long as the file is open.
  void Keep(DiskLocks::Hold lock) { lock_.emplace(std::move(lock)); }

  InodeNumber inode() const override { return inode_; }

  uint64_t size_bytes() const override;
  base::Task<base::Result<uint64_t>> Read(base::IoRequest request) override;
  base::Task<base::Result<uint64_t>> Write(base::IoRequest request) override;
  base::Task<base::Status> Sync(bool data_only) override;
  base::Task<base::Status> Allocate(AllocateMode mode, uint64_t offset_bytes,
                                    uint64_t length_bytes) override;
  base::Task<base::Result<uint64_t>> Seek(SeekKind kind, uint64_t offset_bytes) override;
  base::Task<base::Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                     std::vector<base::MapRun>& runs) override;
  base::Task<base::Result<uint64_t>> CopyFrom(File& source, uint64_t source_offset_bytes,
                                              uint64_t offset_bytes,
                                              uint64_t length_bytes) override;
  base::Task<base::Status> Close() override;

 private:
  enum class Direction : uint8_t { kRead, kWrite };
  base::Task<base::Result<uint64_t>> Transfer(base::IoRequest request, Direction direction);

  base::UringExecutor& executor_;
  const InodeNumber inode_;
  int descriptor_;
  std::optional<DiskLocks::Hold> lock_;
  PastCache past_cache_;
  bool shares_blocks_ = true;  // until the host has refused it
};

}  // namespace fss
