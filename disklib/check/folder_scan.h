// What lies in a folder: descriptors, extents and the VM's own files, told apart by content.
//
// Names decide only what is looked at (".vmdk", ".vmx", ".vmsd"); what a file is follows from its
// first bytes, and whom it belongs to from who names it. A file that cannot be read is a finding
// and otherwise left out. Memory: the texts of the folder's descriptors. Internal to
// `disklib/check`. Thread rule: the executor of the Lib.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/check/check_run.h"
#include "disklib/check/loose_descriptor.h"
#include "disklib/vm_folder/vmsd.h"
#include "disklib/vm_folder/vmx.h"

namespace disklib::check {

enum class FileKind : uint8_t {
  kOther,        // nothing known: the bytes of a flat disk, perhaps
  kDescriptor,
  kHosted,       // hosted sparse or a stream; may have a descriptor embedded
  kVmfsSparse,
  kSeSparse,
  kTracking,     // another product's change tracking
  kVmConfiguration,  // .vmx
  kVmSnapshots,      // .vmsd
};

struct FolderFile {
  std::string path;
  FileKind kind = FileKind::kOther;
  ObjectInfo info;
  LooseDescriptor descriptor;          // of a descriptor, also an embedded one
  uint64_t embedded_offset_bytes = 0;  // 0: not embedded
  uint64_t embedded_bytes = 0;
  std::vector<std::string> extent_paths;   // per extent line; empty: ZERO, or it cannot be followed
  std::vector<std::string> extent_errors;  // per extent line; why it cannot be followed
  std::vector<std::string> moved_paths;    // per extent line; where a cut rename may have left it
  std::string parent_path;   // empty: none, or it cannot be followed
  std::string parent_error;  // why it cannot
  std::vector<VmxDisk> vm_disks;   // of a .vmx
  SnapshotList snapshots;          // of a .vmsd
  std::string settings_error;      // why one of these cannot be read
  std::string open_error;          // why it cannot be looked into: another host has it

  bool has_descriptor() const { return descriptor.is_descriptor; }
};

struct Folder {
  std::string path;
  std::map<std::string, FolderFile, std::less<>> files;  // by path

  FolderFile* Find(std::string_view file_path);

  // The links whose parent is `file_path`, in the order of their names.
  std::vector<const FolderFile*> ChildrenOf(std::string_view file_path) const;

  // The links that name `file_path` as an extent.
  std::vector<const FolderFile*> UsersOf(std::string_view file_path) const;
};

// Every folder a check has looked at, once each.
class Folders {
 public:
  explicit Folders(CheckRun& run) : run_(run) {}

  // Errors: those of listing the folder; kInterrupted.
  base::Task<base::Result<Folder*>> Get(std::string_view path);

 private:
  base::Task<base::Status> Examine(FolderFile& file);
  base::Task<base::Status> ExamineObject(FolderFile& file, Object& object);
  base::Task<bool> ReadEmbedded(FolderFile& file, Object& object, std::span<std::byte> head);

  CheckRun& run_;
  std::map<std::string, std::unique_ptr<Folder>, std::less<>> folders_;
};

// Follows the names in a descriptor: its extents and its parent.
void FollowNames(ObjectBackend& backend, FolderFile& file);

}  // namespace disklib::check
