// `LinkTree`: which link of a folder stands on which. What snapshots are planned on. Pure.
//
// Built from descriptors by whoever reads them (`vm_state.h`); paths start at the datastore's root.
// Links may have several children (branches and linked clones), and chains may be broken: asking
// answers an error then. Thread rule: a plain value.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/descriptor.h"
#include "fs/base/result.h"

namespace disklib {

struct TreeLink {
  std::string path;
  std::string parent_path;  // empty: a base, or a hint that leads nowhere
  Descriptor descriptor;
  bool is_clone = false;  // registered as a linked clone of its parent: a disk of its own

  bool is_base() const { return !descriptor.has_parent(); }
};

class LinkTree {
 public:
  void Add(TreeLink link);

  // Null if there is none. Valid until the next Add.
  const TreeLink* Find(std::string_view path) const;

  // Says that `path` was registered as a linked clone of `parent_path`. What is stale is ignored.
  void MarkClone(std::string_view path, std::string_view parent_path);

  // Links whose parent is `path`, by name.
  std::vector<const TreeLink*> ChildrenOf(std::string_view path) const;

  // The same without linked clones: links of the same disk.
  std::vector<const TreeLink*> BranchesOf(std::string_view path) const;

  // The links from `path` down to its base, `path` first. Errors: kNotFound naming a link that is
  // missing, kLoop, kTooManyLinks.
  base::Result<std::vector<const TreeLink*>> ChainOf(std::string_view path) const;

  // The lowest link of the disk that `path` is a link of: its base, a linked clone, or the last one
  // in the folder. Other disks' records say what goes on below. Errors: as ChainOf.
  base::Result<std::string> DiskBaseOf(std::string_view path) const;

  // All links of the disk with that lowest link, it included; those of broken chains belong to
  // none.
  std::vector<const TreeLink*> LinksOn(std::string_view base_path) const;

  // All linked clones, by name.
  std::vector<const TreeLink*> Clones() const;

 private:
  std::map<std::string, TreeLink, std::less<>> links_;
};

// "vm/vm.vmdk" and 1 -> "vm/vm-000001.vmdk".
std::string NumberedLinkPath(std::string_view base_path, uint32_t number);

}  // namespace disklib
