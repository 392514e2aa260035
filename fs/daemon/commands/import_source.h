// What `strata import` was given: told by its bytes, and opened as a datastore to import from.
//
// Thread rule: the executor given. Place in the stack: the program.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "disklib/exchange/package_backend.h"
#include "disklib/lib.h"
#include "disklib/open_disks.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "fs/daemon/commands/exchange_place.h"

namespace stratad {

enum class SourceKind : uint8_t {
  kArchive,   // an OVA
  kEnvelope,  // an .ovf, its files beside it
  kDisk,      // a descriptor, or a file with one inside
  kForeign,   // an image that qemu-img reads
  kRaw,
};

struct SourceType {
  SourceKind kind = SourceKind::kRaw;
  std::string_view foreign_format = {};  // kForeign
};

// The kind of a file, by its first and last bytes. Errors: kNotRecognized in words (compressed
// packages, the data files of disks given instead of their descriptors).
base::Result<SourceType> TellSource(std::string_view name, std::string_view first_bytes,
                                    std::string_view last_bytes);

// Reads what TellSource needs. Errors: those of opening and reading; as TellSource.
base::Task<base::Result<SourceType>> ProbeSource(disklib::ObjectBackend& backend,
                                                 std::string_view path);

// A source that was opened: a Lib in which `path` is the disk, or the envelope.
class ImportSource {
 public:
  // Looks into an archive, gives a raw image a descriptor. `place` outlives it. Errors: as
  // ListArchive, DescribeRawImage, FindEnvelope.
  static base::Task<base::Result<std::unique_ptr<ImportSource>>> Open(base::Executor& executor,
                                                                      ExchangePlace& place,
                                                                      std::string_view path,
                                                                      SourceKind kind);

  bool is_package() const { return is_package_; }

  disklib::Lib& lib() { return inner_ ? inner_->lib : place_.lib(); }

  const std::string& path() const { return path_; }

 private:
  struct Inner {
    Inner(base::Executor& executor, disklib::ObjectBackend& below,
          std::vector<disklib::PackageFile> files)
        : backend(below, std::move(files)), lib(executor, backend, open_disks) {}

    disklib::PackageBackend backend;
    disklib::OpenDisks open_disks;
    disklib::Lib lib;
  };

  ImportSource(ExchangePlace& place, std::string path, bool is_package)
      : place_(place), path_(std::move(path)), is_package_(is_package) {}

  ExchangePlace& place_;
  std::string path_;
  bool is_package_;
  std::unique_ptr<Inner> inner_;  // null: the files lie in the place itself
};

}  // namespace stratad
