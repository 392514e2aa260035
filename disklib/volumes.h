// `Volumes`: the datastores that are mounted beside a disk's own, and `VolumesBackend`, by which a
// Lib reaches them.
//
// A descriptor may name its parent on another datastore as "/vmfs/volumes/UUID/vm/vm.vmdk"
// (disklib/FORMAT.md, "File names"). Such a path leads to a datastore that is mounted here and
// stays inside it, or nowhere. What lies there is only read, also where that datastore can be
// written: it may be taken away, or be mounted read-only the next time. Place: inside Lib, over the
// back ends of single datastores; the daemon and the programs say which there are. Thread rule: the
// executor of all of them.
#pragma once

#include <string>
#include <string_view>

#include "disklib/object_backend.h"
#include "disklib/open_disks.h"
#include "fs/base/result.h"

namespace disklib {

// A datastore as another one's disks see it.
struct Volume {
  std::string uuid;
  ObjectBackend* backend = nullptr;
  OpenDisks* open_disks = nullptr;
};

class Volumes {
 public:
  virtual ~Volumes() = default;

  // The datastore of this UUID, else the only one of this label; null where none is mounted. It
  // stays as long as a disk is open. What has no lasting UUID is not among them.
  virtual const Volume* Find(std::string_view name) = 0;

  // The datastore that a back end is of; null when it is not among them.
  virtual const Volume* FindOwn(const ObjectBackend& backend) = 0;
};

// One datastore with a view of the others. Paths on other ones are only read: kCrossDevice for
// whatever would change something there, kDeviceLost naming a datastore that is not mounted.
class VolumesBackend final : public ObjectBackend {
 public:
  // Both outlive this. Without `volumes` there is no other datastore.
  VolumesBackend(ObjectBackend& own, Volumes* volumes) : own_(own), volumes_(volumes) {}

  bool read_only() const override { return own_.read_only(); }

  std::string PlainPath(std::string_view path) override;

  // Who keeps count of the open disks of the datastore that a plain path is on; null when that is
  // the own one, or not mounted.
  OpenDisks* OpenDisksElsewhere(std::string_view path);

  // What other datastores call a path on this one, as far as it has a name.
  std::string PathForOthers(std::string_view path);

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

  base::Task<base::Result<ObjectSpace>> GetSpace() override { return own_.GetSpace(); }

  base::Task<base::Result<ObjectInfo>> MakeDeviceMap(std::string_view path,
                                                     fss::RawDevice device) override;
  base::Task<base::Result<std::string>> GetDeviceId(std::string_view path) override;

  base::Task<base::Status> SyncNames() override { return own_.SyncNames(); }

 private:
  // Where a path leads, and what it is called there.
  struct Route {
    ObjectBackend* backend;
    std::string_view path;
  };

  base::Result<Route> RouteTo(std::string_view path);
  static base::Status CheckOwn(std::string_view path);
  const Volume* FindVolume(std::string_view name);

  ObjectBackend& own_;
  Volumes* volumes_;
};

}  // namespace disklib
