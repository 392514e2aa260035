// Names and what they stand for: dangling ones, second ones, parents, link counts, circles, and
// descriptors without a name, which go to `lost+found`.
#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "vmfs/directory/new_directory.h"
#include "vmfs/fsck/directory_edit.h"
#include "vmfs/fsck/new_descriptor.h"
#include "vmfs/fsck/repair_work.h"

namespace vmfs::fsck {
namespace {

using base::Result;
using base::Status;
using base::Task;

constexpr std::string_view kLostAndFound = "lost+found";
constexpr uint32_t kLostAndFoundMode = 0700;
constexpr uint32_t kLostAndFoundUnits = 2;

FdAddress FdAt(uint64_t index) {
  return FdAddress::Make(static_cast<uint32_t>(index / 256), static_cast<uint32_t>(index % 256));
}

// Decides about every name at once; then the changes are made, directory by directory.
class NameRepair {
 public:
  explicit NameRepair(RepairWork& work) : work_(work), state_(*work.state()) {}

  Task<Status> Run() {
    ChooseNames();
    BreakCircles();
    CO_TRY_STATUS(co_await FindOrphans());
    CO_TRY_STATUS(co_await FixInodes());
    for (auto& [directory, edit] : edits_) {
      const Status done = co_await RebuildDirectory(work_, FdAddress(directory), edit);
      if (!IsLocal(done)) co_return done;
    }
    co_return base::Ok();
  }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;

  bool IsSystem(uint64_t index) const { return index < kSystemFdCount; }

  bool Exists(const NameEntry& name) const {
    const FdAddress fd(name.target);
    const uint64_t index = state_.InodeIndex(fd);
    return fd.is_valid() && fd.item() < 256 && index < state_.inodes.size() &&
           state_.inodes[index].type != 0;
  }

  void Remove(const NameEntry& name, const char* why) {
    edits_[name.directory].removed.insert(name.file_offset);
    ++work_.report().counters.names_removed;
    work_.Act(FindingCode::kDanglingEntry, "directory {}: a name of {} removed: {}",
              FdAddress(name.directory).ToString(), FdAddress(name.target).ToString(), why);
  }

  // The name that a descriptor keeps, among those from `first` to `end` of the sorted ones.
  size_t Best(size_t first, size_t end, const InodeSummary& inode) const {
    const auto score = [&](const NameEntry& name) {
      const uint32_t parent = inode.parent == 0 ? kRootFd.raw() : inode.parent;
      return (name.generation == inode.generation ? 4 : 0) + (name.directory == parent ? 2 : 0) +
             (name.type == inode.type ? 1 : 0);
    };
    size_t best = first;
    for (size_t i = first + 1; i < end; ++i) {
      if (score(state_.names[i]) > score(state_.names[best])) best = i;
    }
    return best;
  }

  void ChooseNames() {
    std::ranges::stable_sort(state_.names, {}, &NameEntry::target);
    kept_.assign(state_.inodes.size(), kNone);
    for (size_t first = 0; first < state_.names.size();) {
      size_t end = first + 1;
      while (end < state_.names.size() &&
             state_.names[end].target == state_.names[first].target) {
        ++end;
      }
      ChooseAmong(first, end);
      first = end;
    }
  }

  void ChooseAmong(size_t first, size_t end) {
    const FdAddress fd(state_.names[first].target);
    if (!Exists(state_.names[first])) {
      for (size_t i = first; i < end; ++i) Remove(state_.names[i], "it does not exist");
      work_.NoteLoss();
      return;
    }
    const uint64_t index = state_.InodeIndex(fd);
    const InodeSummary& inode = state_.inodes[index];
    const size_t best = Best(first, end, inode);
    kept_[index] = static_cast<uint32_t>(best);
    for (size_t i = first; i < end; ++i) {
      if (i != best || fd == kRootFd) {
        Remove(state_.names[i], fd == kRootFd ? "the root has no name" : "it has another name");
      }
    }
    const NameEntry& name = state_.names[best];
    if (name.generation == inode.generation && name.type == inode.type) return;
    edits_[name.directory].changed[name.file_offset] = {inode.generation, inode.type};
    work_.Act(FindingCode::kDanglingEntry, "directory {}: the name of {} leads to it again",
              FdAddress(name.directory).ToString(), fd.ToString());
  }

  uint64_t ParentOf(uint64_t index) const {
    if (index == 0 || kept_[index] == kNone) return 0;
    return state_.InodeIndex(FdAddress(state_.names[kept_[index]].directory));
  }

  // A directory that contains itself loses its name there; it is found again in lost+found.
  void BreakCircles() {
    std::vector<uint64_t> seen_from(state_.inodes.size(), 0);
    for (uint64_t start = 1; start < state_.inodes.size(); ++start) {
      if (!state_.inodes[start].is_directory()) continue;
      uint64_t index = start;
      while (index != 0 && index < kept_.size() && kept_[index] != kNone &&
             seen_from[index] == 0) {
        seen_from[index] = start;
        index = ParentOf(index);
      }
      const bool is_circle = index != 0 && index < kept_.size() && kept_[index] != kNone &&
                             seen_from[index] == start;
      if (!is_circle) continue;
      Remove(state_.names[kept_[index]], "it contains itself");
      kept_[index] = kNone;
    }
  }

  Task<Status> FindOrphans() {
    std::vector<uint64_t> orphans;
    for (uint64_t index = kSystemFdCount; index < state_.inodes.size(); ++index) {
      if (state_.inodes[index].type == 0 || kept_[index] != kNone) continue;
      if (work_.IsBeingDeleted(FdAt(index), state_.inodes[index].generation)) {
        CO_TRY_STATUS(co_await Delete(FdAt(index)));
      } else {
        orphans.push_back(index);
      }
    }
    if (orphans.empty()) co_return base::Ok();
    CO_TRY(const std::optional<FdAddress> found, co_await FindLostAndFound());
    if (!found) co_return co_await CreateLostAndFound();
    for (const uint64_t index : orphans) Adopt(index, *found);
    co_return base::Ok();
  }

  void Adopt(uint64_t index, FdAddress directory) {
    const FdAddress fd = FdAt(index);
    if (fd == directory) return;
    const InodeSummary& inode = state_.inodes[index];
    edits_[directory.raw()].added.push_back(
        {inode.type, fd.raw(), inode.generation, LostName(fd), std::nullopt});
    adopted_[index] = directory.raw();
    ++work_.report().counters.lost_and_found;
    work_.Act(FindingCode::kOrphan, "{}: named {}/{}", fd.ToString(), kLostAndFound, LostName(fd));
  }

  // A file that was being deleted when its host died: the bitmaps forget it.
  Task<Status> Delete(FdAddress fd) {
    CO_TRY_STATUS(co_await MarkDescriptor(work_, fd, /*is_free=*/true, 0));
    work_.Act(FindingCode::kOrphan, "{}: its deletion finished", fd.ToString());
    co_return base::Ok();
  }

  Task<Result<std::optional<FdAddress>>> FindLostAndFound() {
    std::optional<FdAddress> found;
    MetadataBytes block;
    CO_TRY_STATUS(co_await work_.volume().ReadInodeBlock(kRootFd, block));
    CO_TRY(const InodeMetadata inode, DecodeInode(block, kRootFd));
    CO_TRY(const std::vector<std::byte> bytes,
           co_await work_.volume().ReadFile(&inode, &block, uint64_t{64} << 20));
    for (const FoundRecord& record : FindRecords(bytes)) {
      if (!record.is_marked || !record.is_whole || record.record.name() != kLostAndFound) continue;
      const uint64_t index = state_.InodeIndex(record.record.address());
      if (index < state_.inodes.size() && state_.inodes[index].is_directory() &&
          kept_[index] != kNone) {
        found = record.record.address();
      }
    }
    co_return found;
  }

  Task<Status> CreateLostAndFound() {
    CO_TRY(const NewDescriptor made, ReserveDescriptor(work_));
    std::vector<Address> units;
    for (uint32_t i = 0; i < kLostAndFoundUnits; ++i) {
      CO_TRY(const Address unit, co_await work_.AllocateUnit(ResourceKind::kSubBlock, true));
      units.push_back(unit);
    }
    CO_TRY_STATUS(co_await WriteContents(made.fd, made.generation, units));
    InodeMetadata inode = MakeInode(made.fd, made.generation, InodeType::kDirectory);
    inode.link_count = 2;
    inode.mode = kLostAndFoundMode;
    inode.affinity_fd = made.fd.raw();
    inode.SetMapKind(MapKind::kSubBlocks);
    inode.length_bytes = kDirectoryBirthBytes;
    CO_TRY_STATUS(co_await WriteDescriptor(work_, made, inode, units));
    edits_[kRootFd.raw()].added.push_back({static_cast<uint32_t>(InodeType::kDirectory),
                                           made.fd.raw(), made.generation,
                                           std::string(kLostAndFound), std::nullopt});
    work_.Act(FindingCode::kOrphan, "{}: made for files without a name", kLostAndFound);
    co_return base::Ok();
  }

  Task<Status> WriteContents(FdAddress fd, uint32_t generation, std::vector<Address>& units) {
    NewDirectory directory;
    directory.self = fd;
    directory.self_generation = generation;
    directory.parent = kRootFd;
    directory.parent_generation = state_.inodes[0].generation;
    std::vector<std::byte> bytes(NewDirectoryPieceCount(directory.kind) *
                                 uint64_t{kMetadataBlockBytes});
    BuildNewDirectory(directory, bytes);
    for (uint64_t done = 0; done < bytes.size(); done += kSubBlockBytes) {
      CO_TRY(const uint64_t place, work_.volume().DataAddress(units[done / kSubBlockBytes]));
      const uint64_t length = std::min<uint64_t>(kSubBlockBytes, bytes.size() - done);
      CO_TRY_STATUS(co_await work_.WriteBytes(place, std::span(bytes).subspan(done, length)));
    }
    co_return base::Ok();
  }

  // Parents and link counts that do not agree with the names as they will be.
  Task<Status> FixInodes() {
    std::vector<uint32_t> subdirectories(state_.inodes.size(), 0);
    for (uint64_t index = 1; index < state_.inodes.size(); ++index) {
      const bool counts = state_.inodes[index].is_directory() || FdAt(index) == kSddFd;
      if (!counts || kept_[index] == kNone) continue;
      const uint64_t parent = ParentOf(index);
      if (parent < subdirectories.size()) ++subdirectories[parent];
    }
    for (uint64_t index = 0; index < state_.inodes.size(); ++index) {
      const InodeSummary& inode = state_.inodes[index];
      const bool is_named = kept_[index] != kNone || adopted_.contains(index) || index == 0;
      if (inode.type == 0 || !is_named) continue;
      const bool is_directory = inode.is_directory() || FdAt(index) == kSddFd;
      const uint32_t links = is_directory ? 2 + subdirectories[index] : 1;
      const uint32_t parent = ExpectedParent(index);
      const bool is_parent_right =
          inode.parent == parent || (IsSystem(index) && inode.parent == kRootFd.raw());
      if (inode.link_count == links && is_parent_right) continue;
      CO_TRY_STATUS(co_await FixInode(FdAt(index), links, is_parent_right ? inode.parent : parent));
    }
    co_return base::Ok();
  }

  uint32_t ExpectedParent(uint64_t index) const {
    if (IsSystem(index)) return 0;
    const auto adopted = adopted_.find(index);
    return adopted != adopted_.end() ? adopted->second : state_.names[kept_[index]].directory;
  }

  Task<Status> FixInode(FdAddress fd, uint32_t link_count, uint32_t parent) {
    CO_TRY(const uint64_t address, work_.volume().InodeAddress(fd));
    MetadataBytes block;
    CO_TRY_STATUS(co_await work_.ReadBlock(address + kMetadataBlockBytes, block));
    auto inode = base::LoadAs<InodeMetadata>(block);
    work_.Act(FindingCode::kLinkCount, "{}: link count {}, parent {}", fd.ToString(), link_count,
              FdAddress(parent).ToString());
    inode.link_count = link_count;
    inode.parent_fd = parent;
    base::StoreAs(std::span<std::byte>(block), 0, inode);
    co_return co_await work_.WriteBlock(address + kMetadataBlockBytes, block);
  }

  RepairWork& work_;
  State& state_;
  std::vector<uint32_t> kept_;  // by inode: which of the names; kNone
  std::map<uint64_t, uint32_t> adopted_;
  std::map<uint32_t, DirectoryEdit> edits_;
};

bool IsOfNames(FindingCode code) {
  return code == FindingCode::kDanglingEntry || code == FindingCode::kParent ||
         code == FindingCode::kLinkCount || code == FindingCode::kOrphan ||
         code == FindingCode::kInode;
}

}  // namespace

Task<Status> RepairNames(RepairWork& work) {
  if (work.state() == nullptr || !work.state()->report().is_whole) co_return base::Ok();
  const bool is_needed =
      std::ranges::any_of(work.state()->report().findings, [](const Finding& finding) {
        return IsOfNames(finding.code) && finding.severity != FindingSeverity::kInfo;
      });
  // Deletions that a journal named are remarks, not faults, until its host is taken over.
  if (!is_needed || IsBlind(work.state()->report())) co_return base::Ok();
  NameRepair repair(work);
  co_return co_await repair.Run();
}

}  // namespace vmfs::fsck
