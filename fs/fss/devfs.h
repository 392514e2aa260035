// devfs: a small tree in memory of directories, symlinks and devices that look like files.
//
// The daemon fills it; users cannot change it (kNotPermitted). It makes the upper levels of the
// mount and shows devices under `devices/disks`. Nodes live until the tree is destroyed.
// Thread rule: the executor of its devices. Place in the stack: a driver of the file-system switch.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "fs/base/result.h"
#include "fs/fss/file_system.h"

namespace fss {

// What stands behind a device file.
class DeviceNode {
 public:
  virtual ~DeviceNode() = default;
  virtual uint64_t size_bytes() const = 0;
  virtual bool read_only() const = 0;
  virtual base::Task<base::Result<std::unique_ptr<File>>> Open(InodeNumber inode,
                                                               OpenMode mode) = 0;
};

class DevFs final : public FileSystem {
 public:
  struct Options {
    std::string label;
    uint32_t uid = 0, gid = 0;  // the owner of every node
    uint64_t created_us = 0;    // all times of every node
  };

  explicit DevFs(const Options& options);

  // Each adds a node; `parent` is a directory of this tree, `name` is free there.
  InodeNumber AddDirectory(InodeNumber parent, std::string_view name);
  InodeNumber AddSymlink(InodeNumber parent, std::string_view name, std::string_view target);
  InodeNumber AddDevice(InodeNumber parent, std::string_view name,
                        std::unique_ptr<DeviceNode> device);

  // Whether the directory has that name.
  bool Has(InodeNumber parent, std::string_view name) const;

  // The directory a node stands in; the root's is the root.
  InodeNumber ParentOf(InodeNumber inode) const;

  InodeNumber root() const override { return 1; }

  const std::string& label() const override { return options_.label; }

  const std::string& uuid() const override { return options_.label; }

  bool read_only() const override { return false; }

  base::Task<base::Result<Attributes>> Lookup(InodeNumber parent, std::string_view name) override;

  void Forget(InodeNumber, uint64_t) override {}

  base::Task<base::Result<Attributes>> GetAttributes(InodeNumber inode) override;
  base::Task<base::Result<Attributes>> SetAttributes(InodeNumber, AttributeChange) override;
  base::Task<base::Result<Attributes>> CreateFile(InodeNumber, std::string_view, NewInode) override;
  base::Task<base::Result<Attributes>> MakeDirectory(InodeNumber, std::string_view,
                                                     NewInode) override;
  base::Task<base::Result<Attributes>> MakeSymlink(InodeNumber, std::string_view, std::string_view,
                                                   NewInode) override;
  base::Task<base::Result<std::string>> ReadSymlink(InodeNumber inode) override;
  base::Task<base::Status> Unlink(InodeNumber, std::string_view) override;
  base::Task<base::Status> RemoveDirectory(InodeNumber, std::string_view) override;
  base::Task<base::Status> Rename(InodeNumber, std::string_view, InodeNumber, std::string_view,
                                  bool) override;
  base::Task<base::Result<std::unique_ptr<File>>> Open(InodeNumber inode, OpenMode mode) override;
  base::Task<base::Status> ReadDirectory(InodeNumber inode, uint64_t cursor,
                                         DirectorySink& sink) override;
  base::Task<base::Result<StatFs>> GetStatFs() override;
  base::Task<base::Status> SyncAll() override;
  base::Task<base::Status> Unmount() override;

 private:
  struct Node {
    InodeNumber parent = 0;
    FileType type = FileType::kDirectory;
    std::string name;
    std::string target;                                       // of a symlink
    std::unique_ptr<DeviceNode> device;                       // of a device
    std::map<std::string, InodeNumber, std::less<>> by_name;  // of a directory
    std::set<InodeNumber> in_order;                           // the same children, as listed
  };

  InodeNumber Add(InodeNumber parent, std::string_view name, Node node);
  const Node* Find(InodeNumber inode) const;
  Attributes AttributesOf(InodeNumber inode) const;

  const Options options_;
  std::deque<Node> nodes_;  // inode n is nodes_[n - 1]
};

}  // namespace fss
