// Descriptors and their block maps: fields restored, impossible addresses made holes, blocks of two
// owners copied for the second.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "vmfs/format/directory.h"
#include "vmfs/fsck/inode_guess.h"
#include "vmfs/fsck/repair_work.h"

namespace vmfs::fsck {
namespace {

using base::Result;
using base::Status;
using base::Task;

AddressBounds BoundsOf(RepairWork& work) {
  return {work.volume().block_count(),
          work.volume().geometry(ResourceKind::kSubBlock).resource_count,
          work.volume().geometry(ResourceKind::kPb2).resource_count};
}

// One descriptor and its map, walked in the order of the check.
class MapRepair {
 public:
  MapRepair(RepairWork& work, FdAddress fd, MetadataBytes& block)
      : work_(work), fd_(fd), block_(block), bounds_(BoundsOf(work)) {
    const auto inode = base::LoadAs<InodeMetadata>(block);
    const MapKind kind = inode.map_kind();
    pointer_kind_ = kind == MapKind::kPb2 ? ResourceKind::kPb2 : ResourceKind::kSubBlock;
    const bool has_sub_blocks =
        kind == MapKind::kSubBlocks || inode.block_bytes == kSubBlockBytes;
    data_kind_ = has_sub_blocks ? ResourceKind::kSubBlock : ResourceKind::kSmallBlock;
    if (kind == MapKind::kPointerBlocks || kind == MapKind::kPb2) levels_ = 1;
    if (kind == MapKind::kDoubleIndirect) levels_ = 2;
    is_inline_ = kind == MapKind::kInline;
    const auto& uses = work.state()->double_uses;
    for (const DoubleUse& use : uses) {
      if (use.fd == fd.raw()) copied_.insert(use.ordinal);
    }
  }

  // Errors: kNoSpace, those of the device.
  Task<Status> Run() {
    if (is_inline_) co_return base::Ok();
    for (uint32_t slot = 0; slot < kSlotCount; ++slot) {
      const Address address = GetSlot(block_, slot);
      if (address.is_hole()) continue;
      CO_TRY(const Address fixed, co_await Fix(address, levels_));
      SetSlot(block_, slot, fixed);
    }
    CO_TRY_STATUS(co_await FillGaps());
    Report();
    co_return base::Ok();
  }

  uint64_t data_count() const { return data_count_; }
  uint64_t pointer_count() const { return pointer_count_; }

 private:
  Address Plain(Address address) const {
    const ResourceIndex index = address.index();
    switch (address.kind()) {
      case AddressKind::kFileBlock: return Address::MakeFileBlock(address.volume_block());
      case AddressKind::kSubBlock: return Address::MakeSubBlock(index.cluster, index.item);
      default: return Address::MakePb2(index.cluster, index.item);
    }
  }

  AddressKind KindAt(uint32_t level) const {
    const ResourceKind kind = level > 0 ? pointer_kind_ : data_kind_;
    if (kind == ResourceKind::kSmallBlock) return AddressKind::kFileBlock;
    return kind == ResourceKind::kPb2 ? AddressKind::kPb2 : AddressKind::kSubBlock;
  }

  // What should stand in place of an address of `level`: 0 leads to data.
  Task<Result<Address>> Fix(Address address, uint32_t level) {
    ++ordinal_;
    const uint64_t ordinal = ordinal_;
    if (address.kind() != KindAt(level) || !bounds_.Contains(address)) {
      ++hole_count_;
      co_return Address();
    }
    Address fixed = Plain(address);
    const bool is_reserved = fixed == Address::MakeSubBlock(0, 0);
    if (copied_.contains(ordinal) || is_reserved) {
      CO_TRY(fixed, co_await Copy(fixed));
    }
    if (level == 0) {
      ++data_count_;
      co_return fixed;
    }
    ++pointer_count_;
    CO_TRY_STATUS(co_await FixBelow(fixed, level));
    co_return fixed;
  }

  Task<Status> FixBelow(Address address, uint32_t level) {
    CO_TRY(const uint64_t place, work_.volume().DataAddress(address));
    std::vector<std::byte> pointers(kSubBlockBytes);
    CO_TRY_STATUS(co_await work_.ReadBytes(place, pointers));
    bool changed = false;
    for (uint32_t i = 0; i < kPointersPerBlock; ++i) {
      const Address pointer = GetPointer(pointers, i);
      if (pointer.is_hole()) continue;
      CO_TRY(const Address fixed, co_await Fix(pointer, level - 1));
      changed = changed || fixed != pointer;
      SetPointer(pointers, i, fixed);
    }
    if (changed) CO_TRY_STATUS(co_await work_.WriteBytes(place, pointers));
    co_return base::Ok();
  }

  // A block of the second owner's own, with the same contents.
  Task<Result<Address>> Copy(Address address) {
    const bool is_file_block = address.kind() == AddressKind::kFileBlock;
    const ResourceKind kind = is_file_block ? ResourceKind::kSmallBlock
                              : address.kind() == AddressKind::kPb2 ? ResourceKind::kPb2
                                                                    : ResourceKind::kSubBlock;
    CO_TRY(const uint64_t from, work_.volume().DataAddress(address));
    CO_TRY(const Address copy, co_await work_.AllocateUnit(kind, /*zeroed=*/false));
    CO_TRY(const uint64_t to, work_.volume().DataAddress(copy));
    if (is_file_block) {
      work_.overlay().AddCopy({from, to, kFileBlockBytes});
    } else {
      std::vector<std::byte> bytes(kSubBlockBytes);
      CO_TRY_STATUS(co_await work_.ReadBytes(from, bytes));
      CO_TRY_STATUS(co_await work_.WriteBytes(to, bytes));
    }
    ++copy_count_;
    co_return copy;
  }

  // No empty slot may stand before a used one: what is missing reads as zeros from a block of its
  // own.
  Task<Status> FillGaps() {
    uint32_t end = kSlotCount;
    while (end > 0 && GetSlot(block_, end - 1).is_hole()) --end;
    for (uint32_t slot = 0; slot < end; ++slot) {
      if (!GetSlot(block_, slot).is_hole()) continue;
      const ResourceKind kind = levels_ > 0 ? pointer_kind_ : data_kind_;
      CO_TRY(const Address filled, co_await work_.AllocateUnit(kind, /*zeroed=*/true));
      SetSlot(block_, slot, filled);
      ++(levels_ > 0 ? pointer_count_ : data_count_);
    }
    co_return base::Ok();
  }

  void Report() {
    RepairCounters& counters = work_.report().counters;
    counters.holes += hole_count_;
    counters.copies += copy_count_;
    if (hole_count_ > 0) {
      work_.NoteLoss();
      work_.Act(FindingCode::kBlockRange, "{}: {} addresses of nothing read as zeros now",
                fd_.ToString(), hole_count_);
    }
    if (copy_count_ > 0) {
      work_.Act(FindingCode::kBlockUsedTwice, "{}: {} blocks that others use too are copied",
                fd_.ToString(), copy_count_);
    }
  }

  RepairWork& work_;
  const FdAddress fd_;
  MetadataBytes& block_;
  const AddressBounds bounds_;
  ResourceKind pointer_kind_, data_kind_;
  uint32_t levels_ = 0;
  bool is_inline_ = false;
  std::set<uint64_t> copied_;  // ordinals of addresses that another descriptor uses
  uint64_t ordinal_ = 0;
  uint64_t data_count_ = 0, pointer_count_ = 0;
  uint64_t hole_count_ = 0, copy_count_ = 0;
};

// What the first sub-block of the map holds, if it were a pointer block.
Task<std::optional<AddressCensus>> LookBelow(RepairWork& work, MetadataBytes& block) {
  const AddressBounds bounds = BoundsOf(work);
  std::optional<AddressCensus> census;
  for (uint32_t slot = 0; slot < kSlotCount; ++slot) {
    const Address address = GetSlot(block, slot);
    if (address.kind() != AddressKind::kSubBlock || !bounds.Contains(address)) continue;
    const Result<uint64_t> place = work.volume().DataAddress(address);
    if (!place) continue;
    std::vector<std::byte> pointers(kSubBlockBytes);
    const Status read = co_await work.ReadBytes(*place, pointers);
    if (!read) continue;
    const AddressCensus found = CountPointers(pointers, bounds);
    if (!census) census.emplace();
    census->file_blocks += found.file_blocks;
    census->sub_blocks += found.sub_blocks;
    census->pb2_blocks += found.pb2_blocks;
    census->impossible += found.impossible;
    if (census->used() > kPointersPerBlock) break;
  }
  co_return census;
}

std::optional<InodeHint> FindHint(State& state, FdAddress fd) {
  std::optional<InodeHint> hint;
  for (const NameEntry& name : state.names) {
    if (name.target != fd.raw()) continue;
    hint = InodeHint{name.generation, name.type, name.directory};
    if (name.generation <= state.last_generations[fd.cluster()]) break;
  }
  return hint;
}

// What the type demands of the other fields, and the generation.
void FixType(RepairWork& work, FdAddress fd, MetadataSpan block,
             const std::optional<InodeHint>& hint) {
  auto inode = base::LoadAs<InodeMetadata>(block);
  const bool is_inline = inode.map_kind() == MapKind::kInline;
  if (inode.type() == InodeType::kSymlink && !is_inline) inode.set_type(InodeType::kFile);
  if (inode.type() == InodeType::kDirectory && is_inline) {
    if (hint && hint->type != inode.type_value) {
      inode.type_value = hint->type;
    } else {
      std::fill(block.begin() + kInlineOffset, block.end(), std::byte{0});
      inode.SetMapKind(MapKind::kSubBlocks);
      inode.length_bytes = 0;
    }
  }
  const uint32_t last = work.state()->last_generations[fd.cluster()];
  if (fd.raw() > kJbcFd.raw() && inode.generation > last && hint && hint->generation <= last) {
    inode.generation = hint->generation;
  }
  base::StoreAs(std::span<std::byte>(block), 0, inode);
}

void FixDirectoryLength(MetadataSpan block, uint64_t unit_count) {
  auto inode = base::LoadAs<InodeMetadata>(block);
  if (inode.type() != InodeType::kDirectory) return;
  const uint64_t length = inode.length_bytes;
  if (length % kMetadataBlockBytes == 0 &&
      length >= kDirectoryHeaderBytes + kMetadataBlockBytes) {
    return;
  }
  inode.length_bytes = unit_count * inode.block_bytes;
  base::StoreAs(std::span<std::byte>(block), 0, inode);
}

Task<Status> RepairInode(RepairWork& work, FdAddress fd) {
  CO_TRY(const uint64_t address, work.volume().InodeAddress(fd));
  MetadataBytes block;
  CO_TRY_STATUS(co_await work.ReadBlock(address + kMetadataBlockBytes, block));
  const MetadataBytes before = block;
  const std::optional<InodeHint> hint = FindHint(*work.state(), fd);
  const AddressBounds bounds = BoundsOf(work);
  const bool is_system = work.state()->InodeIndex(fd) < kSystemFdCount;
  if (!IsRestorable(block, fd, bounds, hint)) {
    if (!IsZero(block)) work.NoteLoss();
    co_return base::Ok();
  }
  const std::optional<AddressCensus> below = co_await LookBelow(work, block);
  const auto inode = base::LoadAs<InodeMetadata>(block);
  const MapKind guessed = GuessMapKind(block, bounds, below);
  // A map that is right as it is stays; a guess is for one that contradicts its kind.
  const bool is_believed = DecodeInode(block, fd).has_value() &&
                           FitsMapKind(CountSlots(block, bounds), below, inode);
  if (!is_system) {
    RestoreFields(block, fd, is_believed ? inode.map_kind() : guessed, hint);
    FixType(work, fd, block, hint);
  }
  if (!DecodeInode(block, fd)) co_return base::Ok();
  MapRepair map(work, fd, block);
  CO_TRY_STATUS(co_await map.Run());
  if (!is_system) FixDirectoryLength(block, map.data_count());
  auto fixed = base::LoadAs<InodeMetadata>(block);
  if (fixed.block_count != map.data_count()) fixed.SetBlockCount(map.data_count());
  fixed.pointer_block_count = static_cast<uint32_t>(map.pointer_count());
  base::StoreAs(std::span<std::byte>(block), 0, fixed);
  if (block == before) co_return base::Ok();
  work.Act(FindingCode::kInode, "{}: descriptor set right", fd.ToString());
  co_return co_await work.WriteBlock(address + kMetadataBlockBytes, block);
}

bool IsOfInode(FindingCode code) {
  return code == FindingCode::kInode || code == FindingCode::kMapRule ||
         code == FindingCode::kBlockRange || code == FindingCode::kBlockUsedTwice ||
         code == FindingCode::kBlockCount;
}

// The sub-block that stays zero has been copied for whoever used it.
Task<Status> ClearReservedSubBlock(RepairWork& work) {
  CO_TRY(const uint64_t address, work.volume().DataAddress(Address::MakeSubBlock(0, 0)));
  std::vector<std::byte> zeros(kSubBlockBytes);
  co_return co_await work.WriteBytes(address, zeros);
}

}  // namespace

Task<Status> RepairInodes(RepairWork& work) {
  if (work.state() == nullptr || !work.state()->report().is_whole) co_return base::Ok();
  State& state = *work.state();
  std::set<uint32_t> fds;
  for (const Finding& finding : state.report().findings) {
    if (IsOfInode(finding.code) && finding.place.fd != 0) fds.insert(finding.place.fd);
  }
  if (state.reserved_sub_block_used && state.sub_blocks.owners[0] != 0) {
    fds.insert(state.sub_blocks.owners[0]);
  }
  for (const uint32_t fd : fds) {
    const Status done = co_await RepairInode(work, FdAddress(fd));
    if (!IsLocal(done)) co_return done;
  }
  if (state.reserved_sub_block_used) CO_TRY_STATUS(co_await ClearReservedSubBlock(work));
  co_return base::Ok();
}

}  // namespace vmfs::fsck
