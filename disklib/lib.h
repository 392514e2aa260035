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
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "disklib/chain.h"
#include "disklib/disk_info.h"
#include "disklib/extent_places.h"
#include "disklib/object_backend.h"
#include "disklib/open_disks.h"
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
};

// A descriptor that was read, before anything is opened.
struct LoadedDescriptor {
  std::string path;
  std::string text;
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
  Lib(base::Executor& executor, ObjectBackend& backend, OpenDisks& open_disks)
      : executor_(executor), backend_(backend), open_disks_(open_disks) {}

  Lib(const Lib&) = delete;
  Lib& operator=(const Lib&) = delete;

  base::Executor& executor() { return executor_; }

  ObjectBackend& backend() { return backend_; }

  OpenDisks& open_disks() { return open_disks_; }

  // Opens the disk whose descriptor stands at `path` (from the root: "vm/vm.vmdk").
  // The content id changes with the first write, not here.
  // Errors: kNotFound (descriptor or extent), kNotRecognized, kParseError, kCorrupt (also: an
  // extent shorter than its line), kUnsupported (a parent, sparse and device extents, encryption, a
  // child when writing), kBusy naming the holder, kReadOnly, kNotPermitted (a name leaves the
  // datastore), and those of the file system.
  base::Task<base::Result<std::unique_ptr<Chain>>> Open(std::string_view path, OpenOptions options);

  // What the descriptor says and the files weigh. Takes any descriptor, also of kinds Open refuses;
  // a missing extent is listed with object_id 0. Errors: as Open for the descriptor itself.
  base::Task<base::Result<DiskInfo>> GetInfo(std::string_view path);

  // Reads and parses a descriptor and finds its extents. With `need_extents`, a missing or short
  // one is an error. For operations.
  base::Task<base::Result<LoadedDescriptor>> Load(std::string_view path, bool need_extents);

  // Refuses what this program does not open: a parent, sparse extents … kUnsupported by name.
  static base::Status CheckKind(const Descriptor& descriptor, std::string_view path);

  // Refuses a disk that another one in its folder calls its parent, for changing it would ruin the
  // child, or whose extents another descriptor there names, too. kUnsupported, naming the other.
  // `verb` is what was asked: "write", "delete".
  base::Task<base::Status> CheckAlone(LoadedDescriptor& loaded, std::string_view verb);

  // Claims all files of a disk.
  base::Result<OpenDisks::Claim> ClaimDisk(const LoadedDescriptor& loaded, OpenOptions options);

  // Opens extent `index` of a descriptor whose extents were found.
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
  base::Status CheckNoPlainWriter(const LoadedDescriptor& loaded) const;
  base::Task<base::Status> FindExtents(LoadedDescriptor& loaded, bool need_extents);
  base::Task<base::Status> FindExtent(LoadedDescriptor& loaded, size_t index, bool need_extents);
  base::Task<base::Status> OpenExtents(LoadedDescriptor& loaded, bool writable,
                                       std::vector<std::unique_ptr<Extent>>& extents);

  base::Executor& executor_;
  ObjectBackend& backend_;
  OpenDisks& open_disks_;
  std::set<std::string, std::less<>> held_paths_;
};

}  // namespace disklib
