// Golden tests of resource headers, geometry and cluster metadata.
#include <gtest/gtest.h>

#include <array>

#include "tests/support/bytes.h"
#include "tests/support/sample.h"
#include "vmfs/format/resource.h"

namespace vmfs {
namespace {

using base::Code;
using testing_support::AsBlock;
using testing_support::ExpectError;
using testing_support::ExpectSameBytes;
using testing_support::ReadSampleVolume;
using testing_support::With;

struct SampleFile {
  ResourceKind kind;
  uint64_t header_address;  // volume address in the sample
  uint64_t resource_count;
  uint64_t length_bytes;
};

constexpr SampleFile kSampleFiles[] = {
    {ResourceKind::kFd, 0x700000, 16384, 134807552},
    {ResourceKind::kLargeBlock, 0x900000, 2, 147456},
    {ResourceKind::kPointerBlock, 138 * kMebibyte, 0, 65536},
    {ResourceKind::kPb2, 459 * kMebibyte, 1, 196608},
    {ResourceKind::kJournal, 461 * kMebibyte, 128, 268632064},
};

TEST(ResourceFormat, MakesTheHeadersThatEsxiWrote) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  for (const SampleFile& file : kSampleFiles) {
    const auto bytes = ReadSampleVolume(file.header_address, 4096);
    const auto header = DecodeResourceHeader(bytes, file.kind);
    ASSERT_TRUE(header) << header.error().message();
    const ResourceGeometry geometry = GeometryOf(*header, file.kind);
    EXPECT_EQ(geometry.resource_count, file.resource_count);
    EXPECT_EQ(geometry.FileLengthBytes(), file.length_bytes) << NameOf(file.kind);
    ExpectSameBytes(MakeResourceHeader(geometry), bytes);
  }
  const auto child = ReadSampleVolume(0x901000, 4096);
  const auto header = DecodeResourceHeader(child, ResourceKind::kSmallBlock);
  ASSERT_TRUE(header) << header.error().message();
  EXPECT_EQ(header->resource_count(), 768u);
  ExpectSameBytes(MakeResourceHeader(StandardGeometry(ResourceKind::kSmallBlock, 768)), child);
}

TEST(ResourceFormat, NamesEachBrokenFieldOfAHeader) {
  const ResourceHeader header = MakeResourceHeader(StandardGeometry(ResourceKind::kFd, 2048));
  const auto bytes = base::BytesOf(header);
  const auto decode = [&](size_t offset, uint32_t value) {
    return DecodeResourceHeader(With(bytes, offset, value), ResourceKind::kFd);
  };
  ASSERT_TRUE(DecodeResourceHeader(bytes, ResourceKind::kFd));
  ExpectError(decode(0x00, 1), Code::kCorrupt, "resources per cluster");
  ExpectError(decode(0x04, 1), Code::kCorrupt, "clusters per group");
  ExpectError(decode(0x08, 1), Code::kCorrupt, "offset of group 0");
  ExpectError(decode(0x0c, 1), Code::kCorrupt, "resource size");
  ExpectError(decode(0x10, 1), Code::kCorrupt, "groups of 0x1 bytes");
  ExpectError(decode(0x14, 1 << 30), Code::kCorrupt, "resources, at most");
  ExpectError(decode(0x18, 9), Code::kCorrupt, "9 groups");
  ExpectError(decode(0x1c, 1), Code::kCorrupt, "resources, at most");
  ExpectError(decode(0x20, 1), Code::kNotRecognized, "signature");
  ExpectError(decode(0x24, 2), Code::kCorrupt, "version");
  ExpectError(decode(0x30, 2), Code::kCorrupt, "bits per resource");
  ExpectError(decode(0x34, 8), Code::kCorrupt, "child header offset");
}

TEST(ResourceGeometryMath, FollowsTheLayoutOfTheSample) {
  const ResourceGeometry fds = StandardGeometry(ResourceKind::kFd, 16384);
  EXPECT_EQ(fds.cluster_count(), 64u);
  EXPECT_EQ(fds.LockOffset(0), 0x10000u);
  EXPECT_EQ(fds.LockOffset(7), 0x1e000u);
  EXPECT_EQ(fds.LockOffset(8), 0x10000u + 0x1010000);
  EXPECT_EQ(fds.ItemOffset(0, 0), 0x20000u);
  EXPECT_EQ(fds.ItemOffset(0, 3), 0x26000u);
  EXPECT_EQ(fds.ItemOffset(9, 1), 0x10000u + 0x1010000 + 0x10000 + 257 * 0x2000);
  EXPECT_TRUE(fds.Contains({63, 255}));
  EXPECT_FALSE(fds.Contains({64, 0}));
  const ResourceGeometry small = StandardGeometry(ResourceKind::kSmallBlock, 768);
  EXPECT_EQ(small.LockOffset(0), 0x20000u);
  EXPECT_EQ(small.LockOffset(1), 0x22000u);
  EXPECT_EQ(small.LockOffset(128), 0x110000u + 0x20000);
  EXPECT_EQ(small.ResourcesIn(1), 256u);
  EXPECT_EQ(small.ResourcesIn(2), 0u);
  EXPECT_FALSE(small.Contains({1, 256}));
  EXPECT_EQ(StandardGeometry(ResourceKind::kSubBlock, 5916).FileLengthBytes(), 387973120u);
}

TEST(ClusterFormat, MakesUnusedClustersAsEsxiWroteThem) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  const ResourceGeometry journal = StandardGeometry(ResourceKind::kJournal, 128);
  const ResourceGeometry large = StandardGeometry(ResourceKind::kLargeBlock, 2);
  std::array<std::byte, 4096> block{};
  EncodeNewCluster(journal, 1, block);
  const auto esxi_journal = ReadSampleVolume(461 * kMebibyte + journal.MetadataOffset(1), 4096);
  EXPECT_TRUE(std::ranges::equal(block, esxi_journal));
  EncodeNewCluster(large, 0, block);
  const auto esxi_large = ReadSampleVolume(0x900000 + large.MetadataOffset(0), 4096);
  EXPECT_TRUE(std::ranges::equal(block, esxi_large));
  ASSERT_TRUE(DecodeClusterMetadata(block, large, 0));
}

TEST(ClusterFormat, ReadsTheAffinityListThatEsxiWrote) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  const ResourceGeometry small = StandardGeometry(ResourceKind::kSmallBlock, 768);
  const auto bytes = ReadSampleVolume(0x900000 + small.MetadataOffset(0), 4096);
  const auto metadata = DecodeClusterMetadata(AsBlock(bytes), small, 0);
  ASSERT_TRUE(metadata) << metadata.error().message();
  EXPECT_EQ(CountFree(AsBlock(bytes), 2, 512), 0u);
  uint32_t sum = 0;
  for (uint32_t i = 0; i < metadata->affinity_count; ++i) {
    sum += GetAffinityEntry(AsBlock(bytes), i).block_count;
  }
  EXPECT_EQ(sum, 512u);
  EXPECT_EQ(GetAffinityEntry(AsBlock(bytes), 1).fd, kRootFd.raw());
}

TEST(ClusterFormat, ReadsTheAffinityKeysThatEsxiWrote) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  const ResourceGeometry fds = StandardGeometry(ResourceKind::kFd, 16384);
  const auto bytes = ReadSampleVolume(0x700000 + fds.MetadataOffset(0), 4096);
  EXPECT_EQ(AffinityKey(AsBlock(bytes), fds, 8), FdAddress());
  EXPECT_EQ(AffinityKey(AsBlock(bytes), fds, 9), kRootFd);
  EXPECT_EQ(AffinityKey(AsBlock(bytes), fds, 10), FdAddress::Make(0, 9));
  const ResourceGeometry pb2 = StandardGeometry(ResourceKind::kPb2, 1);
  const auto pb2_bytes = ReadSampleVolume(459 * kMebibyte + pb2.MetadataOffset(0), 4096);
  EXPECT_EQ(AffinityKey(AsBlock(pb2_bytes), pb2, 0), kSbcFd);
}

TEST(ClusterFormat, NamesEachBrokenField) {
  const ResourceGeometry small = StandardGeometry(ResourceKind::kSmallBlock, 768);
  std::vector<std::byte> block(4096);
  EncodeNewCluster(small, 1, std::span<std::byte>(block).first<4096>());
  const auto decode = [&](size_t offset, auto value) {
    return DecodeClusterMetadata(AsBlock(With(block, offset, value)), small, 1);
  };
  ASSERT_TRUE(DecodeClusterMetadata(AsBlock(block), small, 1));
  ExpectError(decode(0x10, uint32_t{0}), Code::kCorrupt, "signature");
  ExpectError(decode(0x18, uint64_t{2}), Code::kCorrupt, "says it is 2");
  ExpectError(decode(0x20, uint16_t{512}), Code::kCorrupt, "512 resources, expected 256");
  ExpectError(decode(0x22, uint16_t{257}), Code::kCorrupt, "257 resources free of 256");
  ExpectError(decode(0x26, uint16_t{217}), Code::kCorrupt, "217 affinity entries");
}

TEST(ClusterBitmap, KeepsFreeCountAndFirstFreeOfEveryWidth) {
  for (const ResourceKind kind : {ResourceKind::kFd, ResourceKind::kSmallBlock}) {
    const ResourceGeometry geometry = StandardGeometry(kind, 200);
    const uint32_t bits = geometry.bits_per_resource;
    std::array<std::byte, 4096> block{};
    EncodeNewCluster(geometry, 0, block);
    EXPECT_EQ(CountFree(block, bits, 200), 200u);
    EXPECT_EQ(CountFree(block, bits, 512 / bits), 200u);
    MarkResource(block, bits, 0, false);
    MarkResource(block, bits, 2, false);
    MarkResource(block, bits, 199, false);
    EXPECT_EQ(base::LoadAs<ClusterMetadata>(block).first_free, 1u);
    EXPECT_EQ(base::LoadAs<ClusterMetadata>(block).free_count, 197u);
    EXPECT_EQ(FindFree(block, bits, 2, 200), 3u);
    EXPECT_EQ(FindFree(block, bits, 199, 200), std::nullopt);
    MarkResource(block, bits, 0, true);
    EXPECT_EQ(base::LoadAs<ClusterMetadata>(block).first_free, 0u);
    EXPECT_EQ(CountFree(block, bits, 200), 198u);
    EXPECT_EQ(CountFree(block, bits, 3), 2u);
  }
}

TEST(ClusterBitmap, ReadsAndWritesCodesAcrossBytes) {
  std::array<std::byte, 4096> block{};
  for (uint32_t item = 0; item < 16; ++item) {
    SetBitmapCode(block, 3, item, static_cast<uint8_t>(item % 8));
  }
  for (uint32_t item = 0; item < 16; ++item) EXPECT_EQ(BitmapCode(block, 3, item), item % 8);
}

TEST(AffinityList, CountsAlwaysAddUpToTheAllocatedBlocks) {
  std::array<std::byte, 4096> block{};
  EncodeNewCluster(StandardGeometry(ResourceKind::kSmallBlock, 512), 0, block);
  const auto sum = [&] {
    uint32_t total = 0;
    for (uint32_t i = 0; i < kAffinityEntriesMax; ++i) {
      total += GetAffinityEntry(block, i).block_count;
    }
    return total;
  };
  for (uint32_t i = 1; i <= 400; ++i) AddAffinity(block, FdAddress::Make(i, 0), 1);
  EXPECT_EQ(sum(), 400u);
  EXPECT_EQ(base::LoadAs<ClusterMetadata>(block).affinity_count, kAffinityEntriesMax);
  EXPECT_EQ(GetAffinityEntry(block, 0).block_count, 400u - 215);
  AddAffinity(block, FdAddress::Make(1, 0), 2);
  TakeAffinity(block, FdAddress::Make(1, 0), 3);
  EXPECT_EQ(sum(), 399u);
  EXPECT_EQ(base::LoadAs<ClusterMetadata>(block).affinity_count, kAffinityEntriesMax - 1);
  TakeAffinity(block, FdAddress::Make(400, 0), 1);
  EXPECT_EQ(sum(), 398u);
  EXPECT_EQ(GetAffinityEntry(block, 0).block_count, 400u - 215 - 1);
}

}  // namespace
}  // namespace vmfs
