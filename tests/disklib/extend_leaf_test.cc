// Extend over snapshots: the disk goes on in one larger leaf, closed or in use.
#include "disklib/extend_leaf.h"

#include "disklib/linked_clone.h"
#include "disklib/operations.h"
#include "disklib/vdisk.h"
#include "tests/disklib/snapshot_support.h"
#include "tests/support/crash_files.h"

namespace disklib {
namespace {

using base::Code;
using base::Status;

constexpr uint64_t kTestDiskBytes = 4 * kMebi;

Status Extend(SnapshotStand& stand, std::string_view path, uint64_t size_bytes) {
  return stand.Run(ExtendDisk(stand.lib(), path, {.size_bytes = size_bytes}, nullptr));
}

Content Grown(Content content, uint64_t size_bytes) {
  content.resize(size_bytes);
  return content;
}

TEST(ExtendOverSnapshots, MakesOneLeafAndLeavesTheSnapshotAsItWas) {
  SnapshotBench bench;
  bench.stand.Create("vm.vmdk", kTestDiskBytes);
  bench.stand.Write("vm.vmdk", 0, Pattern(1, 8192));
  const Content frozen = bench.stand.ContentOf("vm.vmdk");
  bench.stand.Take("first");
  bench.stand.Write("vm-000001.vmdk", 4096, Pattern(2, 8192));
  const Content now = bench.stand.ContentOf("vm-000001.vmdk");
  for (const char* path : {"vm.vmdk", "vm-000001.vmdk", "vm-000002.vmdk"}) {
    const Status extended = Extend(bench.stand, path, 2 * kTestDiskBytes);
    ASSERT_TRUE(extended) << path << ": " << extended.error().message();
    EXPECT_EQ(bench.stand.Leaf(), "vm-000002.vmdk") << "running it again stacks nothing";
  }
  EXPECT_EQ(bench.stand.ContentOf("vm-000002.vmdk"), Grown(now, 2 * kTestDiskBytes));
  const Descriptor below = *ParseDescriptor(bench.stand.Load("vm-000001.vmdk"));
  const Descriptor leaf = *ParseDescriptor(bench.stand.Load("vm-000002.vmdk"));
  EXPECT_EQ(leaf.parent_content_id, below.content_id);
  EXPECT_NE(leaf.content_id, below.content_id) << "a longer disk is other content";
  bench.stand.Write("vm-000002.vmdk", 2 * kTestDiskBytes - 512, Pattern(3, 512));
  bench.stand.Revert("first");
  EXPECT_EQ(bench.stand.ContentOf(bench.stand.Leaf()), frozen);
}

TEST(ExtendOverSnapshots, MovesTheVmAndRefusesWhatIsSmallerOrFrozen) {
  SnapshotBench bench;
  bench.stand.MakeVm(kTestDiskBytes);
  bench.stand.Take("first", "vm.vmx");
  ASSERT_TRUE(Extend(bench.stand, "vm_1.vmdk", 2 * kTestDiskBytes));
  EXPECT_NE(bench.stand.Load("vm.vmx").find("scsi0:1.fileName = \"vm_1-000002.vmdk\""),
            std::string::npos);
  EXPECT_NE(bench.stand.Load("vm.vmx").find("scsi0:0.fileName = \"vm-000001.vmdk\""),
            std::string::npos);
  EXPECT_EQ(Extend(bench.stand, "vm_1.vmdk", kTestDiskBytes).error().code(),
            Code::kInvalidArgument);
  bench.stand.Take("second", "vm.vmx");
  bench.stand.Revert("first", "vm.vmx");
  const Status frozen = Extend(bench.stand, "vm_1-000002.vmdk", 4 * kTestDiskBytes);
  ASSERT_FALSE(frozen);
  EXPECT_NE(frozen.error().message().find("second"), std::string::npos) << frozen.error().message();
}

TEST(ExtendOverSnapshots, TakesTheDiskBackWhenTheSnapshotGoes) {
  for (const DiskLayout layout : {DiskLayout::kVmfs, DiskLayout::kTwoGbMaxExtentFlat}) {
    SnapshotBench bench;
    const NewDisk disk{.size_bytes = kTestDiskBytes, .layout = layout};
    ASSERT_TRUE(bench.stand.Run(CreateDisk(bench.stand.lib(), "vm.vmdk", disk, nullptr)));
    bench.stand.Write("vm.vmdk", 0, Pattern(1, 8192));
    bench.stand.Take("first");
    ASSERT_TRUE(Extend(bench.stand, "vm.vmdk", 2 * kTestDiskBytes));
    bench.stand.Write("vm-000002.vmdk", 2 * kTestDiskBytes - 4096, Pattern(2, 4096));
    const Content now = bench.stand.ContentOf("vm-000002.vmdk");
    const auto merged =
        bench.stand.Run(ConsolidateLink(bench.stand.lib(), "vm-000002.vmdk", {}, nullptr));
    ASSERT_TRUE(merged) << NameOf(layout) << ": " << merged.error().message();
    EXPECT_EQ(bench.stand.ContentOf("vm-000001.vmdk"), now) << "a sparse parent grew";
    bench.stand.Delete("first");
    EXPECT_EQ(bench.stand.ContentOf("vm.vmdk"), now) << "a flat parent grew";
    EXPECT_EQ(bench.stand.Tree().disks.at(0).link_count, 1u);
  }
}

TEST(ExtendOverSnapshots, IsOneLinkOfTheNewSizeWhenAllSnapshotsGo) {
  for (const DiskLayout layout :
       {DiskLayout::kVmfs, DiskLayout::kSeSparse, DiskLayout::kMonolithicSparse}) {
    SnapshotBench bench;
    bench.stand.Create("vm.vmdk", kTestDiskBytes, layout);
    bench.stand.Write("vm.vmdk", 0, Pattern(1, 8192));
    bench.stand.Take("first");
    bench.stand.Take("second");
    ASSERT_TRUE(Extend(bench.stand, "vm.vmdk", 2 * kTestDiskBytes));
    bench.stand.Write(bench.stand.Leaf(), 2 * kTestDiskBytes - 4096, Pattern(2, 4096));
    const Content now = bench.stand.ContentOf(bench.stand.Leaf());
    for (const char* const round : {"first", "again"}) {
      const auto deleted =
          bench.stand.Run(DeleteAllSnapshots(bench.stand.lib(), "vm.vmdk", {}, nullptr));
      ASSERT_TRUE(deleted) << round << ": " << deleted.error().message();
      EXPECT_EQ(deleted->removed_links.size(), round == std::string_view("first") ? 3u : 0u);
    }
    EXPECT_EQ(bench.stand.Leaf(), "vm.vmdk") << NameOf(layout);
    EXPECT_EQ(bench.stand.ContentOf("vm.vmdk"), now);
  }
}

TEST(DeleteAllSnapshots, LeavesTheLinksThatACloneStandsOn) {
  SnapshotBench bench;
  bench.stand.Create("vm.vmdk", kTestDiskBytes);
  bench.stand.Take("first");
  ASSERT_TRUE(Extend(bench.stand, "vm.vmdk", 2 * kTestDiskBytes));
  ASSERT_TRUE(
      bench.stand.Run(CreateLinkedClone(bench.stand.lib(), "vm-000002.vmdk", "clone.vmdk", {})));
  const auto deleted =
      bench.stand.Run(DeleteAllSnapshots(bench.stand.lib(), "vm.vmdk", {}, nullptr));
  ASSERT_TRUE(deleted) << deleted.error().message();
  EXPECT_EQ(bench.stand.Leaf(), "vm-000002.vmdk");
  EXPECT_EQ(bench.stand.Tree().disks.at(0).link_count, 2u);
}

TEST(ExtendOverSnapshots, GrowsALinkedCloneInItsOwnFolder) {
  SnapshotBench bench;
  ASSERT_TRUE(bench.stand.Run(bench.files.MakeDirectory(bench.files.root(), "clone", {})));
  bench.stand.Create("vm.vmdk", kTestDiskBytes);
  bench.stand.Write("vm.vmdk", 0, Pattern(1, 8192));
  const Content now = bench.stand.ContentOf("vm.vmdk");
  ASSERT_TRUE(
      bench.stand.Run(CreateLinkedClone(bench.stand.lib(), "vm.vmdk", "clone/clone.vmdk", {})));
  const Status extended = Extend(bench.stand, "clone/clone.vmdk", 2 * kTestDiskBytes);
  ASSERT_TRUE(extended) << extended.error().message();
  ASSERT_TRUE(Extend(bench.stand, "clone/clone.vmdk", 2 * kTestDiskBytes));
  EXPECT_EQ(bench.stand.ContentOf("clone/clone-000001.vmdk"), Grown(now, 2 * kTestDiskBytes));
  EXPECT_FALSE(bench.stand.Run(Exists(bench.backend, "clone/clone-000002.vmdk")).value());
  const Status parent = Extend(bench.stand, "vm.vmdk", 2 * kTestDiskBytes);
  EXPECT_EQ(parent.error().code(), Code::kUnsupported) << "a clone stands on it";
}

TEST(ExtendOverSnapshots, GrowsADiskThatIsOpen) {
  SnapshotBench bench;
  bench.stand.Create("vm.vmdk", kTestDiskBytes);
  bench.stand.Write("vm.vmdk", 0, Pattern(1, 8192));
  bench.stand.Take("first");
  VDisks disks(bench.stand.lib());
  auto image = bench.stand.Run(disks.Open("vm-000001.vmdk", /*writable=*/true));
  ASSERT_TRUE(image);
  const auto write = [&](uint64_t offset_bytes, Content bytes) {
    const base::IoVec piece{bytes.data(), bytes.size()};
    return bench.stand.Run((*image)->Write({.offset_bytes = offset_bytes, .buffers = {&piece, 1}}));
  };
  ASSERT_TRUE(write(4096, Pattern(2, 4096)));
  const Status resized = bench.stand.Run(disks.Resize("vm-000001.vmdk", 2 * kTestDiskBytes));
  ASSERT_TRUE(resized) << resized.error().message();
  EXPECT_EQ((*image)->size_bytes(), 2 * kTestDiskBytes);
  const std::string below = bench.stand.Load("vm-000001.vmdk");
  ASSERT_TRUE(write(0, Pattern(3, 512)));
  ASSERT_TRUE(write(2 * kTestDiskBytes - 512, Pattern(4, 512)));
  EXPECT_EQ(bench.stand.Load("vm-000001.vmdk"), below) << "the link below is frozen";
  auto second = bench.stand.Run(disks.Open("vm-000002.vmdk", /*writable=*/true));
  ASSERT_TRUE(second) << "shares the chain: " << second.error().message();
  EXPECT_TRUE(bench.stand.Run((*second)->Close()));
  EXPECT_TRUE(bench.stand.Run((*image)->Close()));
  Content wanted = Grown(bench.stand.ContentOf("vm-000001.vmdk"), 2 * kTestDiskBytes);
  const auto put = [&wanted](uint64_t offset_bytes, const Content& bytes) {
    std::copy(bytes.begin(), bytes.end(), wanted.begin() + static_cast<ptrdiff_t>(offset_bytes));
  };
  put(0, Pattern(3, 512));
  put(2 * kTestDiskBytes - 512, Pattern(4, 512));
  EXPECT_EQ(bench.stand.Leaf(), "vm-000002.vmdk");
  EXPECT_EQ(bench.stand.ContentOf("vm-000002.vmdk"), wanted);
}

TEST(ExtendOverSnapshots, LeavesASparseBaseThatIsOpenAndSaysWhy) {
  SnapshotBench bench;
  const NewDisk disk{.size_bytes = kTestDiskBytes, .layout = DiskLayout::kSeSparse};
  ASSERT_TRUE(bench.stand.Run(CreateDisk(bench.stand.lib(), "vm.vmdk", disk, nullptr)));
  VDisks disks(bench.stand.lib());
  const Status refused = bench.stand.Run(disks.Resize("vm.vmdk", 2 * kTestDiskBytes));
  EXPECT_EQ(refused.error().code(), Code::kBusy) << refused.error().message();
  const std::string before = bench.stand.Load("vm.vmdk");
  const Status too_large = Extend(bench.stand, "vm.vmdk", uint64_t{1} << 40);
  ASSERT_FALSE(too_large);
  EXPECT_NE(too_large.error().message().find("clone"), std::string::npos)
      << too_large.error().message();
  EXPECT_EQ(bench.stand.Load("vm.vmdk"), before) << "not even the content id changed";
  EXPECT_TRUE(Extend(bench.stand, "vm.vmdk", 2 * kTestDiskBytes));
}

// What the guest wrote after a failed extend is there, or was refused.
TEST(ExtendOverSnapshots, NeverWritesBelowALeafWhateverFails) {
  const auto round = [](uint64_t call_number, bool* was_reached) -> std::string {
    SnapshotBench bench;
    bench.stand.Create("vm.vmdk", 128 * 1024);
    bench.stand.Take("first");
    auto chain =
        bench.stand.Run(bench.stand.lib().Open("vm-000001.vmdk", {.writable = true, .user = "t"}));
    if (!chain) return chain.error().message();
    bench.files.FailAt(call_number);
    const Status extended = bench.stand.Run(
        ExtendChain(bench.stand.lib(), **chain, {.size_bytes = 256 * 1024}, nullptr));
    static_cast<void>(extended);
    *was_reached = bench.files.has_failed();
    bench.files.StopFailing();
    Content bytes = Pattern(7, 512);
    const base::IoVec piece{bytes.data(), bytes.size()};
    const Status written =
        bench.stand.Run((*chain)->Write({.offset_bytes = 0, .buffers = {&piece, 1}}));
    const Status flushed = bench.stand.Run((*chain)->Flush());
    const Status closed = bench.stand.Run((*chain)->Close());
    const bool was_promised = written && flushed && closed;
    chain->reset();
    const auto content = bench.stand.TryContentOf(bench.stand.Leaf());
    if (!content) return "open: " + content.error().message();
    bytes.resize(512);
    const bool is_there = std::equal(bytes.begin(), bytes.end(), content->begin());
    if (was_promised && !is_there) return "a write that was answered is lost";
    return bench.stand.Tree().orphans.empty() ? "" : "a link was left behind";
  };
  const fss::FailureSweepResult result = fss::SweepFailures(round, 1);
  EXPECT_TRUE(result.ok()) << result.failure;
}

}  // namespace
}  // namespace disklib
