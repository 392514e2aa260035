#include "disklib/exchange/package_backend.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "disklib/exchange/archive.h"
#include "fs/base/digest.h"
#include "tests/disklib/support.h"

namespace disklib {
namespace {

using base::Code;

std::string Member(const std::string& name, const std::string& content) {
  std::string bytes = EncodeArchiveHeader(name, content.size(), 0).value() + content;
  bytes.resize(ArchivePaddedBytes(bytes.size()));
  return bytes;
}

std::string End() {
  return std::string(kArchiveEndBytes, '\0');
}

TEST(Package, ListsTheMembersOfAnArchive) {
  Bench bench;
  const std::string disk(1'000, 'd');
  bench.Store("a.ova", Member("a.ovf", "<Envelope/>") + Member("a.mf", "") +
                           Member("a-disk1.vmdk", disk) + End() + std::string(9'000, 'x'));
  const auto files = bench.Run(ListArchive(bench.backend, "a.ova"));
  ASSERT_TRUE(files.has_value()) << files.error().message();
  ASSERT_EQ(files->size(), 3U);
  EXPECT_EQ((*files)[0].name, "a.ovf");
  EXPECT_EQ((*files)[2].offset_bytes, 4 * kArchiveBlockBytes);
  EXPECT_EQ((*files)[2].size_bytes, disk.size());
  PackageBackend package(bench.backend, *files);
  EXPECT_EQ(bench.Run(ReadObject(package, "a-disk1.vmdk", 1 << 20)).value(), disk);
  EXPECT_EQ(bench.Run(ReadObject(package, "a.mf", 1 << 20)).value(), "");
  EXPECT_EQ(bench.Run(package.GetInfo("b.vmdk")).error().code(), Code::kNotFound);
}

TEST(Package, OfAnArchiveWithoutItsEndIsWhole) {
  Bench bench;
  bench.Store("a.ova", Member("a.ovf", "<Envelope/>"));
  EXPECT_EQ(bench.Run(ListArchive(bench.backend, "a.ova")).value().size(), 1U);
}

TEST(Package, RefusesArchivesThatCannotBe) {
  Bench bench;

  const struct {
    std::string bytes;
    Code code;
  } cases[] = {
      {Member("a.ovf", "text") + Member("a.ovf", "other") + End(), Code::kCorrupt},
      {Member("a.vmdk", std::string(4'096, 'd')).substr(0, 2'048), Code::kCorrupt},
      {std::string(4'096, 'x'), Code::kNotRecognized},
      {Member("a.ovf", "text") + std::string(600, 'x'), Code::kNotRecognized},
  };

  for (const auto& one : cases) {
    bench.Store("a.ova", one.bytes);
    const auto files = bench.Run(ListArchive(bench.backend, "a.ova"));
    ASSERT_FALSE(files.has_value());
    EXPECT_EQ(files.error().code(), one.code) << files.error().message();
  }
}

TEST(Package, IsNeverWritten) {
  Bench bench;
  bench.Store("a.ova", Member("a.vmdk", "text") + End());
  PackageBackend package(bench.backend, bench.Run(ListArchive(bench.backend, "a.ova")).value());
  EXPECT_EQ(bench.Run(package.Open("a.vmdk", fss::OpenMode::kWrite)).error().code(),
            Code::kReadOnly);
  EXPECT_EQ(bench.Run(package.Remove("a.vmdk")).error().code(), Code::kReadOnly);
  EXPECT_EQ(bench.Run(package.Create("b")).error().code(), Code::kReadOnly);
  EXPECT_EQ(bench.Run(package.Rename("a.vmdk", "b")).error().code(), Code::kReadOnly);
  EXPECT_EQ(bench.Run(package.Resize("a.vmdk", 0)).error().code(), Code::kReadOnly);
  EXPECT_EQ(bench.Run(package.ReplaceContents("a.vmdk", "")).error().code(), Code::kReadOnly);
}

TEST(RawImage, IsADiskWhoseLastSectorIsFilledWithZeros) {
  Bench bench;
  std::string image(3 * kSectorBytes + 100, 'r');
  bench.Store("image.raw", image);
  const auto files = bench.Run(DescribeRawImage(bench.backend, "image.raw", "vm.vmdk"));
  ASSERT_TRUE(files.has_value()) << files.error().message();
  PackageBackend package(bench.backend, *files);
  OpenDisks open_disks;
  Lib lib(bench.executor, package, open_disks);
  auto chain = bench.Run(lib.Open("vm.vmdk", {}));
  ASSERT_TRUE(chain.has_value()) << chain.error().message();
  ASSERT_EQ((*chain)->size_bytes(), 4 * kSectorBytes);
  std::string content((*chain)->size_bytes(), '?');
  const base::IoVec piece{reinterpret_cast<std::byte*>(content.data()), content.size()};
  ASSERT_TRUE(bench.Run((*chain)->Read({.offset_bytes = 0, .buffers = {&piece, 1}})));
  image.resize(content.size());
  EXPECT_EQ(content, image);
  EXPECT_TRUE(bench.Run((*chain)->Close()).has_value());
}

TEST(RawImage, ThatIsEmptyIsRefused) {
  Bench bench;
  bench.Store("image.raw", "");
  EXPECT_EQ(bench.Run(DescribeRawImage(bench.backend, "image.raw", "a.vmdk")).error().code(),
            Code::kInvalidArgument);
}

}  // namespace
}  // namespace disklib
