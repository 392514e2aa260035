// Export: a disk as one file that others read, or a machine as an OVA, each with a proof.
//
// The proof is the SHA-256 of the guest's content, computed while it is copied and once more from
// the file that was made. Files are made under unfinished names and get theirs when they are
// proven. Place: over `copy.h`, `stream_writer.h`, `ovf.h` and `archive.h`; used by `strata
// export`. Flat and sparse exports are imports the other way (`import.h`). Thread rule: the
// executor of the Lib and of the back end, which is one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/exchange/import.h"
#include "disklib/exchange/machine.h"
#include "disklib/lib.h"
#include "disklib/object_backend.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

struct ExportOptions {
  bool verify = true;  // reads the file back
};

struct ExportedDisk {
  std::string file_name;
  std::string adapter_type;   // as the source's descriptor names it
  uint64_t size_bytes = 0;    // of the disk
  uint64_t file_bytes = 0;    // of the file
  std::string source_sha256;  // of the guest's content
  std::string target_sha256;  // the same read back; empty without `verify`
  std::string file_sha256;    // of the file's own bytes; streamOptimized only

  friend bool operator==(const ExportedDisk&, const ExportedDisk&) = default;
};

// Writes the whole chain at `from` as a streamOptimized file, as VMware's importers take it.
// Errors: those of Lib::Open; kExists, kNoSpace, kTooLarge, kChecksumMismatch, kInterrupted.
base::Task<base::Result<ExportedDisk>> ExportStream(Lib& source, std::string_view from,
                                                    ObjectBackend& target, std::string_view to,
                                                    ExportOptions options, Phases& phases);

// The same as a raw image; zeros become holes.
base::Task<base::Result<ExportedDisk>> ExportRaw(Lib& source, std::string_view from,
                                                 ObjectBackend& target, std::string_view to,
                                                 ExportOptions options, Phases& phases);

struct ExportedPackage {
  std::vector<ExportedDisk> disks;
  uint64_t file_bytes = 0;
};

// Writes a machine with its disks (descriptor paths in the order of its drives) as an OVA: the
// envelope, a SHA-256 manifest, then the disks as streams, each named after the OVA's file. Every
// byte of guest content is written once. Errors: as ExportStream; those of WriteOvf.
base::Task<base::Result<ExportedPackage>> ExportArchive(Lib& source, const MachineFile* machine,
                                                        ObjectBackend& target, std::string_view to,
                                                        ExportOptions options, Phases& phases);

}  // namespace disklib
