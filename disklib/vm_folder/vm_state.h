// `VmState`: a VM's disks as its folder records them: .vmx, .vmsd and the tree of links.
//
// Read by every snapshot operation before it plans. A folder without a .vmx that names the disk has
// one disk's record, `BASE.vmsd`, which names the current leaf itself (disklib/FORMAT.md,
// "Snapshots"). Thread rule: the executor of the Lib; the state is a plain value.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/lib.h"
#include "disklib/link_tree.h"
#include "disklib/vm_folder/vmsd.h"
#include "disklib/vm_folder/vmx.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

// Where a disk stands that no .vmx attaches.
inline constexpr std::string_view kLoneDiskNode = "scsi0:0";

struct VmDisk {
  std::string node;
  std::string leaf_path;
  std::string base_path;
  bool is_independent = false;
};

struct VmState {
  std::string folder;
  std::string vmx_path;  // empty: none
  std::string vmsd_path;
  std::string vmx_text;
  std::optional<std::string> vmsd_text;  // unset: there is none
  Vmx vmx;
  SnapshotList list;
  LinkTree tree;
  std::vector<VmDisk> disks;

  bool has_vmx() const { return !vmx_path.empty(); }

  // The path a name of the .vmx or .vmsd means. Errors: as ResolveName.
  base::Result<std::string> PathOf(std::string_view name) const;

  // How the .vmx and .vmsd name a path.
  std::string NameOfPath(std::string_view path) const;

  const VmDisk* FindDisk(std::string_view node) const;

  // The snapshots that froze a link.
  std::vector<const Snapshot*> SnapshotsOf(std::string_view link_path) const;
};

// Reads what stands around `path`, a disk's descriptor (any link of it) or a .vmx.
// Errors: kNotFound, kCorrupt and kParseError naming the file, kUnsupported (a disk in another
// folder than its .vmx), kInvalidArgument (several leaves and nothing that tells which is current,
// several .vmx name the disk: the message lists them).
base::Task<base::Result<VmState>> LoadVm(Lib& lib, std::string_view path);

// The names of a folder that end so, in either case, sorted. Errors: those of listing it.
base::Task<base::Result<std::vector<std::string>>> ListNames(Lib& lib, std::string_view folder,
                                                             std::string_view suffix);

// Refuses to take the last child away from a link that a snapshot froze: it could be written to
// then, and the snapshot be lost. `verb` is what was asked: "rebase". A link whose VM cannot be
// read is let go. Errors: kUnsupported naming the snapshot.
base::Task<base::Status> CheckStaysFrozen(Lib& lib, std::string_view child_path,
                                          std::string_view parent_path, std::string_view verb);

// Reads the descriptors of a folder, the parents they have elsewhere, and which of them are linked
// clones of others there. What is no descriptor is
// left out, and so is what its holder lets nobody read.
base::Task<base::Status> LoadLinkTree(Lib& lib, std::string_view folder, LinkTree& tree);

// Tells the tree what the registries of a folder say. Errors: those of reading them.
base::Task<base::Status> MarkClones(Lib& lib, std::string_view folder, LinkTree& tree);

}  // namespace disklib
