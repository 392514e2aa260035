#include "tests/support/repair_volume.h"

#include "tests/support/crash_sweep.h"
#include "vmfs/format/directory.h"
#include "vmfs/lvm_device.h"

namespace vmfs {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr int kManyCount = 40;

void Expect(const base::Status& status) {
  EXPECT_TRUE(status.has_value()) << (status ? "" : status.error().message());
}

// Finds where one unit of a file lies.
class UnitFinder final : public MapVisitor {
 public:
  explicit UnitFinder(uint64_t wanted) : wanted_(wanted) {}
  bool PointerBlock(Address, uint32_t) override { return true; }
  void Data(uint64_t index, Address address) override {
    if (index == wanted_) found_ = address;
  }
  Address found() const { return found_; }

 private:
  uint64_t wanted_;
  Address found_;
};

}  // namespace

std::string Describe(const FsckReport& report) {
  std::string text;
  for (const Finding& finding : report.findings) {
    text += std::string(NameOf(finding.severity)) + " " + std::string(NameOf(finding.code)) + ": " +
            finding.text + "\n";
  }
  return text;
}

std::string Describe(const RepairReport& report) {
  std::string text = std::string(NameOf(report.outcome)) + "\nbefore:\n" + Describe(report.before) +
                     "actions:\n";
  for (const RepairAction& action : report.actions) {
    text += std::string(NameOf(action.code)) + ": " + action.text + "\n";
  }
  return text + "after:\n" + Describe(report.after);
}

RepairVolumeTest::RepairVolumeTest(bool logging) : volume_(executor_, 512 * kMiB, logging) {
  Expect(volume_.MakeFileSystem());
  Expect(volume_.Mount());
  Fill();
  Expect(volume_.Unmount());
  base::BlockDevice* const devices[] = {&volume_.disk()};
  auto lvm = base::RunSync(executor_, OpenLvm(devices));
  CHECK(lvm.has_value());
  lvm_ = *std::move(lvm);
  auto raw = base::RunSync(executor_, RawVolume::Open(*lvm_));
  CHECK(raw.has_value());
  raw_ = *std::move(raw);
  Expect(base::RunSync(executor_, raw_->LoadSystemFiles()));
  volume_.disk().Settle();
}

RepairVolumeTest::~RepairVolumeTest() = default;

void RepairVolumeTest::Write(VolumeClient& client, const std::string& path, uint64_t offset,
                             size_t size_bytes) {
  std::vector<std::byte> bytes(size_bytes);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>((offset + i) * 31 + path.size() * 7 + i / 256);
  }
  const auto written = base::RunSync(executor_, client.Write(path, offset, bytes));
  EXPECT_TRUE(written.has_value()) << (written ? "" : written.error().message());
}

// Files of every map kind, directories of every shape that fits a small volume.
void RepairVolumeTest::Fill() {
  VolumeClient client(volume_.volume());
  const auto make = [&](const std::string& path, std::vector<uint64_t> offsets, size_t size) {
    Expect(base::RunSync(executor_, client.Create(path)));
    for (const uint64_t offset : offsets) Write(client, path, offset, size);
  };
  make("/empty", {}, 0);
  make("/inline", {0}, 700);
  make("/small", {0}, 60'000);
  make("/small too", {0}, 60'001);
  make("/large", {0}, 300'000);
  make("/file-blocks", {0, kMiB, 2 * kMiB}, 5000);
  make("/sparse", {400 * kMiB}, 5000);
  make("/double", {uint64_t{3} << 40}, 5000);
  Expect(base::RunSync(executor_, client.MakeSymlink("/link", "inline")));
  Expect(base::RunSync(executor_, client.MakeDirectory("/dir")));
  Expect(base::RunSync(executor_, client.MakeDirectory("/dir/sub")));
  Expect(base::RunSync(executor_, client.MakeDirectory("/dir/sub/deep")));
  make("/dir/sub/deep/leaf", {0}, 9000);
  Expect(base::RunSync(executor_, client.MakeDirectory("/many")));
  for (int i = 0; i < kManyCount; ++i) make("/many/file " + std::to_string(i), {0}, 100);
  Expect(base::RunSync(executor_, client.SyncAll()));
  Expect(base::RunSync(executor_, client.ReadTree("", expected_)));
  for (const auto& [path, node] : expected_) {
    const auto inode = base::RunSync(executor_, client.Resolve(path));
    CHECK(inode.has_value());
    fds_[path] = static_cast<uint32_t>(*inode);
    volume_.volume().Forget(*inode, 1);
  }
  fds_[""] = kRootFd.raw();
}

uint64_t RepairVolumeTest::Inode(FdAddress fd) {
  return *raw_->InodeAddress(fd) + kMetadataBlockBytes;
}

uint64_t RepairVolumeTest::Cluster(ResourceKind kind, uint64_t cluster) {
  return *raw_->ClusterAddress(kind, cluster) + kMetadataBlockBytes;
}

InodeMetadata RepairVolumeTest::LoadInode(FdAddress fd) {
  return base::LoadAs<InodeMetadata>(Peek(Inode(fd), sizeof(InodeMetadata)));
}

uint64_t RepairVolumeTest::InFile(FdAddress fd, uint64_t offset) {
  const InodeMetadata inode = LoadInode(fd);
  MetadataBytes block;
  Expect(base::RunSync(executor_, raw_->ReadInodeBlock(fd, block)));
  UnitFinder finder(offset / inode.block_bytes);
  Expect(base::RunSync(executor_, raw_->WalkMap(&inode, &block, finder)));
  return *raw_->DataAddress(finder.found()) + offset % inode.block_bytes;
}

uint64_t RepairVolumeTest::RecordOf(const std::string& directory, const std::string& name) {
  const FdAddress fd = FdOf(directory);
  const uint64_t length = LoadInode(fd).length_bytes;
  for (uint32_t block = 1; DirectoryBlockOffset(block) < length; ++block) {
    for (uint32_t slot = 0; slot < kRecordsPerBlock; ++slot) {
      const uint64_t address = InFile(fd, RecordFileOffset(block, slot));
      const auto bytes = Peek(address, sizeof(DirectoryRecord));
      if (base::LoadAs<DirectoryRecord>(bytes).name() == name) return address;
    }
  }
  ADD_FAILURE() << "no record of " << name;
  return 0;
}

std::vector<std::byte> RepairVolumeTest::Peek(uint64_t address, size_t size_bytes) {
  std::vector<std::byte> bytes(size_bytes);
  volume_.disk().Peek(kLvmDataOffset + address, bytes);
  return bytes;
}

void RepairVolumeTest::Poke(uint64_t address, std::span<const std::byte> bytes) {
  volume_.disk().Poke(kLvmDataOffset + address, bytes);
}

std::string RepairVolumeTest::RepairAndCompare(base::SimExecutor& executor, base::SimDisk& disk,
                                               const Tree& tree) {
  base::BlockDevice* const devices[] = {&disk};
  RepairOptions options;
  options.hosts_are_dead = true;
  const auto report = base::RunSync(executor, RepairDevices(executor, devices, options));
  if (!report) return "repair: " + report.error().message();
  SimVolume volume(executor, disk);
  const std::string left = volume.CheckAfterCrash();
  if (!left.empty()) return left + Describe(*report);
  const base::Status mounted = volume.Mount();
  if (!mounted) return "mount: " + mounted.error().message();
  Tree found;
  VolumeClient client(volume.volume());
  const base::Status read = base::RunSync(executor, client.ReadTree("", found));
  const base::Status unmounted = volume.Unmount();
  if (!read) return "read: " + read.error().message();
  if (!unmounted) return "unmount: " + unmounted.error().message();
  const std::string difference = DescribeDifference(tree, found);
  return difference.empty() ? "" : difference + "\n" + Describe(*report);
}

FsckReport RepairVolumeTest::Check() {
  const auto report = volume_.Report();
  if (report) return *report;
  ADD_FAILURE() << report.error().message();
  return {};
}

base::Result<RepairReport> RepairVolumeTest::TryRepair(RepairOptions& options) {
  options.hosts_are_dead = true;
  base::BlockDevice* const devices[] = {&volume_.disk()};
  return base::RunSync(executor_, RepairDevices(executor_, devices, options));
}

RepairReport RepairVolumeTest::Repair() {
  RepairOptions options;
  const auto report = TryRepair(options);
  if (report) return *report;
  ADD_FAILURE() << report.error().message();
  return {};
}

void RepairVolumeTest::ExpectRepaired() {
  const RepairReport report = Repair();
  EXPECT_EQ(NameOf(report.outcome), "repaired") << Describe(report);
  EXPECT_TRUE(report.after.is_clean()) << Describe(report);
  const FsckReport after = Check();
  EXPECT_TRUE(after.is_clean()) << Describe(after);
  EXPECT_EQ(Compare(expected_), "") << Describe(report);
}

Tree RepairVolumeTest::ReadBack() {
  Tree tree;
  const base::Status mounted = volume_.Mount();
  if (!mounted) {
    ADD_FAILURE() << mounted.error().message();
    return tree;
  }
  VolumeClient client(volume_.volume());
  Expect(base::RunSync(executor_, client.ReadTree("", tree)));
  Expect(volume_.Unmount());
  return tree;
}

std::string RepairVolumeTest::Compare(const Tree& tree) {
  return DescribeDifference(tree, ReadBack());
}

}  // namespace vmfs
