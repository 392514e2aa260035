// Snapshots of disks that nobody writes: create, list, revert, delete, consolidate.
//
// `path` is a link of a disk ("vm/vm.vmdk") or a .vmx ("vm/vm.vmx"). Where the folder has a .vmx
// that attaches the disk, the snapshot is one of the VM with all of its disks, recorded in .vmx and
// .vmsd; else of the one disk, recorded in `BASE.vmsd` (disklib/FORMAT.md, "Snapshots"). Each
// operation is safe to cut and to run again, and refuses disks that are in use, naming the holder.
// Thread rule: the executor of the Lib. Results are plain values for programs to print.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/lib.h"
#include "disklib/new_disk.h"
#include "disklib/new_extents.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib {

struct SnapshotDiskInfo {
  std::string node;         // "scsi0:0"
  std::string path;         // of the link the snapshot froze; of the leaf in `SnapshotTree::disks`
  uint64_t link_count = 0;  // of the chain from there down
};

struct SnapshotInfo {
  uint32_t uid = 0;
  uint32_t parent_uid = 0;  // 0: none
  std::string name;
  std::string description;
  uint64_t created_us = 0;        // since 1970; 0: not recorded
  bool is_current = false;        // the disks go on from this one
  bool is_being_deleted = false;  // a delete of it was cut: only that can be done to it
  std::vector<SnapshotDiskInfo> disks;
};

struct SnapshotTree {
  std::string vmx_path;  // empty: a disk without a VM
  std::string vmsd_path;
  std::vector<SnapshotInfo> snapshots;
  std::vector<SnapshotDiskInfo> disks;  // where each stands now
  std::vector<std::string> orphans;     // links of these disks that no record leads to
};

// Errors: those of LoadVm and CheckSnapshotList.
base::Task<base::Result<SnapshotTree>> ListSnapshots(Lib& lib, std::string_view path);

struct CreateSnapshotOptions {
  std::string_view name = {};  // empty: "Snapshot" and its number
  std::string_view description = {};
  DiskLayout layout = DiskLayout::kSeSparse;  // or kVmfsSparse; seSparse above 2,032 GiB always
  std::string_view user = "strata disk snapshot create";
};

// Freezes the current state: each disk goes on in a new link. Running it again after a cut answers
// the snapshot that was made, if nothing was written since. Errors: kBusy naming a holder or an
// unfinished operation, kUnsupported (a physical-mode raw device map, an independent disk, a
// layout that is no delta), kTooManyLinks (32), kNoSpace, kReadOnly, those of LoadVm.
base::Task<base::Result<SnapshotInfo>> CreateSnapshot(Lib& lib, std::string_view path,
                                                      CreateSnapshotOptions options,
                                                      Progress* progress);

struct RevertOptions {
  DiskLayout layout = DiskLayout::kSeSparse;  // of the new leaf
  std::string_view user = "strata disk snapshot revert";
};

// Goes back to a snapshot, said by name or uid: what was written since the last one is dropped, the
// disks go on in new links on what the snapshot froze. Errors: as CreateSnapshot; kNotFound.
base::Task<base::Result<SnapshotInfo>> RevertToSnapshot(Lib& lib, std::string_view path,
                                                        std::string_view snapshot,
                                                        RevertOptions options, Progress* progress);

struct CommitOptions {
  // Gives the child's space back while its data goes into the parent: for full datastores.
  bool reclaim = false;
  std::string_view user = "strata disk snapshot delete";
};

// What a commit needs and did. Space is an upper bound.
struct CommitSummary {
  uint64_t data_bytes = 0;    // stored into parents
  uint64_t zero_bytes = 0;    // made zeros in parents
  uint64_t needed_bytes = 0;  // of new space, at most
  uint64_t free_bytes = 0;    // of the datastore before
  std::vector<std::string> removed_links;
};

// Forgets a snapshot and keeps the current state: the content of the link that stands on what the
// snapshot froze goes into it. Errors: as CreateSnapshot; kUnsupported naming the links when
// several stand on it, or linked clones; kNoSpace stating what is needed and what is there, before
// anything changes; kNoSpace later leaves valid chains and a delete to run again.
base::Task<base::Result<CommitSummary>> DeleteSnapshot(Lib& lib, std::string_view path,
                                                       std::string_view snapshot,
                                                       CommitOptions options, Progress* progress);

// Deletes every snapshot, the current state stays. Branches the current state does not stand on go,
// and each disk becomes one link, also where an extension has added one; what others stand on
// stays.
base::Task<base::Result<CommitSummary>> DeleteAllSnapshots(Lib& lib, std::string_view path,
                                                           CommitOptions options,
                                                           Progress* progress);

// Puts one link's content into its parent and removes it, where no snapshot needs the parent as it
// was: links that no record names, or that stand between. Errors: as DeleteSnapshot.
base::Task<base::Result<CommitSummary>> ConsolidateLink(Lib& lib, std::string_view link_path,
                                                        CommitOptions options, Progress* progress);

// What the above would need and do, without doing it.
base::Task<base::Result<CommitSummary>> MeasureDelete(Lib& lib, std::string_view path,
                                                      std::string_view snapshot);

}  // namespace disklib
