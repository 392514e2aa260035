// `ObjectBackend`: where a disk's parts live. Disklib names objects by path and never touches a
// file system itself, so that the same code runs over a volume in the daemon, over an unmounted
// volume in a program, over a host folder, and over object stores.
//
// An object is a growable row of bytes with the contract of `fss::File`: any offset and length,
// holes, allocation, MapStatus. Paths are relative to the back end's root: "vm/vm-flat.vmdk",
// separated by '/', no "." or ".." (`names.h` makes such paths from what a descriptor says).
// Whatever a path passes through, a back end never leads out of its root.
// Thread rule: all calls on the executor of the file system below.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "fs/base/result.h"
#include "fs/base/task.h"
#include "fs/fss/file_system.h"

namespace disklib {

using Object = fss::File;

struct ObjectInfo {
  uint64_t id = 0;  // stable while the object lives; the inode number in a file system
  uint64_t size_bytes = 0;
  uint64_t allocated_bytes = 0;
  uint64_t modified_us = 0;
};

struct ObjectEntry {
  std::string_view name;  // valid during the call that hands it out
  uint64_t id = 0;
};

// The whole new content of an object.
struct ObjectReplacement {
  std::string_view path;
  std::string_view contents;
};

// What a datastore has left, and in which steps it gives space.
struct ObjectSpace {
  uint64_t free_bytes = 0;
  uint64_t block_bytes = 0;  // a power of two
};

class ObjectSink {
 public:
  virtual ~ObjectSink() = default;
  virtual void Add(const ObjectEntry& entry) = 0;
};

class ObjectBackend {
 public:
  virtual ~ObjectBackend() = default;

  virtual bool read_only() const = 0;

  // The one form of a path that ResolveName gave: on this datastore it names none, on another one
  // it names that by its UUID. What is known of neither stays as it is.
  virtual std::string PlainPath(std::string_view path) { return std::string(path); }

  // Makes an empty object. Errors: kExists, kNotFound (the folder), kNoSpace, kReadOnly, kIo.
  virtual base::Task<base::Result<ObjectInfo>> Create(std::string_view path) = 0;

  // Opens an object. Errors: kNotFound, kIsDirectory, kNotPermitted (the path leads out of the
  // root), kLoop, kLockHeld, kBusy, kReadOnly, kIo.
  virtual base::Task<base::Result<std::unique_ptr<Object>>> Open(std::string_view path,
                                                                 fss::OpenMode mode) = 0;

  // Errors: as Open.
  virtual base::Task<base::Result<ObjectInfo>> GetInfo(std::string_view path) = 0;

  // Sets the length; new bytes read as zeros and take no space. Errors: kNotFound, kNoSpace, kIo.
  virtual base::Task<base::Status> Resize(std::string_view path, uint64_t size_bytes) = 0;

  // Replaces the whole content, or makes the object, in one step that a crash cannot divide, and
  // durable when answered. Owner and mode stay. The object may get a new id. Errors: as Create.
  virtual base::Task<base::Result<ObjectInfo>> ReplaceContents(std::string_view path,
                                                               std::string_view contents) = 0;

  // Replaces the whole contents of objects that exist, all of them or none after a crash, durable
  // when answered; ids, owners and open objects stay. Texts and paths outlive the call. Errors:
  // kUnsupported (only volumes with a journal do this: change one after the other under an intent),
  // kTooLarge (fss::FileSystem::ReplaceContents), kNotFound, kLockHeld, kNoSpace, kReadOnly, kIo.
  virtual base::Task<base::Status> ReplaceTogether(
      std::span<const ObjectReplacement> replacements) {
    static_cast<void>(replacements);
    co_return base::Code::kUnsupported;
  }

  // Errors: kNotFound, kIsDirectory, kLockHeld, kReadOnly.
  virtual base::Task<base::Status> Remove(std::string_view path) = 0;

  // Moves an object; one step that a crash cannot divide. Errors: kNotFound, kExists.
  virtual base::Task<base::Status> Rename(std::string_view from, std::string_view to) = 0;

  // Moves an object over another, whose content is gone then; one step that a crash cannot divide.
  // Errors: kNotFound, kUnsupported (the default), kBusy.
  virtual base::Task<base::Status> Replace(std::string_view from, std::string_view to);

  // Hands out the objects (not folders, not links) of a folder; "" is the root.
  virtual base::Task<base::Status> List(std::string_view folder, ObjectSink& sink) = 0;

  // Errors: kUnsupported (nothing is ever written here), kIo.
  virtual base::Task<base::Result<ObjectSpace>> GetSpace() {
    co_return base::Error(base::Code::kUnsupported);
  }

  // Makes the pointer file of a raw device map. Errors: kUnsupported (only VMFS has them), and
  // as Create.
  virtual base::Task<base::Result<ObjectInfo>> MakeDeviceMap(std::string_view path,
                                                             fss::RawDevice device) {
    static_cast<void>(path), static_cast<void>(device);
    co_return base::Error(base::Code::kUnsupported);
  }

  // The id of the device that a pointer file names. Errors: kUnsupported (no such files here),
  // kInvalidArgument (the file is none), and as Open.
  virtual base::Task<base::Result<std::string>> GetDeviceId(std::string_view path) {
    static_cast<void>(path);
    co_return base::Error(base::Code::kUnsupported);
  }

  // Makes names durable: every Create, Remove and Rename that was answered.
  virtual base::Task<base::Status> SyncNames() = 0;
};

// The plain path that a name found in a descriptor means, seen from the descriptor's folder.
// Errors: those of ResolveName (`names.h`).
base::Result<std::string> ResolvePath(ObjectBackend& backend, std::string_view folder,
                                      std::string_view name);

// Reads a whole object of at most `bytes_max`. Errors: kTooLarge, and as Open and Read.
base::Task<base::Result<std::string>> ReadObject(ObjectBackend& backend, std::string_view path,
                                                 uint64_t bytes_max);

// Reads from the start of an open object into `text`, as much as there is up to its size.
base::Task<base::Status> ReadWhole(Object& object, std::string& text);

// Writes all of `bytes` at `offset_bytes`; a short write is kNoSpace.
base::Task<base::Status> WriteWhole(Object& object, uint64_t offset_bytes, std::string_view bytes);

}  // namespace disklib
