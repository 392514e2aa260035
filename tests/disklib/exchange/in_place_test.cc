#include "disklib/exchange/in_place.h"

#include "disklib/new_link.h"
#include "disklib/snapshot.h"
#include "tests/disklib/support.h"

namespace disklib {
namespace {

using base::Code;

constexpr uint64_t kDiskBytes = 2 * kMebi;

// The folder "old" of a VM with one disk, a snapshot of it in `layout`, and data in both links.
class InPlace : public testing::TestWithParam<DiskLayout> {
 protected:
  void SetUp() override {
    for (const char* folder : {"old", "new"}) MakeFolder(folder);
    bench_.Create("old/vm.vmdk", {.size_bytes = kDiskBytes});
    bench_.Store("old/vm.vmx", kMachine);
    Put("old/vm.vmdk", 0, 1);
    const CreateSnapshotOptions options{.name = "one", .layout = GetParam()};
    const auto made = bench_.Run(CreateSnapshot(bench_.lib, "old/vm.vmx", options, nullptr));
    ASSERT_TRUE(made) << made.error().message();
    Put("old/vm-000001.vmdk", kMebi, 2);
  }

  void MakeFolder(std::string_view name) {
    const auto made = bench_.Run(bench_.files.MakeDirectory(bench_.files.root(), name, {}));
    ASSERT_TRUE(made) << made.error().message();
  }

  void Put(std::string_view path, uint64_t offset_bytes, uint64_t seed) {
    const auto chain = bench_.Open(path, true);
    ASSERT_NE(chain, nullptr);
    std::vector<std::byte> bytes = Pattern(seed, 51'200);
    EXPECT_TRUE(WriteBytes(bench_, *chain, offset_bytes, bytes));
    EXPECT_TRUE(bench_.Run(chain->Close()));
  }

  std::vector<std::byte> ContentOf(std::string_view path) {
    std::vector<std::byte> bytes(kDiskBytes);
    const auto chain = bench_.Open(path, false);
    if (chain == nullptr) return {};
    EXPECT_TRUE(ReadBytes(bench_, *chain, 0, bytes));
    EXPECT_TRUE(bench_.Run(chain->Close()));
    return bytes;
  }

  // Every file of the old folder with all its bytes.
  std::map<std::string, std::string> OldFiles() {
    ListingSink sink;
    EXPECT_TRUE(bench_.Run(bench_.backend.List("old", sink)));
    std::map<std::string, std::string> files;
    for (const std::string& name : sink.names) files[name] = bench_.Load("old/" + name);
    return files;
  }

  base::Result<InPlaceMachine> Import() {
    return bench_.Run(ImportInPlace(bench_.lib, "old/vm.vmx", "new"));
  }

  static constexpr std::string_view kMachine =
      "displayName = \"vm\"\nmemsize = \"64\"\nscsi0:0.present = \"TRUE\"\n"
      "scsi0:0.fileName = \"vm.vmdk\"\n";

  Bench bench_;
};

INSTANTIATE_TEST_SUITE_P(Deltas, InPlace,
                         testing::Values(DiskLayout::kSeSparse, DiskLayout::kVmfsSparse),
                         [](const auto& test) { return std::string(NameOf(test.param)); });

TEST_P(InPlace, GoesOnInTheChildAndLeavesTheSourceAlone) {
  const auto files = OldFiles();
  const auto content = ContentOf("old/vm-000001.vmdk");
  const auto machine = Import();
  ASSERT_TRUE(machine) << machine.error().message();
  ASSERT_EQ(machine->disks.size(), 1u);
  EXPECT_EQ(machine->disks[0].parent, "old/vm-000001.vmdk");
  const std::string& child = machine->disks[0].child;
  EXPECT_EQ(ContentOf(child), content);
  Put(child, 0, 3);
  Put(child, kMebi + 30'720, 4);
  const auto changed = ContentOf(child);
  EXPECT_NE(changed, content);
  EXPECT_EQ(ContentOf("old/vm-000001.vmdk"), content);
  EXPECT_EQ(OldFiles(), files);
  EXPECT_NE(bench_.Load("new/vm.vmx").find("scsi0:0.fileName = \"vm-000001.vmdk\""),
            std::string::npos);
  EXPECT_NE(bench_.Load("new/vm.vmx").find("memsize = \"64\""), std::string::npos);
}

TEST_P(InPlace, IsRefusedOnceTheSourceHasChanged) {
  const auto machine = Import();
  ASSERT_TRUE(machine) << machine.error().message();
  Put("old/vm-000001.vmdk", 0, 5);
  auto opened = bench_.Run(bench_.lib.Open(machine->disks[0].child, {}));
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), Code::kCorrupt) << opened.error().message();
}

TEST_P(InPlace, TakesSnapshotsOfItsOwn) {
  const auto files = OldFiles();
  ASSERT_TRUE(Import());
  Put("new/vm-000001.vmdk", 0, 6);
  const auto before = ContentOf("new/vm-000001.vmdk");
  const auto made = bench_.Run(CreateSnapshot(bench_.lib, "new/vm.vmx", {.name = "two"}, nullptr));
  ASSERT_TRUE(made) << made.error().message();
  const auto tree = bench_.Run(ListSnapshots(bench_.lib, "new/vm.vmx"));
  ASSERT_TRUE(tree) << tree.error().message();
  ASSERT_EQ(tree->disks.size(), 1u);
  Put(tree->disks[0].path, kMebi, 7);
  const auto wanted = ContentOf(tree->disks[0].path);
  const auto gone = bench_.Run(DeleteAllSnapshots(bench_.lib, "new/vm.vmx", {}, nullptr));
  ASSERT_TRUE(gone) << gone.error().message();
  EXPECT_EQ(ContentOf("new/vm-000001.vmdk"), wanted);
  EXPECT_NE(wanted, before);
  EXPECT_EQ(OldFiles(), files);
}

TEST_P(InPlace, FindsTheOneMachineOfAFolder) {
  const auto found = bench_.Run(FindMachineFile(bench_.backend, "old"));
  ASSERT_TRUE(found) << found.error().message();
  EXPECT_EQ(*found, "old/vm.vmx");
  EXPECT_EQ(bench_.Run(FindMachineFile(bench_.backend, "new")).error().code(), Code::kNotFound);
  bench_.Store("old/other.vmx", kMachine);
  EXPECT_EQ(bench_.Run(FindMachineFile(bench_.backend, "old")).error().code(), Code::kUnsupported);
}

TEST_P(InPlace, RefusesADiskThatCannotBeOpened) {
  ASSERT_TRUE(bench_.Run(bench_.backend.Remove("old/vm-flat.vmdk")));
  const auto machine = Import();
  ASSERT_FALSE(machine);
  EXPECT_EQ(machine.error().code(), Code::kNotFound);
}

}  // namespace
}  // namespace disklib
