#include "vmfs/fsck/directory_edit.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "fs/base/aligned_buffer.h"
#include "vmfs/directory/name.h"
#include "vmfs/format/corrupt.h"

namespace vmfs::fsck {

using base::Result;
using base::Status;
using base::Task;

std::string LostName(FdAddress fd) { return fmt::format("#{:08x}", fd.raw()); }

namespace {

constexpr uint64_t kDirectoryBytesMax = uint64_t{64} << 20;

struct SystemName {
  std::string_view name;
  FdAddress fd;
};
constexpr SystemName kSystemNames[] = {
    {".fbb.sf", kFbbFd}, {".fdc.sf", kFdcFd}, {".pbc.sf", kPbcFd}, {".sbc.sf", kSbcFd},
    {".vh.sf", kVhFd},   {".pb2.sf", kPb2Fd}, {".sdd.sf", kSddFd}, {".jbc.sf", kJbcFd}};

// What a mount can look up.
bool IsUsableName(std::string_view name) { return ValidateName(name).has_value(); }

// The same with every byte that may be wrong replaced.
std::string PlainName(std::string name) {
  for (char& byte : name) {
    const auto value = static_cast<unsigned char>(byte);
    if (value < 0x20 || value >= 0x7f || byte == '/') byte = '_';
  }
  return name;
}

// Where the units of the directory's file lie, those mapped so far.
class UnitList final : public MapVisitor {
 public:
  bool PointerBlock(Address address, uint32_t) override {
    pointer_blocks_.push_back(address);
    return true;
  }
  void Data(uint64_t index, Address address) override {
    if (index == units_.size()) units_.push_back(address);
  }
  const std::vector<Address>& units() const { return units_; }
  const std::vector<Address>& pointer_blocks() const { return pointer_blocks_; }

 private:
  std::vector<Address> units_, pointer_blocks_;
};

class Rebuild {
 public:
  Rebuild(RepairWork& work, FdAddress fd, DirectoryEdit& edit)
      : work_(work), fd_(fd), edit_(edit) {}

  Task<Status> Run() {
    CO_TRY(const uint64_t address, work_.volume().InodeAddress(fd_));
    inode_address_ = address + kMetadataBlockBytes;
    CO_TRY_STATUS(co_await work_.ReadBlock(inode_address_, block_));
    CO_TRY(const InodeMetadata inode, DecodeInode(block_, fd_));
    if (inode.type() != InodeType::kDirectory && fd_ != kSddFd) {
      co_return CorruptError("{}: no directory", fd_.ToString());
    }
    CO_TRY_STATUS(co_await Load());
    TakeNames();
    if (fd_ == kRootFd) AddSystemNames();
    for (BuiltName& added : edit_.added) Insert(std::move(added));
    CO_TRY(std::vector<std::byte> built, BuildDirectory(Describe(), bytes_.size()));
    const uint64_t changes = work_.overlay().change_count();
    CO_TRY_STATUS(co_await Store(built));
    if (work_.overlay().change_count() != changes) {
      ++work_.report().counters.directories_rebuilt;
      work_.Act(FindingCode::kDirectory, "directory {}: written anew with {} names",
                fd_.ToString(), names_.size());
    }
    co_return base::Ok();
  }

 private:
  State& state() { return *work_.state(); }

  // Its contents, with everything that its map holds: the length itself may be wrong.
  Task<Status> Load() {
    auto inode = base::LoadAs<InodeMetadata>(block_);
    CO_TRY_STATUS(co_await work_.volume().WalkMap(&inode, &block_, units_));
    const uint64_t mapped = units_.units().size() * uint64_t{inode.block_bytes};
    const uint64_t length = std::min<uint64_t>(inode.length_bytes, mapped);
    inode.length_bytes = std::min(mapped, kDirectoryBytesMax);
    CO_TRY(bytes_, co_await work_.volume().ReadFile(&inode, &block_, kDirectoryBytesMax));
    // No longer than before, unless something stands behind the end.
    uint64_t end = bytes_.size();
    while (end > length && IsZero(std::span(bytes_).subspan(end - kMetadataBlockBytes,
                                                            kMetadataBlockBytes))) {
      end -= kMetadataBlockBytes;
    }
    bytes_.resize(end);
    co_return base::Ok();
  }

  // The descriptor a record leads to; null when there is none.
  const InodeSummary* TargetOf(const DirectoryRecord& record) {
    const FdAddress target = record.address();
    const uint64_t index = state().InodeIndex(target);
    if (!target.is_valid() || target.item() >= 256 || index >= state().inodes.size()) {
      return nullptr;
    }
    return state().inodes[index].type == 0 ? nullptr : &state().inodes[index];
  }

  void TakeNames() {
    for (const FoundRecord& found : FindRecords(bytes_)) {
      const uint64_t offset = RecordFileOffset(found.place.block, found.place.slot);
      if (edit_.removed.contains(offset)) continue;
      const InodeSummary* target = TargetOf(found.record);
      const bool is_target_right =
          target != nullptr && target->generation == found.record.generation;
      // What only looks like a name counts when it leads somewhere, and nothing else does.
      if (!found.is_whole && !is_target_right) continue;
      if (!found.is_marked && (!is_target_right || target->name_count > 0)) continue;
      BuiltName name;
      name.fd = found.record.fd;
      name.generation = found.record.generation;
      name.type = found.record.type_value;
      name.name = std::string(found.record.name());
      name.place = found.place;
      if (is_target_right) name.type = target->type;
      if (const auto changed = edit_.changed.find(offset); changed != edit_.changed.end()) {
        name.generation = changed->second.generation;
        name.type = changed->second.type;
      }
      Insert(std::move(name));
    }
  }

  // A name that is impossible or taken gets another; the same thing twice is one name.
  void Insert(BuiltName name) {
    const auto same = by_name_.find(name.name);
    if (same != by_name_.end()) {
      const BuiltName& other = names_[same->second];
      if (other.fd == name.fd && other.generation == name.generation) return;
    }
    if (!IsUsableName(name.name) || same != by_name_.end()) Rename(name);
    by_name_[name.name] = names_.size();
    names_.push_back(std::move(name));
  }

  void Rename(BuiltName& name) {
    const std::string lost = LostName(FdAddress(name.fd));
    std::string kept = IsUsableName(name.name) ? name.name : PlainName(name.name);
    if (kept.size() > kNameBytesMax - 24) kept.resize(kNameBytesMax - 24);
    const bool has_name = IsUsableName(kept);
    std::string tried = has_name && kept != name.name && !by_name_.contains(kept) ? kept
                        : has_name                                               ? kept + lost
                                                                                 : lost;
    for (int i = 1; by_name_.contains(tried); ++i) {
      tried = fmt::format("{}{}.{}", has_name ? kept : "", lost, i);
    }
    ++work_.report().counters.names_changed;
    work_.Act(FindingCode::kDuplicateName, "directory {}: \"{}\" is called \"{}\" now",
              fd_.ToString(), name.name, tried);
    name.name = tried;
  }

  // The root's own names stand first, so that nothing else has them.
  void AddSystemNames() {
    std::vector<BuiltName> others = std::move(names_);
    names_.clear();
    by_name_.clear();
    for (const SystemName& system : kSystemNames) {
      BuiltName name;
      name.fd = system.fd.raw();
      name.generation = 1;
      name.type = static_cast<uint32_t>(InodeType::kSystem);
      name.name = system.name;
      for (const BuiltName& other : others) {
        if (other.name == system.name && other.fd == name.fd) name.place = other.place;
      }
      Insert(std::move(name));
    }
    for (BuiltName& other : others) {
      const bool is_system = state().InodeIndex(FdAddress(other.fd)) < kSystemFdCount;
      if (!is_system) Insert(std::move(other));
    }
  }

  BuiltDirectory Describe() {
    const auto inode = base::LoadAs<InodeMetadata>(block_);
    BuiltDirectory built;
    built.is_root = fd_ == kRootFd;
    built.has_records = fd_ != kSddFd;
    built.names = names_;
    built.dot.type_value = uint32_t{inode.type_value};
    built.dot.fd = fd_.raw();
    built.dot.generation = uint32_t{inode.generation};
    const FdAddress parent = inode.parent_fd == 0 ? kRootFd : inode.parent();
    const uint64_t index = state().InodeIndex(parent);
    built.dot_dot.type_value = static_cast<uint32_t>(InodeType::kDirectory);
    built.dot_dot.fd = parent.raw();
    built.dot_dot.generation =
        index < state().inodes.size() ? state().inodes[index].generation : 1;
    return built;
  }

  // One more unit at the end of the map. Errors: kNoSpace.
  Task<Status> AddUnit(std::vector<Address>& units) {
    auto inode = base::LoadAs<InodeMetadata>(block_);
    const bool is_small = inode.block_bytes == kSubBlockBytes;
    const ResourceKind kind = is_small ? ResourceKind::kSubBlock : ResourceKind::kSmallBlock;
    const bool has_slots =
        inode.map_kind() == MapKind::kSubBlocks || inode.map_kind() == MapKind::kFileBlocks;
    const uint64_t pointer_block = units.size() / kPointersPerBlock;
    const bool has_room = has_slots ? units.size() < kSlotCount
                                    : inode.map_kind() == MapKind::kPointerBlocks &&
                                          pointer_block < units_.pointer_blocks().size();
    if (!has_room) {
      co_return base::Error(base::Code::kNoSpace,
                            fmt::format("directory {}: its map is full", fd_.ToString()));
    }
    CO_TRY(const Address unit, co_await work_.AllocateUnit(kind, /*zeroed=*/true));
    if (has_slots) {
      SetSlot(block_, static_cast<uint32_t>(units.size()), unit);
    } else {
      CO_TRY_STATUS(co_await SetPointerTo(units.size(), unit));
    }
    units.push_back(unit);
    inode.SetBlockCount(units.size());
    base::StoreAs(std::span<std::byte>(block_), 0, inode);
    co_return base::Ok();
  }

  Task<Status> SetPointerTo(uint64_t index, Address unit) {
    CO_TRY(const uint64_t place,
           work_.volume().DataAddress(units_.pointer_blocks()[index / kPointersPerBlock]));
    std::vector<std::byte> pointers(kSubBlockBytes);
    CO_TRY_STATUS(co_await work_.ReadBytes(place, pointers));
    SetPointer(pointers, static_cast<uint32_t>(index % kPointersPerBlock), unit);
    co_return co_await work_.WriteBytes(place, pointers);
  }

  Task<Status> Store(std::vector<std::byte>& built) {
    const auto before = base::LoadAs<InodeMetadata>(block_);
    const uint64_t unit_bytes = before.block_bytes;
    std::vector<Address> units = units_.units();
    while (units.size() * unit_bytes < built.size()) CO_TRY_STATUS(co_await AddUnit(units));
    for (uint64_t done = 0; done < built.size(); done += unit_bytes) {
      CO_TRY(const uint64_t place, work_.volume().DataAddress(units[done / unit_bytes]));
      const uint64_t length = std::min<uint64_t>(unit_bytes, built.size() - done);
      CO_TRY_STATUS(co_await work_.WriteBytes(place, std::span(built).subspan(done, length)));
    }
    auto inode = base::LoadAs<InodeMetadata>(block_);
    inode.length_bytes = built.size();
    base::StoreAs(std::span<std::byte>(block_), 0, inode);
    co_return co_await work_.WriteBlock(inode_address_, block_);
  }

  RepairWork& work_;
  const FdAddress fd_;
  DirectoryEdit& edit_;
  uint64_t inode_address_ = 0;
  MetadataBytes block_;
  UnitList units_;
  std::vector<std::byte> bytes_;
  std::vector<BuiltName> names_;
  std::map<std::string, size_t> by_name_;
};

}  // namespace

Task<Status> RebuildDirectory(RepairWork& work, FdAddress fd, DirectoryEdit& edit) {
  Rebuild rebuild(work, fd, edit);
  co_return co_await rebuild.Run();
}

}  // namespace vmfs::fsck
