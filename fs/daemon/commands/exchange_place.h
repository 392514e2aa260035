// `ExchangePlace`: one end of an import or export: a path, and the file system it is on.
//
// A path may lie in a host folder, on a mount of ours (worked on like any other folder, through the
// kernel) or, as TARGET:/PATH, on an unmounted volume. Names in descriptors resolve inside the
// volume, or inside the folder of a host path; on a mount, parents may lie on its other volumes.
// Two places on one unmounted volume share it.
// Thread rule: the executor given. Place in the stack: the program.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "disklib/file_backend.h"
#include "disklib/lib.h"
#include "disklib/open_disks.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "fs/base/uring_executor.h"
#include "fs/daemon/commands/mounted_volumes.h"
#include "fs/daemon/commands/volume_task.h"
#include "fs/daemon/datastore.h"
#include "fs/daemon/host_devices.h"
#include "fs/fss/file_system.h"
#include "fs/fss/posix_driver.h"

namespace stratad {

// What a word of the command line names.
struct ExchangeWord {
  std::string target;       // an unmounted volume; empty: the root is a host folder
  std::string root;         // host folder in which names resolve
  std::string path;         // from the root: "vm/vm.vmdk"; "" is the root itself
  std::string mount_point;  // of ours, when the path lies on one
};

// Errors: those of errno for the folder that holds the path.
base::Result<ExchangeWord> ReadExchangeWord(const std::string& text);

// A path from the root of a place, as the user would write it.
std::string FullPath(const ExchangeWord& word, const std::string& path);

// The same with a root that holds both paths, for disks that refer to each other. Error
// kCrossDevice: there is none.
base::Status ShareRoot(ExchangeWord& first, ExchangeWord& second);

class ExchangePlace {
 public:
  // Opens the file system under a place. Errors: those of OpenDatastores, of opening a folder.
  static base::Task<base::Result<std::unique_ptr<ExchangePlace>>> Open(
      base::UringExecutor& executor, const ExchangeWord* word, Access access);

  ExchangePlace(const ExchangePlace&) = delete;
  ExchangePlace& operator=(const ExchangePlace&) = delete;

  fss::FileSystem& files() { return *files_; }

  disklib::ObjectBackend& backend() { return backend_; }

  disklib::Lib& lib() { return lib_; }

  // The volumes of the mount that the place is on; null: it is on none.
  MountedVolumes* volumes() { return volumes_.get(); }

  // Whether something stands at `path`, and what. Errors: those of Lookup but kNotFound.
  base::Task<base::Result<std::optional<fss::FileType>>> TypeOf(const std::string* path);

  // Makes a folder. Errors: kExists, kNotFound (its parent), kNoSpace …
  base::Task<base::Status> MakeFolder(const std::string* path);

  // Removes the files in a folder; folders inside are an error.
  base::Task<base::Status> EmptyFolder(const std::string* path);

  // Removes a folder with the files in it. Errors: as EmptyFolder.
  base::Task<base::Status> RemoveFolder(const std::string* path);

  // Moves a folder, durably. Errors: kExists …
  base::Task<base::Status> RenameFolder(const std::string* from, const std::string* to);

  // Everything made is durable, and the file system closed. No call may follow.
  base::Task<base::Status> Close();

 private:
  ExchangePlace(base::UringExecutor& executor, DatastoreList datastores,
                std::unique_ptr<fss::PosixFileSystem> folder,
                std::unique_ptr<MountedVolumes> volumes);

  DatastoreList datastores_;
  std::unique_ptr<fss::PosixFileSystem> folder_;
  fss::FileSystem* files_;
  disklib::FileBackend backend_;
  disklib::OpenDisks open_disks_;
  HostDevices devices_;
  std::unique_ptr<MountedVolumes> volumes_;
  disklib::Lib lib_;
};

}  // namespace stratad
