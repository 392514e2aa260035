// `PackageBackend`: the files of a package as a read-only datastore, so that a `Lib` opens the
// disks in an OVA where they lie, in every format; and a raw image as a disk with a descriptor.
//
// Files are parts of files of another back end, or texts. Thread rule: the executor of the back end
// below. Place in the stack: an `ObjectBackend`, under the Lib that import reads from.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/object_backend.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

struct PackageFile {
  std::string name;
  std::string path;           // in the back end below; empty: the file is `text`
  uint64_t offset_bytes = 0;  // where it begins there
  uint64_t size_bytes = 0;
  std::string text;

  friend bool operator==(const PackageFile&, const PackageFile&) = default;
};

class PackageBackend final : public ObjectBackend {
 public:
  // `below` outlives the back end.
  PackageBackend(ObjectBackend& below, std::vector<PackageFile> files)
      : below_(below), files_(std::move(files)) {}

  const std::vector<PackageFile>& files() const { return files_; }

  // The file of that name, or null.
  const PackageFile* Find(std::string_view name) const;

  bool read_only() const override { return true; }

  // Everything that changes something answers kReadOnly.
  base::Task<base::Result<ObjectInfo>> Create(std::string_view path) override;
  base::Task<base::Result<std::unique_ptr<Object>>> Open(std::string_view path,
                                                         fss::OpenMode mode) override;
  base::Task<base::Result<ObjectInfo>> GetInfo(std::string_view path) override;
  base::Task<base::Status> Resize(std::string_view path, uint64_t size_bytes) override;
  base::Task<base::Result<ObjectInfo>> ReplaceContents(std::string_view path,
                                                       std::string_view contents) override;
  base::Task<base::Status> Remove(std::string_view path) override;
  base::Task<base::Status> Rename(std::string_view from, std::string_view to) override;
  base::Task<base::Status> List(std::string_view folder, ObjectSink& sink) override;
  base::Task<base::Status> SyncNames() override;

 private:
  base::Result<const PackageFile*> FindOrFail(std::string_view path) const;
  uint64_t IdOf(const PackageFile& file) const;

  ObjectBackend& below_;
  const std::vector<PackageFile> files_;
};

// The members of the OVA at `path`. Errors: kNotRecognized (no tar archive), kCorrupt (a member
// that ends behind the file, a name twice), kTooLarge (more than kArchiveMembersMax), those of
// DecodeArchiveHeader and of reading.
base::Task<base::Result<std::vector<PackageFile>>> ListArchive(ObjectBackend& below,
                                                               std::string_view path);

// A disk `name` ("vm.vmdk") whose content is the raw image at `path`; its size is rounded up to a
// sector. Errors: kInvalidArgument (an empty image), kTooLarge (62 TiB), those of GetInfo.
base::Task<base::Result<std::vector<PackageFile>>> DescribeRawImage(ObjectBackend& below,
                                                                    std::string_view path,
                                                                    std::string_view name);

}  // namespace disklib
