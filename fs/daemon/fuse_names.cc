// Requests about names and attributes.
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include <sys/statvfs.h>

#include "fs/base/log.h"
#include "fs/daemon/fuse_api.h"

namespace stratad {
namespace {

constexpr uint64_t kMicrosecondsPerSecond = 1'000'000;
constexpr mode_t kPermissionBits = 07777;

timespec ToTimespec(uint64_t time_us) {
  return {static_cast<time_t>(time_us / kMicrosecondsPerSecond),
          static_cast<long>(time_us % kMicrosecondsPerSecond * 1000)};
}

mode_t TypeBits(fss::FileType type) {
  switch (type) {
    case fss::FileType::kRegular: return S_IFREG;
    case fss::FileType::kDirectory: return S_IFDIR;
    case fss::FileType::kSymlink: return S_IFLNK;
    case fss::FileType::kBlockDevice: return S_IFBLK;
  }
  return S_IFREG;
}

bool IsTimesAlone(const fss::AttributeChange& change) {
  return !change.mode && !change.uid && !change.gid && !change.size_bytes;
}

// Packs entries into the kernel's form until `size` bytes are full.
class PlainSink final : public fss::DirectorySink {
 public:
  PlainSink(fuse_req_t request, size_t size) : request_(request), bytes_(size) {}

  bool Add(const fss::DirectoryEntry& entry) override {
    const std::string name(entry.name);

    struct stat attributes {};

    attributes.st_ino = entry.inode;
    attributes.st_mode = TypeBits(entry.type);
    const size_t needed =
        fuse_add_direntry(request_, bytes_.data() + used_, bytes_.size() - used_, name.c_str(),
                          &attributes, static_cast<off_t>(entry.next_cursor));
    if (needed > bytes_.size() - used_) return false;
    used_ += needed;
    return true;
  }

  const char* data() const { return bytes_.data(); }

  size_t used() const { return used_; }

 private:
  fuse_req_t request_;
  std::vector<char> bytes_;
  size_t used_ = 0;
};

// Collects as many entries as fit with attributes into `size` bytes.
class CollectingSink final : public fss::DirectorySink {
 public:
  struct Entry {
    std::string name;
    fss::InodeNumber inode;
    fss::FileType type;
    uint64_t next_cursor;
  };

  CollectingSink(fuse_req_t request, size_t size) : request_(request), left_(size) {}

  bool Add(const fss::DirectoryEntry& entry) override {
    Entry copy{std::string(entry.name), entry.inode, entry.type, entry.next_cursor};
    const size_t needed =
        fuse_add_direntry_plus(request_, nullptr, 0, copy.name.c_str(), nullptr, 0);
    if (needed > left_) return false;
    left_ -= needed;
    entries_.push_back(std::move(copy));
    return true;
  }

  const std::vector<Entry>& entries() const { return entries_; }

 private:
  fuse_req_t request_;
  size_t left_;
  std::vector<Entry> entries_;
};

bool IsDots(std::string_view name) {
  return name == "." || name == "..";
}

}  // namespace

struct stat ToStat(const fss::Attributes& attributes) {
  struct stat status {};

  status.st_ino = attributes.inode;
  status.st_mode = TypeBits(attributes.type) | (attributes.mode & kPermissionBits);
  status.st_nlink = attributes.link_count;
  status.st_uid = attributes.uid;
  status.st_gid = attributes.gid;
  status.st_size = static_cast<off_t>(attributes.size_bytes);
  status.st_blocks = static_cast<blkcnt_t>((attributes.allocated_bytes + 511) / 512);
  status.st_blksize = static_cast<blksize_t>(attributes.block_size_bytes);
  status.st_atim = ToTimespec(attributes.accessed_us);
  status.st_mtim = ToTimespec(attributes.modified_us);
  status.st_ctim = ToTimespec(attributes.changed_us);
  return status;
}

void ReplyError(fuse_req_t request, const base::Error& error) {
  base::LogDebug("fuse", "answering errno={}: {}", error.errno_value(), error.message());
  fuse_reply_err(request, error.errno_value());
}

void ReplyStatus(fuse_req_t request, const base::Status& status) {
  if (!status) return ReplyError(request, status.error());
  fuse_reply_err(request, 0);
}

fuse_entry_param FuseServer::EntryOf(const fss::Attributes& attributes) const {
  fuse_entry_param entry{};
  entry.ino = attributes.inode;
  entry.generation = attributes.generation;
  entry.attr = ToStat(attributes);
  entry.attr_timeout = entry.entry_timeout = ValidSeconds(attributes.inode);
  return entry;
}

// Answers a counted lookup; one that the kernel did not take is given back.
void FuseServer::ReplyEntry(fuse_req_t request, const base::Result<fss::Attributes>& attributes) {
  if (!attributes) return ReplyError(request, attributes.error());
  const fuse_entry_param entry = EntryOf(*attributes);
  if (fuse_reply_entry(request, &entry) != 0) tree_.Forget(attributes->inode, 1);
}

base::Task<void> FuseServer::ServeLookup(fuse_req_t request, Inode parent,
                                         const char* received_name) {
  const InFlight in_flight(*this);
  const std::string name(received_name);
  const base::Result<fss::Attributes> found = co_await tree_.Lookup(parent, name);
  if (!found && found.error().code() == base::Code::kNotFound) {
    fuse_entry_param nothing{};
    nothing.entry_timeout = ValidSeconds(parent);
    fuse_reply_entry(request, &nothing);
    co_return;
  }
  ReplyEntry(request, found);
}

base::Task<void> FuseServer::ServeGetAttributes(fuse_req_t request, Inode inode) {
  const InFlight in_flight(*this);
  const base::Result<fss::Attributes> attributes = co_await tree_.GetAttributes(inode);
  if (!attributes) {
    ReplyError(request, attributes.error());
    co_return;
  }
  const struct stat status = ToStat(*attributes);
  fuse_reply_attr(request, &status, ValidSeconds(inode));
}

// With delayed writes the kernel owns the times, and sends those of an unlinked file after the file
// is gone. A refusal would reach the next caller of syncfs(2), whom nothing is lost to.
base::Task<void> FuseServer::ServeSetAttributes(fuse_req_t request, Inode inode,
                                                fss::AttributeChange change) {
  const InFlight in_flight(*this);
  const base::Result<fss::Attributes> changed = co_await tree_.SetAttributes(inode, change);
  if (!changed && changed.error().code() == base::Code::kStale && IsTimesAlone(change)) {
    struct stat gone {};
    gone.st_ino = inode;
    gone.st_mode = S_IFREG;
    fuse_reply_attr(request, &gone, 0);
    co_return;
  }
  if (!changed) {
    ReplyError(request, changed.error());
    co_return;
  }
  const struct stat status = ToStat(*changed);
  fuse_reply_attr(request, &status, ValidSeconds(inode));
}

// In a directory with setgid, what is new belongs to the directory's group (inode(7)).
base::Task<base::Result<fss::NewInode>> FuseServer::OwnerOfNew(fuse_req_t request, Inode parent,
                                                               mode_t mode, bool directory) {
  const fuse_ctx* caller = fuse_req_ctx(request);
  fss::NewInode made;
  made.mode = mode & kPermissionBits;
  made.uid = caller->uid;
  made.gid = caller->gid;
  CO_TRY(const fss::Attributes folder, co_await tree_.GetAttributes(parent));
  if (folder.mode & S_ISGID) {
    made.gid = folder.gid;
    if (directory) made.mode |= S_ISGID;
  }
  co_return made;
}

base::Task<void> FuseServer::ServeMakeNode(fuse_req_t request, Inode parent,
                                           const char* received_name, mode_t mode) {
  const InFlight in_flight(*this);
  const std::string name(received_name);
  const base::Result<fss::NewInode> owner = co_await OwnerOfNew(request, parent, mode, false);
  if (!owner) {
    ReplyError(request, owner.error());
    co_return;
  }
  const base::Result<fss::Attributes> made = co_await tree_.CreateFile(parent, name, *owner);
  ReplyEntry(request, made);
}

base::Task<void> FuseServer::ServeMakeDirectory(fuse_req_t request, Inode parent,
                                                const char* received_name, mode_t mode) {
  const InFlight in_flight(*this);
  const std::string name(received_name);
  const base::Result<fss::NewInode> owner = co_await OwnerOfNew(request, parent, mode, true);
  if (!owner) {
    ReplyError(request, owner.error());
    co_return;
  }
  const base::Result<fss::Attributes> made = co_await tree_.MakeDirectory(parent, name, *owner);
  ReplyEntry(request, made);
}

base::Task<void> FuseServer::ServeMakeSymlink(fuse_req_t request, Inode parent,
                                              const char* received_name,
                                              const char* received_target) {
  const InFlight in_flight(*this);
  const std::string name(received_name);
  const std::string target(received_target);
  const base::Result<fss::NewInode> owner = co_await OwnerOfNew(request, parent, 0777, false);
  if (!owner) {
    ReplyError(request, owner.error());
    co_return;
  }
  const base::Result<fss::Attributes> made =
      co_await tree_.MakeSymlink(parent, name, target, *owner);
  ReplyEntry(request, made);
}

base::Task<void> FuseServer::ServeReadSymlink(fuse_req_t request, Inode inode) {
  const InFlight in_flight(*this);
  const base::Result<std::string> target = co_await tree_.ReadSymlink(inode);
  if (!target) {
    ReplyError(request, target.error());
    co_return;
  }
  fuse_reply_readlink(request, target->c_str());
}

base::Task<void> FuseServer::ServeRemove(fuse_req_t request, Inode parent,
                                         const char* received_name, bool directory) {
  const InFlight in_flight(*this);
  const std::string name(received_name);
  base::Status removed;
  if (directory) {
    removed = co_await tree_.RemoveDirectory(parent, name);
  } else {
    removed = co_await tree_.Unlink(parent, name);
  }
  ReplyStatus(request, removed);
}

base::Task<void> FuseServer::ServeRename(fuse_req_t request, Inode from_parent,
                                         const char* received_from, Inode to_parent,
                                         const char* received_to, unsigned flags) {
  const InFlight in_flight(*this);
  const std::string from_name(received_from);
  const std::string to_name(received_to);
  if (flags & ~static_cast<unsigned>(RENAME_NOREPLACE)) {
    fuse_reply_err(request, EINVAL);
    co_return;
  }
  const base::Status renamed = co_await tree_.Rename(from_parent, from_name, to_parent, to_name,
                                                     (flags & RENAME_NOREPLACE) != 0);
  ReplyStatus(request, renamed);
}

base::Task<void> FuseServer::ServeReadDirectory(fuse_req_t request, Inode inode, size_t size,
                                                off_t cursor) {
  const InFlight in_flight(*this);
  PlainSink sink(request, size);
  const base::Status read =
      co_await tree_.ReadDirectory(inode, static_cast<uint64_t>(cursor), sink);
  if (!read && sink.used() == 0) {
    ReplyError(request, read.error());
    co_return;
  }
  fuse_reply_buf(request, sink.data(), sink.used());
}

base::Task<void> FuseServer::ServeReadDirectoryPlus(fuse_req_t request, Inode inode, size_t size,
                                                    off_t cursor) {
  const InFlight in_flight(*this);
  CollectingSink sink(request, size);
  const base::Status read =
      co_await tree_.ReadDirectory(inode, static_cast<uint64_t>(cursor), sink);
  if (!read && sink.entries().empty()) {
    ReplyError(request, read.error());
    co_return;
  }
  std::vector<char> bytes(size);
  std::vector<Inode> counted;
  size_t used = 0;
  for (const CollectingSink::Entry& entry : sink.entries()) {
    fuse_entry_param parameters{};
    parameters.attr.st_ino = entry.inode;
    parameters.attr.st_mode = TypeBits(entry.type);
    if (!IsDots(entry.name)) {
      // An entry without an inode number only carries its name: the kernel looks it up itself.
      const base::Result<fss::Attributes> found = co_await tree_.Lookup(inode, entry.name);
      if (found) {
        parameters = EntryOf(*found);
        counted.push_back(found->inode);
      }
    }
    used += fuse_add_direntry_plus(request, bytes.data() + used, bytes.size() - used,
                                   entry.name.c_str(), &parameters,
                                   static_cast<off_t>(entry.next_cursor));
  }
  if (fuse_reply_buf(request, bytes.data(), used) == 0) co_return;
  for (const Inode found : counted) tree_.Forget(found, 1);
}

base::Task<void> FuseServer::ServeStatFs(fuse_req_t request, Inode inode) {
  const InFlight in_flight(*this);
  const base::Result<fss::StatFs> figures = co_await tree_.GetStatFsAt(inode);
  if (!figures) {
    ReplyError(request, figures.error());
    co_return;
  }

  struct statvfs answer {};

  answer.f_bsize = answer.f_frsize = figures->block_size_bytes;
  answer.f_blocks = figures->blocks_total;
  answer.f_bfree = answer.f_bavail = figures->blocks_free;
  answer.f_files = figures->files_total;
  answer.f_ffree = answer.f_favail = figures->files_free;
  answer.f_namemax = figures->name_bytes_max;
  fuse_reply_statfs(request, &answer);
}

base::Task<void> FuseServer::ServeSyncDirectory(fuse_req_t request, Inode inode) {
  const InFlight in_flight(*this);
  const base::Status synced = co_await tree_.SyncAt(inode);
  ReplyStatus(request, synced);
}

}  // namespace stratad
