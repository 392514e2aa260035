#include "disklib/chain.h"

#include <cstring>

#include "fs/base/checked.h"
#include "tests/disklib/support.h"

namespace disklib {
namespace {

using base::Code;
using base::MapRun;
using base::MapState;

constexpr std::string_view kHead =
    "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"custom\"\n";

// Four extents in three files: 8, 4 (ZERO), 8 (from sector 16 of its file), 4 sectors.
void MakeCustomDisk(Bench& bench) {
  bench.Store("a", std::string(8 * 512, 'a'));
  bench.Store("b", std::string(16 * 512, 'x') + std::string(8 * 512, 'b'));
  bench.Store("c", std::string(4 * 512, 'c'));
  bench.Store("d.vmdk", std::string(kHead) +
                            "RW 8 FLAT \"a\" 0\nRW 4 ZERO\nRW 8 FLAT \"b\" 16\n"
                            "RDONLY 4 FLAT \"c\" 0\n");
}

std::string Text(const std::vector<std::byte>& bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

TEST(Chain, ReadsAndWritesAcrossExtents) {
  Bench bench;
  MakeCustomDisk(bench);
  const auto chain = bench.Open("d.vmdk", true);
  const auto device = base::CheckedView(*chain);
  EXPECT_EQ(device->size_bytes(), 24 * kSectorBytes);
  std::vector<std::byte> all(24 * 512);
  ASSERT_TRUE(ReadBytes(bench, *device, 0, all));
  EXPECT_EQ(Text(all), std::string(8 * 512, 'a') + std::string(4 * 512, '\0') +
                           std::string(8 * 512, 'b') + std::string(4 * 512, 'c'));
  std::vector<std::byte> written = Pattern(1, 6 * 512);
  ASSERT_TRUE(WriteBytes(bench, *device, 2 * 512, written));
  std::vector<std::byte> read(6 * 512);
  ASSERT_TRUE(ReadBytes(bench, *device, 2 * 512, read));
  EXPECT_EQ(read, written);
  EXPECT_EQ(bench.Load("b").substr(0, 16 * 512), std::string(16 * 512, 'x'));
  ASSERT_TRUE(bench.Run(device->Flush()));
  ASSERT_TRUE(bench.Run(device->Close()));
  EXPECT_EQ(bench.files.lookups_held(), 0u);
}

TEST(Chain, RefusesWritesToZeroAndReadOnlyExtents) {
  Bench bench;
  MakeCustomDisk(bench);
  const auto chain = bench.Open("d.vmdk", true);
  std::vector<std::byte> sector(512);
  EXPECT_EQ(WriteBytes(bench, *chain, 9 * 512, sector).error().code(), Code::kReadOnly);
  EXPECT_EQ(WriteBytes(bench, *chain, 21 * 512, sector).error().code(), Code::kReadOnly);
  EXPECT_EQ(ReadBytes(bench, *chain, 24 * 512, sector).error().code(), Code::kOutOfRange);
  std::vector<std::byte> odd(100);
  EXPECT_EQ(ReadBytes(bench, *chain, 0, odd).error().code(), Code::kMisaligned);
  ASSERT_TRUE(bench.Run(chain->Close()));
}

TEST(Chain, SplitsScatteredBuffersAtBorders) {
  Bench bench;
  bench.Create("s.vmdk", {.size_bytes = 3000 * kMebi, .layout = DiskLayout::kTwoGbMaxExtentFlat});
  const auto chain = bench.Open("s.vmdk", true);
  const auto device = base::CheckedView(*chain);
  std::vector<std::byte> first = Pattern(1, 700), second = Pattern(2, 324), third = Pattern(3, 512);
  const std::vector<base::IoVec> pieces = {
      {first.data(), first.size()}, {second.data(), second.size()}, {third.data(), third.size()}};
  const uint64_t at = kSplitSectors * kSectorBytes - 512;
  ASSERT_TRUE(bench.Run(device->Write({.offset_bytes = at, .buffers = pieces})));
  std::vector<std::byte> expected = first;
  expected.insert(expected.end(), second.begin(), second.end());
  expected.insert(expected.end(), third.begin(), third.end());
  std::vector<std::byte> read(expected.size());
  ASSERT_TRUE(ReadBytes(bench, *device, at, read));
  EXPECT_EQ(read, expected);
  ASSERT_TRUE(bench.Run(device->Close()));
}

TEST(Chain, MapsHolesZerosAndData) {
  Bench bench;
  bench.Create("t.vmdk", {.size_bytes = kMebi});
  const auto chain = bench.Open("t.vmdk", true);
  std::vector<std::byte> bytes = Pattern(1, 8192);
  ASSERT_TRUE(WriteBytes(bench, *chain, 65536, bytes));
  std::vector<MapRun> runs;
  ASSERT_TRUE(bench.Run(chain->MapStatus(0, kMebi, runs)));
  const std::vector<MapRun> expected = {{0, 65536, MapState::kHole},
                                        {65536, 8192, MapState::kData},
                                        {73728, kMebi - 73728, MapState::kHole}};
  EXPECT_EQ(runs, expected);
  ASSERT_TRUE(bench.Run(chain->Unmap(65536, 8192)));
  runs.clear();
  ASSERT_TRUE(bench.Run(chain->MapStatus(0, kMebi, runs)));
  EXPECT_EQ(runs, (std::vector<MapRun>{{0, kMebi, MapState::kHole}}));
  ASSERT_TRUE(bench.Run(chain->Close()));
}

TEST(Chain, ThickDisksKeepTheirSpaceWhenUnmapped) {
  Bench bench;
  bench.Create("t.vmdk", {.size_bytes = kMebi, .provisioning = Provisioning::kZeroedThick});
  const auto chain = bench.Open("t.vmdk", true);
  EXPECT_FALSE(chain->limits().can_unmap);
  std::vector<std::byte> bytes = Pattern(1, 8192);
  ASSERT_TRUE(WriteBytes(bench, *chain, 65536, bytes));
  ASSERT_TRUE(bench.Run(chain->WriteZeroes(65536, 8192, /*may_unmap=*/true)));
  std::vector<MapRun> runs;
  ASSERT_TRUE(bench.Run(chain->MapStatus(0, kMebi, runs)));
  EXPECT_EQ(runs, (std::vector<MapRun>{{0, kMebi, MapState::kZero}}));
  ASSERT_TRUE(bench.Run(chain->Close()));
}

TEST(Chain, ChangesTheContentIdOnceAndBeforeTheFirstWrite) {
  Bench bench;
  bench.Create("t.vmdk", {.size_bytes = kMebi});
  const std::string fresh = bench.Run(bench.lib.GetInfo("t.vmdk"))->content_id;
  EXPECT_EQ(fresh, "fffffffe");
  auto chain = bench.Open("t.vmdk", true);
  std::vector<std::byte> sector = Pattern(1, 512);
  ASSERT_TRUE(ReadBytes(bench, *chain, 0, sector));
  EXPECT_EQ(bench.Run(bench.lib.GetInfo("t.vmdk"))->content_id, fresh) << "reading changes nothing";
  // The id cannot be stored: the write must not happen.
  bench.files.FailAt(3);
  sector = Pattern(2, 512);
  EXPECT_FALSE(WriteBytes(bench, *chain, 0, sector));
  bench.files.StopFailing();
  EXPECT_EQ(bench.Load("t-flat.vmdk").substr(0, 512), std::string(512, '\0'));
  ASSERT_TRUE(WriteBytes(bench, *chain, 0, sector));
  const auto info = bench.Run(bench.lib.GetInfo("t.vmdk"));
  EXPECT_NE(info->content_id, fresh);
  ASSERT_TRUE(WriteBytes(bench, *chain, 512, sector));
  EXPECT_EQ(bench.Run(bench.lib.GetInfo("t.vmdk"))->content_id, info->content_id);
  ASSERT_TRUE(bench.Run(chain->Close()));
  chain = bench.Open("t.vmdk", true);
  ASSERT_TRUE(WriteBytes(bench, *chain, 0, sector));
  EXPECT_NE(bench.Run(bench.lib.GetInfo("t.vmdk"))->content_id, info->content_id);
  ASSERT_TRUE(bench.Run(chain->Close()));
}

// The nth call of the first write fails, then the power goes: content new under an old id never.
TEST(Chain, NeverLeavesNewContentUnderAnOldId) {
  for (uint64_t call = 1; call < 100; ++call) {
    Bench bench;
    bench.Create("t.vmdk", {.size_bytes = kMebi});
    auto chain = bench.Open("t.vmdk", true);
    std::vector<std::byte> sector = Pattern(1, 512);
    bench.files.CutAt(call);
    const bool done = WriteBytes(bench, *chain, 0, sector).has_value() &&
                      bench.Run(chain->Flush()).has_value() && !bench.files.has_failed();
    static_cast<void>(bench.Run(chain->Close()));
    chain.reset();
    bench.files.Recover(fss::MemoryFileSystem::Crash::kLosesNothing);
    const bool is_new = bench.Load("t-flat.vmdk").substr(0, 512) != std::string(512, '\0');
    const bool has_new_id = bench.Run(bench.lib.GetInfo("t.vmdk"))->content_id != "fffffffe";
    EXPECT_TRUE(!is_new || has_new_id) << "cut at call " << call;
    if (done) return;
  }
  FAIL() << "the write never succeeded";
}

TEST(Chain, EndsChangeTrackingItDoesNotDo) {
  Bench bench;
  MakeCustomDisk(bench);
  bench.Store("d.vmdk", bench.Load("d.vmdk") + "changeTrackPath=\"d-ctk.vmdk\"\n");
  const auto chain = bench.Open("d.vmdk", true);
  std::vector<std::byte> sector(512);
  ASSERT_TRUE(WriteBytes(bench, *chain, 0, sector));
  EXPECT_EQ(bench.Load("d.vmdk").find("changeTrackPath"), std::string::npos);
  ASSERT_TRUE(bench.Run(chain->Close()));
}

class OpenRefusal : public testing::Test {
 protected:
  // The error of opening a descriptor with this text.
  base::Error ErrorOf(const std::string& text, bool writable = true) {
    bench.Store("x.vmdk", text);
    auto opened = bench.Run(bench.lib.Open("x.vmdk", {.writable = writable, .user = "test"}));
    EXPECT_FALSE(opened);
    EXPECT_EQ(bench.files.lookups_held(), 0u);
    return opened ? base::Error(Code::kInternal) : opened.error();
  }

  Bench bench;
};

TEST_F(OpenRefusal, NamesWhatIsNotOpened) {
  const auto error_of_kind = [this](const std::string& line) {
    return ErrorOf(std::string(kHead) + line);
  };
  const base::Error device = error_of_kind("RW 8 VMFSRDM \"x-rdm.vmdk\"\n");
  EXPECT_EQ(device.code(), Code::kUnsupported);
  EXPECT_NE(device.message().find("VMFSRDM"), std::string::npos);
  EXPECT_EQ(error_of_kind("RW 8 VSANSPARSE \"vsan://x\"\n").code(), Code::kUnsupported);
  EXPECT_EQ(error_of_kind("encryptionKeys=\"k\"\nRW 8 VMFS \"a\"\n").code(), Code::kUnsupported);
  EXPECT_EQ(ErrorOf("COWD" + std::string(508, '\1')).code(), Code::kNotRecognized);
}

TEST_F(OpenRefusal, NamesMissingShortAndForeignExtents) {
  EXPECT_EQ(ErrorOf(std::string(kHead) + "RW 8 VMFS \"none\"\n").code(), Code::kNotFound);
  bench.Store("short", std::string(7 * 512, 's'));
  EXPECT_EQ(ErrorOf(std::string(kHead) + "RW 8 VMFS \"short\"\n").code(), Code::kCorrupt);
  EXPECT_EQ(ErrorOf(std::string(kHead) + "RW 8 FLAT \"/etc/passwd\" 0\n").code(),
            Code::kNameInvalid);
  EXPECT_EQ(ErrorOf(std::string(kHead) + "RW 8 FLAT \"../up\" 0\n").code(), Code::kNotPermitted);
}

TEST_F(OpenRefusal, FollowsLinksOnlyInsideTheDatastore) {
  const auto link = [this](std::string_view name, std::string_view target) {
    const auto made = bench.Run(bench.files.MakeSymlink(bench.files.root(), name, target, {}));
    ASSERT_TRUE(made);
    bench.files.Forget(made->inode, 1);
  };
  link("out", "/etc/passwd");
  link("up", "../../etc/passwd");
  link("loop", "loop");
  link("in", "./real");
  bench.Store("real", std::string(8 * 512, 'r'));
  EXPECT_EQ(ErrorOf(std::string(kHead) + "RW 8 VMFS \"out\"\n").code(), Code::kNotPermitted);
  EXPECT_EQ(ErrorOf(std::string(kHead) + "RW 8 VMFS \"up\"\n").code(), Code::kNotPermitted);
  EXPECT_EQ(ErrorOf(std::string(kHead) + "RW 8 VMFS \"loop\"\n").code(), Code::kLoop);
  bench.Store("x.vmdk", std::string(kHead) + "RW 8 VMFS \"in\"\n");
  const auto chain = bench.Open("x.vmdk", true);
  std::vector<std::byte> sector(512);
  EXPECT_TRUE(ReadBytes(bench, *chain, 0, sector));
  EXPECT_EQ(Text(sector), std::string(512, 'r'));
  ASSERT_TRUE(bench.Run(chain->Close()));
}

TEST_F(OpenRefusal, ProtectsTheParentOfASnapshot) {
  bench.Create("base.vmdk", {.size_bytes = kMebi});
  bench.Store("base-000001.vmdk",
              "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=fffffffe\n"
              "createType=\"vmfsSparse\"\nparentFileNameHint=\"base.vmdk\"\n"
              "RW 2048 VMFSSPARSE \"base-000001-delta.vmdk\"\n");
  const auto opened = bench.Run(bench.lib.Open("base.vmdk", {.writable = true, .user = "test"}));
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), Code::kUnsupported);
  EXPECT_NE(opened.error().message().find("base-000001.vmdk"), std::string::npos);
  const auto chain = bench.Open("base.vmdk", false);
  ASSERT_TRUE(bench.Run(chain->Close()));
}

TEST(OpenDisks, KeepEachOtherOutAndNameTheHolder) {
  Bench bench;
  bench.Create("t.vmdk", {.size_bytes = kMebi});
  const uint64_t flat = bench.Run(bench.backend.GetInfo("t-flat.vmdk"))->id;
  const auto writer = bench.Open("t.vmdk", true);
  const auto second = bench.Run(bench.lib.Open("t.vmdk", {.writable = true, .user = "other"}));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Code::kBusy);
  EXPECT_NE(second.error().message().find("disk t.vmdk is open for writing (test)"),
            std::string::npos);
  ASSERT_NE(bench.open_disks.HolderOf(flat), nullptr);
  EXPECT_TRUE(bench.open_disks.HolderOf(flat)->writes);
  EXPECT_EQ(bench.open_disks.OpenFile(flat, true).error().code(), Code::kBusy);
  EXPECT_EQ(bench.open_disks.OpenFile(flat, false).error().code(), Code::kBusy);
  EXPECT_EQ(bench.Run(DeleteDisk(bench.lib, "t.vmdk")).error().code(), Code::kBusy);
  EXPECT_EQ(bench.Run(RenameDisk(bench.lib, "t.vmdk", "u.vmdk")).error().code(), Code::kBusy);
  EXPECT_EQ(
      bench.Run(ExtendDisk(bench.lib, "t.vmdk", {.size_bytes = 2 * kMebi}, nullptr)).error().code(),
      Code::kBusy);
  // The descriptor is replaced by the first write; the claim follows it.
  std::vector<std::byte> sector(512);
  ASSERT_TRUE(WriteBytes(bench, *writer, 0, sector));
  const uint64_t descriptor = bench.Run(bench.backend.GetInfo("t.vmdk"))->id;
  EXPECT_NE(bench.open_disks.HolderOf(descriptor), nullptr);
  EXPECT_EQ(bench.open_disks.List().size(), 1u);
  ASSERT_TRUE(bench.Run(writer->Close()));
  EXPECT_EQ(bench.open_disks.HolderOf(flat), nullptr);
}

TEST(OpenDisks, RefuseADiskWhoseFileIsOpenForWriting) {
  Bench bench;
  bench.Create("t.vmdk", {.size_bytes = kMebi});
  const uint64_t flat = bench.Run(bench.backend.GetInfo("t-flat.vmdk"))->id;
  ASSERT_TRUE(bench.open_disks.OpenFile(flat, true));
  EXPECT_EQ(bench.Run(bench.lib.Open("t.vmdk", {.writable = true})).error().code(), Code::kBusy);
  bench.open_disks.CloseFile(flat, true);
  const auto chain = bench.Open("t.vmdk", true);
  ASSERT_TRUE(bench.Run(chain->Close()));
}

}  // namespace
}  // namespace disklib
