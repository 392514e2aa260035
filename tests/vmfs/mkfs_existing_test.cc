#include "vmfs/mkfs/existing.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string_view>
#include <vector>

#include "tests/support/sample.h"

namespace vmfs {
namespace {

std::vector<std::byte> Head() { return std::vector<std::byte>(kExistingContentBytes); }

void Put(std::vector<std::byte>& head, size_t offset, std::string_view bytes) {
  std::memcpy(head.data() + offset, bytes.data(), bytes.size());
}

TEST(ExistingContent, SaysNothingAboutZeros) {
  EXPECT_EQ(DescribeExistingContent(Head()), std::nullopt);
  EXPECT_EQ(DescribeExistingContent({}), std::nullopt);
}

TEST(ExistingContent, NamesFileSystemsAndPartitionTables) {
  auto head = Head();
  Put(head, 0x438, "\x53\xef");
  EXPECT_EQ(DescribeExistingContent(head), "an ext2, ext3 or ext4 file system");
  head = Head();
  Put(head, 512, "EFI PART");
  EXPECT_EQ(DescribeExistingContent(head), "a GPT partition table");
  head = Head();
  Put(head, 0, "XFSB");
  EXPECT_EQ(DescribeExistingContent(head), "an XFS file system");
  head = Head();
  Put(head, 510, "\x55\xaa");
  EXPECT_EQ(DescribeExistingContent(head), std::nullopt);
  head[446 + 4] = std::byte{0x83};
  head[446 + 12] = std::byte{1};
  EXPECT_EQ(DescribeExistingContent(head), "an MBR partition table");
}

TEST(ExistingContent, NamesTheVolumeOfTheSample) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  const auto head = testing_support::ReadSampleDevice(0, kExistingContentBytes);
  EXPECT_EQ(DescribeExistingContent(head),
            "a VMFS volume, version 6, UUID 6113001e-95afd8fb-d830-000c29801686");
}

TEST(ExistingContent, TakesAnyLength) {
  auto head = Head();
  for (size_t length = 0; length < 0x9000; length += 7) {
    EXPECT_EQ(DescribeExistingContent(std::span(head).first(length)), std::nullopt);
  }
}

}  // namespace
}  // namespace vmfs
