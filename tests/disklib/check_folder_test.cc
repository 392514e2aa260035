// What only a whole folder shows: orphans, snapshots without disks, lost descriptors.
#include <gtest/gtest.h>

#include "tests/disklib/check_support.h"
#include "tests/disklib/sparse_images.h"

namespace disklib {
namespace {

constexpr std::string_view kVmx =
    ".encoding = \"UTF-8\"\nscsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"leaf.vmdk\"\n";
constexpr std::string_view kVmsd =
    ".encoding = \"UTF-8\"\nsnapshot.lastUID = \"1\"\nsnapshot.current = \"1\"\n"
    "snapshot0.uid = \"1\"\nsnapshot0.displayName = \"one\"\nsnapshot0.numDisks = \"1\"\n"
    "snapshot0.disk0.fileName = \"base.vmdk\"\nsnapshot0.disk0.node = \"scsi0:0\"\n"
    "snapshot.numSnapshots = \"1\"\n";

// A VM with one snapshot.
void MakeVm(CheckBench& bench) {
  bench.MakeFlat("base.vmdk");
  bench.MakeFlat("leaf.vmdk", "base.vmdk");
  bench.Store("vm.vmx", kVmx);
  bench.Store("vm.vmsd", kVmsd);
  const CheckReport report = bench.CheckAll();
  ASSERT_TRUE(report.is_clean()) << TextOf(report);
  ASSERT_EQ(report.links.size(), 2u);
}

DiskRepairReport RepairAll(CheckBench& bench, std::set<Invariant> fix) {
  DiskRepairOptions options;
  options.fix = std::move(fix);
  auto report = bench.Run(RepairFolder(bench.lib, "", options, nullptr));
  EXPECT_TRUE(report) << report.error().message();
  return report ? *std::move(report) : DiskRepairReport();
}

TEST(CheckFolder, FindsALinkNobodyRefersTo) {
  CheckBench bench;
  MakeVm(bench);
  bench.MakeFlat("stray.vmdk");
  const CheckReport report = bench.CheckAll();
  EXPECT_EQ(NamesIn(report), Names{"C7"}) << TextOf(report);
  bench.Store("stray.vmdk.children", "elsewhere/clone.vmdk\n");
  EXPECT_TRUE(bench.CheckAll().is_clean());
}

TEST(CheckFolder, TakesABaseAndALinkedCloneForDisksWhereThereIsNoVmx) {
  CheckBench bench;
  MakeVm(bench);
  ASSERT_TRUE(bench.Run(bench.backend.Remove("vm.vmx")));
  bench.MakeFlat("other.vmdk");
  bench.MakeFlat("clone.vmdk", "other.vmdk");
  bench.Store("other.vmdk.children", "clone.vmdk\n");
  const CheckReport report = bench.CheckAll();
  ASSERT_EQ(report.findings.size(), 1u) << TextOf(report);
  EXPECT_EQ(report.findings.front().id, Invariant::kC7);
  EXPECT_EQ(report.findings.front().place.file, "leaf.vmdk") << "a child that nothing names";
}

TEST(CheckFolder, FindsASnapshotWithoutItsDisk) {
  CheckBench bench;
  MakeVm(bench);
  bench.Edit("vm.vmsd", "\"base.vmdk\"", "\"gone.vmdk\"");
  EXPECT_EQ(NamesIn(bench.CheckAll()), Names{"C8"});
}

TEST(CheckFolder, FindsASnapshotThatIsNotFrozen) {
  CheckBench bench;
  MakeVm(bench);
  bench.Edit("vm.vmsd", "\"base.vmdk\"", "\"leaf.vmdk\"");
  EXPECT_EQ(NamesIn(bench.CheckAll()), Names{"C8"});
}

TEST(CheckFolder, CountsSnapshotsAndCorrectsTheCountWhenAsked) {
  CheckBench bench;
  MakeVm(bench);
  bench.Edit("vm.vmsd", "numSnapshots = \"1\"", "numSnapshots = \"4\"");
  EXPECT_EQ(NamesIn(bench.CheckAll()), Names{"C8"});
  EXPECT_EQ(RepairAll(bench, {}).outcome, DiskRepairOutcome::kNotPossible);
  EXPECT_TRUE(RepairAll(bench, {Invariant::kC8}).after.is_clean());
  EXPECT_NE(bench.Load("vm.vmsd").find("numSnapshots = \"1\""), std::string::npos);
}

TEST(CheckFolder, FindsAUuidTwice) {
  CheckBench bench;
  bench.MakeFlat("a.vmdk");
  bench.Store("b.vmdk", bench.Load("a.vmdk"));
  bench.Store("b-flat.vmdk", bench.Load("a-flat.vmdk"));
  bench.Edit("b.vmdk", "a-flat.vmdk", "b-flat.vmdk");
  EXPECT_EQ(NamesIn(bench.CheckAll()), Names{"D7"});
}

TEST(CheckFolder, TellsOfARing) {
  CheckBench bench;
  bench.MakeFlat("a.vmdk", "b.vmdk");
  bench.MakeFlat("b.vmdk", "a.vmdk");
  EXPECT_EQ(NamesIn(bench.CheckAll()), Names{"C4"});
}

TEST(CheckFolder, RebuildsTheLostDescriptorOfAFlatDisk) {
  CheckBench bench;
  MakeVm(bench);
  const std::string old_text = bench.Load("base.vmdk");
  ASSERT_TRUE(bench.Run(bench.backend.Remove("base.vmdk")));
  const CheckReport lost = bench.Check("base.vmdk");
  EXPECT_EQ(NamesIn(lost), Names{"D10"}) << TextOf(lost);
  EXPECT_EQ(bench.Repair("base.vmdk").outcome, DiskRepairOutcome::kNotPossible);
  EXPECT_TRUE(bench.Repair("base.vmdk", {Invariant::kD10}).after.is_clean());
  EXPECT_TRUE(bench.CheckAll().is_clean()) << TextOf(bench.CheckAll());
  const auto before = ParseDescriptor(old_text);
  const auto after = ParseDescriptor(bench.Load("base.vmdk"));
  EXPECT_EQ(after->content_id, before->content_id);
  EXPECT_EQ(after->extents, before->extents);
}

TEST(CheckFolder, RebuildsTheLostDescriptorOfADeltaBetweenItsNeighbours) {
  CheckBench bench;
  bench.MakeFlat("base.vmdk", "", CowdImage::kSectors * 512);
  bench.Store("mid-delta.vmdk", CowdImage::Make());
  bench.MakeFlat("leaf.vmdk", "mid.vmdk", CowdImage::kSectors * 512);
  bench.Edit("leaf.vmdk", "parentCID=fffffffe", "parentCID=00c0ffee");
  bench.Store("vm.vmx", kVmx);
  const CheckReport lost = bench.CheckAll();
  EXPECT_TRUE(lost.CountOf(Invariant::kD10) == 1) << TextOf(lost);
  RepairAll(bench, {Invariant::kD10});
  const CheckReport after = bench.CheckAll();
  EXPECT_TRUE(after.is_clean()) << TextOf(after);
  const auto rebuilt = ParseDescriptor(bench.Load("mid.vmdk"));
  ASSERT_TRUE(rebuilt);
  EXPECT_EQ(rebuilt->content_id, 0x00c0ffeeu);
  EXPECT_EQ(rebuilt->parent_file_name_hint, "base.vmdk");
  EXPECT_EQ(rebuilt->create_type, "vmfsSparse");
}

TEST(CheckFolder, RebuildsNothingWhenTheParentCannotBeTold) {
  CheckBench bench;
  bench.MakeFlat("one.vmdk", "", CowdImage::kSectors * 512);
  bench.MakeFlat("two.vmdk", "", CowdImage::kSectors * 512);
  bench.Store("mid-delta.vmdk", CowdImage::Make());
  EXPECT_EQ(NamesIn(bench.CheckAll()), Names{"D10"});
  EXPECT_EQ(RepairAll(bench, {Invariant::kD10}).outcome, DiskRepairOutcome::kNotPossible);
}

TEST(CheckFolder, NamesAnExtentThatItsNamesakeLeftBehind) {
  CheckBench bench;
  bench.MakeFlat("a.vmdk");
  bench.Store("a-delta.vmdk", CowdImage::Make());
  const CheckReport report = bench.CheckAll();
  EXPECT_EQ(NamesIn(report), Names{"D10"});
  EXPECT_EQ(report.findings.front().repair, RepairClass::kNone);
}

}  // namespace
}  // namespace disklib
