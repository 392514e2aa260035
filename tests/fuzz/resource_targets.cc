#include <vector>

#include "fs/base/check.h"
#include "tests/fuzz/pieces.h"
#include "vmfs/format/resource.h"

namespace fuzz {
namespace {

using vmfs::ResourceKind;

constexpr ResourceKind kKinds[] = {ResourceKind::kFd,         ResourceKind::kSubBlock,
                                   ResourceKind::kPb2,        ResourceKind::kJournal,
                                   ResourceKind::kLargeBlock, ResourceKind::kSmallBlock,
                                   ResourceKind::kPointerBlock};

// Everything that is asked of a bitmap stays within the cluster.
void UseBitmap(std::vector<std::byte> bytes, const vmfs::ResourceGeometry& geometry,
               uint64_t cluster) {
  const auto block = std::span<std::byte>(bytes).first<vmfs::kMetadataBlockBytes>();
  const uint32_t count = geometry.ResourcesIn(cluster);
  const uint32_t bits = geometry.bits_per_resource;
  for (uint32_t item = 0; item < count; ++item) {
    (void)vmfs::BitmapCode(block, bits, item);
    (void)vmfs::AffinityKey(block, geometry, item);
  }
  if (bits > 2) return;
  CHECK(vmfs::CountFree(block, bits, count) <= count);
  const auto free = vmfs::FindFree(block, bits, count / 2, count);
  if (!free) return;
  CHECK(*free < count && vmfs::IsFree(block, bits, *free));
}

// What an allocation and the giving back of it do to a block that was decoded.
void Allocate(std::vector<std::byte> bytes, const vmfs::ResourceGeometry& geometry,
              uint64_t cluster) {
  if (geometry.bits_per_resource > 2) return;
  const auto block = std::span<std::byte>(bytes).first<vmfs::kMetadataBlockBytes>();
  const uint32_t count = geometry.ResourcesIn(cluster);
  const auto free = vmfs::FindFree(block, geometry.bits_per_resource, 0, count);
  const vmfs::FdAddress owner = vmfs::FdAddress::Make(0, 20);
  const bool has_list = geometry.kind == ResourceKind::kSmallBlock;
  if (free) {
    vmfs::MarkResource(block, geometry.bits_per_resource, *free, /*is_free=*/false);
    if (has_list) vmfs::AddAffinity(block, owner, 1);
    vmfs::SetAffinityKey(block, geometry, *free, owner);
  }
  for (uint32_t item = 0; item < count; ++item) {
    if (vmfs::IsFree(block, geometry.bits_per_resource, item)) continue;
    vmfs::MarkResource(block, geometry.bits_per_resource, item, /*is_free=*/true);
    if (has_list) vmfs::TakeAffinity(block, owner, 1);
    break;
  }
}

}  // namespace

void RunResourceHeader(Input input) {
  Pieces pieces(input);
  const ResourceKind kind = kKinds[pieces.Byte() % std::size(kKinds)];
  const auto header = vmfs::DecodeResourceHeader(pieces.rest(), kind);
  if (!header) return;
  const vmfs::ResourceGeometry geometry = vmfs::GeometryOf(*header, kind);
  const uint64_t clusters = geometry.cluster_count();
  if (clusters == 0) return;
  (void)geometry.LockOffset(clusters - 1);
  CHECK(geometry.ResourcesIn(clusters - 1) <= geometry.resources_per_cluster);
  if (kind != ResourceKind::kSmallBlock) {
    (void)geometry.ItemOffset(clusters - 1, 0);
    (void)geometry.FileLengthBytes();
  }
  CHECK(!geometry.Contains({clusters, 0}));
}

void RunCluster(Input input) {
  Pieces pieces(input);
  const uint8_t shape = pieces.Byte();
  const ResourceKind kind = kKinds[shape % std::size(kKinds)];
  const uint64_t count = kind == ResourceKind::kPointerBlock ? 0 : 1 + pieces.Word() % 70'000;
  const vmfs::ResourceGeometry geometry = vmfs::StandardGeometry(kind, count);
  if (geometry.cluster_count() == 0) return;
  const uint64_t cluster = (shape & 0x80) != 0 ? geometry.cluster_count() - 1 : 0;
  std::vector<std::byte> bytes(vmfs::kMetadataBlockBytes);
  vmfs::EncodeNewCluster(geometry, cluster,
                         std::span<std::byte>(bytes).first<vmfs::kMetadataBlockBytes>());
  pieces.Fill(bytes);
  const auto metadata = vmfs::DecodeClusterMetadata(
      std::span<const std::byte>(bytes).first<vmfs::kMetadataBlockBytes>(), geometry, cluster);
  if (!metadata) return;
  UseBitmap(bytes, geometry, cluster);
  Allocate(bytes, geometry, cluster);
}

}  // namespace fuzz
