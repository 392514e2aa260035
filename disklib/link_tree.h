// `LinkTree`: which link of a folder stands on which. What snapshots are planned on. Pure.
//
// Built from descriptors by whoever reads them (`vm_state.h`); paths start at the datastore's root.
// Links may have several children (branches), and chains may be broken: asking answers an error
// then. Thread rule: a plain value.
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

  bool is_base() const { return !descriptor.has_parent(); }
};

class LinkTree {
 public:
  void Add(TreeLink link);

  // Null if there is none. Valid until the next Add.
  const TreeLink* Find(std::string_view path) const;

  // Links whose parent is `path`, by name.
  std::vector<const TreeLink*> ChildrenOf(std::string_view path) const;

  // The links from `path` down to its base, `path` first. Errors: kNotFound naming a link that is
  // missing, kLoop, kTooManyLinks.
  base::Result<std::vector<const TreeLink*>> ChainOf(std::string_view path) const;

  // The base `path` stands on, itself if it is one. Errors: as ChainOf.
  base::Result<std::string> BaseOf(std::string_view path) const;

  // All links that stand on a base, it included; those of broken chains belong to none.
  std::vector<const TreeLink*> LinksOn(std::string_view base_path) const;

 private:
  std::map<std::string, TreeLink, std::less<>> links_;
};

// "vm/vm.vmdk" and 1 -> "vm/vm-000001.vmdk".
std::string NumberedLinkPath(std::string_view base_path, uint32_t number);

}  // namespace disklib
