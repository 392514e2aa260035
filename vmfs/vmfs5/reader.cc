#include "vmfs/vmfs5/reader.h"

#include <algorithm>
#include <utility>

#include "fs/base/aligned_buffer.h"
#include "vmfs/format/corrupt.h"
#include "vmfs/inode/buffers.h"

namespace vmfs::vmfs5 {
namespace {

using base::Result;
using base::Status;
using base::Task;

// How a map kind is walked: levels of pointer blocks above the units.
struct MapShape {
  uint32_t pointer_levels = 0;
  AddressKind pointer_kind = AddressKind::kPointerBlock;
  AddressKind unit_kind = AddressKind::kFileBlock;
};

MapShape ShapeOf(MapKind kind) {
  switch (kind) {
    case MapKind::kSubBlocks: return {0, AddressKind::kNone, AddressKind::kSubBlock};
    case MapKind::kPointerBlocks: return {1, AddressKind::kPointerBlock, AddressKind::kFileBlock};
    case MapKind::kPb2: return {1, AddressKind::kPb2, AddressKind::kFileBlock};
    case MapKind::kDoubleIndirect: return {2, AddressKind::kPointerBlock, AddressKind::kFileBlock};
    default: return {};
  }
}

base::Error WithinDescriptor(const base::Error& error, const Descriptor& descriptor) {
  return error.Within(descriptor.fd().ToString());
}

}  // namespace

Task<Result<bool>> IsVmfs5(base::BlockDevice& device) {
  if (device.size_bytes() < kSuperblockOffset + kMetadataBlockBytes) co_return false;
  base::AlignedBuffer buffer(kMetadataBlockBytes);
  const base::IoVec piece = buffer.piece();
  const base::IoRequest request{kSuperblockOffset, std::span(&piece, 1)};
  CO_TRY_STATUS(co_await device.Read(request));
  const Result<Superblock> superblock = DecodeSuperblock(buffer.span());
  co_return superblock && superblock->major == kVmfs5Major;
}

Task<Result<std::unique_ptr<Reader>>> Reader::Open(base::BlockDevice& device,
                                                   size_t cache_blocks_max) {
  std::unique_ptr<Reader> reader(new Reader(device, cache_blocks_max));
  const Status loaded = co_await reader->Load();
  if (!loaded) co_return loaded.error().Within("volume " + device.name());
  co_return std::move(reader);
}

Task<Status> Reader::Load() {
  CO_TRY(const CachedBlock block, co_await cache_.Get(kSuperblockOffset));
  CO_TRY(superblock_, DecodeSuperblock(*block));
  CO_TRY_STATUS(CheckSuperblock(superblock_));
  sizes_.file_block_bytes = superblock_.file_block_bytes;
  sizes_.sub_block_bytes = superblock_.sub_block_bytes;
  CO_TRY_STATUS(co_await LoadDescriptorFile());
  // Each may be mapped through those before it only, so that no lookup runs in a circle.
  CO_TRY_STATUS(co_await LoadResource(pb2_blocks_, kPb2Fd, kPointerBlockBytes, false));
  CO_TRY_STATUS(co_await LoadResource(pointer_blocks_, kPbcFd, kPointerBlockBytes, false));
  CO_TRY_STATUS(
      co_await LoadResource(sub_blocks_, kSbcFd, superblock_.sub_block_bytes, true));
  co_return co_await LoadResource(file_blocks_, kFbbFd, 0, true);
}

// The descriptors' own file: its begin has a fixed place, and its own descriptor lies there.
Task<Status> Reader::LoadDescriptorFile() {
  const uint64_t base_address = FdcBase(sizes_.file_block_bytes);
  CO_TRY(const CachedBlock block, co_await cache_.Get(base_address));
  const auto geometry = DecodeGeometry(*block, kDescriptorBytes);
  if (!geometry) co_return geometry.error().Within(".fdc.sf");
  descriptors_.geometry = *geometry;
  CO_TRY(const uint64_t offset, geometry->ItemOffset({kFdcFd.cluster(), kFdcFd.item()}));
  if (offset > sizes_.file_block_bytes - kDescriptorBytes) {
    co_return CorruptError(".fdc.sf: its own descriptor at {:#x}, behind its first block", offset);
  }
  CO_TRY(descriptors_.descriptor, co_await ReadDescriptorAt(base_address + offset, kFdcFd));
  co_return base::Ok();
}

Task<Status> Reader::LoadResource(ResourceFile& file, FdAddress fd, uint32_t item_bytes,
                                  bool may_use_pointer_blocks) {
  CO_TRY(file.descriptor, co_await ReadDescriptor(fd));
  const MapKind kind = file.descriptor.metadata.map_kind();
  const bool may_use_pb2 = fd != kPb2Fd;
  if (kind != MapKind::kFileBlocks && !(kind == MapKind::kPb2 && may_use_pb2) &&
      !(kind == MapKind::kPointerBlocks && may_use_pointer_blocks)) {
    co_return CorruptError("{}: a system file of map kind {:#x}", fd.ToString(),
                           uint32_t{file.descriptor.metadata.map_kind_value});
  }
  CO_TRY(const uint64_t address, co_await FileAddress(&file.descriptor, 0));
  CO_TRY(const CachedBlock block, co_await cache_.Get(address));
  const auto geometry = DecodeGeometry(*block, item_bytes);
  if (!geometry) co_return WithinDescriptor(geometry.error(), file.descriptor);
  file.geometry = *geometry;
  co_return base::Ok();
}

Task<Result<Descriptor>> Reader::ReadDescriptorAt(uint64_t address, FdAddress fd) {
  CO_TRY(const CachedBlock block, co_await cache_.Get(address));
  const auto bytes = std::span<const std::byte>(*block).subspan(address % kMetadataBlockBytes);
  co_return DecodeDescriptor(bytes, fd, sizes_);
}

Task<Result<Descriptor>> Reader::ReadDescriptor(FdAddress fd) {
  if (!fd.is_valid()) co_return base::Code::kNotFound;
  const auto offset = descriptors_.geometry.ItemOffset({fd.cluster(), fd.item()});
  if (!offset) co_return base::Code::kNotFound;
  CO_TRY(const uint64_t address, co_await FileAddress(&descriptors_.descriptor, *offset));
  Result<Descriptor> descriptor = co_await ReadDescriptorAt(address, fd);
  if (!descriptor && descriptor.error().code() == base::Code::kNotRecognized) {
    co_return base::Code::kNotFound;
  }
  if (descriptor && descriptor->metadata.link_count == 0) co_return base::Code::kStale;
  co_return descriptor;
}

Task<Result<uint64_t>> Reader::FileAddress(const Descriptor* file, uint64_t offset_bytes) {
  CO_TRY(const Run run, co_await FindRun(file, offset_bytes));
  if (run.state != base::MapState::kData) {
    co_return CorruptError("{}: a hole at {:#x} of a system file", file->fd().ToString(),
                           offset_bytes);
  }
  co_return run.address;
}

Task<Result<uint64_t>> Reader::Resolve(Address5 address, AddressKind expected) {
  if (address.kind() != expected) {
    co_return CorruptError("address {:#x}: expected one of kind {}", address.raw(),
                           static_cast<uint32_t>(expected));
  }
  if (expected == AddressKind::kFileBlock) {
    const uint64_t at = address.file_block() * sizes_.file_block_bytes;
    if (at + sizes_.file_block_bytes <= device_.size_bytes()) co_return at;
    co_return CorruptError("file block {}: behind the end of the volume", address.file_block());
  }
  const ResourceFile* file = &sub_blocks_;
  if (expected == AddressKind::kPointerBlock) file = &pointer_blocks_;
  if (expected == AddressKind::kPb2) file = &pb2_blocks_;
  const bool dense = (superblock_.config_flags & kDenseSubBlocks) != 0;
  const auto offset = file->geometry.ItemOffset(address.index(dense));
  if (!offset) co_return WithinDescriptor(offset.error(), file->descriptor);
  co_return co_await FileAddress(&file->descriptor, *offset);
}

Task<Result<Address5>> Reader::ReadPointer(Address5 block, AddressKind kind, uint64_t index) {
  CO_TRY(const uint64_t address, co_await Resolve(block, kind));
  CO_TRY(const CachedBlock bytes, co_await cache_.Get(address));
  co_return Address5(base::LoadAs<Le32>(*bytes, index * 4));
}

Task<Result<Run>> Reader::FindRun(const Descriptor* descriptor, uint64_t offset_bytes) {
  const MapKind kind = descriptor->metadata.map_kind();
  const MapShape shape = ShapeOf(kind);
  const uint64_t unit_bytes = sizes_.Of(kind);
  if (kind == MapKind::kInline || offset_bytes >= sizes_.Reach(kind)) {
    co_return CorruptError("{}: byte {:#x} is not mapped", descriptor->fd().ToString(),
                           offset_bytes);
  }
  uint64_t index = offset_bytes / unit_bytes;
  uint64_t span_units = 1;  // under one address
  for (uint32_t level = 0; level < shape.pointer_levels; ++level) span_units *= kPointersPerBlock;
  Address5 address = descriptor->Slot(static_cast<uint32_t>(index / span_units));
  while (span_units > 1 && !address.is_hole()) {
    index %= span_units;
    span_units /= kPointersPerBlock;
    const Result<Address5> next =
        co_await ReadPointer(address, shape.pointer_kind, index / span_units);
    if (!next) co_return WithinDescriptor(next.error(), *descriptor);
    address = *next;
  }
  Run run;
  const uint64_t offset_in_span = offset_bytes % (span_units * unit_bytes);
  run.length_bytes = span_units * unit_bytes - offset_in_span;
  if (address.is_hole()) co_return run;
  if (address.is_zeroed()) {
    run.state = base::MapState::kZero;
    co_return run;
  }
  const Result<uint64_t> resolved = co_await Resolve(address, shape.unit_kind);
  if (!resolved) co_return WithinDescriptor(resolved.error(), *descriptor);
  run.state = base::MapState::kData;
  run.address = *resolved + offset_in_span;
  co_return run;
}

// Whole sectors go straight to the caller; others through a buffer of their own.
Task<Status> Reader::ReadBytes(uint64_t address, std::span<const base::IoVec> pieces) {
  const uint64_t length = base::TotalBytes(pieces);
  if ((address | length) % kSectorBytes == 0) {
    const base::IoRequest request{address, pieces};
    co_return co_await device_.Read(request);
  }
  const uint64_t begin = base::RoundDown(address, kSectorBytes);
  base::AlignedBuffer bounce(base::RoundUp(address + length, kSectorBytes) - begin);
  const base::IoVec whole = bounce.piece();
  const base::IoRequest request{begin, std::span(&whole, 1)};
  CO_TRY_STATUS(co_await device_.Read(request));
  CopyToBuffers(bounce.span().subspan(address - begin, length), pieces);
  co_return base::Ok();
}

Task<Result<uint64_t>> Reader::ReadFile(const Descriptor* descriptor, base::IoRequest request) {
  if (request.offset_bytes >= descriptor->length_bytes()) co_return uint64_t{0};
  const uint64_t length =
      std::min(request.size_bytes(), descriptor->length_bytes() - request.offset_bytes);
  if (descriptor->metadata.map_kind() == MapKind::kInline) {
    const std::span<const std::byte> data(descriptor->data);
    CopyToBuffers(data.subspan(request.offset_bytes, length), request.buffers);
    co_return length;
  }
  for (uint64_t done = 0; done < length;) {
    CO_TRY(const Run run, co_await FindRun(descriptor, request.offset_bytes + done));
    uint64_t part = std::min(run.length_bytes, length - done);
    if (run.state == base::MapState::kData) {
      part = std::min<uint64_t>(part, device_.limits().transfer_bytes_max);
    }
    const BufferSlice slice(request.buffers, done, part);
    if (run.state == base::MapState::kData) {
      CO_TRY_STATUS(co_await ReadBytes(run.address, slice.pieces()));
    } else {
      ZeroBuffers(slice.pieces());
    }
    done += part;
  }
  co_return length;
}

Task<Status> Reader::ReadExactly(const Descriptor* descriptor, uint64_t offset_bytes,
                                 std::span<std::byte> target) {
  const base::IoVec piece{target.data(), target.size()};
  const base::IoRequest request{offset_bytes, std::span(&piece, 1)};
  CO_TRY(const uint64_t count, co_await ReadFile(descriptor, request));
  if (count == target.size()) co_return base::Ok();
  co_return CorruptError("{}: ends at {:#x}, {:#x} bytes at {:#x} wanted",
                         descriptor->fd().ToString(), descriptor->length_bytes(), target.size(),
                         offset_bytes);
}

Task<Result<uint64_t>> Reader::CountFreeItems(const ResourceFile* file) {
  const Geometry& geometry = file->geometry;
  base::AlignedBuffer headers(uint64_t{geometry.clusters_per_group} * kClusterHeaderBytes);
  uint64_t free_count = 0;
  for (uint64_t group = 0; group < geometry.group_count(); ++group) {
    const uint64_t first = group * geometry.clusters_per_group;
    const uint64_t in_group =
        std::min<uint64_t>(geometry.clusters_per_group, geometry.cluster_count() - first);
    const auto used = headers.span().first(in_group * kClusterHeaderBytes);
    CO_TRY_STATUS(co_await ReadExactly(&file->descriptor, geometry.GroupAt(group), used));
    const auto found = CountFree(used, first, geometry);
    if (!found) co_return WithinDescriptor(found.error(), file->descriptor);
    free_count += *found;
  }
  if (free_count <= geometry.resource_count) co_return free_count;
  co_return CorruptError("{}: {} items free of {}", file->descriptor.fd().ToString(), free_count,
                         geometry.resource_count);
}

Task<Result<std::vector<HeartbeatSlot>>> Reader::ReadHeartbeats() {
  base::AlignedBuffer region(uint64_t{kHeartbeatCount} * kSectorBytes);
  const base::IoVec whole = region.piece();
  CO_TRY_STATUS(co_await ReadBytes(kHeartbeatOffset, std::span(&whole, 1)));
  std::vector<HeartbeatSlot> used;
  for (uint32_t i = 0; i < kHeartbeatCount; ++i) {
    const auto slot = base::LoadAs<HeartbeatSlot>(region.span(), i * size_t{kSectorBytes});
    const bool is_own = slot.own_address == kHeartbeatOffset + uint64_t{i} * kSectorBytes;
    if (is_own && slot.state() == HeartbeatState::kInUse) used.push_back(slot);
  }
  co_return used;
}

}  // namespace vmfs::vmfs5
