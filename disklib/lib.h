// `Lib`: opens the virtual disks of one file system. The top of Lib > Chain > Link > Extent.
//
// One Lib per mounted file system, with its `OpenDisks`. Who uses it: the mount (through `VDisks`,
// `vdisk.h`), the programs (`operations.h`), virtual SCSI handles (a `Chain` is a BlockDevice).
// Wiring: `FileBackend backend(file_system); OpenDisks open_disks; Lib lib(executor, backend,
// open_disks);`, destroyed in the reverse order after every disk was closed.
// Thread rule: the executor of the file system.
#pragma once

#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "disklib/chain.h"
#include "disklib/descriptor_text.h"
#include "disklib/device_opener.h"
#include "disklib/disk_info.h"
#include "disklib/extent_places.h"
#include "disklib/object_backend.h"
#include "disklib/open_disks.h"
#include "disklib/volumes.h"
#include "disklib/window_map.h"
#include "fs/base/executor.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

struct OpenOptions {
  bool writable = false;
  std::string_view user = "disklib";  // who opens it, for refusals: "devices/vdisks"
  // An open chain of the same disk, opened for reading, whose claim the new one takes over: how a
  // disk that is being read becomes writable. It goes on reading and is to be closed later.
  Chain* successor_of = nullptr;
  // Opens this one link, to read, without asking whether its parent is there: what the link does
  // not hold reads as zeros. For operations on links.
  bool single_link = false;
  // The path of the one child that may exist while its parent is opened for writing: commit.
  std::string_view except_child = {};
};

// A descriptor that was read, before anything is opened.
struct LoadedDescriptor {
  std::string path;
  std::string text;
  EmbeddedPlace embedded;  // where in the file the text stands, if not alone
  ObjectInfo info;
  Descriptor descriptor;
  std::vector<ExtentPlace> places;       // per extent
  std::vector<std::string> found_paths;  // per extent: where its file is; empty for ZERO
  std::vector<ObjectInfo> extent_infos;  // per extent; zeros for ZERO

  bool is_thin() const;
  // The files of the disk: descriptor and extents.
  std::vector<uint64_t> object_ids() const;
};

class Lib {
 public:
  // All outlive the Lib. `volumes` are the datastores on which parents may lie; null: only this
  // one. Its chains share `map_bytes_max` of memory for what is known of places.
  Lib(base::Executor& executor, ObjectBackend& backend, OpenDisks& open_disks,
      Volumes* volumes = nullptr, uint64_t map_bytes_max = kWindowBudgetBytes)
      : executor_(executor),
        backend_(backend, volumes),
        open_disks_(open_disks),
        windows_(map_bytes_max) {}

  Lib(const Lib&) = delete;
  Lib& operator=(const Lib&) = delete;

  base::Executor& executor() { return executor_; }

  // This file system, and to read also the others.
  ObjectBackend& backend() { return backend_; }

  // From now on, disks on whole devices can be opened; outlives the Lib. Without, they are refused.
  void UseDevices(DeviceOpener& devices) { devices_ = &devices; }

  // Null: there are none.
  DeviceOpener* devices() { return devices_; }

  OpenDisks& open_disks() { return open_disks_; }

  // Those of the file system that a plain path is on.
  OpenDisks& OpenDisksOf(std::string_view path) {
    OpenDisks* const elsewhere = backend_.OpenDisksElsewhere(path);
    return elsewhere == nullptr ? open_disks_ : *elsewhere;
  }

  // What the maps of all open chains take, for status.
  const WindowBudget& windows() const { return windows_; }

  // Opens the disk whose descriptor stands at `path` (from the root: "vm/vm.vmdk"), with all its
  // links. The content id changes with the first write, not here.
  // Errors: kNotFound (descriptor, parent or extent; a parent's datastore, by its UUID),
  // kNotRecognized, kParseError, kCorrupt (an
  // extent shorter than its line; a parent whose content id is not the one the child was made
  // over; a parent's id without its name or the other way round), kLoop (a link is its own
  // ancestor), kTooManyLinks (more than 32), kUnsupported (devices, encryption, a child when
  // writing), kBusy naming the holder, kReadOnly, kNotPermitted (a name leaves the datastore), and
  // those of the file system and of the kinds of extents.
  base::Task<base::Result<std::unique_ptr<Chain>>> Open(std::string_view path, OpenOptions options);

  // What the descriptor says and the files weigh. Takes any descriptor, also of kinds Open refuses;
  // a missing extent is listed with object_id 0. Errors: as Open for the descriptor itself.
  base::Task<base::Result<DiskInfo>> GetInfo(std::string_view path);

  // Reads and parses a descriptor and finds its extents. With `need_extents`, a missing or short
  // one is an error. For operations.
  base::Task<base::Result<LoadedDescriptor>> Load(std::string_view path, bool need_extents);

  // Refuses what this program does not open: encryption, objects of a vSAN … kUnsupported by name.
  static base::Status CheckKind(const Descriptor& descriptor, std::string_view path);

  // Refuses a disk that another one in its folder calls its parent, for changing it would ruin the
  // child, or whose extents another descriptor there names, too. kUnsupported, naming the other.
  // `verb` is what was asked: "write", "delete". `except_child`: the path of a child that may be.
  base::Task<base::Status> CheckAlone(LoadedDescriptor& loaded, std::string_view verb,
                                      std::string_view except_child = {});

  // Claims all files of a disk.
  base::Result<OpenDisks::Claim> ClaimDisk(const LoadedDescriptor& loaded, OpenOptions options);

  // Appends the parents of the last link, each behind its child, the base last. Errors: as Open.
  base::Task<base::Status> LoadParents(std::vector<LoadedDescriptor>& links);

  // Claims the files of frozen links, on whichever datastore, for the disk that stands on them.
  base::Result<OpenDisks::Claim> ClaimParents(std::span<const LoadedDescriptor> parents,
                                              std::string_view disk, std::string_view user);

  // Opens extent `index` of a descriptor whose extents were found: alone to write, else shared.
  base::Task<base::Result<std::unique_ptr<Extent>>> OpenExtent(LoadedDescriptor& loaded,
                                                               size_t index, bool writable);

  // Keeps a path for one operation, so that two never make or move one disk. Errors: kBusy.
  class PathHold {
   public:
    PathHold(PathHold&& other) noexcept
        : lib_(std::exchange(other.lib_, nullptr)), path_(std::move(other.path_)) {}

    PathHold& operator=(PathHold&&) = delete;

    ~PathHold() {
      if (lib_ != nullptr) lib_->held_paths_.erase(path_);
    }

   private:
    friend class Lib;

    PathHold(Lib& lib, std::string path) : lib_(&lib), path_(std::move(path)) {}

    Lib* lib_;
    std::string path_;
  };

  base::Result<PathHold> HoldPath(std::string_view path);

 private:
  base::Status CheckNoPlainWriter(const LoadedDescriptor& loaded);
  base::Task<base::Status> FindExtents(LoadedDescriptor& loaded, bool need_extents);
  base::Task<base::Status> FindExtent(LoadedDescriptor& loaded, size_t index, bool need_extents);
  base::Status CheckDevices(const LoadedDescriptor& loaded) const;
  base::Task<base::Result<std::unique_ptr<Object>>> FindDevice(LoadedDescriptor& loaded,
                                                               size_t index, bool can_write);
  base::Task<base::Result<std::unique_ptr<Object>>> OpenDevice(LoadedDescriptor& loaded,
                                                               size_t index, bool can_write);
  base::Task<base::Status> OpenExtents(LoadedDescriptor& loaded, bool writable,
                                       std::vector<std::unique_ptr<Extent>>& extents);
  base::Task<base::Result<std::unique_ptr<Object>>> OpenObject(LoadedDescriptor& loaded,
                                                               size_t index, bool can_write);
  base::Task<base::Status> LoadLinks(std::string_view path, OpenOptions options,
                                     std::vector<LoadedDescriptor>& loaded);
  base::Task<base::Status> OpenLinks(std::vector<LoadedDescriptor>& loaded, bool writable,
                                     std::vector<std::unique_ptr<Link>>& links);

  base::Executor& executor_;
  VolumesBackend backend_;
  OpenDisks& open_disks_;
  DeviceOpener* devices_ = nullptr;
  WindowBudget windows_;
  std::set<std::string, std::less<>> held_paths_;
};

}  // namespace disklib
