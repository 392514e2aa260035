// Sparse extents: hosted sparse, vmfsSparse and seSparse, read and written through one interface.
//
// Makes, opens and grows the files. A sparse extent is an `Extent` with a `GrainMap`; the chain
// above looks up the map, reads data straight from the file and calls Write only with whole grains
// where nothing was allocated (`Extent::Write`). Order on the disk: data first, tables after a
// barrier, so that a cut leaves every grain as it was or as it was written, and at worst space that
// nobody refers to (disklib/FORMAT.md, "Sparse extents"). Place: Lib > Chain > Link > Extent.
// Thread rule: the executor of the file below.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "disklib/extent.h"
#include "disklib/object_backend.h"
#include "fs/base/executor.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

enum class SparseKind : uint8_t { kHosted, kVmfsSparse, kSeSparse };

struct NewSparseExtent {
  SparseKind kind = SparseKind::kSeSparse;
  uint64_t size_bytes = 0;       // capacity, whole sectors
  uint64_t grain_bytes = 0;      // 0: the kind's default (4 KiB; hosted 64 KiB)
  bool all_tables = false;       // vmfsSparse: every grain table is made now
  std::string_view descriptor = {};  // hosted: text to embed at sector 1; empty: none
};

// Makes an empty object a valid extent without grains, durable when answered. Errors: kTooLarge
// (2,032 GiB for hosted sparse and vmfsSparse: the message offers seSparse; 62 TiB), kNoSpace,
// kInvalidArgument (a grain size the kind does not have), kIo.
base::Task<base::Status> FormatSparseExtent(Object& object, NewSparseExtent what);

struct SparseOpen {
  SparseKind kind = SparseKind::kSeSparse;
  uint64_t size_bytes = 0;  // what the descriptor's line says
  bool can_write = false;
  std::string_view path = {};  // for messages
};

// Opens an extent and takes the object over; when it fails, the object is closed. Every count is
// bounded before memory is taken. Errors: kNotRecognized (other magic), kVersionUnsupported,
// kCorrupt naming the field, kUnsupported (seSparse with a journal to replay, Workstation 3's
// COWD, a hosted version 3 for writing), kIo.
base::Task<base::Result<std::unique_ptr<Extent>>> OpenSparseExtent(base::Executor& executor,
                                                                   std::unique_ptr<Object> object,
                                                                   SparseOpen options);

// Makes a closed extent's address space larger; what is added is unallocated. Safe to cut: the
// extent is as before or grown. The same size succeeds. Errors: kTooLarge as in Format, kCorrupt,
// kNoSpace, kIo.
base::Task<base::Status> GrowSparseExtent(Object& object, SparseKind kind, uint64_t size_bytes);

// How many bytes of an extent's file belong to grains it refers to, and how many a clone would not
// need: for info and for what a delete frees.
struct SparseUsage {
  uint64_t data_bytes = 0;      // grains with data
  uint64_t zero_bytes = 0;      // grains known to be zeros
  uint64_t metadata_bytes = 0;  // headers and tables that exist
};

}  // namespace disklib
