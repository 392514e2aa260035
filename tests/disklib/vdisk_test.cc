#include "disklib/vdisk.h"

#include "disklib/disk_list.h"
#include "tests/disklib/support.h"

namespace disklib {
namespace {

using base::Code;

struct MountBench : Bench {
  VDisks disks{lib};

  std::unique_ptr<VDisk> OpenImage(std::string_view path, bool writable) {
    auto opened = Run(disks.Open(path, writable));
    EXPECT_TRUE(opened) << opened.error().message();
    return opened ? *std::move(opened) : nullptr;
  }

  void CloseImage(std::unique_ptr<VDisk> disk) { EXPECT_TRUE(Run(disk->Close())); }
};

// Random requests at any offset against a model of bytes, on one flat file and on several.
TEST(VDisk, AgreesWithAModelAtEveryAlignment) {
  for (const bool is_split : {false, true}) {
    MountBench bench;
    uint64_t size_bytes = kMebi;
    if (is_split) {
      bench.Store("a", std::string(300 * 512, '\0'));
      bench.Store("b", std::string(7 * 512, '\0'));
      bench.Store("c", std::string(500 * 512, '\0'));
      bench.Store("d.vmdk",
                  "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n"
                  "createType=\"custom\"\nRW 300 FLAT \"a\" 0\nRW 7 FLAT \"b\" 0\n"
                  "RW 500 FLAT \"c\" 0\n");
      size_bytes = 807 * 512;
    } else {
      bench.Create("d.vmdk", {.size_bytes = size_bytes});
    }
    std::vector<std::byte> model(size_bytes);
    auto disk = bench.OpenImage("d.vmdk", true);
    const uint64_t seed = 4711;
    SCOPED_TRACE("seed 4711");
    base::Random random(seed);
    for (int round = 0; round < 2000; ++round) {
      const uint64_t at = random.Below(size_bytes);
      std::vector<std::byte> bytes = Pattern(random.Next(), 1 + random.Below(5000));
      const uint64_t fits = std::min<uint64_t>(bytes.size(), size_bytes - at);
      switch (random.Below(4)) {
        case 0: {
          const auto written = WriteBytes(bench, *disk, at, bytes);
          ASSERT_TRUE(written) << written.error().message();
          ASSERT_EQ(*written, fits);
          std::copy_n(bytes.begin(), fits, model.begin() + static_cast<ptrdiff_t>(at));
          break;
        }
        case 1: {
          const auto mode = random.OneIn(2) ? fss::AllocateMode::kPunchHole
                                            : fss::AllocateMode::kZeroRangeKeepSize;
          ASSERT_TRUE(bench.Run(disk->Allocate(mode, at, bytes.size())));
          std::fill_n(model.begin() + static_cast<ptrdiff_t>(at), fits, std::byte{0});
          break;
        }
        default: {
          const auto read = ReadBytes(bench, *disk, at, bytes);
          ASSERT_TRUE(read);
          ASSERT_EQ(*read, fits);
          ASSERT_TRUE(std::equal(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(fits),
                                 model.begin() + static_cast<ptrdiff_t>(at)));
        }
      }
    }
    bench.CloseImage(std::move(disk));
    EXPECT_EQ(bench.files.lookups_held(), 0u);
    EXPECT_TRUE(bench.open_disks.List().empty());
  }
}

TEST(VDisk, EndsAtTheCapacity) {
  MountBench bench;
  bench.Create("d.vmdk", {.size_bytes = 8192});
  ASSERT_TRUE(bench.Run(bench.backend.Resize("d-flat.vmdk", 16384)));
  auto disk = bench.OpenImage("d.vmdk", true);
  EXPECT_EQ(disk->size_bytes(), 8192u);
  std::vector<std::byte> bytes = Pattern(1, 1024);
  EXPECT_EQ(*WriteBytes(bench, *disk, 7680, bytes), 512u);
  EXPECT_EQ(WriteBytes(bench, *disk, 8192, bytes).error().code(), Code::kNoSpace);
  EXPECT_EQ(*ReadBytes(bench, *disk, 7680, bytes), 512u);
  EXPECT_EQ(*ReadBytes(bench, *disk, 9000, bytes), 0u);
  EXPECT_EQ(bench.Run(disk->Allocate(fss::AllocateMode::kAllocate, 8000, 1000)).error().code(),
            Code::kNoSpace);
  EXPECT_TRUE(bench.Run(disk->Allocate(fss::AllocateMode::kPunchHole, 8000, 1000)));
  EXPECT_EQ(bench.Load("d-flat.vmdk").substr(8192), std::string(8192, '\0'));
  bench.CloseImage(std::move(disk));
}

TEST(VDisk, FindsDataAndHoles) {
  MountBench bench;
  bench.Create("d.vmdk", {.size_bytes = kMebi});
  auto disk = bench.OpenImage("d.vmdk", true);
  EXPECT_EQ(bench.Run(disk->Seek(fss::SeekKind::kData, 0)).error().code(), Code::kNoData);
  std::vector<std::byte> bytes = Pattern(1, 4096);
  ASSERT_TRUE(WriteBytes(bench, *disk, 65536, bytes));
  EXPECT_EQ(*bench.Run(disk->Seek(fss::SeekKind::kData, 0)), 65536u);
  EXPECT_EQ(*bench.Run(disk->Seek(fss::SeekKind::kHole, 65536)), 69632u);
  EXPECT_EQ(bench.Run(disk->Seek(fss::SeekKind::kHole, kMebi)).error().code(), Code::kNoData);
  bench.CloseImage(std::move(disk));
}

TEST(VDisks, ShareOneChainAndBecomeWritableOnDemand) {
  MountBench bench;
  bench.Create("d.vmdk", {.size_bytes = kMebi});
  const uint64_t flat = bench.Run(bench.backend.GetInfo("d-flat.vmdk"))->id;
  auto reader = bench.OpenImage("d.vmdk", false);
  EXPECT_FALSE(bench.open_disks.HolderOf(flat)->writes);
  std::vector<std::byte> bytes = Pattern(1, 512);
  EXPECT_EQ(WriteBytes(bench, *reader, 0, bytes).error().code(), Code::kReadOnly);
  auto writer = bench.OpenImage("d.vmdk", true);
  EXPECT_TRUE(bench.open_disks.HolderOf(flat)->writes);
  EXPECT_EQ(bench.open_disks.List().size(), 1u);
  auto second = bench.OpenImage("d.vmdk", true);
  ASSERT_TRUE(WriteBytes(bench, *writer, 0, bytes));
  std::vector<std::byte> read(512);
  ASSERT_TRUE(ReadBytes(bench, *reader, 0, read));
  EXPECT_EQ(read, bytes);
  EXPECT_EQ(WriteBytes(bench, *reader, 0, bytes).error().code(), Code::kReadOnly);
  bench.CloseImage(std::move(writer));
  bench.CloseImage(std::move(reader));
  EXPECT_EQ(bench.Run(DeleteDisk(bench.lib, "d.vmdk")).error().code(), Code::kBusy);
  bench.CloseImage(std::move(second));
  EXPECT_EQ(bench.open_disks.HolderOf(flat), nullptr);
  EXPECT_TRUE(bench.Run(DeleteDisk(bench.lib, "d.vmdk")));
}

TEST(VDisks, StayReadableWhenWritingIsRefused) {
  MountBench bench;
  bench.Create("d.vmdk", {.size_bytes = kMebi});
  const uint64_t flat = bench.Run(bench.backend.GetInfo("d-flat.vmdk"))->id;
  auto reader = bench.OpenImage("d.vmdk", false);
  const auto other = bench.Open("d.vmdk", false);
  EXPECT_EQ(bench.Run(bench.disks.Open("d.vmdk", true)).error().code(), Code::kBusy);
  ASSERT_TRUE(bench.Run(other->Close()));
  EXPECT_EQ(bench.open_disks.OpenFile(flat, true).error().code(), Code::kBusy);
  bench.files.set_read_only(true);
  EXPECT_EQ(bench.Run(bench.disks.Open("d.vmdk", true)).error().code(), Code::kReadOnly);
  std::vector<std::byte> bytes(512);
  EXPECT_TRUE(ReadBytes(bench, *reader, 0, bytes));
  EXPECT_FALSE(bench.open_disks.HolderOf(flat)->writes);
  bench.CloseImage(std::move(reader));
}

TEST(VDisks, GrowByResizeWhileInUse) {
  MountBench bench;
  bench.Create("d.vmdk", {.size_bytes = kMebi, .layout = DiskLayout::kTwoGbMaxExtentFlat});
  auto disk = bench.OpenImage("d.vmdk", true);
  EXPECT_TRUE(bench.Run(bench.disks.Resize("d.vmdk", kMebi)));
  EXPECT_EQ(bench.Run(bench.disks.Resize("d.vmdk", 512)).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(bench.Run(bench.disks.Resize("d.vmdk", kMebi + 1)).error().code(),
            Code::kInvalidArgument);
  ASSERT_TRUE(bench.Run(bench.disks.Resize("d.vmdk", 3000 * kMebi)));
  EXPECT_EQ(disk->size_bytes(), 3000 * kMebi);
  EXPECT_EQ(bench.Run(bench.disks.GetAttributes("d.vmdk"))->size_bytes, 3000 * kMebi);
  std::vector<std::byte> bytes = Pattern(1, 4096);
  const uint64_t border = 2047 * kMebi - 1000;
  ASSERT_TRUE(WriteBytes(bench, *disk, border, bytes));
  std::vector<std::byte> read(4096);
  ASSERT_TRUE(ReadBytes(bench, *disk, border, read));
  EXPECT_EQ(read, bytes);
  const uint64_t added = bench.Run(bench.backend.GetInfo("d-f002.vmdk"))->id;
  EXPECT_NE(bench.open_disks.HolderOf(added), nullptr) << "the new extent is held, too";
  bench.CloseImage(std::move(disk));
}

class Names : public DiskSink {
 public:
  void Add(const ListedDisk& disk) override {
    std::string text = disk.disk.name + " on " + disk.disk.leaf + disk.disk.trouble;
    for (const std::string& name : disk.disk.frozen) text += ", frozen " + name;
    names.push_back(std::move(text));
  }

  std::vector<std::string> names;
};

TEST(DiskLister, FindsBaseDisksAndNothingElse) {
  Bench bench;
  bench.Create("vm.vmdk", {.size_bytes = kMebi});
  bench.Create("other.vmdk",
               {.size_bytes = 3000 * kMebi, .layout = DiskLayout::kTwoGbMaxExtentFlat});
  bench.Store("vm-000001.vmdk",
              "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=fffffffe\n"
              "createType=\"vmfsSparse\"\nparentFileNameHint=\"vm.vmdk\"\n"
              "RW 2048 VMFSSPARSE \"vm-000001-delta.vmdk\"\n");
  bench.Store("text.vmdk", "hello");
  bench.Store("descriptor.txt", bench.Load("vm.vmdk"));
  // The data of a small disk that happens to look like a descriptor.
  bench.Create("tiny.vmdk", {.size_bytes = 512});
  const std::string inner = bench.Load("vm.vmdk").substr(0, 0) +
                            "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n"
                            "createType=\"vmfs\"\nRW 1 VMFS \"x\"\n";
  bench.Store("tiny-flat.vmdk", inner + std::string(512 - inner.size(), '\0'));
  DiskLister lister(bench.files);
  const std::vector<std::string> expected = {"other.vmdk on other.vmdk", "tiny.vmdk on tiny.vmdk",
                                             "vm.vmdk on vm-000001.vmdk, frozen vm.vmdk"};
  Names first;
  ASSERT_TRUE(bench.Run(lister.ListDisks(bench.files.root(), first)));
  EXPECT_EQ(first.names, expected);
  // The second time nothing is read but names and attributes.
  bench.files.StopFailing();
  Names second;
  ASSERT_TRUE(bench.Run(lister.ListDisks(bench.files.root(), second)));
  EXPECT_EQ(second.names, expected);
  EXPECT_LE(bench.files.call_count(), 12u);
  ASSERT_TRUE(bench.Run(bench.backend.Remove("vm-000001.vmdk")));
  Names third;
  ASSERT_TRUE(bench.Run(lister.ListDisks(bench.files.root(), third)));
  EXPECT_EQ(third.names.back(), "vm.vmdk on vm.vmdk");
  EXPECT_EQ(bench.files.lookups_held(), 0u);
}

std::vector<std::string> ListingOf(Bench& bench) {
  DiskLister lister(bench.files);
  Names names;
  EXPECT_TRUE(bench.Run(lister.ListDisks(bench.files.root(), names)));
  return names.names;
}

void StoreChild(Bench& bench, const std::string& name, const std::string& parent) {
  bench.Store(name,
              "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=fffffffe\n"
              "createType=\"seSparse\"\nparentFileNameHint=\"" +
                  parent + "\"\nRW 2048 ZERO\n");
}

TEST(DiskLister, TakesTheCurrentLinkFromTheVmThenItsRecordThenTheOnlyLeaf) {
  Bench bench;
  bench.Create("vm.vmdk", {.size_bytes = kMebi});
  StoreChild(bench, "vm-000001.vmdk", "vm.vmdk");
  EXPECT_EQ(ListingOf(bench)[0], "vm.vmdk on vm-000001.vmdk, frozen vm.vmdk");
  StoreChild(bench, "vm-000002.vmdk", "./vm.vmdk");
  EXPECT_EQ(ListingOf(bench)[0],
            "vm.vmdk on vm.vmdk: nothing says which of 2 links is the current one: "
            "vm-000001.vmdk, vm-000002.vmdk, frozen vm-000001.vmdk, frozen vm-000002.vmdk, "
            "frozen vm.vmdk");
  bench.Store("vm.vmsd", "strata.disk0.current = \"vm-000002.vmdk\"\n");
  EXPECT_EQ(ListingOf(bench)[0],
            "vm.vmdk on vm-000002.vmdk, frozen vm-000001.vmdk, frozen vm.vmdk");
  bench.Store("vm.vmx", "scsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"vm-000001.vmdk\"\n");
  EXPECT_EQ(ListingOf(bench)[0],
            "vm.vmdk on vm-000001.vmdk, frozen vm-000002.vmdk, frozen vm.vmdk");
}

TEST(DiskLister, ShowsLinkedClonesAsDisksOfTheirOwn) {
  Bench bench;
  bench.Create("vm.vmdk", {.size_bytes = kMebi});
  StoreChild(bench, "clone.vmdk", "vm.vmdk");
  StoreChild(bench, "elsewhere.vmdk", "../other/vm.vmdk");
  bench.Store("vm.vmdk.children", "# linked clones\nclone.vmdk\nfar/vm.vmdk\n");
  EXPECT_EQ(ListingOf(bench),
            (std::vector<std::string>{"clone.vmdk on clone.vmdk",
                                      "elsewhere.vmdk on elsewhere.vmdk", "vm.vmdk on vm.vmdk"}));
}

TEST(DiskLister, ShowsACloneOfTheCurrentLeafInAFolderThatWasServedAlone) {
  Bench bench;
  const auto folder = bench.Run(bench.files.MakeDirectory(bench.files.root(), "vm", {}));
  ASSERT_TRUE(folder);
  bench.Create("vm/a.vmdk", {.size_bytes = kMebi});
  StoreChild(bench, "vm/a-000001.vmdk", "a.vmdk");
  StoreChild(bench, "vm/b.vmdk", "a-000001.vmdk");
  bench.Store("vm/a.vmsd", "strata.disk0.current = \"a-000001.vmdk\"\n");
  // What the program writes that has only the folder before it.
  bench.Store("vm/a-000001.vmdk.children", "b.vmdk\n");
  DiskLister lister(bench.files);
  Names names;
  EXPECT_TRUE(bench.Run(lister.ListDisks(folder->inode, names)));
  EXPECT_EQ(names.names, (std::vector<std::string>{"a.vmdk on a-000001.vmdk, frozen a.vmdk",
                                                   "b.vmdk on b.vmdk"}));
  bench.files.Forget(folder->inode, 1);
}

}  // namespace
}  // namespace disklib
