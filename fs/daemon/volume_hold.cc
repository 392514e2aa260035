#include "fs/daemon/volume_hold.h"

#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

#include "vmfs/format/heartbeat_slot.h"
#include "vmfs/lock/heartbeat.h"

namespace stratad {
namespace {

// One byte per heartbeat slot.
struct flock GuardBytes(short type) {
  struct flock range {};

  range.l_type = type;
  range.l_whence = SEEK_SET;
  range.l_start = static_cast<off_t>(vmfs::kGuardByteOffset);
  range.l_len = static_cast<off_t>(vmfs::kHeartbeatSlotCount);
  return range;
}

}  // namespace

VolumeHold::~VolumeHold() {
  for (const int descriptor : descriptors_) close(descriptor);
}

base::Result<std::optional<VolumeHolder>> VolumeHold::Take(std::span<const std::string> paths,
                                                            bool exclusive) {
  for (const std::string& path : paths) {
    TRY(const std::optional<VolumeHolder> holder, TakeOne(path, exclusive));
    if (holder) return holder;
  }
  return std::optional<VolumeHolder>();
}

base::Result<std::optional<VolumeHolder>> VolumeHold::TakeOne(const std::string& path,
                                                               bool exclusive) {
  const int descriptor = open(path.c_str(), (exclusive ? O_RDWR : O_RDONLY) | O_CLOEXEC);
  if (descriptor < 0) return base::ErrnoError(errno, "open " + path);
  descriptors_.push_back(descriptor);
  const short type = exclusive ? F_WRLCK : F_RDLCK;
  struct flock wanted = GuardBytes(type);
  if (fcntl(descriptor, F_OFD_SETLK, &wanted) == 0) return std::optional<VolumeHolder>();
  if (errno != EAGAIN && errno != EACCES) return base::ErrnoError(errno, "lock " + path);
  struct flock found = GuardBytes(type);
  if (fcntl(descriptor, F_OFD_GETLK, &found) != 0) return base::ErrnoError(errno, "lock " + path);
  // A daemon locks the one byte of its slot, a check or a repair all of them. What was let go of in
  // between was on the way out.
  VolumeHolder holder;
  const bool is_one_byte = found.l_type != F_UNLCK && found.l_len == 1;
  if (is_one_byte) {
    holder.slot = static_cast<uint32_t>(static_cast<uint64_t>(found.l_start) -
                                        vmfs::kGuardByteOffset);
  }
  return std::optional<VolumeHolder>(holder);
}

}  // namespace stratad
