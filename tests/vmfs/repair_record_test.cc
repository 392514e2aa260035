// The repair record and its chunks: there and back, and every field broken in turn.
#include "vmfs/format/repair_record.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace vmfs {
namespace {

constexpr uint64_t kVolumeBytes = uint64_t{256} << 20;

class RepairRecordBytes : public testing::Test {
 protected:
  RepairRecordBytes() {
    for (size_t i = 0; i < 16; ++i) identity_.volume_uuid.bytes[i] = static_cast<uint8_t>(i);
    identity_.number = 0x1122334455667788;
    EncodeRepairRecord({identity_, {0x251000, 0x400000}}, record_);
    entries_ = {{0x720000, 1}, {0x200000, 2}};
    EncodeRepairChunk(identity_, 3, entries_, chunk_);
  }

  base::Code CodeOf() { return DecodeRepairRecord(record_, kVolumeBytes).error().code(); }

  RepairIdentity identity_;
  MetadataBytes record_, chunk_;
  std::vector<RepairEntry> entries_;
};

TEST_F(RepairRecordBytes, AreTheDocumentedOnes) {
  const auto text = [](std::span<const std::byte> bytes) {
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  const std::span<const std::byte> record(record_);
  EXPECT_EQ(text(record.first(8)), "STRREPR1");
  EXPECT_EQ(base::LoadAs<base::Le32>(record, 0x08), 1u);
  EXPECT_EQ(base::LoadAs<base::Le32>(record, 0x0c), 2u);
  EXPECT_EQ(base::LoadAs<base::Uuid>(record, 0x10), identity_.volume_uuid);
  EXPECT_EQ(base::LoadAs<base::Le64>(record, 0x20), identity_.number);
  EXPECT_EQ(base::LoadAs<base::Le64>(record, 0x48), 0x400000u);
  const std::span<const std::byte> chunk(chunk_);
  EXPECT_EQ(text(chunk.first(8)), "STRRCHK1");
  EXPECT_EQ(base::LoadAs<base::Le32>(chunk, 0x08), 3u);
  EXPECT_EQ(base::LoadAs<base::Le32>(chunk, 0x0c), 2u);
  EXPECT_EQ(base::LoadAs<base::Le64>(chunk, 0x40), 0x720000u);
  EXPECT_EQ(base::LoadAs<base::Le32>(chunk, 0x48), 1u);
  EXPECT_EQ(base::LoadAs<base::Le64>(chunk, 0x4c), 0x200000u);
}

TEST_F(RepairRecordBytes, ComeBackAsTheyWere) {
  const auto record = DecodeRepairRecord(record_, kVolumeBytes);
  ASSERT_TRUE(record) << record.error().message();
  EXPECT_EQ(record->identity, identity_);
  EXPECT_EQ(record->chunk_addresses, (std::vector<uint64_t>{0x251000, 0x400000}));
  const auto chunk = DecodeRepairChunk(chunk_, identity_, 3, kVolumeBytes);
  ASSERT_TRUE(chunk) << chunk.error().message();
  EXPECT_EQ(*chunk, entries_);
}

TEST_F(RepairRecordBytes, AreRefusedWithAnyByteChanged) {
  for (size_t at = 0; at < kMetadataBlockBytes; at += at < 0x60 ? 1 : 61) {
    record_[at] ^= std::byte{1};
    chunk_[at] ^= std::byte{1};
    EXPECT_FALSE(DecodeRepairRecord(record_, kVolumeBytes)) << at;
    EXPECT_FALSE(DecodeRepairChunk(chunk_, identity_, 3, kVolumeBytes)) << at;
    record_[at] ^= std::byte{1};
    chunk_[at] ^= std::byte{1};
  }
}

TEST_F(RepairRecordBytes, AreRefusedWhereTheyDoNotBelong) {
  EXPECT_EQ(DecodeRepairRecord(record_, 0x300000).error().code(), base::Code::kCorrupt);
  EXPECT_FALSE(DecodeRepairChunk(chunk_, identity_, 2, kVolumeBytes));
  EXPECT_FALSE(DecodeRepairChunk(chunk_, identity_, 3, 0x600000));
  RepairIdentity other = identity_;
  ++other.number;
  EXPECT_FALSE(DecodeRepairChunk(chunk_, other, 3, kVolumeBytes));
  record_.fill(std::byte{0});
  EXPECT_EQ(CodeOf(), base::Code::kNotRecognized);
}

TEST_F(RepairRecordBytes, ChecksumOfAnImageCoversItsPlace) {
  MetadataBytes image{};
  const uint32_t crc = RepairImageCrc(identity_, 0x720000, image);
  EXPECT_NE(crc, RepairImageCrc(identity_, 0x721000, image));
  image[7] = std::byte{1};
  EXPECT_NE(crc, RepairImageCrc(identity_, 0x720000, image));
}

}  // namespace
}  // namespace vmfs
