#include "fs/daemon/commands/exchange_place.h"

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include <unistd.h>

#include "disklib/names.h"
#include "fs/base/log.h"
#include "fs/daemon/mount_point.h"
#include "fs/daemon/path_walk.h"

namespace stratad {
namespace {

constexpr std::string_view kVolumesFolder = "/volumes/";

// The files that are made belong to whoever runs the program, and to nobody else.
fss::NewInode Owner(uint32_t mode) {
  fss::NewInode owner;
  owner.mode = mode;
  owner.uid = geteuid();
  owner.gid = getegid();
  return owner;
}

fss::FileSystem* Chosen(const DatastoreList& datastores, fss::FileSystem* folder) {
  return datastores.empty() ? folder : &datastores.front()->file_system();
}

// On a mount the volume is the root: "MNT/volumes/store" of "MNT/volumes/store/vm/vm.vmdk".
std::string VolumeFolder(const std::string& mount_point, const std::string& full) {
  const std::string volumes = mount_point + std::string(kVolumesFolder);
  if (!full.starts_with(volumes)) return {};
  const size_t end = full.find('/', volumes.size());
  return end == std::string::npos ? full : full.substr(0, end);
}

std::string WithoutEndSlashes(std::string text) {
  while (text.size() > 1 && text.ends_with('/')) text.pop_back();
  return text;
}

std::string Behind(const std::string& root, const std::string& full) {
  if (full == root) return {};
  return full.substr(root == "/" ? 1 : root.size() + 1);
}

// Where the daemon does not answer, disks with parents on other volumes are refused by name.
std::unique_ptr<MountedVolumes> VolumesBeside(base::UringExecutor& executor,
                                              const ExchangeWord& word) {
  if (word.mount_point.empty()) return nullptr;
  base::Result<std::unique_ptr<MountedVolumes>> volumes =
      MountedVolumes::Ask(executor, word.mount_point);
  if (volumes) return *std::move(volumes);
  base::LogWarn("volumes", "{}: {}", word.mount_point, volumes.error().message());
  return nullptr;
}

}  // namespace

base::Result<ExchangeWord> ReadExchangeWord(const std::string& text) {
  ExchangeWord word;
  const TargetPath at = ParseTargetPath(text);
  if (at.target != text) {
    word.target = at.target;
    word.path = WithoutEndSlashes(at.path).substr(1);
    return word;
  }
  std::error_code error;
  const std::filesystem::path given =
      std::filesystem::absolute(WithoutEndSlashes(text), error).lexically_normal();
  const std::filesystem::path folder = std::filesystem::canonical(given.parent_path(), error);
  if (error) return base::ErrnoError(error.value(), text);
  const std::string full = given.has_filename() ? (folder / given.filename()).string() : "/";
  TRY(const std::vector<MountEntry> table, ReadMountTable());
  word.mount_point = MountContaining(table, full);
  if (!word.mount_point.empty()) word.root = VolumeFolder(word.mount_point, full);
  if (word.root.empty()) word.root = folder;
  word.path = Behind(word.root, full);
  return word;
}

std::string FullPath(const ExchangeWord& word, const std::string& path) {
  if (!word.target.empty()) return word.target + ":/" + path;
  return word.root == "/" ? "/" + path : word.root + "/" + path;
}

base::Status ShareRoot(ExchangeWord& first, ExchangeWord& second) {
  const bool is_elsewhere =
      first.target != second.target || first.mount_point != second.mount_point;
  if (is_elsewhere || (!first.mount_point.empty() && first.root != second.root)) {
    return base::Error(base::Code::kCrossDevice, "source and target lie on different volumes");
  }
  if (first.root == second.root) return base::Ok();
  std::filesystem::path common;
  const std::filesystem::path one = first.root;
  const std::filesystem::path other = second.root;
  const auto ends = std::mismatch(one.begin(), one.end(), other.begin(), other.end());
  for (auto part = one.begin(); part != ends.first; ++part) common /= *part;
  for (ExchangeWord* const word : {&first, &second}) {
    const std::string full = (std::filesystem::path(word->root) / word->path).string();
    word->root = common;
    word->path = Behind(word->root, WithoutEndSlashes(full));
  }
  return base::Ok();
}

ExchangePlace::ExchangePlace(base::UringExecutor& executor, DatastoreList datastores,
                             std::unique_ptr<fss::PosixFileSystem> folder,
                             std::unique_ptr<MountedVolumes> volumes)
    : datastores_(std::move(datastores)),
      folder_(std::move(folder)),
      files_(Chosen(datastores_, folder_.get())),
      backend_(*files_, Owner(0600)),
      devices_(executor, /*paths_allowed=*/false),
      volumes_(std::move(volumes)),
      lib_(executor, backend_, open_disks_, volumes_.get()) {
  lib_.UseDevices(devices_);
}

base::Task<base::Result<std::unique_ptr<ExchangePlace>>> ExchangePlace::Open(
    base::UringExecutor& executor, const ExchangeWord* word, Access access) {
  const bool read_only = access == Access::kRead;
  DatastoreList datastores;
  std::unique_ptr<fss::PosixFileSystem> folder;
  if (word->target.empty()) {
    fss::PosixFileSystem::Options options;
    options.folder_path = word->root;
    options.read_only = read_only;
    CO_TRY(folder, fss::PosixFileSystem::Create(executor, options));
  } else {
    DatastoreOptions options;
    options.read_only = read_only;
    const base::Status opened =
        co_await OpenDatastores(executor, {&word->target, 1}, options, datastores);
    if (!opened) {
      for (const auto& datastore : datastores) {
        const base::Status closed = co_await datastore->Close();
        static_cast<void>(closed);  // the first error is the one to tell
      }
      co_return opened.error();
    }
  }
  std::unique_ptr<MountedVolumes> volumes = VolumesBeside(executor, *word);
  std::unique_ptr<ExchangePlace> place(
      new ExchangePlace(executor, std::move(datastores), std::move(folder), std::move(volumes)));
  if (place->volumes_) place->volumes_->SetOwn(word->root, place->backend_, place->open_disks_);
  co_return place;
}

base::Task<base::Result<std::optional<fss::FileType>>> ExchangePlace::TypeOf(
    const std::string* path) {
  PathWalk walk(*files_);
  const base::Result<fss::Attributes> found = co_await walk.Find("/" + *path);
  if (found) co_return std::optional<fss::FileType>(found->type);
  if (found.error().code() != base::Code::kNotFound) co_return found.error();
  co_return std::optional<fss::FileType>();
}

base::Task<base::Status> ExchangePlace::MakeFolder(const std::string* path) {
  const std::string full = "/" + *path;
  const SplitPath split = SplitLast(full);
  PathWalk walk(*files_);
  CO_TRY(const fss::Attributes parent, co_await walk.Find(split.parent));
  CO_TRY(const fss::Attributes made,
         co_await files_->MakeDirectory(parent.inode, split.name, Owner(0700)));
  walk.Keep(made.inode);
  co_return base::Ok();
}

base::Task<base::Status> ExchangePlace::EmptyFolder(const std::string* path) {
  const std::string full = "/" + *path;
  PathWalk walk(*files_);
  CO_TRY(const fss::Attributes folder, co_await walk.Find(full));
  std::vector<ListedEntry> entries;
  CO_TRY_STATUS(co_await ListDirectory(*files_, folder.inode, entries));
  for (const ListedEntry& entry : entries) {
    CO_TRY_STATUS(co_await files_->Unlink(folder.inode, entry.name));
  }
  co_return base::Ok();
}

base::Task<base::Status> ExchangePlace::RemoveFolder(const std::string* path) {
  CO_TRY_STATUS(co_await EmptyFolder(path));
  const std::string full = "/" + *path;
  const SplitPath split = SplitLast(full);
  PathWalk walk(*files_);
  CO_TRY(const fss::Attributes parent, co_await walk.Find(split.parent));
  CO_TRY_STATUS(co_await files_->RemoveDirectory(parent.inode, split.name));
  co_return base::Ok();
}

base::Task<base::Status> ExchangePlace::RenameFolder(const std::string* from,
                                                     const std::string* to) {
  const std::string full_from = "/" + *from;
  const std::string full_to = "/" + *to;
  const SplitPath old_place = SplitLast(full_from);
  const SplitPath new_place = SplitLast(full_to);
  PathWalk walk(*files_);
  CO_TRY(const fss::Attributes parent, co_await walk.Find(old_place.parent));
  CO_TRY_STATUS(co_await files_->SyncAll());
  CO_TRY_STATUS(co_await files_->Rename(parent.inode, old_place.name, parent.inode, new_place.name,
                                        /*no_replace=*/true));
  CO_TRY_STATUS(co_await files_->SyncAll());
  co_return base::Ok();
}

base::Task<base::Status> ExchangePlace::Close() {
  if (volumes_) {
    CO_TRY_STATUS(co_await volumes_->Close());
  }
  if (folder_) {
    CO_TRY_STATUS(co_await folder_->Unmount());
    co_return base::Ok();
  }
  base::Status status;
  for (const auto& datastore : datastores_) {
    const base::Status closed = co_await datastore->Close();
    if (status && !closed) status = closed;
  }
  co_return status;
}

}  // namespace stratad
