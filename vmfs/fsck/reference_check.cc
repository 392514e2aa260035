// What only the whole shows: leaks, link counts, orphans, directories outside the tree.
#include <algorithm>

#include "vmfs/fsck/state.h"

namespace vmfs::fsck {
namespace {

FdAddress FdAt(uint64_t index) {
  return FdAddress::Make(static_cast<uint32_t>(index / 256), static_cast<uint32_t>(index % 256));
}

// Resources that belong to nobody's map: sub-block (0,0) of ours, journals of heartbeats in use.
void MarkReserved(State& state) {
  if (state.report().is_ours && state.sub_blocks.seen.count() > 0) {
    if (state.sub_blocks.seen.Set(0)) {
      state.NoteBadCluster(ResourceKind::kSubBlock, 0);
      state.reserved_sub_block_used = true;
      state.Error(FindingCode::kBlockUsedTwice, "sub-block 0/0 is in use; it must stay zero");
    }
    if (!state.sub_blocks.marked.Get(0)) {
      state.NoteBadCluster(ResourceKind::kSubBlock, 0);
      state.Error(FindingCode::kBlockNotMarked, "sub-block 0/0 is marked free; it must stay zero");
    }
  }
  for (const HeartbeatSlot& slot : state.heartbeats) {
    if (slot.state_value == 0 || slot.state() == HeartbeatState::kFree) continue;
    if (slot.journal_block == 0) continue;
    const Address address(slot.journal_block);
    const ResourceGeometry& geometry = state.volume().geometry(ResourceKind::kJournal);
    if (address.kind() != AddressKind::kJournalBlock || !geometry.Contains(address.index())) {
      state.Error(PlaceOfHeartbeat(HeartbeatIndex(slot.own_address)), FindingCode::kHeartbeat,
                  "heartbeat {:#x}: its journal is {}", uint64_t{slot.own_address},
                  address.ToString());
      continue;
    }
    const ResourceIndex where = address.index();
    state.journal.seen.Set(where.cluster * geometry.resources_per_cluster + where.item);
  }
}

// Reports runs of resources that are marked used and belong to nothing.
void ReportLeaks(State& state, ResourceKind kind, const char* name) {
  const Usage& usage = state.usage(kind);
  const ResourceGeometry& geometry = state.volume().geometry(kind);
  const auto is_leaked = [&](uint64_t index) {
    return usage.marked.Get(index) && !usage.seen.Get(index);
  };
  for (uint64_t index = 0; index < usage.marked.count(); ++index) {
    if (!is_leaked(index)) continue;
    const uint64_t first = index;
    while (index + 1 < usage.marked.count() && is_leaked(index + 1)) ++index;
    const uint32_t per_cluster = geometry.resources_per_cluster;
    for (uint64_t cluster = first / per_cluster; cluster <= index / per_cluster; ++cluster) {
      state.NoteBadCluster(kind, cluster);
    }
    state.Warning(PlaceOf(kind, first / per_cluster), FindingCode::kBlockLeaked,
                  "{} {}/{}: {} from here on are marked used, but belong to nothing", name,
                  first / per_cluster, first % per_cluster, index - first + 1);
  }
}

bool IsKnownOrphan(const State& state, FdAddress fd, uint32_t generation) {
  return std::ranges::any_of(state.known_orphans, [&](const Orphan& orphan) {
    return orphan.fd == fd.raw() && orphan.generation == generation;
  });
}

void CheckNames(State& state, FdAddress fd, const InodeSummary& inode) {
  if (inode.name_count == 0) {
    if (fd == kRootFd) return;
    if (IsKnownOrphan(state, fd, inode.generation)) {
      state.Info(FindingCode::kOrphan, "{}: deleted while open; the next mount frees it",
                 fd.ToString());
    } else {
      state.Error(PlaceOf(fd), FindingCode::kOrphan, "{}: has no name (type {}, link count {})",
                  fd.ToString(), inode.type, inode.link_count);
    }
    return;
  }
  const bool is_directory =
      inode.type == static_cast<uint8_t>(InodeType::kDirectory) || fd == kSddFd;
  const uint32_t expected = is_directory ? 2 + inode.subdirectory_count : inode.name_count;
  if (inode.name_count > 1 && is_directory) {
    state.Error(PlaceOf(fd), FindingCode::kLinkCount, "{}: a directory with {} names",
                fd.ToString(), inode.name_count);
  }
  if (inode.link_count != expected) {
    state.Error(PlaceOf(fd), FindingCode::kLinkCount, "{}: link count {}, expected {}",
                fd.ToString(), inode.link_count, expected);
  }
}

// Follows parents upwards: every directory must reach the root.
void CheckTree(State& state) {
  Bitmap connected;
  connected.Resize(state.inodes.size());
  if (connected.count() > 0) connected.Set(state.InodeIndex(kRootFd));
  std::vector<uint64_t> path;
  for (uint64_t start = 0; start < state.inodes.size(); ++start) {
    if (state.inodes[start].type != static_cast<uint8_t>(InodeType::kDirectory)) continue;
    path.clear();
    uint64_t index = start;
    bool is_cycle = false;
    while (index < state.inodes.size() && !connected.Get(index) && !is_cycle) {
      path.push_back(index);
      const FdAddress parent(state.inodes[index].parent);
      index = parent.is_none() ? 0 : state.InodeIndex(parent);
      is_cycle = path.size() > 1 && std::ranges::find(path, index) != path.end();
      is_cycle = is_cycle || index == path.front();
    }
    if (is_cycle) {
      state.Error(PlaceOf(FdAt(start)), FindingCode::kParent,
                  "directory {}: its parents lead in a circle", FdAt(start).ToString());
    }
    for (const uint64_t visited : path) connected.Set(visited);
  }
}

// No entry of an affinity list may claim more blocks of its cluster than its owner has there.
// (Fewer it may: what found no entry once is counted in entry 0.)
void CheckOwners(State& state) {
  if (!state.report().is_ours) return;
  for (uint64_t cluster = 0; cluster < state.affinity_lists.size(); ++cluster) {
    for (const OwnedBlocks& entry : state.affinity_lists[cluster]) {
      const auto& owned = state.owned_blocks[cluster];
      const auto own = std::ranges::find(owned, entry.fd, &OwnedBlocks::fd);
      const uint32_t count = own == owned.end() ? 0 : own->block_count;
      if (entry.block_count <= count) continue;
      state.NoteBadCluster(ResourceKind::kSmallBlock, cluster);
      state.Warning(PlaceOf(ResourceKind::kSmallBlock, cluster), FindingCode::kAffinity,
                    "small-block cluster {}: {} is said to have {} blocks, it has {}", cluster,
                    FdAddress(entry.fd).ToString(), entry.block_count, count);
    }
  }
}

void CountUsage(State& state) {
  FsckCounters& counters = state.report().counters;
  const auto count = [&](ResourceKind kind, uint64_t& total, uint64_t& used) {
    const Usage& usage = state.usage(kind);
    total = state.volume().geometry(kind).resource_count;
    for (uint64_t i = 0; i < usage.marked.count(); ++i) used += usage.marked.Get(i) ? 1 : 0;
  };
  count(ResourceKind::kSmallBlock, counters.blocks, counters.blocks_used);
  count(ResourceKind::kSubBlock, counters.sub_blocks, counters.sub_blocks_used);
  count(ResourceKind::kFd, counters.descriptors, counters.descriptors_used);
}

}  // namespace

void CheckReferences(State& state) {
  MarkReserved(state);
  ReportLeaks(state, ResourceKind::kSmallBlock, "file block");
  ReportLeaks(state, ResourceKind::kSubBlock, "sub-block");
  ReportLeaks(state, ResourceKind::kPb2, "pb2 block");
  ReportLeaks(state, ResourceKind::kJournal, "journal block");
  CheckOwners(state);
  for (uint64_t index = 0; index < state.inodes.size(); ++index) {
    if (state.inodes[index].type != 0) CheckNames(state, FdAt(index), state.inodes[index]);
  }
  if (!state.inodes.empty() && state.inodes[0].type != 0) {
    const InodeSummary& root = state.inodes[0];
    if (root.link_count != 2 + root.subdirectory_count) {
      state.Error(PlaceOf(kRootFd), FindingCode::kLinkCount,
                  "{}: link count {}, expected {}", kRootFd.ToString(), root.link_count,
                  2 + root.subdirectory_count);
    }
  }
  CheckTree(state);
  CountUsage(state);
}

}  // namespace vmfs::fsck
