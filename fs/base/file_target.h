// Opening a file or block node and finding out what it can do. A part of `FileDevice`.
//
// Any thread; blocks shortly.
#pragma once

#include <cstdint>
#include <string>

#include "fs/base/block_device.h"
#include "fs/base/file_backing.h"
#include "fs/base/file_device.h"

namespace base {

// An open target. Whoever holds it closes the descriptor.
struct FileTarget {
  int descriptor = -1;
  uint64_t size_bytes = 0;  // whole blocks
  FileBacking backing;
  Limits limits;  // with the true alignment of memory and offsets
  bool is_direct = false;
};

// Errors: see `OpenFileDevice`. Leaves no descriptor open on failure, and no file it created.
Result<FileTarget> OpenFileTarget(const std::string& path, const FileDeviceOptions& options);

}  // namespace base
