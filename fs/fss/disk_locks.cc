#include "fs/fss/disk_locks.h"

#include <array>
#include <cerrno>
#include <span>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "fs/base/check.h"
#include "fs/fss/posix_calls.h"

namespace fss {
namespace {

constexpr int64_t kUsedBase = 100;
constexpr int64_t kRefusedBase = 200;

// Permissions by their number: 0 consistent read, 1 write, 2 write unchanged bytes, 3 resize.
constexpr int64_t kRead = 0;
constexpr int64_t kWrite = 1;
constexpr int64_t kResize = 3;

constexpr std::array<int64_t, 1> kReaderUses = {kRead};
constexpr std::array<int64_t, 3> kWriterUses = {kRead, kWrite, kResize};
// Nobody else writes or resizes, whether this one reads or writes.
constexpr std::array<int64_t, 2> kRefused = {kWrite, kResize};

std::span<const int64_t> UsedBy(bool writes) {
  return writes ? std::span<const int64_t>(kWriterUses) : std::span<const int64_t>(kReaderUses);
}

std::string_view NameOf(int64_t permission) {
  if (permission == kRead) return "reading";
  return permission == kWrite ? "writing" : "resizing";
}

struct flock ByteLock(int type, int64_t byte) {
  struct flock lock {};

  lock.l_type = static_cast<short>(type);
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return lock;
}

base::Status SetByte(int descriptor, int type, int64_t byte) {
  struct flock lock = ByteLock(type, byte);
  if (fcntl(descriptor, F_OFD_SETLK, &lock) == 0) return base::Ok();
  if (errno == EAGAIN || errno == EACCES) {
    return base::Error(base::Code::kLockHeld, "another process is locking the disk");
  }
  return base::ErrnoError(errno, "posix driver: lock");
}

// Whether another open file description has the byte, however it locked it.
base::Result<bool> IsTaken(int descriptor, int64_t byte) {
  struct flock lock = ByteLock(F_WRLCK, byte);
  if (fcntl(descriptor, F_OFD_GETLK, &lock) != 0) {
    return base::ErrnoError(errno, "posix driver: test a lock");
  }
  return lock.l_type != F_UNLCK;
}

base::Status CheckOthers(int descriptor, bool writes) {
  for (const int64_t permission : UsedBy(writes)) {
    TRY(const bool is_refused, IsTaken(descriptor, kRefusedBase + permission));
    if (!is_refused) continue;
    return base::Error(base::Code::kLockHeld,
                       fmt::format("another process, such as QEMU, has the disk open and allows "
                                   "no {} (its lock on byte {})",
                                   NameOf(permission), kRefusedBase + permission));
  }
  for (const int64_t permission : kRefused) {
    TRY(const bool is_used, IsTaken(descriptor, kUsedBase + permission));
    if (!is_used) continue;
    return base::Error(base::Code::kLockHeld,
                       fmt::format("another process, such as QEMU, has the disk open for {} (its "
                                   "lock on byte {})",
                                   NameOf(permission), kUsedBase + permission));
  }
  return base::Ok();
}

// First the bytes, then the question, so that of two that come together at least one is refused.
base::Status Lock(int descriptor, bool writes) {
  for (const int64_t permission : UsedBy(writes)) {
    TRY_STATUS(SetByte(descriptor, F_RDLCK, kUsedBase + permission));
  }
  for (const int64_t permission : kRefused) {
    TRY_STATUS(SetByte(descriptor, F_RDLCK, kRefusedBase + permission));
  }
  return CheckOthers(descriptor, writes);
}

// Back to what a reader has.
void UnlockWriting(int descriptor) {
  for (const int64_t permission : {kWrite, kResize}) {
    const base::Status unlocked = SetByte(descriptor, F_UNLCK, kUsedBase + permission);
    static_cast<void>(unlocked);  // letting go of a lock cannot be refused
  }
}

}  // namespace

DiskLocks::~DiskLocks() {
  CHECK(entries_.empty());
}

base::Result<DiskLocks::Hold> DiskLocks::Acquire(uint64_t host_inode, int descriptor, bool writes) {
  const auto [place, is_new] = entries_.try_emplace(host_inode);
  Entry& entry = place->second;
  base::Status locked = base::Ok();
  if (is_new) {
    const base::Result<int> opened = posix::OpenForIo(descriptor, /*writable=*/false);
    if (opened) entry.descriptor = *opened;
    locked = opened ? Lock(entry.descriptor, writes) : base::Status(opened.error());
  } else if (writes && entry.writer_count == 0) {
    locked = Lock(entry.descriptor, /*writes=*/true);
    if (!locked) UnlockWriting(entry.descriptor);
  }
  if (!locked) {
    if (is_new) {
      if (entry.descriptor >= 0) close(entry.descriptor);
      entries_.erase(place);
    }
    return locked.error();
  }
  ++(writes ? entry.writer_count : entry.reader_count);
  return Hold(*this, host_inode, writes);
}

void DiskLocks::Release(uint64_t host_inode, bool writes) {
  const auto found = entries_.find(host_inode);
  CHECK(found != entries_.end());
  Entry& entry = found->second;
  --(writes ? entry.writer_count : entry.reader_count);
  if (entry.reader_count + entry.writer_count == 0) {
    close(entry.descriptor);
    entries_.erase(found);
  } else if (writes && entry.writer_count == 0) {
    UnlockWriting(entry.descriptor);
  }
}

}  // namespace fss
