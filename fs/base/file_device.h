// `FileDevice`: a regular file or block node of this machine as a block device, on io_uring.
//
// Direct I/O where the target allows it, in which case misaligned memory costs a copy. A file's
// blocks are 512 bytes; bytes behind its last whole block are not part of the device.
//
// CompareAndWrite holds an exclusive lock of the open file description (fcntl(2), F_OFD_SETLK) on
// the first byte of the 4 KiB page while it reads, compares and writes. It is atomic between all
// processes of one machine that open the same file or the same node. It is not atomic between
// machines, nor between a file and a loop device over it: who needs that refuses such backing
// (`file_backing.h`).
//
// Thread rule: as `BlockDevice`. Place in the stack: the lowest production device, under the
// loopback adapter and the file object backend.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "fs/base/block_device.h"
#include "fs/base/file_backing.h"
#include "fs/base/uring_executor.h"

namespace base {

class FileDevice : public BlockDevice {
 public:
  // Tries to lock one byte of the file exclusively (a device opened for reading: against exclusive
  // locks of others), on the same open file description that carries the I/O: after its process is
  // killed, the lock is not free before its last write has landed. Never waits; the byte itself is
  // not touched and may lie behind the end. Answers whether the lock is held now. The first bytes
  // of 4 KiB pages belong to CompareAndWrite: kInvalidArgument. Other errors: of fcntl(2). Locks
  // end with the device. Opens in one process exclude each other.
  virtual Result<bool> TryLockByte(uint64_t offset_bytes) = 0;

  // Gives the byte back. Errors: kInvalidArgument as above, others of fcntl(2).
  virtual Status UnlockByte(uint64_t offset_bytes) = 0;

  // Makes a regular file larger; the new part is a hole. Does nothing when it is that large.
  // Errors: kUnsupported (block node), kMisaligned, kReadOnly, kNoSpace, kTooLarge.
  virtual Task<Status> GrowTo(uint64_t size_bytes) = 0;

  virtual const FileBacking& backing() const = 0;

  // Whether transfers go past the page cache.
  virtual bool is_direct() const = 0;
};

struct FileDeviceOptions {
  enum class Direct : uint8_t { kAuto, kNever };

  bool read_only = false;
  Direct direct = Direct::kAuto;
  // Creates a regular file of this size, which must not exist yet (kExists).
  std::optional<uint64_t> create_size_bytes;
  // Whether CompareAndWrite waits for the medium. Off only for measurements and tests.
  bool compare_and_write_durable = true;
};

// Opens `path`; blocks shortly. Errors: kNotFound, kPermission, kExists, kReadOnly,
// kInvalidArgument (neither file nor block node), kMisaligned (create size), others of errno.
Result<std::unique_ptr<FileDevice>> OpenFileDevice(UringExecutor& executor, const std::string& path,
                                                   const FileDeviceOptions& options);

}  // namespace base
