// `SideDoor`: the way by which the daemon itself changes files of a volume that a kernel also
// caches.
//
// Disk operations and virtual disks work on this filter. It notes which names and inodes changed
// behind the kernel's back; `KernelCache` then makes the kernel forget them, off the executor's
// thread. Thread rule: the volume's executor. Place in the stack: a filter on top of a volume,
// below disklib.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "fs/fss/forwarding.h"

namespace stratad {

// Hears of changes. Inodes are those of the volume.
class ChangeListener {
 public:
  virtual ~ChangeListener() = default;
  virtual void NameChanged(fss::InodeNumber parent, std::string_view name) = 0;
  virtual void ContentChanged(fss::InodeNumber inode) = 0;
};

class SideDoor final : public fss::ForwardingFileSystem {
 public:
  // Both outlive the filter.
  SideDoor(fss::FileSystem& volume, ChangeListener& listener)
      : ForwardingFileSystem(volume), listener_(listener) {}

  base::Task<base::Result<fss::Attributes>> Lookup(fss::InodeNumber parent,
                                                   std::string_view name) override;
  void Forget(fss::InodeNumber inode, uint64_t count) override;
  base::Task<base::Result<fss::Attributes>> SetAttributes(fss::InodeNumber inode,
                                                          fss::AttributeChange change) override;
  base::Task<base::Result<fss::Attributes>> CreateFile(fss::InodeNumber parent,
                                                       std::string_view name,
                                                       fss::NewInode attributes) override;
  base::Task<base::Status> Unlink(fss::InodeNumber parent, std::string_view name) override;
  base::Task<base::Status> Rename(fss::InodeNumber from_parent, std::string_view from_name,
                                  fss::InodeNumber to_parent, std::string_view to_name,
                                  bool no_replace) override;
  base::Task<base::Result<std::unique_ptr<fss::File>>> Open(fss::InodeNumber inode,
                                                            fss::OpenMode mode) override;
  base::Task<base::Result<fss::Attributes>> MakeRawDeviceMap(fss::InodeNumber parent,
                                                             std::string_view name,
                                                             fss::RawDevice device,
                                                             fss::NewInode attributes) override;
  base::Task<base::Status> ReplaceContents(
      std::span<const fss::Replacement> replacements) override;

 private:
  friend class SideDoorFile;

  // Where an inode was last found, while somebody here knows it.
  struct Place {
    fss::InodeNumber parent = 0;
    std::string name;
    uint64_t user_count = 0;  // lookups and opens
  };

  void Note(fss::InodeNumber inode, fss::InodeNumber parent, std::string_view name);
  void Drop(fss::InodeNumber inode, uint64_t count);

  // Its bytes or length changed: the kernel keeps a length for ever unless it loses the name.
  void Changed(fss::InodeNumber inode);

  ChangeListener& listener_;
  std::unordered_map<fss::InodeNumber, Place> places_;
};

}  // namespace stratad
