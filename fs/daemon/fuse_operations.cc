// The table libfuse dispatches to: each function names its arguments and starts a coroutine.
#include <cerrno>

#include <fcntl.h>
#include <sys/sysmacros.h>

#include "fs/daemon/fuse_api.h"

namespace stratad {
namespace {

OpenFile* OpenOf(const fuse_file_info* info) {
  return reinterpret_cast<OpenFile*>(info->fh);
}

uint64_t ToMicroseconds(const timespec& time) {
  if (time.tv_sec < 0) return 0;
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000 +
         static_cast<uint64_t>(time.tv_nsec) / 1000;
}

fss::AttributeChange ChangeOf(const struct stat& wanted, int what, uint64_t now_us) {
  fss::AttributeChange change;
  if (what & FUSE_SET_ATTR_MODE) change.mode = wanted.st_mode & 07777;
  if (what & FUSE_SET_ATTR_UID) change.uid = wanted.st_uid;
  if (what & FUSE_SET_ATTR_GID) change.gid = wanted.st_gid;
  if (what & FUSE_SET_ATTR_SIZE) change.size_bytes = static_cast<uint64_t>(wanted.st_size);
  if (what & FUSE_SET_ATTR_ATIME) change.accessed_us = ToMicroseconds(wanted.st_atim);
  if (what & FUSE_SET_ATTR_MTIME) change.modified_us = ToMicroseconds(wanted.st_mtim);
  if (what & FUSE_SET_ATTR_CTIME) change.changed_us = ToMicroseconds(wanted.st_ctim);
  if (what & FUSE_SET_ATTR_ATIME_NOW) change.accessed_us = now_us;
  if (what & FUSE_SET_ATTR_MTIME_NOW) change.modified_us = now_us;
  return change;
}

// The modes of fallocate(2) that a driver knows.
bool AllocateModeOf(int mode, fss::AllocateMode& found) {
  constexpr int kKeep = FALLOC_FL_KEEP_SIZE;
  switch (mode) {
    case 0: found = fss::AllocateMode::kAllocate; return true;
    case kKeep: found = fss::AllocateMode::kAllocateKeepSize; return true;
    case kKeep | FALLOC_FL_PUNCH_HOLE: found = fss::AllocateMode::kPunchHole; return true;
    case FALLOC_FL_ZERO_RANGE: found = fss::AllocateMode::kZeroRange; return true;
    case kKeep | FALLOC_FL_ZERO_RANGE: found = fss::AllocateMode::kZeroRangeKeepSize; return true;
    default: return false;
  }
}

}  // namespace

struct FuseOperations {
  static FuseServer& ServerOf(fuse_req_t request) {
    return *static_cast<FuseServer*>(fuse_req_userdata(request));
  }

  static void Init(void* server, fuse_conn_info* connection) {
    static_cast<FuseServer*>(server)->Configure(*connection);
  }

  static void Lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
    FuseServer& server = ServerOf(request);
    server.Spawn(server.ServeLookup(request, parent, name));
  }

  static void Forget(fuse_req_t request, fuse_ino_t inode, uint64_t count) {
    ServerOf(request).tree_.Forget(inode, count);
    fuse_reply_none(request);
  }

  static void ForgetMany(fuse_req_t request, size_t count, fuse_forget_data* forgets) {
    FuseServer& server = ServerOf(request);
    for (size_t i = 0; i < count; ++i) server.tree_.Forget(forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(request);
  }

  static void GetAttributes(fuse_req_t request, fuse_ino_t inode, fuse_file_info*) {
    FuseServer& server = ServerOf(request);
    server.Spawn(server.ServeGetAttributes(request, inode));
  }

  static void SetAttributes(fuse_req_t request, fuse_ino_t inode, struct stat* wanted, int what,
                            fuse_file_info*) {
    FuseServer& server = ServerOf(request);
    fss::AttributeChange change = ChangeOf(*wanted, what, server.executor_.WallMicroseconds());
    // A kernel that delays writes sends every time that is to change, and relies on the others.
    change.keeps_times = server.options_.writeback_cache;
    server.Spawn(server.ServeSetAttributes(request, inode, change));
  }

  static void ReadSymlink(fuse_req_t request, fuse_ino_t inode) {
    FuseServer& server = ServerOf(request);
    server.Spawn(server.ServeReadSymlink(request, inode));
  }

  // Devices, pipes and sockets have no place on a datastore.
  static void MakeNode(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
                       dev_t) {
    FuseServer& server = ServerOf(request);
    if (!S_ISREG(mode)) {
      fuse_reply_err(request, EPERM);
      return;
    }
    server.Spawn(server.ServeMakeNode(request, parent, name, mode));
  }

  static void MakeDirectory(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
    FuseServer& server = ServerOf(request);
    server.Spawn(server.ServeMakeDirectory(request, parent, name, mode));
  }

  static void MakeSymlink(fuse_req_t request, const char* target, fuse_ino_t parent,
                          const char* name) {
    FuseServer& server = ServerOf(request);
    server.Spawn(server.ServeMakeSymlink(request, parent, name, target));
  }

  static void Unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
    FuseServer& server = ServerOf(request);
    server.Spawn(server.ServeRemove(request, parent, name, /*directory=*/false));
  }

  static void RemoveDirectory(fuse_req_t request, fuse_ino_t parent, const char* name) {
    FuseServer& server = ServerOf(request);
    server.Spawn(server.ServeRemove(request, parent, name, /*directory=*/true));
  }

  static void Rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
                     const char* new_name, unsigned flags) {
    FuseServer& server = ServerOf(request);
    server.Spawn(server.ServeRename(request, parent, name, new_parent, new_name, flags));
  }

  // A descriptor of VMFS has one parent field: there are no hard links.
  static void Link(fuse_req_t request, fuse_ino_t, fuse_ino_t, const char*) {
    fuse_reply_err(request, EPERM);
  }

  static void Open(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info) {
    FuseServer& server = ServerOf(request);
    server.Spawn(server.ServeOpen(request, inode, info->flags));
  }

  static void Create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
                     fuse_file_info* info) {
    FuseServer& server = ServerOf(request);
    server.Spawn(server.ServeCreate(request, parent, name, mode, info->flags));
  }

  static void Read(fuse_req_t request, fuse_ino_t, size_t size, off_t offset,
                   fuse_file_info* info) {
    FuseServer& server = ServerOf(request);
    if (size > RequestBuffers::kPayloadBytesMax) {
      fuse_reply_err(request, EINVAL);
      return;
    }
    ++server.figures_.reads;
    server.Spawn(server.ServeRead(request, OpenOf(info), size, static_cast<uint64_t>(offset),
                                  server.KeepBuffer()));
  }

  static void Write(fuse_req_t request, fuse_ino_t, const char* bytes, size_t size, off_t offset,
                    fuse_file_info* info) {
    FuseServer& server = ServerOf(request);
    ++server.figures_.writes;
    auto* payload = reinterpret_cast<std::byte*>(const_cast<char*>(bytes));
    server.Spawn(server.ServeWrite(request, OpenOf(info), {payload, size},
                                   static_cast<uint64_t>(offset), info->writepage != 0,
                                   server.KeepBuffer()));
  }

  static void Release(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
    FuseServer& server = ServerOf(request);
    server.Spawn(server.ServeRelease(request, OpenOf(info)));
  }

  static void Sync(fuse_req_t request, fuse_ino_t, int data_only, fuse_file_info* info) {
    FuseServer& server = ServerOf(request);
    server.Spawn(server.ServeSync(request, OpenOf(info), data_only != 0));
  }

  // ENOSYS lets the kernel open directories, and cache their listings, without asking again.
  static void OpenDirectory(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
    if (ServerOf(request).options_.cache_listings) {
      fuse_reply_err(request, ENOSYS);
    } else {
      fuse_reply_open(request, info);
    }
  }

  static void ReadDirectory(fuse_req_t request, fuse_ino_t inode, size_t size, off_t cursor,
                            fuse_file_info*) {
    FuseServer& server = ServerOf(request);
    server.Spawn(server.ServeReadDirectory(request, inode, size, cursor));
  }

  static void ReadDirectoryPlus(fuse_req_t request, fuse_ino_t inode, size_t size, off_t cursor,
                                fuse_file_info*) {
    FuseServer& server = ServerOf(request);
    server.Spawn(server.ServeReadDirectoryPlus(request, inode, size, cursor));
  }

  static void SyncDirectory(fuse_req_t request, fuse_ino_t inode, int, fuse_file_info*) {
    FuseServer& server = ServerOf(request);
    server.Spawn(server.ServeSyncDirectory(request, inode));
  }

  static void StatFs(fuse_req_t request, fuse_ino_t inode) {
    FuseServer& server = ServerOf(request);
    server.Spawn(server.ServeStatFs(request, inode));
  }

  static void Allocate(fuse_req_t request, fuse_ino_t, int mode, off_t offset, off_t length,
                       fuse_file_info* info) {
    FuseServer& server = ServerOf(request);
    fss::AllocateMode known;
    if (!AllocateModeOf(mode, known)) {
      fuse_reply_err(request, EOPNOTSUPP);
      return;
    }
    server.Spawn(server.ServeAllocate(request, OpenOf(info), known, static_cast<uint64_t>(offset),
                                      static_cast<uint64_t>(length)));
  }

  // The kernel answers all but SEEK_DATA and SEEK_HOLE itself.
  static void Seek(fuse_req_t request, fuse_ino_t, off_t offset, int whence, fuse_file_info* info) {
    FuseServer& server = ServerOf(request);
    const fss::SeekKind kind = whence == SEEK_DATA ? fss::SeekKind::kData : fss::SeekKind::kHole;
    if (offset < 0 || (whence != SEEK_DATA && whence != SEEK_HOLE)) {
      fuse_reply_err(request, offset < 0 ? ENXIO : EINVAL);
      return;
    }
    server.Spawn(server.ServeSeek(request, OpenOf(info), kind, static_cast<uint64_t>(offset)));
  }

  // What is left out answers ENOSYS, which the kernel remembers: FLUSH (its work is done by the
  // kernel itself), extended attributes, locks (kept by the kernel), copy_file_range (copied by
  // the kernel).
  static fuse_lowlevel_ops MakeTable() {
    fuse_lowlevel_ops table{};
    table.init = Init;
    table.lookup = Lookup;
    table.forget = Forget;
    table.forget_multi = ForgetMany;
    table.getattr = GetAttributes;
    table.setattr = SetAttributes;
    table.readlink = ReadSymlink;
    table.mknod = MakeNode;
    table.mkdir = MakeDirectory;
    table.symlink = MakeSymlink;
    table.unlink = Unlink;
    table.rmdir = RemoveDirectory;
    table.rename = Rename;
    table.link = Link;
    table.open = Open;
    table.create = Create;
    table.read = Read;
    table.write = Write;
    table.release = Release;
    table.fsync = Sync;
    table.opendir = OpenDirectory;
    table.readdir = ReadDirectory;
    table.readdirplus = ReadDirectoryPlus;
    table.fsyncdir = SyncDirectory;
    table.statfs = StatFs;
    table.fallocate = Allocate;
    table.lseek = Seek;
    return table;
  }
};

const fuse_lowlevel_ops& OperationsTable() {
  static const fuse_lowlevel_ops table = FuseOperations::MakeTable();
  return table;
}

}  // namespace stratad
