// Import: foreign disks and packages become disks of ours, each with a proof.
//
// The proof is the SHA-256 of the guest's content, computed from the source while it is copied and
// once more from what then lies in the target. Until everything is proven nothing stands under a
// final name that would stay when the import fails. Place: over `clone.h`, `ovf.h` and
// `package_backend.h`; used by `strata import`. Thread rule: the executor of both Libs, which is
// one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/clone.h"
#include "disklib/exchange/manifest.h"
#include "disklib/exchange/ovf.h"
#include "disklib/lib.h"
#include "disklib/new_extents.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

// Shows one phase of long work after the other.
class Phases {
 public:
  virtual ~Phases() = default;

  // The next phase begins: "verify vm-disk1.vmdk". What is answered lives until the next call, and
  // may be null.
  virtual Progress* Begin(std::string_view what) = 0;
};

struct ImportOptions {
  CloneOptions disk;
  bool verify = true;  // reads the target back
};

struct ImportedDisk {
  std::string path;  // of the new descriptor
  uint64_t size_bytes = 0;
  uint64_t data_bytes = 0;    // stored
  std::string source_sha256;  // of the guest's content
  std::string target_sha256;  // the same read back; empty without `verify`
};

// Makes the disk `to` of the whole chain at `from`. Errors: those of Lib::Open and MakeDiskFrom;
// kChecksumMismatch (the target does not read as the source did: it is removed), kInterrupted.
base::Task<base::Result<ImportedDisk>> ImportDisk(Lib& source, std::string_view from, Lib& target,
                                                  std::string_view to, ImportOptions options,
                                                  Phases& phases);

// What a package says, before anything is made of it.
struct PackageContents {
  std::string folder;  // of its files in the source; empty: the root
  OvfPackage ovf;
  std::vector<ManifestEntry> manifest;  // empty: the package has none
  std::vector<std::string> unused;      // files that no disk is in: firmware settings, images
};

// Reads the envelope at `ovf_path` and the manifest of the same name beside it. Errors: those of
// ParseOvf and ParseManifest; kChecksumMismatch naming the envelope.
base::Task<base::Result<PackageContents>> ReadPackage(ObjectBackend& source,
                                                      std::string_view ovf_path);

// The path of the only envelope in the root of a package. Errors: kNotFound, kUnsupported
// (several).
base::Task<base::Result<std::string>> FindEnvelope(ObjectBackend& source);

struct ImportedMachine {
  std::string machine_path;  // of the `.vmx`
  std::vector<ImportedDisk> disks;
};

// Makes a machine's files in `folder` of the target, which exists and is empty: disks, `.vmsd`, and
// last the `.vmx`. Every file of a disk is held against the manifest first. Errors: those of
// ImportDisk; kChecksumMismatch naming the file. What was made stays when it fails: the folder is
// the caller's to remove.
base::Task<base::Result<ImportedMachine>> ImportPackage(Lib& source, PackageContents& package,
                                                        Lib& target, std::string_view folder,
                                                        ImportOptions options, Phases& phases);

// A file name made of a machine's name: no slashes or control characters, not hidden, at most 80
// bytes, "machine" for nothing.
std::string FileNameOf(std::string_view machine_name);

}  // namespace disklib
