// Descriptors in use, and everything their block maps name.
#include <algorithm>
#include <string>

#include "fs/base/aligned_buffer.h"
#include "vmfs/format/directory.h"
#include "vmfs/fsck/state.h"

namespace vmfs::fsck {
namespace {

using base::Status;
using base::Task;

constexpr uint64_t kPieceBytes = 1 << 20;

// Follows one descriptor's map, and marks what it uses.
class MapCheck final : public MapVisitor {
 public:
  MapCheck(State& state, const InodeMetadata& inode) : state_(state), inode_(inode) {}

  void Slot(uint32_t slot, Address address) override {
    if (address.is_hole()) {
      hole_seen_ = true;
    } else if (hole_seen_ && state_.report().is_ours && !rule_reported_) {
      rule_reported_ = true;
      state_.Error(Place(), FindingCode::kMapRule, "{}: slot {} is used behind an empty one",
                   Name(), slot);
    }
  }

  bool PointerBlock(Address address, uint32_t) override {
    const bool is_pb2 = inode_.map_kind() == MapKind::kPb2;
    const AddressKind expected = is_pb2 ? AddressKind::kPb2 : AddressKind::kSubBlock;
    ++ordinal_;
    if (!IsUsable(address, expected)) return false;
    ++pointer_block_count_;
    Use(is_pb2 ? ResourceKind::kPb2 : ResourceKind::kSubBlock, address);
    return true;
  }

  void Data(uint64_t index, Address address) override {
    (void)index;
    ++ordinal_;
    ++data_count_;
    if (inode_.map_kind() == MapKind::kSubBlocks || inode_.block_bytes == kSubBlockBytes) {
      if (IsUsable(address, AddressKind::kSubBlock)) Use(ResourceKind::kSubBlock, address);
      return;
    }
    if (address.kind() == AddressKind::kLargeBlock && !state_.report().is_ours) {
      UseLargeBlock(address);
      return;
    }
    if (IsUsable(address, AddressKind::kFileBlock)) Use(ResourceKind::kSmallBlock, address);
  }

  void Finish() {
    if (inode_.block_count != data_count_) {
      state_.Error(Place(), FindingCode::kBlockCount, "{}: says {} blocks, its map has {}", Name(),
                   uint64_t{inode_.block_count}, data_count_);
    }
    if (inode_.pointer_block_count != pointer_block_count_) {
      state_.Error(Place(), FindingCode::kBlockCount, "{}: says {} pointer blocks, its map has {}",
                   Name(), uint32_t{inode_.pointer_block_count}, pointer_block_count_);
    }
  }

 private:
  std::string Name() const { return inode_.address().ToString(); }
  FindingPlace Place() const { return PlaceOf(inode_.address()); }

  // Whether the address is one of `expected` kind without the bits only ESXi sets.
  bool IsUsable(Address address, AddressKind expected) {
    const bool is_right = address.kind() == expected;
    const bool is_plain = address.is_canonical() || !state_.report().is_ours;
    if (is_right && is_plain) return true;
    state_.Error(Place(), FindingCode::kMapRule, "{}: its map holds {} ({:#018x})", Name(),
                 address.ToString(), address.raw());
    return false;
  }

  void Use(ResourceKind kind, Address address) {
    if (!state_.volume().geometry(kind).Contains(address.index())) {
      state_.Error(Place(), FindingCode::kBlockRange, "{}: its map holds {}, which does not exist",
                   Name(), address.ToString());
      return;
    }
    const uint32_t per_cluster = state_.volume().geometry(kind).resources_per_cluster;
    Mark(kind, address.index().cluster * per_cluster + address.index().item, address);
  }

  void Mark(ResourceKind kind, uint64_t index, Address address) {
    Usage& usage = state_.usage(kind);
    const uint64_t cluster = address.index().cluster;
    if (usage.seen.Set(index)) {
      state_.double_uses.push_back({inode_.fd, ordinal_});
      state_.Error(Place(), FindingCode::kBlockUsedTwice, "{}: {} belongs to another file as well",
                   Name(), address.ToString());
    } else {
      NoteOwner(kind, cluster, index);
    }
    if (!usage.marked.Get(index)) {
      state_.NoteBadCluster(kind, cluster);
      state_.Error(Place(), FindingCode::kBlockNotMarked, "{}: uses {}, which is marked free",
                   Name(), address.ToString());
    } else if (!usage.keys.empty() && !IsOwnKey(FdAddress(usage.keys[index]))) {
      state_.NoteBadCluster(kind, cluster);
      state_.Warning(Place(), FindingCode::kAffinity, "{}: uses {}, whose affinity key is {}",
                     Name(), address.ToString(), FdAddress(usage.keys[index]).ToString());
    }
  }

  void NoteOwner(ResourceKind kind, uint64_t cluster, uint64_t index) {
    Usage& usage = state_.usage(kind);
    if (!usage.owners.empty()) usage.owners[index] = inode_.fd;
    if (kind != ResourceKind::kSmallBlock || !state_.report().is_ours) return;
    std::vector<OwnedBlocks>& owned = state_.owned_blocks[cluster];
    const auto own = std::ranges::find(owned.rbegin(), owned.rend(), uint32_t{inode_.fd},
                                       &OwnedBlocks::fd);
    if (own != owned.rend()) {
      ++own->block_count;
    } else {
      owned.push_back({inode_.fd, 1});
    }
  }

  // Ours are the owner's address; ESXi writes the owner's affinity, which may change later.
  bool IsOwnKey(FdAddress key) const {
    if (!state_.report().is_ours || key == inode_.address()) return true;
    return !key.is_none() && key == FdAddress(inode_.affinity_fd);
  }

  // ESXi's large blocks stand in every 1 MiB slot, or once with blocks of 512 MiB.
  void UseLargeBlock(Address address) {
    if (address == last_large_) return;
    last_large_ = address;
    for (uint32_t i = 0; i < kSmallBlocksPerCluster; ++i) {
      const uint64_t block = address.volume_block() + i;
      if (block < state_.blocks.seen.count()) state_.blocks.seen.Set(block);
    }
  }

  State& state_;
  const InodeMetadata& inode_;
  Address last_large_;
  uint64_t data_count_ = 0;
  uint64_t pointer_block_count_ = 0;
  uint64_t ordinal_ = 0;  // of the address at hand, from 1
  bool hole_seen_ = false;
  bool rule_reported_ = false;
};

void CountInode(FsckCounters& counters, InodeType type) {
  switch (type) {
    case InodeType::kDirectory: ++counters.directories; break;
    case InodeType::kFile: ++counters.files; break;
    case InodeType::kSymlink: ++counters.symlinks; break;
    default: ++counters.others; break;
  }
}

// What a descriptor's type demands of the other fields.
void CheckFields(State& state, const InodeMetadata& inode) {
  const std::string name = inode.address().ToString();
  const FindingPlace place = PlaceOf(inode.address());
  const bool is_inline = inode.map_kind() == MapKind::kInline;
  if (inode.type() == InodeType::kSymlink && !is_inline) {
    state.Error(place, FindingCode::kInode, "{}: a symbolic link that is not inline", name);
  }
  if (inode.type() == InodeType::kDirectory &&
      (is_inline || inode.length_bytes % kMetadataBlockBytes != 0 ||
       inode.length_bytes < kDirectoryHeaderBytes + kMetadataBlockBytes)) {
    state.Error(place, FindingCode::kInode, "{}: a directory of {} bytes, map kind {:#x}", name,
                uint64_t{inode.length_bytes}, uint32_t{inode.map_kind_value});
  }
  if (inode.map_kind() == MapKind::kPb2 && inode.type() != InodeType::kSystem) {
    state.Error(place, FindingCode::kMapRule, "{}: mapped through .pb2.sf, but no system file",
                name);
  }
}

Task<Status> CheckInode(State& state, FdAddress fd, uint64_t address,
                        std::span<const std::byte> bytes) {
  state.CheckLock(bytes, address, LockType::kFd);
  const auto block = bytes.subspan(kMetadataBlockBytes).first<kMetadataBlockBytes>();
  const auto inode = DecodeInode(block, fd);
  if (!inode) {
    state.Error(PlaceOf(fd), FindingCode::kInode, "{}", inode.error().message());
    co_return base::Ok();
  }
  InodeSummary& summary = state.inodes[state.InodeIndex(fd)];
  summary.generation = inode->generation;
  summary.parent = inode->parent_fd;
  summary.link_count = inode->link_count;
  summary.type = static_cast<uint8_t>(uint32_t{inode->type_value});
  CountInode(state.report().counters, inode->type());
  CheckFields(state, *inode);
  if (inode->generation > state.last_generations[fd.cluster()] &&
      state.InodeIndex(fd) >= kSystemFdCount) {
    state.Warning(PlaceOf(fd), FindingCode::kInode,
                  "{}: generation {}, its cluster has handed out only {}", fd.ToString(),
                  uint32_t{inode->generation}, state.last_generations[fd.cluster()]);
  }
  const InodeMetadata metadata = *inode;
  MetadataBytes copy;
  std::copy(block.begin(), block.end(), copy.begin());
  MapCheck check(state, metadata);
  const Status walked = co_await state.volume().WalkMap(&metadata, &copy, check);
  if (!walked) {
    state.Error(PlaceOf(fd), FindingCode::kUnreadable, "{}: {}", fd.ToString(),
                walked.error().message());
    co_return base::Ok();
  }
  check.Finish();
  co_return base::Ok();
}

// The descriptors that lie in one 1 MiB piece of `.fdc.sf`, of those marked used.
Task<Status> CheckPiece(State& state, uint64_t first, uint64_t count, base::AlignedBuffer* buffer) {
  const ResourceGeometry& geometry = state.volume().geometry(ResourceKind::kFd);
  bool loaded = false;
  uint64_t loaded_at = 0;
  for (uint64_t index = first; index < first + count; ++index) {
    if (!state.fds.marked.Get(index)) continue;
    const FdAddress fd = FdAddress::Make(
        static_cast<uint32_t>(index / geometry.resources_per_cluster),
        static_cast<uint32_t>(index % geometry.resources_per_cluster));
    const auto address = state.volume().InodeAddress(fd);
    if (!address) {
      state.Error(FindingCode::kSystemFile, "{}", address.error().message());
      continue;
    }
    const uint64_t begin = *address / kPieceBytes * kPieceBytes;
    if (!loaded || begin != loaded_at) {
      loaded = co_await state.Read(begin, buffer->span());
      loaded_at = begin;
    }
    if (!loaded) continue;
    const auto bytes = buffer->span().subspan(*address - begin, kInodeBytes);
    CO_TRY_STATUS(co_await CheckInode(state, fd, *address, bytes));
  }
  co_return base::Ok();
}

}  // namespace

Task<Status> CheckInodes(State& state) {
  base::AlignedBuffer buffer(kPieceBytes);
  const uint64_t total = state.volume().geometry(ResourceKind::kFd).resource_count;
  constexpr uint64_t kPerPiece = kPieceBytes / kInodeBytes;
  for (uint64_t first = 0; first < total; first += kPerPiece) {
    CO_TRY_STATUS(state.Progress("descriptors", first, total));
    CO_TRY_STATUS(co_await CheckPiece(state, first, std::min(kPerPiece, total - first), &buffer));
  }
  co_return base::Ok();
}

}  // namespace vmfs::fsck
