// A lost descriptor, made again from what its extents and its neighbours say. Internal to
// `disklib/check`.
//
// The size comes from the extents' lengths or headers, the content id from a child that names it,
// the parent from the VM's record of snapshots, or where only one link can be it. What is not
// certain is not offered. A file that exists is never replaced. Thread rule: the executor of the
// Lib.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/check/chain_state.h"
#include "fs/base/random.h"

namespace disklib::check {

// The descriptor that an extent's name was made from: "vm/a-flat.vmdk" -> "vm/a.vmdk". A name that
// follows no descriptor's: itself with "-recovered".
std::string OwnerOf(std::string_view extent_path);

// What a lost descriptor would say.
struct RebuiltDescriptor {
  Descriptor descriptor;
  std::string uncertain;  // why it cannot be rebuilt; empty: it can
};

// `sectors` are the sizes of `extents`, in order.
RebuiltDescriptor Rebuild(Folder& folder, std::string_view path,
                          const std::vector<const FolderFile*>& extents,
                          const std::vector<uint64_t>& sectors, base::Random& random);

}  // namespace disklib::check
