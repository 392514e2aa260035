#include "fs/daemon/posix_datastore.h"

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <utility>

#include <linux/magic.h>
#include <sys/vfs.h>

namespace stratad {
namespace {

constexpr std::string_view kPrefix = "posix:";

// Requests of a folder on FUSE could wait for this very daemon, and a folder on the network may
// change under it without a word.
bool IsForeign(const struct statfs& status) {
  const auto type = static_cast<unsigned long>(status.f_type);
  return type == FUSE_SUPER_MAGIC || type == NFS_SUPER_MAGIC || type == SMB2_SUPER_MAGIC ||
         type == CIFS_SUPER_MAGIC || type == CEPH_SUPER_MAGIC || type == V9FS_MAGIC;
}

}  // namespace

base::Result<std::unique_ptr<Datastore>> PosixDatastore::Open(base::UringExecutor& executor,
                                                              const std::string& target,
                                                              DatastoreOptions options) {
  const std::string given = target.substr(kPrefix.size());
  char resolved[PATH_MAX];

  struct statfs status {};

  if (!realpath(given.c_str(), resolved) || statfs(resolved, &status) != 0) {
    return base::ErrnoError(errno, "open " + target);
  }
  if (IsForeign(status)) {
    return base::Error(base::Code::kUnsupported,
                       target + ": lies on a FUSE or network file system");
  }
  fss::PosixFileSystem::Options driver;
  driver.folder_path = resolved;
  driver.read_only = options.read_only;
  TRY(std::unique_ptr<fss::PosixFileSystem> file_system,
      fss::PosixFileSystem::Create(executor, driver));
  return std::unique_ptr<Datastore>(
      new PosixDatastore(std::string(kPrefix) + resolved, std::move(file_system)));
}

void PosixDatastore::Describe(Json& figures) {
  figures["host_folder"] = source_.substr(kPrefix.size());
}

}  // namespace stratad
