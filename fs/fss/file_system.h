// The file-system switch: `FileSystem` and `File`, the contract of every driver (vmfs, posix,
// devfs).
//
// Inode based, so that the FUSE session needs no path walk. Thread rule: all calls on the one
// executor that mounted the file system; many may be in flight. Names are bytes of UTF-8 without
// '/'; "." and ".." are never passed. Every error is a `base::Code`; its errno is the answer a
// local file system would give.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace fss {

// Stable for the life of an inode, unique within one FileSystem; fits in 32 bits on VMFS.
using InodeNumber = uint64_t;

enum class FileType : uint8_t { kRegular, kDirectory, kSymlink, kBlockDevice };

struct Attributes {
  InodeNumber inode = 0;
  uint64_t generation = 0;  // of the inode number; changes when the number is used again
  FileType type = FileType::kRegular;
  uint32_t mode = 0;        // permission bits with setuid, setgid, sticky; no type bits
  uint32_t link_count = 1;
  uint32_t uid = 0, gid = 0;
  uint64_t size_bytes = 0;
  uint64_t allocated_bytes = 0;   // what st_blocks counts
  uint32_t block_size_bytes = 4096;
  // Whole microseconds since 1970. Drivers that keep seconds answer multiples of 1,000,000.
  uint64_t modified_us = 0, changed_us = 0, accessed_us = 0;
};

// What SetAttributes changes; unset members stay. `now` means the driver's clock.
struct AttributeChange {
  std::optional<uint32_t> mode;
  std::optional<uint32_t> uid, gid;
  std::optional<uint64_t> size_bytes;
  std::optional<uint64_t> modified_us, accessed_us, changed_us;
  bool keeps_times = false;  // regular files: the caller, who owns the times, gives all that change
};
static_assert(std::is_trivially_destructible_v<AttributeChange>);

// The owner and mode bits of something new.
struct NewInode {
  uint32_t mode = 0644;
  uint32_t uid = 0, gid = 0;
};

// The whole new content of a file.
struct Replacement {
  InodeNumber inode = 0;
  std::string_view contents;
};

// Of all contents that are replaced together.
constexpr uint64_t kReplacementBytesMax = uint64_t{64} << 10;

// A LUN as a raw device map names it.
struct RawDevice {
  std::string_view id;  // what the device calls itself: "naa.6000…"
  uint64_t size_bytes = 0;
};

// Who holds an inode's lock on the medium, and how; as it stands there at this moment.
struct LockState {
  enum class Mode : uint8_t { kFree, kExclusive, kReadOnly, kMultiWriter };

  struct Owner {
    std::string host_uuid;
    std::string mac;  // the part of the UUID that is an address: "00:0c:29:80:16:86"
    uint64_t heartbeat_address = 0;
    uint64_t heartbeat_generation = 0;
  };

  Mode mode = Mode::kFree;
  uint64_t address = 0;  // of the lock, in the volume
  uint64_t token = 0;    // changes with every change of the lock
  std::vector<Owner> owners;
};

struct DirectoryEntry {
  std::string_view name;  // valid during the call that hands it out
  InodeNumber inode = 0;
  FileType type = FileType::kRegular;
  uint64_t next_cursor = 0;  // pass to go on behind this entry
};

// Takes directory entries one by one. Answers false when it is full: the entry was not taken.
class DirectorySink {
 public:
  virtual ~DirectorySink() = default;
  virtual bool Add(const DirectoryEntry& entry) = 0;
};

struct StatFs {
  uint64_t block_size_bytes = 0;
  uint64_t blocks_total = 0, blocks_free = 0;
  uint64_t files_total = 0, files_free = 0;
  uint32_t name_bytes_max = 0;
};

// VMFS lock modes: what other hosts may do while a file is open (vmfs/FORMAT.md, "Locks"). A disk
// open exclusively is nobody else's to open; one that is shared may be read by all, and modified by
// none. Either lock is given back by the last such close.
enum class OpenMode : uint8_t { kRead, kWrite, kExclusiveDisk, kSharedDisk };

// Whether an open of this mode may write. kSharedDisk reads: it keeps writers out.
constexpr bool Writes(OpenMode mode) {
  return mode == OpenMode::kWrite || mode == OpenMode::kExclusiveDisk;
}

enum class AllocateMode : uint8_t {
  kAllocate,          // blocks for the range; grows the file
  kAllocateKeepSize,  // blocks for the range; the length stays
  kPunchHole,         // free what can be freed; the range reads as zeros; the length stays
  kZeroRange,         // the range reads as zeros; grows the file
  kZeroRangeKeepSize,
};

enum class SeekKind : uint8_t { kData, kHole };

// An open file. Bytes, not blocks: any offset and length. Destroying it gives the open back.
class File {
 public:
  virtual ~File() = default;

  virtual InodeNumber inode() const = 0;

  // The length now.
  virtual uint64_t size_bytes() const = 0;

  // Reads up to the end of the file; answers the number of bytes read. Errors: kIo, kCorrupt …
  virtual base::Task<base::Result<uint64_t>> Read(base::IoRequest request) = 0;

  // Writes all of it, growing the file where needed; answers the number of bytes written, less than
  // asked only when the volume ran full behind the first byte. Errors: kNoSpace, kTooLarge, kIo.
  virtual base::Task<base::Result<uint64_t>> Write(base::IoRequest request) = 0;

  // Makes data and attributes durable (fsync). `data_only`: fdatasync.
  virtual base::Task<base::Status> Sync(bool data_only) = 0;

  virtual base::Task<base::Status> Allocate(AllocateMode mode, uint64_t offset_bytes,
                                            uint64_t length_bytes) = 0;

  // The same for a caller who sets the times itself, as a kernel that delays writes does: they stay
  // as they are. Drivers whose times somebody else keeps too set them all the same.
  virtual base::Task<base::Status> AllocateKeepingTimes(AllocateMode mode, uint64_t offset_bytes,
                                                        uint64_t length_bytes) {
    return Allocate(mode, offset_bytes, length_bytes);
  }

  // SEEK_DATA / SEEK_HOLE. Error kNoData: nothing behind the offset (ENXIO).
  virtual base::Task<base::Result<uint64_t>> Seek(SeekKind kind, uint64_t offset_bytes) = 0;

  // The states of a range for copies and exports; holes in the file are kHole.
  virtual base::Task<base::Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                             std::vector<base::MapRun>& runs) = 0;

  // Copies `length_bytes` from `source` inside the kernel, sharing blocks where the file system
  // can. Answers the bytes copied: fewer only where the source ended. Error kUnsupported, with
  // nothing copied: not two files of one host; read and write then.
  virtual base::Task<base::Result<uint64_t>> CopyFrom(File& source, uint64_t source_offset_bytes,
                                                      uint64_t offset_bytes,
                                                      uint64_t length_bytes) {
    static_cast<void>(source);
    static_cast<void>(source_offset_bytes);
    static_cast<void>(offset_bytes);
    static_cast<void>(length_bytes);
    co_return base::Error(base::Code::kUnsupported, "copy inside the kernel");
  }

  // The driver's own file, past all filters: for CopyFrom.
  virtual File& driver_file() { return *this; }

  // Gives the open back and answers late errors. Must be called before destruction.
  virtual base::Task<base::Status> Close() = 0;
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;

  virtual InodeNumber root() const = 0;
  virtual const std::string& label() const = 0;
  virtual const std::string& uuid() const = 0;
  virtual bool read_only() const = 0;

  // Finds `name` in `parent`. A success adds one to the inode's lookup count (see Forget).
  // Errors: kNotFound, kNotDirectory.
  virtual base::Task<base::Result<Attributes>> Lookup(InodeNumber parent,
                                                      std::string_view name) = 0;

  // Takes back `count` lookups; at 0 the driver may drop what it keeps in memory.
  virtual void Forget(InodeNumber inode, uint64_t count) = 0;

  virtual base::Task<base::Result<Attributes>> GetAttributes(InodeNumber inode) = 0;
  virtual base::Task<base::Result<Attributes>> SetAttributes(InodeNumber inode,
                                                             AttributeChange change) = 0;

  // Makes something new; each answers it with one lookup counted.
  // Errors: kExists, kNoSpace, kNameTooLong, kNameInvalid, kNotPermitted, kReadOnly.
  virtual base::Task<base::Result<Attributes>> CreateFile(InodeNumber parent,
                                                          std::string_view name,
                                                          NewInode attributes) = 0;
  virtual base::Task<base::Result<Attributes>> MakeDirectory(InodeNumber parent,
                                                             std::string_view name,
                                                             NewInode attributes) = 0;
  virtual base::Task<base::Result<Attributes>> MakeSymlink(InodeNumber parent,
                                                           std::string_view name,
                                                           std::string_view target,
                                                           NewInode attributes) = 0;

  virtual base::Task<base::Result<std::string>> ReadSymlink(InodeNumber inode) = 0;

  // Removes a name. An open or looked-up file lives on without a name until the last close and
  // forget. Errors: kNotFound, kIsDirectory / kNotDirectory, kNotEmpty, kNotPermitted, kLockHeld.
  virtual base::Task<base::Status> Unlink(InodeNumber parent, std::string_view name) = 0;
  virtual base::Task<base::Status> RemoveDirectory(InodeNumber parent, std::string_view name) = 0;

  // Moves a name, replacing what stands at the target (POSIX rules). `no_replace`: kExists instead.
  virtual base::Task<base::Status> Rename(InodeNumber from_parent, std::string_view from_name,
                                          InodeNumber to_parent, std::string_view to_name,
                                          bool no_replace) = 0;

  virtual base::Task<base::Result<std::unique_ptr<File>>> Open(InodeNumber inode,
                                                               OpenMode mode) = 0;

  // Replaces the whole content of each file, in place: inode, owner, mode and locks stay, and open
  // files see the new bytes. After a crash all files have the new content, or none has; durable
  // when answered. For descriptors and the like: small files, few at a time. The texts outlive the
  // call. Errors: kUnsupported (not by this driver), kTooLarge (together over kReplacementBytesMax,
  // or the files are too large now or too many for one step), kInvalidArgument (a file twice, or
  // something else than a file), kNoSpace, kLockHeld, kReadOnly, kStale, kIo …
  virtual base::Task<base::Status> ReplaceContents(std::span<const Replacement> replacements) {
    static_cast<void>(replacements);
    co_return base::Code::kUnsupported;
  }

  // Makes a raw device map: shown as a regular file of the device's size that cannot be opened,
  // truncated or read, since its data is on another LUN. Errors: as CreateFile, kUnsupported (not
  // by this driver), kInvalidArgument (no id, or one that is too long).
  virtual base::Task<base::Result<Attributes>> MakeRawDeviceMap(InodeNumber parent,
                                                                std::string_view name,
                                                                RawDevice device,
                                                                NewInode attributes) {
    static_cast<void>(parent), static_cast<void>(name);
    static_cast<void>(device), static_cast<void>(attributes);
    co_return base::Code::kUnsupported;
  }

  // The id of the device that a raw device map stands for; its size is the inode's.
  // Errors: kUnsupported (not by this driver), kInvalidArgument (no raw device map), kCorrupt, kIo.
  virtual base::Task<base::Result<std::string>> GetRawDeviceId(InodeNumber inode) {
    static_cast<void>(inode);
    co_return base::Code::kUnsupported;
  }

  // Reads an inode's lock from the medium. Errors: kUnsupported (no such locks here), kCorrupt,
  // kIo.
  virtual base::Task<base::Result<LockState>> GetLockState(InodeNumber inode) {
    static_cast<void>(inode);
    co_return base::Code::kUnsupported;
  }

  // Hands out entries behind `cursor` (0 = start; "." and ".." included) until the sink is full or
  // the directory ends. Entries that stand during the whole walk come exactly once.
  virtual base::Task<base::Status> ReadDirectory(InodeNumber inode, uint64_t cursor,
                                                 DirectorySink& sink) = 0;

  virtual base::Task<base::Result<StatFs>> GetStatFs() = 0;

  // Makes everything durable (syncfs; fsync of a directory).
  virtual base::Task<base::Status> SyncAll() = 0;

  // Clean end: everything durable, locks given back. No call may follow.
  virtual base::Task<base::Status> Unmount() = 0;
};

}  // namespace fss
