// The back end "file": objects are files of an `fss::FileSystem`, whichever driver that is.
//
// Paths are walked from the file system's root one name at a time, symbolic links included, so that
// neither ".." nor a link can lead out of the datastore; absolute link targets are refused.
// `ReplaceContents` replaces in place where the file system can, else writes beside, syncs, renames
// over (disklib/FORMAT.md, "Rewriting").
// Thread rule: the file system's executor. Files are made with the owner and mode given.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "disklib/object_backend.h"
#include "fs/fss/file_system.h"

namespace disklib {

class FileBackend : public ObjectBackend {
 public:
  // `file_system` must outlive the back end. Data of guests is nobody else's: mode 0600 by default.
  explicit FileBackend(fss::FileSystem& file_system,
                       fss::NewInode new_files = {.mode = 0600, .uid = 0, .gid = 0})
      : file_system_(file_system), new_files_(new_files) {}

  bool read_only() const override { return file_system_.read_only(); }

  base::Task<base::Result<ObjectInfo>> Create(std::string_view path) override;
  base::Task<base::Result<std::unique_ptr<Object>>> Open(std::string_view path,
                                                         fss::OpenMode mode) override;
  base::Task<base::Result<ObjectInfo>> GetInfo(std::string_view path) override;
  base::Task<base::Status> Resize(std::string_view path, uint64_t size_bytes) override;
  base::Task<base::Result<ObjectInfo>> ReplaceContents(std::string_view path,
                                                       std::string_view contents) override;
  base::Task<base::Status> ReplaceTogether(
      std::span<const ObjectReplacement> replacements) override;
  base::Task<base::Status> Remove(std::string_view path) override;
  base::Task<base::Status> Rename(std::string_view from, std::string_view to) override;
  base::Task<base::Status> Replace(std::string_view from, std::string_view to) override;
  base::Task<base::Status> List(std::string_view folder, ObjectSink& sink) override;
  base::Task<base::Result<ObjectSpace>> GetSpace() override;
  base::Task<base::Result<ObjectInfo>> MakeDeviceMap(std::string_view path,
                                                     fss::RawDevice device) override;
  base::Task<base::Result<std::string>> GetDeviceId(std::string_view path) override;

  base::Task<base::Status> SyncNames() override { return file_system_.SyncAll(); }

 private:
  struct Place;

  base::Task<base::Result<Place>> Find(std::string_view path, bool follow_last_link);
  base::Task<base::Status> Move(std::string_view from, std::string_view to, bool no_replace);
  base::Task<base::Result<Place>> FindExisting(std::string_view path);
  base::Task<base::Status> Step(Place& place, std::string& rest, bool follow_link);
  base::Task<base::Result<bool>> ReplaceInPlace(fss::InodeNumber inode, std::string_view contents);
  base::Task<base::Result<ObjectInfo>> WriteReplacement(fss::InodeNumber parent,
                                                        std::string_view name,
                                                        std::string_view contents,
                                                        fss::NewInode attributes);

  fss::FileSystem& file_system_;
  fss::NewInode new_files_;
};

}  // namespace disklib
