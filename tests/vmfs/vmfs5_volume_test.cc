// A VMFS-5 volume mounted and read: as ESXi wrote it, and patched to have every kind of block map.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/sample.h"
#include "tests/support/vmfs5_volume.h"
#include "vmfs/format/lvm.h"
#include "vmfs/info.h"

namespace vmfs {
namespace {

using base::Code;
using base::MapState;
using base::RunSync;

constexpr uint32_t kFile5 = 13;                    // 8,193 bytes in file block 14
constexpr uint64_t kPointerBlocks = 0x700000;      // `.pbc.sf`
constexpr uint64_t kFirstPointerBlock = 0x720000;  // its item 0
constexpr uint32_t kDataBlock = 0x381;
constexpr uint32_t kZeroedBlock = 0x3a1;
constexpr uint64_t kBlock = 1 << 20;

class Vmfs5 : public testing::Test {
 protected:
  void SetUp() override {
    REQUIRE_SAMPLE("esxi-vmfs5.bin");
    sample_ = std::make_unique<Vmfs5Volume>();
  }

  void MustMount() {
    const base::Status mounted = sample_->Mount();
    ASSERT_TRUE(mounted) << mounted.error().message();
  }

  // Gives file5 another map and length; its slots are cleared but the first.
  void PatchFile5(uint32_t map_kind, uint64_t length_bytes, uint32_t first_slot) {
    const uint64_t descriptor = Vmfs5Volume::DescriptorAt(kFile5);
    sample_->Write32(descriptor + 512 + 0x44, map_kind);
    sample_->Write64(descriptor + 512 + 0x14, length_bytes);
    sample_->Write32(descriptor + 1024, first_slot);
  }

  std::string Text(const std::string& path, uint64_t offset_bytes, uint64_t bytes_max) {
    const auto text = sample_->ReadText(path, offset_bytes, bytes_max);
    EXPECT_TRUE(text) << text.error().message();
    return text ? *text : "";
  }

  std::unique_ptr<fss::File> OpenFile5() {
    const fss::InodeNumber inode = FdAddress::Make(0, kFile5).raw();
    auto file = RunSync(sample_->executor(), sample_->volume().Open(inode, fss::OpenMode::kRead));
    EXPECT_TRUE(file);
    return std::move(*file);
  }

  std::unique_ptr<Vmfs5Volume> sample_;
};

TEST_F(Vmfs5, ListsEverythingThatEsxiWrote) {
  MustMount();
  std::vector<std::string> found = sample_->ReadEverything();
  std::ranges::sort(found);
  const std::vector<std::string> expected = {
      ".fbb.sf", ".fdc.sf", ".pb2.sf", ".pbc.sf", ".sbc.sf", ".sdd.sf", ".vh.sf", "directory",
      "directory/file1", "directory/file2", "directory/file3", "directory/file4",
      "directory/file5", "directory/symlink"};
  EXPECT_EQ(found, expected);
  EXPECT_EQ(sample_->volume().label(), "VMFS5 Test");
  EXPECT_TRUE(sample_->volume().read_only());
}

TEST_F(Vmfs5, ReadsInlineDataFileBlocksAndLinksInSubBlocks) {
  MustMount();
  EXPECT_EQ(Text("directory/file4", 0, 100), "content\n");
  EXPECT_EQ(Text("directory/file4", 3, 2), "te");
  EXPECT_EQ(Text("directory/file1", 0, 100), "");
  const std::string whole = Text("directory/file5", 0, 10000);
  EXPECT_EQ(whole.size(), 8193u);
  EXPECT_EQ(Text("directory/file5", 511, 1026), whole.substr(511, 1026));
  EXPECT_EQ(Text("directory/file5", 8000, 1000), whole.substr(8000));
  const auto link = sample_->Find("directory/symlink");
  ASSERT_TRUE(link);
  EXPECT_EQ(link->type, fss::FileType::kSymlink);
  EXPECT_EQ(*RunSync(sample_->executor(), sample_->volume().ReadSymlink(link->inode)), "file4");
}

TEST_F(Vmfs5, AnswersAttributesAndFreeSpace) {
  MustMount();
  const auto file = sample_->Find("directory/file5");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->size_bytes, 8193u);
  EXPECT_EQ(file->allocated_bytes, kBlock);
  EXPECT_EQ(file->mode, 0644u);
  const auto stat = RunSync(sample_->executor(), sample_->volume().GetStatFs());
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->blocks_total, 256u);
  EXPECT_EQ(stat->blocks_free, 185u + 56u);
  EXPECT_EQ(stat->files_free, 17u + 32u);
  EXPECT_EQ(sample_->Find("directory/missing").error().code(), Code::kNotFound);
  EXPECT_EQ(sample_->Find("directory/file5/below").error().code(), Code::kNotDirectory);
}

TEST_F(Vmfs5, RefusesToMountForWritingAndEveryChange) {
  EXPECT_EQ(sample_->Mount(/*read_only=*/false).error().code(), Code::kReadOnly);
  MustMount();
  base::SimExecutor& executor = sample_->executor();
  Volume& volume = sample_->volume();
  const fss::InodeNumber root = volume.root();
  const fss::InodeNumber file = FdAddress::Make(0, kFile5).raw();
  EXPECT_EQ(RunSync(executor, volume.CreateFile(root, "a", {})).error().code(), Code::kReadOnly);
  EXPECT_EQ(RunSync(executor, volume.MakeDirectory(root, "a", {})).error().code(), Code::kReadOnly);
  EXPECT_EQ(RunSync(executor, volume.MakeSymlink(root, "a", "b", {})).error().code(),
            Code::kReadOnly);
  EXPECT_EQ(RunSync(executor, volume.Unlink(root, "directory")).error().code(), Code::kReadOnly);
  EXPECT_EQ(RunSync(executor, volume.RemoveDirectory(root, "directory")).error().code(),
            Code::kReadOnly);
  EXPECT_EQ(RunSync(executor, volume.Rename(root, "directory", root, "b", false)).error().code(),
            Code::kReadOnly);
  EXPECT_EQ(RunSync(executor, volume.SetAttributes(file, {})).error().code(), Code::kReadOnly);
  EXPECT_EQ(RunSync(executor, volume.Open(file, fss::OpenMode::kWrite)).error().code(),
            Code::kReadOnly);
}

TEST_F(Vmfs5, ReadsThroughPointerBlocksWithHolesAndBlocksToBeZeroed) {
  MustMount();
  const std::string before = Text("directory/file5", 0, 8193);
  sample_->Unmount();
  sample_->Write32(kFirstPointerBlock + 0, kDataBlock);
  sample_->Write32(kFirstPointerBlock + 4, 0);
  sample_->Write32(kFirstPointerBlock + 8, kZeroedBlock);
  sample_->Write32(kFirstPointerBlock + 12, kDataBlock);
  PatchFile5(3, 2000 * kBlock + 100, 0x3);
  MustMount();
  EXPECT_EQ(Text("directory/file5", 0, 8193), before);
  EXPECT_EQ(Text("directory/file5", 3 * kBlock, 8193), before);
  EXPECT_EQ(Text("directory/file5", kBlock, 8193), std::string(8193, '\0'));
  EXPECT_EQ(Text("directory/file5", 2 * kBlock, 8193), std::string(8193, '\0'));
  EXPECT_EQ(Text("directory/file5", 2000 * kBlock, 8193), std::string(100, '\0'));
  const std::string across = Text("directory/file5", 3 * kBlock - 5, 10);
  EXPECT_EQ(across, std::string(5, '\0') + before.substr(0, 5));
  const auto file = OpenFile5();
  std::vector<base::MapRun> runs;
  ASSERT_TRUE(RunSync(sample_->executor(), file->MapStatus(0, 4 * kBlock, runs)));
  const std::vector<base::MapRun> expected = {{0, kBlock, MapState::kData},
                                              {kBlock, kBlock, MapState::kHole},
                                              {2 * kBlock, kBlock, MapState::kZero},
                                              {3 * kBlock, kBlock, MapState::kData}};
  EXPECT_EQ(runs, expected);
  EXPECT_EQ(*RunSync(sample_->executor(), file->Seek(fss::SeekKind::kData, kBlock)), 3 * kBlock);
  EXPECT_EQ(*RunSync(sample_->executor(), file->Seek(fss::SeekKind::kHole, 0)), kBlock);
  const auto nothing = RunSync(sample_->executor(), file->Seek(fss::SeekKind::kData, 4 * kBlock));
  EXPECT_EQ(nothing.error().code(), Code::kNoData);
}

TEST_F(Vmfs5, ReadsThroughPointerBlocksOfPointerBlocks) {
  MustMount();
  const std::string before = Text("directory/file5", 0, 8193);
  sample_->Unmount();
  constexpr uint64_t kSecondLevel = kFirstPointerBlock + 4096;
  sample_->Write32(kPointerBlocks + 0x14, 2);         // two items in `.pbc.sf`
  sample_->Write32(kFirstPointerBlock + 4, 0x10000003);  // entry 1: item 1
  sample_->Write32(kSecondLevel + 8, kDataBlock);
  constexpr uint64_t kPlace = (1024 + 2) * kBlock;
  PatchFile5(0x10D0, kPlace + 8193, 0x3);
  MustMount();
  EXPECT_EQ(Text("directory/file5", 0, 100), std::string(100, '\0'));
  EXPECT_EQ(Text("directory/file5", kPlace, 10000), before);
  const auto file = OpenFile5();
  EXPECT_EQ(*RunSync(sample_->executor(), file->Seek(fss::SeekKind::kData, 0)), kPlace);
}

TEST_F(Vmfs5, AnswersErrorsForMapsThatLeaveTheVolume) {
  const auto is_corrupt = [&](uint32_t map_kind, uint32_t slot) {
    PatchFile5(map_kind, 100, slot);
    MustMount();
    const auto text = sample_->ReadText("directory/file5", 0, 100);
    sample_->Unmount();
    return !text && text.error().code() == Code::kCorrupt;
  };
  EXPECT_TRUE(is_corrupt(1, 0xffffffc1));  // a file block behind the end
  EXPECT_TRUE(is_corrupt(1, 0x102));       // a sub-block among file blocks
  EXPECT_TRUE(is_corrupt(2, 0x0fffffc2));  // no such cluster of sub-blocks
  EXPECT_TRUE(is_corrupt(3, 0x10000003));  // no such pointer block
  EXPECT_TRUE(is_corrupt(5, 0x3));         // a pointer block of the wrong kind
}

TEST_F(Vmfs5, ShowsARawDeviceMapButDoesNotOpenIt) {
  const uint64_t descriptor = Vmfs5Volume::DescriptorAt(kFile5);
  sample_->Write32(descriptor + 512 + 0x0c, 6);
  sample_->Write64(descriptor + 512 + 0x14, uint64_t{1} << 45);
  MustMount();
  const auto attributes = sample_->Find("directory/file5");
  ASSERT_TRUE(attributes);
  EXPECT_EQ(attributes->size_bytes, uint64_t{1} << 45);
  EXPECT_EQ(sample_->ReadText("directory/file5", 0, 1).error().code(), Code::kUnsupported);
}

TEST_F(Vmfs5, RefusesSystemFilesThatAreMappedInACircle) {
  // `.pbc.sf` through pointer blocks that lie in itself.
  sample_->Write32(Vmfs5Volume::DescriptorAt(3) + 512 + 0x44, 3);
  sample_->Write32(Vmfs5Volume::DescriptorAt(3) + 1024, 0x3);
  EXPECT_EQ(sample_->Mount().error().code(), Code::kCorrupt);
}

TEST_F(Vmfs5, IsDescribedByVolumeInfo) {
  const auto info = RunSync(sample_->executor(), ReadVolumeInfo(sample_->devices()));
  ASSERT_TRUE(info) << info.error().message();
  EXPECT_EQ(info->label, "VMFS5 Test");
  EXPECT_EQ(info->free_bytes, (185 + 56) * kBlock);
  EXPECT_FALSE(info->is_ours);
  EXPECT_EQ(info->heartbeats.size(), 1u);
  EXPECT_NE(ToText(*info).find("VMFS-5.81, LVM 5.21"), std::string::npos) << ToText(*info);
}

// A device of more than 2 TiB: two maps of extents, of which the first is read.
class Lvm5OfTwoMaps : public Vmfs5 {
 protected:
  static constexpr uint32_t kUnits = kLvmPeEntriesMax + 8;

  void SetUp() override {
    Vmfs5::SetUp();
    if (!sample_) return;
    sample_->disk().Grow(kLvmAreaBytes + kUnits * kUnitBytes);
    auto header = Load<LvmDeviceHeader>(kLvmHeaderOffset);
    header.pe_map_count = 2u;
    header.pe_count = kUnits;
    sample_->WriteDevice(kLvmHeaderOffset, base::BytesOf(header));
    auto volume = Load<LvmVolumeEntry>(header.VolumeTableAt());
    volume.volume_bytes = kUnits * kUnitBytes;
    volume.unit_count = kUnits;
    volume.last_unit = uint64_t{kUnits} - 1;
    sample_->WriteDevice(header.VolumeTableAt(), base::BytesOf(volume));
  }

  template <typename T>
  T Load(uint64_t offset) {
    return base::LoadAs<T>(sample_->ReadDevice(offset, sizeof(T)));
  }

  static LvmPeEntry Extent(uint32_t index, uint64_t physical_unit) {
    LvmPeEntry extent;
    extent.used = 1;
    extent.pe_id = index;
    extent.physical_offset = kLvmDataOffset + physical_unit * kUnitBytes;
    extent.logical_offset = index * kUnitBytes;
    extent.length_bytes = uint64_t{kUnitBytes};
    return extent;
  }

  // The whole first map, with one extent at `physical_unit` instead of its place.
  void WriteExtents(uint32_t moved, uint64_t physical_unit) {
    std::vector<std::byte> table(kLvmPeEntriesMax * sizeof(LvmPeEntry));
    for (uint32_t i = 0; i < kLvmPeEntriesMax; ++i) {
      base::StoreAs(std::span(table), i * sizeof(LvmPeEntry),
                    Extent(i, i == moved ? physical_unit : i));
    }
    sample_->WriteDevice(kLvmHeaderOffset + kLvm5PeTableOffset, table);
  }
};

TEST_F(Lvm5OfTwoMaps, IsReadWhereTheExtentsLieInOrder) {
  WriteExtents(0, 0);
  MustMount();
  EXPECT_EQ(sample_->volume().figures().size_bytes, kUnits * kUnitBytes);
  EXPECT_EQ(Text("directory/file4", 0, 100), "content\n");
}

TEST_F(Lvm5OfTwoMaps, IsRefusedWhereTheyDoNot) {
  WriteExtents(5, 7);
  EXPECT_EQ(sample_->Mount().error().code(), Code::kVersionUnsupported);
}

}  // namespace
}  // namespace vmfs
