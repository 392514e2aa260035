// `Extent`: one contiguous piece of a link's address space. Here: flat files and ZERO.
//
// Calls take offsets from the extent's own start and any byte granularity; the range lies within
// the extent (the link sees to that). Reads and writes answer the bytes moved, as `fss::File` does,
// so that a flat extent hands out the task of its file and adds nothing. Place in the stack: Lib >
// Chain > Link > Extent; sparse kinds implement the same interface. Thread rule: the executor of
// the file system below.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "disklib/object_backend.h"
#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "fs/fds/grain_map.h"

namespace disklib {

// Where a flat extent's bytes are, for callers that go straight to the file.
struct FlatRange {
  Object* object = nullptr;  // null: the range is not one piece of a file
  uint64_t offset_bytes = 0;
  bool can_write = false;
};

class Extent {
 public:
  virtual ~Extent() = default;

  virtual uint64_t size_bytes() const = 0;

  // The extent is longer now; its file was grown before. Never shrinks.
  virtual void GrowTo(uint64_t size_bytes) = 0;

  // The whole extent as a piece of a file.
  virtual FlatRange flat_range() const { return {}; }

  // Whether it has no file and reads as zeros throughout.
  virtual bool is_zero() const { return false; }

  // What a sparse extent holds; null: the extent holds all of its range itself.
  virtual fds::GrainMap* grain_map() { return nullptr; }

  // The file in which the map's runs of data lie, for whoever reads them without asking; null when
  // they have to be read through the extent.
  virtual Object* grain_object() { return nullptr; }

  // A sparse extent's Read answers zeros for what it does not hold. Its Write takes any range
  // inside grains that hold data, and elsewhere whole grains (or up to the extent's end): it
  // allocates them, stores the bytes and shows them in the map at once; they last from the next
  // Sync. The caller sees to it that a grain is not written twice at a time before it holds data.
  // Errors: kIo and its kin, kNotPermitted (NOACCESS), kReadOnly (RDONLY, ZERO, opened to read),
  // kNoSpace, kCorrupt (a table that cannot be).
  virtual base::Task<base::Result<uint64_t>> Read(base::IoRequest request) = 0;
  virtual base::Task<base::Result<uint64_t>> Write(base::IoRequest request) = 0;

  // Makes a range read as zeros; with `may_unmap`, gives its space back where the disk is thin. Of
  // sparse extents the caller has no read or write of these grains in flight, its own ones to
  // `grain_object` included, and keeps no place that the map named before: another grain may soon
  // lie there. The same holds for Release.
  // Sparse extents: whole grains, or up to the end; without a zero state they store zeros.
  virtual base::Task<base::Status> WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes,
                                               bool may_unmap) = 0;

  // Forgets whole grains of a sparse extent: they read from below again, and their space goes back.
  // Error kUnsupported: not a sparse extent, or one that is written once.
  virtual base::Task<base::Status> Release(uint64_t offset_bytes, uint64_t length_bytes);

  // Where data or a hole is next, from `offset_bytes`; the extent's size when there is none.
  virtual base::Task<base::Result<uint64_t>> Seek(fss::SeekKind kind, uint64_t offset_bytes) = 0;

  // Appends the states of a range, offsets from the extent's start.
  virtual base::Task<base::Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                             std::vector<base::MapRun>& runs) = 0;

  virtual base::Task<base::Status> Sync() = 0;
  virtual base::Task<base::Status> Close() = 0;
};

struct FlatExtentOptions {
  uint64_t offset_bytes = 0;  // of the extent's start in the file
  uint64_t size_bytes = 0;
  bool can_write = true;
  bool can_read = true;  // false for NOACCESS
  bool is_thin = false;  // unmapped space goes back to the file system
};

// A flat extent over an open file, which is at least offset + size long.
std::unique_ptr<Extent> MakeFlatExtent(std::unique_ptr<Object> object, FlatExtentOptions options);

// An extent without a file: reads zeros, refuses writes.
std::unique_ptr<Extent> MakeZeroExtent(uint64_t size_bytes);

// Makes a range of a file read as zeros without a hole, by the file system where it can, else by
// writing. The range lies within the file.
base::Task<base::Status> ZeroRange(Object& object, uint64_t offset_bytes, uint64_t length_bytes);

// Writes zeros over a range, whatever the file system could do instead; grows the file.
base::Task<base::Status> OverwriteWithZeroes(Object& object, uint64_t offset_bytes,
                                             uint64_t length_bytes);

}  // namespace disklib
