// Requests about open files.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include <fcntl.h>

#include "fs/base/check.h"
#include "fs/base/log.h"
#include "fs/daemon/fuse_api.h"
#include "fs/daemon/thread_call.h"

namespace stratad {
namespace {

fss::OpenMode ModeOf(int flags) {
  return (flags & O_ACCMODE) == O_RDONLY ? fss::OpenMode::kRead : fss::OpenMode::kWrite;
}

uint64_t HandleOf(OpenFile* open) {
  return reinterpret_cast<uint64_t>(open);
}

// The answer of FUSE_OPEN. Filled by hand: this libfuse has no member for parallel direct writes.
fuse_open_out OpenReply(OpenFile* open, uint32_t flags) {
  fuse_open_out reply{};
  reply.fh = HandleOf(open);
  reply.open_flags = flags;
  return reply;
}

// The answer of FUSE_CREATE is an entry followed by that of FUSE_OPEN.
struct CreateReply {
  fuse_entry_out entry;
  fuse_open_out open;
};

static_assert(sizeof(CreateReply) == sizeof(fuse_entry_out) + sizeof(fuse_open_out));

fuse_attr ToWire(const struct stat& status) {
  fuse_attr attr{};
  attr.ino = status.st_ino;
  attr.size = static_cast<uint64_t>(status.st_size);
  attr.blocks = static_cast<uint64_t>(status.st_blocks);
  attr.atime = static_cast<uint64_t>(status.st_atim.tv_sec);
  attr.mtime = static_cast<uint64_t>(status.st_mtim.tv_sec);
  attr.ctime = static_cast<uint64_t>(status.st_ctim.tv_sec);
  attr.atimensec = static_cast<uint32_t>(status.st_atim.tv_nsec);
  attr.mtimensec = static_cast<uint32_t>(status.st_mtim.tv_nsec);
  attr.ctimensec = static_cast<uint32_t>(status.st_ctim.tv_nsec);
  attr.mode = status.st_mode;
  attr.nlink = static_cast<uint32_t>(status.st_nlink);
  attr.uid = status.st_uid;
  attr.gid = status.st_gid;
  attr.blksize = static_cast<uint32_t>(status.st_blksize);
  return attr;
}

fuse_entry_out ToWire(const fuse_entry_param& entry) {
  fuse_entry_out wire{};
  wire.nodeid = entry.ino;
  wire.generation = entry.generation;
  wire.entry_valid = static_cast<uint64_t>(entry.entry_timeout);
  wire.attr_valid = static_cast<uint64_t>(entry.attr_timeout);
  wire.attr = ToWire(entry.attr);
  return wire;
}

template <typename Reply>
int ReplyBytes(fuse_req_t request, const Reply& reply) {
  return fuse_reply_buf(request, reinterpret_cast<const char*>(&reply), sizeof(reply));
}

}  // namespace

OpenFile* FuseServer::Register(Inode inode, std::unique_ptr<fss::File> file, int flags) {
  auto open = std::make_unique<OpenFile>();
  open->file = std::move(file);
  open->inode = inode;
  open->shared = &open_inodes_[inode];
  open->may_write = (flags & O_ACCMODE) != O_RDONLY;
  ++open->shared->open_count;
  if (open->may_write) ++open->shared->writer_count;
  open->losses_at_open = open->shared->loss_count;
  OpenFile* handle = open.get();
  open_files_.emplace(handle, std::move(open));
  return handle;
}

std::unique_ptr<OpenFile> FuseServer::Unregister(OpenFile* open) {
  const auto found = open_files_.find(open);
  CHECK(found != open_files_.end());
  std::unique_ptr<OpenFile> owned = std::move(found->second);
  open_files_.erase(found);
  if (owned->may_write) --owned->shared->writer_count;
  if (--owned->shared->open_count == 0) open_inodes_.erase(owned->inode);
  owned->shared = nullptr;
  return owned;
}

// A caller that asks for direct I/O gets it end to end, with writes side by side; the kernel allows
// those only to handles that bypass its cache altogether.
uint32_t FuseServer::OpenFlags(Inode inode, int flags) {
  if (options_.direct_io || (flags & O_DIRECT) || !tree_.MayCacheData(inode)) {
    return FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
  }
  const bool changed = changed_inodes_.erase(inode) > 0;
  return changed || options_.changed_by_others ? 0 : FOPEN_KEEP_CACHE;
}

void FuseServer::NoteLoss(OpenFile& open, const base::Error& error) {
  ++figures_.lost_writes;
  ++open.shared->loss_count;
  open.shared->loss = error;
  base::LogError("fuse", "a delayed write was lost inode={}: {}", open.inode, error.message());
}

base::Task<void> FuseServer::ServeOpen(fuse_req_t request, Inode inode, int flags) {
  const InFlight in_flight(*this);
  base::Result<std::unique_ptr<fss::File>> opened = co_await tree_.Open(inode, ModeOf(flags));
  if (!opened) {
    ReplyError(request, opened.error());
    co_return;
  }
  OpenFile* open = Register(inode, std::move(*opened), flags);
  const fuse_open_out reply = OpenReply(open, OpenFlags(inode, flags));
  if (ReplyBytes(request, reply) == 0) co_return;
  const std::unique_ptr<OpenFile> unwanted = Unregister(open);
  const base::Status closed = co_await unwanted->file->Close();
  if (!closed) base::LogError("fuse", "closing a file: {}", closed.error().message());
}

base::Task<void> FuseServer::ServeCreate(fuse_req_t request, Inode parent,
                                         const char* received_name, mode_t mode, int flags) {
  const InFlight in_flight(*this);
  const std::string name(received_name);
  const base::Result<fss::NewInode> owner = co_await OwnerOfNew(request, parent, mode, false);
  if (!owner) {
    ReplyError(request, owner.error());
    co_return;
  }
  base::Result<fss::Attributes> made = co_await tree_.CreateFile(parent, name, *owner);
  if (!made && made.error().code() == base::Code::kExists && !(flags & O_EXCL)) {
    made = co_await tree_.Lookup(parent, name);
  }
  if (!made) {
    ReplyError(request, made.error());
    co_return;
  }
  base::Result<std::unique_ptr<fss::File>> opened = co_await tree_.Open(made->inode, ModeOf(flags));
  if (!opened) {
    tree_.Forget(made->inode, 1);
    ReplyError(request, opened.error());
    co_return;
  }
  OpenFile* open = Register(made->inode, std::move(*opened), flags);
  CreateReply reply{};
  reply.entry = ToWire(EntryOf(*made));
  reply.open = OpenReply(open, OpenFlags(made->inode, flags));
  if (ReplyBytes(request, reply) == 0) co_return;
  tree_.Forget(made->inode, 1);
  const std::unique_ptr<OpenFile> unwanted = Unregister(open);
  const base::Status closed = co_await unwanted->file->Close();
  if (!closed) base::LogError("fuse", "closing a file: {}", closed.error().message());
}

base::Task<void> FuseServer::ServeRead(fuse_req_t request, OpenFile* open, uint64_t size_bytes,
                                       uint64_t offset_bytes, std::byte* buffer) {
  const InFlight in_flight(*this);
  const base::IoVec piece{RequestBuffers::PayloadOf(buffer), size_bytes};
  base::IoRequest transfer;
  transfer.offset_bytes = offset_bytes;
  transfer.buffers = {&piece, 1};
  const base::Result<uint64_t> count = co_await open->file->Read(transfer);
  if (count) {
    figures_.read_bytes += *count;
    fuse_reply_buf(request, reinterpret_cast<const char*>(piece.data), *count);
  } else {
    ReplyError(request, count.error());
  }
  ReleaseBuffer(buffer);
}

base::Task<void> FuseServer::ServeWrite(fuse_req_t request, OpenFile* open, base::IoVec payload,
                                        uint64_t offset_bytes, bool delayed, std::byte* buffer) {
  const InFlight in_flight(*this);
  base::IoRequest transfer;
  transfer.offset_bytes = offset_bytes;
  transfer.buffers = {&payload, 1};
  transfer.keeps_times = delayed && options_.writeback_cache;
  base::Result<uint64_t> count = co_await open->file->Write(transfer);
  // The kernel has told the writer long ago that all of a delayed write was done.
  if (delayed && count && *count < payload.size_bytes) count = base::Code::kNoSpace;
  if (delayed && !count) NoteLoss(*open, count.error());
  if (count) {
    figures_.written_bytes += *count;
    fuse_reply_write(request, *count);
  } else {
    ReplyError(request, count.error());
  }
  ReleaseBuffer(buffer);
}

base::Task<void> FuseServer::ServeRelease(fuse_req_t request, OpenFile* open) {
  const InFlight in_flight(*this);
  const std::unique_ptr<OpenFile> owned = Unregister(open);
  const base::Status closed = co_await owned->file->Close();
  if (!closed) base::LogError("fuse", "closing a file: {}", closed.error().message());
  ReplyStatus(request, closed);
}

base::Task<void> FuseServer::ServeSync(fuse_req_t request, OpenFile* open, bool data_only) {
  const InFlight in_flight(*this);
  base::Status synced = co_await open->file->Sync(data_only);
  if (open->lost_data()) synced = *open->shared->loss;
  ReplyStatus(request, synced);
}

base::Task<void> FuseServer::ServeAllocate(fuse_req_t request, OpenFile* open,
                                           fss::AllocateMode mode, uint64_t offset_bytes,
                                           uint64_t length_bytes) {
  const InFlight in_flight(*this);
  base::Task<base::Status> allocation =
      options_.writeback_cache ? open->file->AllocateKeepingTimes(mode, offset_bytes, length_bytes)
                               : open->file->Allocate(mode, offset_bytes, length_bytes);
  const base::Status allocated = co_await std::move(allocation);
  ReplyStatus(request, allocated);
}

// The kernel asks for data and holes without sending what it still delays, which would then count
// as a hole, or as past the end: a copy would lose it. Forgetting the inode's pages sends them
// first. Only an open writer leaves such pages behind, since close(2) and munmap(2) send them.
base::Task<void> FuseServer::CollectDelayedWrites(const OpenFile& open) {
  if (options_.direct_io || open.shared->writer_count == 0) co_return;
  ThreadCall call(executor_, [session = session_, inode = open.inode] {
    return fuse_lowlevel_notify_inval_inode(session, inode, 0, 0);
  });
  co_await call;
}

base::Task<void> FuseServer::ServeSeek(fuse_req_t request, OpenFile* open, fss::SeekKind kind,
                                       uint64_t offset_bytes) {
  const InFlight in_flight(*this);
  co_await CollectDelayedWrites(*open);
  const base::Result<uint64_t> found = co_await open->file->Seek(kind, offset_bytes);
  if (!found) {
    ReplyError(request, found.error());
    co_return;
  }
  fuse_reply_lseek(request, static_cast<off_t>(*found));
}

}  // namespace stratad
