// `RepairWork`: what the stages of a repair share, and the stages themselves.
//
// The overlay over the volume, the newest check of it, and what was done so far. A stage reads the
// check's findings and facts, changes the overlay, and is done; whenever one has changed anything
// the overlay is checked again, so that the next works on the truth. Internal to `vmfs/fsck`.
// Thread rule: the volume's executor.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "vmfs/fsck/overlay_device.h"
#include "vmfs/fsck/repair.h"
#include "vmfs/fsck/state.h"
#include "vmfs/mkfs/layout.h"
#include "vmfs/raw_volume.h"

namespace vmfs::fsck {

class RepairWork {
 public:
  // Borrows everything.
  RepairWork(base::BlockDevice& volume, RepairOptions& options, RepairReport& report)
      : overlay_(volume), options_(options), report_(report) {}
  RepairWork(const RepairWork&) = delete;
  RepairWork& operator=(const RepairWork&) = delete;

  OverlayDevice& overlay() { return overlay_; }
  RepairOptions& options() { return options_; }
  RepairReport& report() { return report_; }
  // Of the newest check; null before the first, and when it found no superblock.
  State* state() { return state_.get(); }
  RawVolume& volume() { return *raw_; }

  // Checks the volume with the overlay over it. A superblock that cannot be read is a finding.
  // Errors: those of RawVolume::Open but damage, kInterrupted.
  base::Task<base::Status> Check(FsckReport& found);

  base::Task<base::Status> ReadBlock(uint64_t address, MetadataBytes& block) {
    return ReadBytes(address, std::span<std::byte>(block));
  }
  base::Task<base::Status> ReadBytes(uint64_t address, std::span<std::byte> target);
  base::Task<base::Status> WriteBytes(uint64_t address, std::span<std::byte> source);
  base::Task<base::Status> WriteBlock(uint64_t address, MetadataBytes& block) {
    return WriteBytes(address, std::span<std::byte>(block));
  }

  template <typename... Args>
  void Act(FindingCode code, fmt::format_string<Args...> format, Args&&... args) {
    ++report_.action_count;
    if (report_.actions.size() >= options_.check.findings_max) return;
    report_.actions.push_back({code, fmt::format(format, std::forward<Args>(args)...)});
  }

  // A file block, sub-block or descriptor that nothing uses, taken in the newest check's books: the
  // bitmaps follow in the last stage. Errors: kNoSpace.
  base::Result<ResourceIndex> Allocate(ResourceKind kind);
  // The volume address of such a resource. Errors: kCorrupt.
  base::Result<uint64_t> AddressOf(ResourceKind kind, ResourceIndex index) const;
  // A file block or sub-block for a map, with its first use noted. `zeroed`: reads as zeros.
  base::Task<base::Result<Address>> AllocateUnit(ResourceKind kind, bool zeroed);

  // Descriptors that journals said were being deleted.
  void NoteOrphans(const std::vector<Orphan>& orphans) {
    orphans_.insert(orphans_.end(), orphans.begin(), orphans.end());
  }
  bool IsBeingDeleted(FdAddress fd, uint32_t generation) const {
    return std::ranges::find(orphans_, Orphan{fd.raw(), generation}) != orphans_.end();
  }

  // A descriptor, or an address of a map, could not be restored: blocks without an owner may have
  // been theirs.
  void NoteLoss() { has_lost_something_ = true; }
  bool has_lost_something() const { return has_lost_something_; }

  // What mkfs made of a volume of this size. Errors: kInvalidArgument (no size of ours).
  base::Result<const VolumeLayout*> FreshLayout();

 private:
  bool IsFree(ResourceKind kind, uint64_t index) const;

  OverlayDevice overlay_;
  RepairOptions& options_;
  RepairReport& report_;
  FsckOptions check_options_;
  FsckReport found_;
  std::unique_ptr<RawVolume> raw_;
  std::unique_ptr<State> state_;
  std::vector<Orphan> orphans_;
  bool has_lost_something_ = false;
  std::optional<VolumeLayout> fresh_;
};

// Whether work on one structure is given up without giving up the rest: what cannot be read or does
// not exist stays a finding.
bool IsLocal(const base::Status& status);

// Whether a part of the volume cannot be seen: then what seems to belong to nothing may belong to
// it, and nothing is freed or forgotten.
bool IsBlind(const FsckReport& report);

// The stages, in the order in which they are tried. Errors: kNoSpace, those of the device.
base::Task<base::Status> RepairSuperblock(RepairWork& work);    // also without a state
base::Task<base::Status> RepairHeaders(RepairWork& work);       // mark, heartbeats, journals
base::Task<base::Status> RepairSystemFiles(RepairWork& work);   // maps and headers of .sf files
base::Task<base::Status> RepairClusters(RepairWork& work);      // cluster headers and all locks
base::Task<base::Status> RepairMarks(RepairWork& work);         // descriptors in use, marked free
base::Task<base::Status> RepairInodes(RepairWork& work);        // descriptors and their maps
base::Task<base::Status> RepairDirectories(RepairWork& work);   // contents, one by one
base::Task<base::Status> RepairNames(RepairWork& work);         // names, parents, lost files
base::Task<base::Status> RepairLeaks(RepairWork& work);         // blocks that lost their owner
base::Task<base::Status> RepairBitmaps(RepairWork& work);       // bitmaps, counts, affinity

}  // namespace vmfs::fsck
