// Disks that are whole devices: raw device maps on a VMFS volume, nodes in a folder.
#include <optional>

#include "disklib/attach.h"
#include "disklib/check/check.h"
#include "disklib/clone.h"
#include "disklib/clone_to_device.h"
#include "disklib/compare.h"
#include "disklib/linked_clone.h"
#include "disklib/new_link.h"
#include "disklib/rebase.h"
#include "fs/base/log.h"
#include "tests/disklib/device_support.h"
#include "tests/support/vmfs_volume.h"

namespace disklib {
namespace {

using base::Code;

template <typename T>
std::string MessageOf(const T& answer) {
  return answer ? std::string("no error") : answer.error().message();
}

class RawDeviceMap : public testing::Test {
 protected:
  RawDeviceMap() : volume_(executor_, uint64_t{256} << 20, /*logging=*/false) {
    base::SetLogLevel(base::LogLevel::kOff);
    EXPECT_TRUE(volume_.MakeFileSystem());
    EXPECT_TRUE(volume_.Mount());
    stand_.emplace(executor_, volume_.volume(), devices_);
  }

  ~RawDeviceMap() override {
    stand_.reset();
    EXPECT_TRUE(volume_.Unmount());
    EXPECT_EQ(volume_.Check(), "");
  }

  SnapshotStand& disks() { return stand_->stand(); }

  Lib& lib() { return stand_->lib(); }

  void Make(std::string_view path, bool is_physical = false) {
    EXPECT_EQ(MessageOf(stand_->Make(path, is_physical)), "no error");
  }

  // Without those of the volume itself.
  std::set<std::string> UserFiles() {
    std::set<std::string> files = disks().Files();
    std::erase_if(files, [](const std::string& name) { return name.starts_with('.'); });
    return files;
  }

  std::string OpenError(std::string_view path) { return MessageOf(disks().TryContentOf(path)); }

  DeviceMapInfo Info(std::string_view path) {
    const auto info = stand_->Run(GetDeviceMap(lib(), path));
    EXPECT_TRUE(info) << MessageOf(info);
    return info ? *info : DeviceMapInfo();
  }

  // "D4: …" for each finding.
  std::vector<std::string> Findings(std::string_view path) {
    const auto report = stand_->Run(CheckDisk(lib(), path, {}, nullptr));
    EXPECT_TRUE(report) << MessageOf(report);
    std::vector<std::string> found;
    if (!report) return found;
    for (const CheckFinding& finding : report->findings) {
      found.push_back(std::string(InfoOf(finding.id).name) + ": " + finding.text);
    }
    EXPECT_EQ(report->is_consistent(), found.empty());
    return found;
  }

  base::SimExecutor executor_{5, /*in_order=*/true};
  vmfs::SimVolume volume_;
  FakeDevices devices_{executor_};
  std::optional<DeviceStand> stand_;
};

TEST_F(RawDeviceMap, HasADescriptorAndAPointerOfTheDevicesSize) {
  Make("vm.vmdk");
  std::string text = disks().Load("vm.vmdk");
  const auto parsed = ParseDescriptor(text);
  ASSERT_TRUE(parsed);
  EXPECT_NE(parsed->content_id, kFreshContentId);
  // What is drawn differs from disk to disk.
  for (const std::string_view key : {"CID=", "ddb.longContentID = \"", "ddb.uuid = \""}) {
    const size_t at = text.find(key) + key.size();
    text.replace(at, text.find_first_of("\"\n", at) - at, "…");
  }
  EXPECT_EQ(text,
            "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=…\nparentCID=ffffffff\n"
            "isNativeSnapshot=\"no\"\ncreateType=\"vmfsRawDeviceMap\"\n\n# Extent description\n"
            "RW 4096 VMFSRDM \"vm-rdm.vmdk\"\n\n# The Disk Data Base\n#DDB\n\n"
            "ddb.adapterType = \"lsilogic\"\nddb.geometry.cylinders = \"2\"\n"
            "ddb.geometry.heads = \"64\"\nddb.geometry.sectors = \"32\"\n"
            "ddb.longContentID = \"…\"\nddb.uuid = \"…\"\nddb.virtualHWVersion = \"14\"\n");
  const auto pointer = stand_->Run(lib().backend().GetInfo("vm-rdm.vmdk"));
  ASSERT_TRUE(pointer);
  EXPECT_EQ(pointer->size_bytes, kDeviceBytes);
  EXPECT_EQ(pointer->allocated_bytes, 0u);
  EXPECT_EQ(*stand_->Run(lib().backend().GetDeviceId("vm-rdm.vmdk")), kDeviceId);
  EXPECT_EQ(devices_.opened_to_write, 0);
}

TEST_F(RawDeviceMap, ReadsAndWritesTheDevice) {
  Make("vm.vmdk");
  EXPECT_EQ(disks().ContentOf("vm.vmdk"), devices_.Bytes());
  disks().Write("vm.vmdk", 12288, Pattern(3, 4096));
  disks().Zero("vm.vmdk", 65536, 4096);
  EXPECT_EQ(disks().ContentOf("vm.vmdk"), devices_.Bytes());
  EXPECT_EQ(devices_.Bytes()[12288], Pattern(3, 4096)[0]);
  EXPECT_EQ(devices_.Bytes()[65536], std::byte{0});
  EXPECT_EQ(Findings("vm.vmdk"), std::vector<std::string>());
}

TEST_F(RawDeviceMap, SaysItsModeAndDevice) {
  Make("v.vmdk");
  Make("p.vmdk", /*is_physical=*/true);
  disks().Create("flat.vmdk", kMebi);
  EXPECT_FALSE(Info("v.vmdk").is_physical);
  EXPECT_TRUE(Info("p.vmdk").is_physical);
  EXPECT_FALSE(Info("flat.vmdk").is_map);
  EXPECT_EQ(Info("v.vmdk").device, kDeviceId);
  EXPECT_EQ(Info("v.vmdk").device_path, kDeviceNode);
  EXPECT_EQ(Info("v.vmdk").trouble, "");
}

TEST_F(RawDeviceMap, InVirtualModeHasSnapshotsThatKeepTheDeviceAsItIs) {
  Make("vm.vmdk");
  const Content before = devices_.Bytes();
  disks().Take("one");
  disks().Write("vm-000001.vmdk", 8192, Pattern(4, 8192));
  EXPECT_EQ(devices_.Bytes(), before);
  const Content written = disks().ContentOf("vm-000001.vmdk");
  EXPECT_NE(written, before);
  EXPECT_EQ(Findings("vm-000001.vmdk"), std::vector<std::string>());
  disks().Delete("one");
  EXPECT_EQ(devices_.Bytes(), written);
}

TEST_F(RawDeviceMap, InPhysicalModeIsNeverFrozen) {
  Make("p.vmdk", /*is_physical=*/true);
  const std::set<std::string> files = disks().Files();
  const auto taken = stand_->Run(CreateSnapshot(lib(), "p.vmdk", {.name = "one"}, nullptr));
  EXPECT_EQ(MessageOf(taken),
            "snapshot p.vmdk: a raw device map in physical mode has no snapshots");
  const auto linked = stand_->Run(CreateLinkedClone(lib(), "p.vmdk", "c.vmdk", {}));
  EXPECT_NE(MessageOf(linked).find("physical mode"), std::string::npos) << MessageOf(linked);
  EXPECT_EQ(disks().Files(), files);
  // Nor put under a link that is there.
  Make("v.vmdk");
  const auto child = stand_->Run(CreateLinkedClone(lib(), "v.vmdk", "child.vmdk", {}));
  ASSERT_TRUE(child) << MessageOf(child);
  const auto attached = stand_->Run(AttachLink(lib(), "child.vmdk", "p.vmdk", {}));
  EXPECT_NE(MessageOf(attached).find("physical mode"), std::string::npos) << MessageOf(attached);
  const RebaseOptions options{.new_parent = "p.vmdk", .mode = RebaseMode::kProve};
  const auto rebased = stand_->Run(RebaseLink(lib(), "child.vmdk", options, nullptr));
  EXPECT_NE(MessageOf(rebased).find("physical mode"), std::string::npos) << MessageOf(rebased);
}

TEST_F(RawDeviceMap, IsClonedByItsContent) {
  Make("p.vmdk", /*is_physical=*/true);
  const auto made = stand_->Run(CloneDisk(lib(), "p.vmdk", lib(), "copy.vmdk", {}, nullptr));
  ASSERT_TRUE(made) << MessageOf(made);
  EXPECT_EQ(disks().ContentOf("copy.vmdk"), devices_.Bytes());
  EXPECT_FALSE(Info("copy.vmdk").is_map);
  EXPECT_EQ(devices_.opened_to_write, 0);
}

TEST_F(RawDeviceMap, IsWhatADiskIsClonedOnto) {
  disks().Create("a.vmdk", kMebi);
  disks().Write("a.vmdk", 4096, Pattern(21, 65536));
  const Content before = devices_.Bytes();
  const DeviceMapOptions options{.device = kDeviceId, .is_physical = true};
  const auto made = stand_->Run(CloneToDevice(lib(), "a.vmdk", lib(), "d.vmdk", options, nullptr));
  ASSERT_TRUE(made) << MessageOf(made);
  Content wanted = disks().ContentOf("a.vmdk");
  EXPECT_EQ(made->size_bytes, wanted.size());
  wanted.insert(wanted.end(), before.begin() + kMebi, before.end());
  EXPECT_EQ(devices_.Bytes(), wanted) << "what is behind the disk's end stays";
  EXPECT_TRUE(Info("d.vmdk").is_physical);
  EXPECT_EQ(Findings("d.vmdk"), std::vector<std::string>());
}

TEST_F(RawDeviceMap, IsNotWrittenOverInVain) {
  Make("r.vmdk");
  disks().Create("large.vmdk", 2 * kDeviceBytes);
  const Content before = devices_.Bytes();
  const auto refused = [this](std::string_view from, std::string_view to) {
    const DeviceMapOptions options{.device = kDeviceId};
    return MessageOf(stand_->Run(CloneToDevice(lib(), from, lib(), to, options, nullptr)));
  };
  const std::set<std::string> files = disks().Files();
  EXPECT_NE(refused("r.vmdk", "d.vmdk").find("itself"), std::string::npos);
  EXPECT_NE(refused("large.vmdk", "d.vmdk").find("the device has 2097152 bytes"),
            std::string::npos);
  EXPECT_NE(refused("large.vmdk", "r.vmdk").find("exists"), std::string::npos);
  EXPECT_EQ(disks().Files(), files);
  EXPECT_EQ(devices_.Bytes(), before);
}

TEST_F(RawDeviceMap, DoesNotGrow) {
  Make("vm.vmdk");
  const auto extended =
      stand_->Run(ExtendDisk(lib(), "vm.vmdk", {.size_bytes = 2 * kDeviceBytes}, nullptr));
  EXPECT_NE(MessageOf(extended).find("has the size it has"), std::string::npos)
      << MessageOf(extended);
  EXPECT_EQ(devices_.Bytes().size(), kDeviceBytes);
}

TEST_F(RawDeviceMap, TakesNoCommitOfALargerLeaf) {
  Make("vm.vmdk");
  disks().Take("one");
  const auto extended =
      stand_->Run(ExtendDisk(lib(), "vm-000001.vmdk", {.size_bytes = 2 * kDeviceBytes}, nullptr));
  ASSERT_TRUE(extended) << MessageOf(extended);
  const std::string leaf = disks().Leaf();
  disks().Write(leaf, kDeviceBytes + 4096, Pattern(8, 4096));
  const Content content = disks().ContentOf(leaf);
  const auto committed = stand_->Run(DeleteAllSnapshots(lib(), "vm.vmdk", {}, nullptr));
  static_cast<void>(committed);  // the links between may go, the last one stays
  const auto merged = stand_->Run(ConsolidateLink(lib(), disks().Leaf(), {}, nullptr));
  EXPECT_NE(MessageOf(merged).find("has the size it has"), std::string::npos) << MessageOf(merged);
  EXPECT_EQ(disks().ContentOf(disks().Leaf()), content);
}

TEST_F(RawDeviceMap, IsRefusedByNameWithoutItsDevice) {
  Make("vm.vmdk");
  devices_.id = "naa.another";
  EXPECT_NE(OpenError("vm.vmdk").find("vm-rdm.vmdk"), std::string::npos);
  EXPECT_NE(OpenError("vm.vmdk").find(kDeviceId), std::string::npos);
  EXPECT_EQ(Info("vm.vmdk").device, kDeviceId);
  EXPECT_NE(Info("vm.vmdk").trouble, "");
  ASSERT_EQ(Findings("vm.vmdk").size(), 1u);
  EXPECT_EQ(Findings("vm.vmdk").front().substr(0, 4), "D9: ");
}

TEST_F(RawDeviceMap, WantsADeviceThatIsLargeEnough) {
  Make("vm.vmdk");
  devices_.Resize(kDeviceBytes * 2);
  EXPECT_EQ(disks().ContentOf("vm.vmdk").size(), kDeviceBytes);
  EXPECT_EQ(Findings("vm.vmdk"), std::vector<std::string>());
  devices_.Resize(kDeviceBytes / 2);
  EXPECT_EQ(OpenError("vm.vmdk"),
            "open vm.vmdk: the device of vm-rdm.vmdk has 1048576 bytes, its line needs 2097152");
  ASSERT_EQ(Findings("vm.vmdk").size(), 1u);
  EXPECT_EQ(Findings("vm.vmdk").front().substr(0, 4), "D4: ");
}

// Read through the mount a map is as long as its device; a copy of it is zeros, or cannot be read.
TEST_F(RawDeviceMap, CopiedOffItsVolumeIsRecognised) {
  Make("vm.vmdk", /*is_physical=*/true);
  ASSERT_TRUE(stand_->Run(lib().backend().Remove("vm-rdmp.vmdk")));
  ASSERT_TRUE(stand_->Run(lib().backend().Create("vm-rdmp.vmdk")));
  ASSERT_TRUE(stand_->Run(lib().backend().Resize("vm-rdmp.vmdk", kDeviceBytes)));
  EXPECT_NE(OpenError("vm.vmdk").find("copied off its volume"), std::string::npos);
  EXPECT_NE(Info("vm.vmdk").trouble.find("copied off its volume"), std::string::npos);
  EXPECT_EQ(Info("vm.vmdk").device, "");
  const std::vector<std::string> found = Findings("vm.vmdk");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_NE(found.front().find("copied off its volume"), std::string::npos);
}

// As a VMFS-5 volume shows one: it cannot be opened, and does not say its id.
class MapsWithoutIds final : public FileBackend {
 public:
  using FileBackend::FileBackend;

  base::Task<base::Result<std::unique_ptr<Object>>> Open(std::string_view path,
                                                         fss::OpenMode mode) override {
    if (path.ends_with("-rdm.vmdk")) co_return base::Error(Code::kUnsupported);
    co_return co_await FileBackend::Open(path, mode);
  }
};

TEST_F(RawDeviceMap, IsNotTakenForAPlainFileWhereItsIdIsNotTold) {
  Make("vm.vmdk");
  const std::string text = disks().Load("vm.vmdk");
  fss::MemoryFileSystem files;
  MapsWithoutIds backend(files);
  SnapshotStand old_volume(executor_, backend);
  old_volume.lib().UseDevices(devices_);
  old_volume.Store("vm.vmdk", text);
  ASSERT_TRUE(stand_->Run(backend.Create("vm-rdm.vmdk")));
  const auto content = old_volume.TryContentOf("vm.vmdk");
  EXPECT_EQ(content.error().code(), Code::kUnsupported);
  EXPECT_NE(MessageOf(content).find("vm-rdm.vmdk is a raw device map, and which device"),
            std::string::npos);
}

TEST_F(RawDeviceMap, ShowsBytesThatAreNoTextAsDigits) {
  Make("vm.vmdk");
  ASSERT_TRUE(stand_->Run(lib().backend().Remove("vm-rdm.vmdk")));
  const fss::RawDevice raw{.id = "\x60\x1b[2J", .size_bytes = kDeviceBytes};
  ASSERT_TRUE(stand_->Run(lib().backend().MakeDeviceMap("vm-rdm.vmdk", raw)));
  EXPECT_EQ(Info("vm.vmdk").device, "0x601b5b324a");
  EXPECT_NE(OpenError("vm.vmdk").find("0x601b5b324a"), std::string::npos);
}

TEST_F(RawDeviceMap, IsNotTakenFromAnotherDescriptorThatNamesIt) {
  Make("vm.vmdk");
  disks().Store("copy.vmdk", disks().Load("vm.vmdk"));
  const auto deleted = stand_->Run(DeleteDisk(lib(), "copy.vmdk"));
  EXPECT_NE(MessageOf(deleted).find("has its extent vm-rdm.vmdk, too"), std::string::npos);
}

TEST_F(RawDeviceMap, LeavesOtherDisksOfItsFolderAlone) {
  Make("r.vmdk");
  disks().Create("vm.vmdk", kMebi);
  disks().Write("vm.vmdk", 0, Pattern(1, 4096));
  EXPECT_EQ(Findings("vm.vmdk"), std::vector<std::string>());
  disks().Take("one");
  disks().Delete("one");
  EXPECT_TRUE(stand_->Run(RenameDisk(lib(), "vm.vmdk", "new.vmdk")));
  EXPECT_TRUE(stand_->Run(DeleteDisk(lib(), "new.vmdk")));
}

TEST_F(RawDeviceMap, MovesWithItsDisk) {
  Make("vm.vmdk");
  const auto renamed = stand_->Run(RenameDisk(lib(), "vm.vmdk", "new.vmdk"));
  ASSERT_TRUE(renamed) << MessageOf(renamed);
  EXPECT_EQ(UserFiles(), (std::set<std::string>{"new-rdm.vmdk", "new.vmdk"}));
  EXPECT_EQ(disks().ContentOf("new.vmdk"), devices_.Bytes());
}

TEST_F(RawDeviceMap, GoesWithItsDiskAndLeavesTheDevice) {
  Make("v.vmdk");
  Make("p.vmdk", /*is_physical=*/true);
  const Content before = devices_.Bytes();
  devices_.id.clear();  // it need not be here
  for (const char* path : {"v.vmdk", "p.vmdk"}) {
    const auto deleted = stand_->Run(DeleteDisk(lib(), path));
    EXPECT_TRUE(deleted) << MessageOf(deleted);
  }
  EXPECT_EQ(UserFiles(), std::set<std::string>());
  EXPECT_EQ(devices_.Bytes(), before);
  EXPECT_EQ(devices_.opened_to_write, 0);
}

TEST_F(RawDeviceMap, IsNotMadeOverAnything) {
  Make("vm.vmdk");
  EXPECT_EQ(stand_->Make("vm.vmdk").error().code(), Code::kExists);
  disks().Store("a-rdm.vmdk", "somebody's");
  EXPECT_EQ(stand_->Make("a.vmdk").error().code(), Code::kExists);
  EXPECT_EQ(disks().Load("a-rdm.vmdk"), "somebody's");
  const fss::RawDevice other{.id = "naa.other", .size_bytes = kDeviceBytes};
  ASSERT_TRUE(stand_->Run(lib().backend().MakeDeviceMap("b-rdm.vmdk", other)));
  EXPECT_EQ(stand_->Make("b.vmdk").error().code(), Code::kExists);
  // What a cut run left of the same device is taken over.
  const fss::RawDevice same{.id = kDeviceId, .size_bytes = kDeviceBytes};
  ASSERT_TRUE(stand_->Run(lib().backend().MakeDeviceMap("c-rdm.vmdk", same)));
  Make("c.vmdk");
  EXPECT_EQ(disks().ContentOf("c.vmdk"), devices_.Bytes());
  devices_.id.clear();
  EXPECT_EQ(stand_->Make("d.vmdk").error().code(), Code::kNotFound);
}

// A node in a folder whose file system has no such maps.
class DeviceNode : public testing::Test {
 protected:
  DeviceNode() { devices_.paths_allowed = true; }

  SnapshotStand& disks() { return stand_.stand(); }

  base::SimExecutor executor_{5, /*in_order=*/true};
  fss::MemoryFileSystem files_;
  FakeDevices devices_{executor_};
  DeviceStand stand_{executor_, files_, devices_};
};

TEST_F(DeviceNode, StandsInTheDescriptor) {
  const base::Status made = stand_.Make("n.vmdk");
  ASSERT_TRUE(made) << MessageOf(made);
  const std::string text = disks().Load("n.vmdk");
  EXPECT_NE(text.find("createType=\"fullDevice\"\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\nRW 4096 FLAT \"" + std::string(kDeviceNode) + "\" 0\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("ddb.strata.deviceId = \"" + std::string(kDeviceId) + "\"\n"),
            std::string::npos)
      << text;
  disks().Write("n.vmdk", 512, Pattern(9, 512));
  EXPECT_EQ(disks().ContentOf("n.vmdk"), devices_.Bytes());
  const auto report = stand_.Run(CheckDisk(stand_.lib(), "n.vmdk", {}, nullptr));
  EXPECT_TRUE(report->is_consistent());
  EXPECT_EQ(files_.lookups_held(), 0u);
}

TEST_F(DeviceNode, IsFollowedOnlyWhereThatIsAllowed) {
  ASSERT_TRUE(stand_.Make("n.vmdk"));
  devices_.paths_allowed = false;
  EXPECT_EQ(disks().TryContentOf("n.vmdk").error().code(), Code::kNotPermitted);
  EXPECT_EQ(stand_.Make("m.vmdk").error().code(), Code::kNotPermitted);
  EXPECT_EQ(disks().Files(), (std::set<std::string>{"n.vmdk"}));
  FileBackend backend(files_);
  SnapshotStand without(executor_, backend);
  EXPECT_EQ(without.TryContentOf("n.vmdk").error().code(), Code::kUnsupported);
}

TEST_F(DeviceNode, MustBeTheDeviceItWas) {
  ASSERT_TRUE(stand_.Make("n.vmdk"));
  devices_.id = "naa.another";
  EXPECT_EQ(disks().TryContentOf("n.vmdk").error().code(), Code::kStale);
}

TEST_F(DeviceNode, HasNoPhysicalMode) {
  const base::Status made = stand_.Make("n.vmdk", /*is_physical=*/true);
  EXPECT_NE(MessageOf(made).find("only VMFS volumes have"), std::string::npos);
  EXPECT_EQ(disks().Files(), std::set<std::string>());
}

TEST_F(DeviceNode, StaysWhenItsDiskIsRenamedExtendedOrDeleted) {
  ASSERT_TRUE(stand_.Make("n.vmdk"));
  const Content before = devices_.Bytes();
  EXPECT_FALSE(
      stand_.Run(ExtendDisk(stand_.lib(), "n.vmdk", {.size_bytes = 2 * kDeviceBytes}, nullptr)));
  ASSERT_TRUE(stand_.Run(RenameDisk(stand_.lib(), "n.vmdk", "m.vmdk")));
  EXPECT_EQ(disks().ContentOf("m.vmdk"), before);
  disks().Take("one", "m.vmdk");
  disks().Write("m-000001.vmdk", 0, Pattern(1, 4096));
  EXPECT_EQ(devices_.Bytes(), before);
  disks().Delete("one", {}, "m.vmdk");
  const Content after = devices_.Bytes();
  EXPECT_NE(after, before);
  ASSERT_TRUE(stand_.Run(DeleteDisk(stand_.lib(), "m.vmdk")));
  EXPECT_EQ(devices_.Bytes(), after);
}

}  // namespace
}  // namespace disklib
