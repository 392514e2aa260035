// Ways from one host file into another: shared blocks, past the page cache, or in the kernel.
//
// Where the host's file system shares blocks, a copy takes no time. On a disk, many large transfers
// past the page cache are in flight at once: the target's pages never pile up as dirty memory, for
// which the kernel would hold the writer back and which a sync would have to wait for. Everywhere
// else (memory, network) the kernel copies best. Place in the stack: under `PosixFile::CopyFrom`
// only. Thread rule: the plain functions may block and run on any thread; the rest belongs to the
// executor of the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "fs/base/result.h"
#include "fs/base/task.h"
#include "fs/base/uring_executor.h"

namespace fss {
namespace posix {

// Both descriptors are open for I/O.
struct CopiedRange {
  int source = -1;
  uint64_t source_offset_bytes = 0;
  int target = -1;
  uint64_t target_offset_bytes = 0;
  uint64_t length_bytes = 0;
};

// Makes both files share the range's blocks until one is written (ioctl_ficlonerange(2)); false
// where the host cannot.
bool ShareRange(const CopiedRange& range);

// copy_file_range(2) until all is copied or the source ends; answers the bytes copied. Error
// kUnsupported: the kernel does not do it between these two.
base::Result<uint64_t> CopyRange(const CopiedRange& range);

// Whether all of the range is in the page cache (mincore(2)). Of files that others own the kernel
// does not tell, and says yes.
bool IsCached(int descriptor, uint64_t offset_bytes, uint64_t length_bytes);

}  // namespace posix

// Memory for transfers of 1 MiB, in huge pages: a disk gets a few long segments then instead of
// hundreds of short ones, which halves the time of a copy on a virtual disk.
class CopyBuffers {
 public:
  static constexpr uint64_t kPieceBytes = uint64_t{1} << 20;

  // A piece nobody else has. Its bytes are undefined.
  std::byte* Take();

  void GiveBack(std::byte* piece) { free_.push_back(piece); }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };

  std::vector<std::unique_ptr<std::byte, Free>> pages_;
  std::vector<std::byte*> free_;
};

// A file's second descriptor, whose transfers go past the page cache, and memory for them.
class PastCache {
 public:
  PastCache() = default;
  PastCache(const PastCache&) = delete;
  PastCache& operator=(const PastCache&) = delete;

  ~PastCache() { Close(); }

  // Opens the file that `descriptor` names once more, at the first call. False for what is no
  // regular file of a file system on a block device, or cannot do it.
  bool Open(int descriptor, bool writable);

  int descriptor() const { return descriptor_; }

  // The host refused a transfer: Open answers false from now on.
  void Refuse() { is_refused_ = true; }

  CopyBuffers& buffers() { return buffers_; }

  // No transfer is in flight.
  void Close();

 private:
  int descriptor_ = -1;
  bool is_refused_ = false;
  CopyBuffers buffers_;
};

// Copies the range through memory: from the page cache where it lies there, else past it; into the
// target always past it. False: nothing, or a part, was copied, and another way must be taken,
// which then meets the error if there is one.
base::Task<bool> CopyPastCache(base::UringExecutor& executor, posix::CopiedRange range,
                               PastCache& source, PastCache& target);

}  // namespace fss
