#include "disklib/check/check.h"
#include "disklib/check/repair.h"
#include "disklib/clone.h"
#include "disklib/exchange/in_place.h"
#include "disklib/snapshot.h"
#include "tests/disklib/exchange/two_datastores.h"

namespace disklib {
namespace {

using base::Code;

// The machine of the old datastore, and an empty folder "vm" on ours.
class InPlaceElsewhere : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(new_.Run(new_.files.MakeDirectory(new_.files.root(), "vm", {})));
    old_bytes_ = OldFiles();
  }

  void TearDown() override {
    EXPECT_EQ(OldFiles(), old_bytes_) << "the old datastore was written";
    EXPECT_TRUE(old_.open_disks.empty());
    EXPECT_TRUE(new_.open_disks.empty());
  }

  std::vector<std::byte> ContentOf(Bench& bench, Lib& lib, std::string_view path) {
    std::vector<std::byte> bytes(kDiskBytes);
    auto chain = bench.Run(lib.Open(path, {}));
    EXPECT_TRUE(chain) << chain.error().message();
    if (!chain) return {};
    EXPECT_TRUE(ReadBytes(bench, **chain, 0, bytes));
    EXPECT_TRUE(bench.Run((*chain)->Close()));
    return bytes;
  }

  std::vector<std::byte> Content(std::string_view path) { return ContentOf(new_, lib_, path); }

  std::map<std::string, std::string> OldFiles() { return store_.Files(); }

  void Import() {
    const auto made = new_.Run(ImportInPlace(lib_, kOldMachine, "vm"));
    ASSERT_TRUE(made) << made.error().message();
    ASSERT_EQ(made->disks.size(), 1u);
    EXPECT_EQ(made->disks[0].parent, kParent);
    EXPECT_EQ(made->disks[0].child, kChild);
  }

  base::Error OpenError(std::string_view path, OpenOptions options = {}) {
    auto opened = new_.Run(lib_.Open(path, options));
    EXPECT_FALSE(opened);
    if (!opened) return opened.error();
    EXPECT_TRUE(new_.Run((*opened)->Close()));
    return base::Error(Code::kInternal);
  }

  static constexpr std::string_view kChild = "vm/vm-000001.vmdk";

  OldDatastore store_;
  Bench& old_ = store_.bench;
  Bench new_;
  TwoDatastores both_{store_, new_.backend, new_.open_disks};
  Lib lib_{new_.executor, new_.backend, new_.open_disks, &both_};
  std::map<std::string, std::string> old_bytes_;
};

TEST_F(InPlaceElsewhere, NamesItsParentByUuidAndIsWrittenHere) {
  const auto content = ContentOf(old_, old_.lib, "vm/vm-000001.vmdk");
  Import();
  EXPECT_NE(new_.Load(kChild).find("parentFileNameHint=\"" + std::string(kParent) + "\""),
            std::string::npos);
  EXPECT_EQ(Content(kChild), content);
  PutPattern(new_, lib_, kChild, 30'720, 3);
  EXPECT_NE(Content(kChild), content);
  EXPECT_EQ(ContentOf(old_, old_.lib, "vm/vm-000001.vmdk"), content);
}

TEST_F(InPlaceElsewhere, SaysWhichDatastoreIsNotMounted) {
  Import();
  both_.is_old_mounted = false;
  const base::Error error = OpenError(kChild);
  EXPECT_EQ(error.code(), Code::kDeviceLost);
  EXPECT_NE(error.message().find(kParent), std::string::npos) << error.message();
  EXPECT_NE(error.message().find("is not mounted here"), std::string::npos) << error.message();
  const auto listed = new_.Run(ListSnapshots(lib_, "vm/vm.vmx"));
  ASSERT_FALSE(listed);
  EXPECT_EQ(listed.error().code(), Code::kDeviceLost) << listed.error().message();
  EXPECT_TRUE(new_.Run(lib_.GetInfo(kChild)));
  both_.is_old_mounted = true;
  EXPECT_FALSE(Content(kChild).empty());
}

TEST_F(InPlaceElsewhere, FollowsLabelsAndTheDatastoresOwnName) {
  Import();
  const auto content = Content(kChild);
  const std::string text = new_.Load(kChild);
  const size_t at = text.find(kOldUuid);
  new_.Store("vm/by-label.vmdk", std::string(text).replace(at, kOldUuid.size(), "old store"));
  EXPECT_EQ(Content("vm/by-label.vmdk"), content);
  new_.Create("vm/base.vmdk", {.size_bytes = kDiskBytes});
  const NewLink over{.size_bytes = kDiskBytes,
                     .layout = DiskLayout::kSeSparse,
                     .parent_path = "vm/base.vmdk",
                     .parent_content_id = kFreshContentId};
  const auto made = new_.Run(CreateLink(lib_, "vm/top.vmdk", over, nullptr));
  ASSERT_TRUE(made) << made.error().message();
  std::string own = new_.Load("vm/top.vmdk");
  own.replace(own.find("\"base.vmdk\""), 11, "\"/vmfs/volumes/new store/vm/base.vmdk\"");
  new_.Store("vm/top.vmdk", own);
  // A child by whatever name keeps its parent from being written.
  const base::Error error = OpenError("vm/base.vmdk", {.writable = true});
  EXPECT_NE(error.message().find("is its child"), std::string::npos) << error.message();
}

TEST_F(InPlaceElsewhere, NeverLeavesTheDatastoresThatAreMounted) {
  Import();
  const std::string text = new_.Load(kChild);
  const size_t at = text.find(kParent);
  for (const std::string_view bad :
       {"/etc/passwd", "/vmfs/volumes/../../etc/passwd", "/vmfs/volumes/nobody/vm/vm.vmdk",
        "/vmfs/volumes/old store/../../etc/passwd", "/vmfs/volumes/old store/gone.vmdk"}) {
    new_.Store("vm/bad.vmdk", std::string(text).replace(at, kParent.size(), bad));
    const Code code = OpenError("vm/bad.vmdk").code();
    EXPECT_TRUE(code == Code::kNameInvalid || code == Code::kNotPermitted ||
                code == Code::kDeviceLost || code == Code::kNotFound)
        << bad;
  }
}

TEST_F(InPlaceElsewhere, KeepsExtentsBesideTheirDescriptor) {
  new_.Store("vm/far.vmdk",
             "# Disk DescriptorFile\nversion=1\nCID=000000a1\nparentCID=ffffffff\n"
             "createType=\"vmfs\"\nRW 4096 VMFS \"/vmfs/volumes/old store/vm/vm-flat.vmdk\"\n");
  const base::Error error = OpenError("vm/far.vmdk");
  EXPECT_EQ(error.code(), Code::kUnsupported) << error.message();
  EXPECT_NE(error.message().find("on another datastore"), std::string::npos);
}

TEST_F(InPlaceElsewhere, HoldsItsParentsWhileItIsOpen) {
  Import();
  auto chain = new_.Run(lib_.Open(kChild, {.writable = true, .user = "test"}));
  ASSERT_TRUE(chain) << chain.error().message();
  old_.files.set_read_only(false);
  const auto opened = old_.Run(old_.lib.Open("vm/vm-000001.vmdk", {.writable = true}));
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), Code::kBusy);
  const std::string holder = std::string(kNewUuid) + "/vm/vm-000001.vmdk stands on it";
  EXPECT_NE(opened.error().message().find(holder), std::string::npos) << opened.error().message();
  ASSERT_EQ(old_.open_disks.List().size(), 1u);
  EXPECT_TRUE(old_.open_disks.List()[0].is_elsewhere);
  EXPECT_EQ(new_.open_disks.List().size(), 1u);
  ASSERT_TRUE(new_.Run((*chain)->Close()));
  old_.files.set_read_only(true);
}

TEST_F(InPlaceElsewhere, IsNotCommittedIntoItsParent) {
  Import();
  old_.files.set_read_only(false);  // not even where it could be
  const auto done = new_.Run(ConsolidateLink(lib_, kChild, {}, nullptr));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code(), Code::kUnsupported);
  EXPECT_NE(done.error().message().find("strata disk clone"), std::string::npos)
      << done.error().message();
  const base::Error error = OpenError(kParent, {.writable = true});
  EXPECT_EQ(error.code(), Code::kCrossDevice) << error.message();
  EXPECT_EQ(new_.Run(DeleteDisk(lib_, kParent)).error().code(), Code::kCrossDevice);
  old_.files.set_read_only(true);
}

TEST_F(InPlaceElsewhere, TakesAndDeletesSnapshotsOfItsOwn) {
  Import();
  PutPattern(new_, lib_, kChild, 0, 6);
  const auto made = new_.Run(CreateSnapshot(lib_, "vm/vm.vmx", {.name = "two"}, nullptr));
  ASSERT_TRUE(made) << made.error().message();
  const auto tree = new_.Run(ListSnapshots(lib_, "vm/vm.vmx"));
  ASSERT_TRUE(tree) << tree.error().message();
  PutPattern(new_, lib_, tree->disks[0].path, kMebi, 7);
  const auto wanted = Content(tree->disks[0].path);
  const auto gone = new_.Run(DeleteAllSnapshots(lib_, "vm/vm.vmx", {}, nullptr));
  ASSERT_TRUE(gone) << gone.error().message();
  EXPECT_EQ(Content(kChild), wanted);
}

TEST_F(InPlaceElsewhere, IsLeftByACloneThatNeedsNothingOfTheOldDatastore) {
  Import();
  PutPattern(new_, lib_, kChild, 0, 6);
  const auto wanted = Content(kChild);
  const auto cloned = new_.Run(CloneDisk(lib_, kChild, lib_, "vm/alone.vmdk", {}, nullptr));
  ASSERT_TRUE(cloned) << cloned.error().message();
  both_.is_old_mounted = false;
  EXPECT_EQ(Content("vm/alone.vmdk"), wanted);
  EXPECT_TRUE(new_.Run(DeleteDisk(lib_, kChild)));
}

TEST_F(InPlaceElsewhere, IsCheckedWithItsParentsAndWithoutThem) {
  Import();
  const auto whole = new_.Run(CheckDisk(lib_, kChild, {}, nullptr));
  ASSERT_TRUE(whole) << whole.error().message();
  EXPECT_TRUE(whole->is_clean() && whole->is_whole);
  EXPECT_EQ(whole->links.size(), 3u);
  const auto folder = new_.Run(CheckFolder(lib_, "vm", {}, nullptr));
  ASSERT_TRUE(folder) << folder.error().message();
  EXPECT_TRUE(folder->is_clean() && folder->is_whole);
  both_.is_old_mounted = false;
  DiskRepairOptions options;
  options.confirm = [](const CheckFinding&) { return true; };
  const auto repaired = new_.Run(RepairDisk(lib_, kChild, options, nullptr));
  ASSERT_TRUE(repaired) << repaired.error().message();
  EXPECT_EQ(repaired->before.CountOf(Invariant::kC1), 1u);
  EXPECT_EQ(repaired->action_count, 0u) << "an absent datastore is no damage to mend";
  EXPECT_FALSE(repaired->before.is_whole);
  const auto without = new_.Run(CheckFolder(lib_, "vm", {}, nullptr));
  ASSERT_TRUE(without) << without.error().message();
  EXPECT_EQ(without->CountOf(Invariant::kC1), 1u);
}

TEST_F(InPlaceElsewhere, LeavesFindingsInItsParentsToThoseWhoOwnThem) {
  Import();
  old_.files.set_read_only(false);
  std::string text = old_.Load("vm/vm-000001.vmdk");
  const std::string_view key = "ddb.longContentID = \"";
  const size_t last_digit = text.find(key) + key.size() + 31;
  text[last_digit] = text[last_digit] == '0' ? '1' : '0';
  old_.Store("vm/vm-000001.vmdk", text);
  old_.files.set_read_only(true);
  old_bytes_ = OldFiles();
  DiskRepairOptions options;
  options.confirm = [](const CheckFinding&) { return true; };
  const auto repaired = new_.Run(RepairDisk(lib_, kChild, options, nullptr));
  ASSERT_TRUE(repaired) << repaired.error().message();
  EXPECT_FALSE(repaired->before.is_clean());
  EXPECT_EQ(repaired->action_count, 0u);
}

}  // namespace
}  // namespace disklib
