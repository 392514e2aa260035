// Writes the first inputs of every fuzz target: `fuzz_seeds FOLDER`, usually `tests/fuzz/corpus`.
//
// Each comes from our own mkfs and encoders, or is a text a person would write. Files that
// are there already, crashes that were found among them, are left alone.
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "disklib/sparse/cowd_format.h"
#include "disklib/sparse/hosted_format.h"
#include "disklib/sparse/se_format.h"
#include "disklib/sparse/stream_format.h"
#include "disklib/exchange/archive.h"
#include "disklib/exchange/manifest.h"
#include "disklib/exchange/ovf.h"
#include "fs/base/check.h"
#include "fs/base/log.h"
#include "tests/fuzz/pieces.h"
#include "tests/support/damaged_directory.h"
#include "tests/support/template_volume.h"
#include "vmfs/format/directory.h"
#include "vmfs/format/heartbeat_slot.h"
#include "vmfs/format/inode.h"
#include "vmfs/format/journal_block.h"
#include "vmfs/format/lock_block.h"
#include "vmfs/format/repair_record.h"
#include "vmfs/format/resource.h"
#include "vmfs/format/superblock.h"
#include "vmfs/mkfs/mkfs.h"
#include "vmfs/vmfs5/format.h"

namespace fuzz {
namespace {

using Bytes = std::vector<std::byte>;

class Writer {
 public:
  explicit Writer(std::filesystem::path folder) : folder_(std::move(folder)) {}

  void Put(const char* target, const char* name, std::span<const std::byte> bytes) {
    const Target* const found = FindTarget(target);
    CHECK(found != nullptr && bytes.size() <= found->input_bytes_max);
    std::filesystem::create_directories(folder_ / target);
    const std::filesystem::path path = folder_ / target / name;
    if (std::filesystem::exists(path)) return;
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  }

  void Text(const char* target, const char* name, std::string_view text) {
    Put(target, name, std::as_bytes(std::span<const char>(text.data(), text.size())));
  }

 private:
  std::filesystem::path folder_;
};

// Bytes one after the other.
class Joined {
 public:
  Joined& Byte(uint8_t value) {
    bytes_.push_back(std::byte{value});
    return *this;
  }

  Joined& Word(uint32_t value) {
    const base::Le32 stored(value);
    return Add(base::BytesOf(stored));
  }

  Joined& Add(std::span<const std::byte> more) {
    bytes_.insert(bytes_.end(), more.begin(), more.end());
    return *this;
  }

  const Bytes& bytes() const { return bytes_; }

 private:
  Bytes bytes_;
};

Bytes Peek(const base::SimDisk& disk, uint64_t offset, size_t size_bytes) {
  Bytes bytes(size_bytes);
  disk.Peek(offset, bytes);
  return bytes;
}

Bytes PeekVolume(const base::SimDisk& disk, uint64_t volume_offset, size_t size_bytes) {
  return Peek(disk, vmfs::kLvmDataOffset + volume_offset, size_bytes);
}

// Header, volume entry and the first extents of a device, as the target wants them.
void AddLvm(Joined& joined, const base::SimDisk& disk) {
  joined.Add(Peek(disk, vmfs::kLvmHeaderOffset, sizeof(vmfs::LvmDeviceHeader)))
      .Add(Peek(disk, vmfs::kLvmHeaderOffset + vmfs::kLvmVolumeTableOffset,
                sizeof(vmfs::LvmVolumeEntry)))
      .Add(Peek(disk, vmfs::kLvmHeaderOffset + vmfs::kLvmPeTableOffset,
                6 * sizeof(vmfs::LvmPeEntry)));
}

void PutLvm(Writer& writer) {
  base::SimExecutor executor(1);
  base::SimDisk::Options options;
  options.size_bytes = vmfs::kLvmAreaBytes + vmfs::kUnitBytes;
  options.logging = false;
  base::SimDisk first(executor, options);
  base::SimDisk second(executor, options);
  const std::array<base::BlockDevice*, 2> devices{&first, &second};
  for (const size_t count : {size_t{1}, size_t{2}}) {
    const auto some = std::span<base::BlockDevice* const>(devices).first(count);
    vmfs::MkfsOptions mkfs_options;
    mkfs_options.label = "seed";
    CHECK(base::RunSync(executor, vmfs::MakeFileSystem(executor, some, mkfs_options)).has_value());
    Joined joined;
    joined.Byte(static_cast<uint8_t>(count - 1));
    AddLvm(joined, first);
    if (count == 2) AddLvm(joined, second);
    writer.Put("lvm", count == 1 ? "one_device" : "two_devices", joined.bytes());
  }
  auto header = base::LoadAs<vmfs::LvmDeviceHeader>(
      Peek(first, vmfs::kLvmHeaderOffset, sizeof(vmfs::LvmDeviceHeader)));
  header.major = vmfs::kLvm5Major;
  Joined joined;
  joined.Byte(0).Add(base::BytesOf(header));
  writer.Put("lvm", "lvm5_header", joined.bytes());
}

void PutHeaders(Writer& writer, const base::SimDisk& disk) {
  const Bytes superblock = PeekVolume(disk, vmfs::kSuperblockOffset, vmfs::kMetadataBlockBytes);
  const std::span<const std::byte> bytes(superblock);
  writer.Put("superblock", "made_by_mkfs", bytes.first(sizeof(vmfs::Superblock)));
  auto vmfs5 = base::LoadAs<vmfs::Superblock>(bytes);
  vmfs5.major = vmfs::kVmfs5Major;
  vmfs5.sub_block_bytes = 8192;
  writer.Put("superblock", "vmfs5", base::BytesOf(vmfs5));
  writer.Put("mark", "made_by_mkfs", bytes.subspan(vmfs::kMarkOffset, sizeof(vmfs::StrataMark)));
  writer.Put("heartbeat_slot", "free", PeekVolume(disk, vmfs::kHeartbeatOffset, 512));
  writer.Put("existing_content", "lvm", Peek(disk, vmfs::kLvmHeaderOffset, 512));
  writer.Put("existing_content", "zeros", Bytes(4096));
  auto slot = vmfs::MakeFreeHeartbeatSlot(vmfs::HeartbeatAddress(0));
  slot.set_state(vmfs::HeartbeatState::kInUse);
  slot.generation = 9;
  slot.owner = base::Uuid{{1, 2, 3}};
  writer.Put("heartbeat_slot", "in_use", base::BytesOf(slot));
  auto lock = vmfs::MakeFreeLock(vmfs::LockType::kFdCluster, 0x710000);
  writer.Put("lock_block", "free", base::BytesOf(lock));
  lock.set_mode(vmfs::LockMode::kReadOnly);
  lock.holder_count = 1;
  lock.holders[0] = {vmfs::HeartbeatAddress(0), uint64_t{9}, base::Uuid{{1, 2, 3}}};
  writer.Put("lock_block", "shared", base::BytesOf(lock));
}

void PutResources(Writer& writer) {
  using vmfs::ResourceKind;
  const ResourceKind kinds[] = {ResourceKind::kFd,      ResourceKind::kSubBlock,
                                ResourceKind::kPb2,     ResourceKind::kJournal,
                                ResourceKind::kLargeBlock, ResourceKind::kSmallBlock};
  for (size_t i = 0; i < std::size(kinds); ++i) {
    const vmfs::ResourceGeometry geometry = vmfs::StandardGeometry(kinds[i], 700);
    const vmfs::ResourceHeader header = vmfs::MakeResourceHeader(geometry);
    Joined joined;
    joined.Byte(static_cast<uint8_t>(i)).Add(base::BytesOf(header));
    writer.Put("resource_header", vmfs::NameOf(kinds[i]), joined.bytes());
    Bytes block(vmfs::kMetadataBlockBytes);
    vmfs::EncodeNewCluster(geometry, 0,
                           std::span<std::byte>(block).first<vmfs::kMetadataBlockBytes>());
    Joined cluster;
    cluster.Byte(static_cast<uint8_t>(i)).Word(699).Add(
        std::span<const std::byte>(block).first(512));
    writer.Put("cluster", vmfs::NameOf(kinds[i]), cluster.bytes());
  }
}

void PutFiles(Writer& writer, const base::SimDisk& disk) {
  const auto& made = vmfs::TemplateVolume::Get();
  const Bytes inode = Peek(disk, made.sparse_inode_offset(), vmfs::kMetadataBlockBytes);
  const std::span<const std::byte> bytes(inode);
  const auto put = [&](const char* name, vmfs::MapKind kind, uint64_t length_bytes) {
    auto fixed = base::LoadAs<vmfs::InodeMetadata>(bytes);
    fixed.SetMapKind(kind);
    fixed.length_bytes = length_bytes;
    Joined joined;
    joined.Add(base::BytesOf(fixed))
        .Add(Peek(disk, made.pointer_block_offset(0), 1024))
        .Add(Peek(disk, made.pointer_block_offset(1), 1024))
        .Add(bytes.subspan(vmfs::kSlotsOffset, 64));
    writer.Put("descriptor", name, joined.bytes());
  };
  const auto kept = base::LoadAs<vmfs::InodeMetadata>(bytes);
  put("pointer_blocks", vmfs::MapKind::kPointerBlocks, kept.length_bytes);
  put("double_indirect", vmfs::MapKind::kDoubleIndirect, kept.length_bytes);
  put("file_blocks", vmfs::MapKind::kFileBlocks, 3 * vmfs::kMebibyte);
  put("sub_blocks", vmfs::MapKind::kSubBlocks, 100'000);
  put("inline", vmfs::MapKind::kInline, 500);
  writer.Put("volume", "whole", Joined().Byte(0).bytes());
  for (uint8_t i = 0; i < 4; ++i) {
    const std::string name = "patched_" + std::to_string(i);
    const Bytes patch(8, std::byte{0xff});
    writer.Put("volume", name.c_str(),
               Joined().Byte(i).Word(0x00200000u + 37u * i).Byte(7).Add(patch).bytes());
  }
}

void PutDirectories(Writer& writer) {
  const Bytes& bytes = vmfs::MakePopulatedDirectory().bytes;
  const std::span<const std::byte> all(bytes);
  writer.Put("directory_header", "populated", all.first(sizeof(vmfs::DirectoryHeader)));
  for (uint32_t block = 0; block < 3; ++block) {
    const std::string name = "block_" + std::to_string(block);
    writer.Put("directory_block", name.c_str(),
               all.subspan(vmfs::DirectoryBlockOffset(block), vmfs::kMetadataBlockBytes));
  }
  for (const char* target : {"directory", "directory_check"}) {
    writer.Put(target, "whole", Joined().Byte(4).bytes());
    writer.Put(target, "shorter", Joined().Byte(1).bytes());
    writer.Put(target, "longer", Joined().Byte(6).bytes());
    writer.Put(target, "header", Joined().Byte(4).Word(0xff000004).Word(0x010005f8).bytes());
    writer.Put(target, "blocks", Joined().Byte(4).Word(0x02010000).Word(0xff011042).bytes());
  }
}

void PutJournals(Writer& writer) {
  vmfs::JournalHeader header;
  header.tail_slot = 1;
  writer.Put("journal_header", "ours", base::BytesOf(header));
  Bytes empty(vmfs::kMetadataBlockBytes);
  const auto block = std::span<std::byte>(empty).first<vmfs::kMetadataBlockBytes>();
  vmfs::EncodeEmptyJournalHeader(0x12345000, block);
  writer.Put("journal_header", "empty_form", std::span<const std::byte>(empty).first(512));
  vmfs::TransactionDescriptor transaction;
  transaction.sequence = 5;
  transaction.entries = {{0x720000, 0x710000, 3, 0x1234}};
  transaction.orphans = {{0x04000004, 2}};
  vmfs::EncodeTransaction(transaction, {}, 3, block);
  writer.Put("journal_transaction", "one_image", std::span<const std::byte>(empty).first(64));
  writer.Put("journal_transaction", "whole", empty);
  vmfs::RepairRecord record;
  record.chunk_addresses = {vmfs::kRepairLogOffset, 0x400000};
  vmfs::EncodeRepairRecord(record, block);
  writer.Put("repair_record", "two_chunks", std::span<const std::byte>(empty).first(80));
  const std::vector<vmfs::RepairEntry> images = {{0x720000, 1}, {0x200000, 2}};
  vmfs::EncodeRepairChunk({}, 0, images, block);
  writer.Put("repair_record", "two_images", std::span<const std::byte>(empty).first(88));
  const Joined ring = Joined().Byte(0).Word(0).Byte(1);
  writer.Put("journal", "empty", ring.bytes());
  writer.Put("journal", "two_transactions",
             Joined(ring).Byte(1).Byte(2).Word(500).Word(501).Word(0x04000004).Byte(0).Byte(1)
                 .Word(502).bytes());
  writer.Put("journal", "wraps",
             Joined().Byte(0).Word(508).Byte(3).Byte(0).Byte(5).Word(1).Word(2).Word(3).Word(4)
                 .Word(5).bytes());
  writer.Put("journal", "wrong_counts",
             Joined(ring).Byte(8).Byte(1).Word(500).Word(0x00ff00ff).bytes());
}

void PutVmfs5(Writer& writer) {
  vmfs::InodeMetadata metadata;
  metadata.fd = vmfs::FdAddress::Make(0, 20).raw();
  metadata.link_count = 1;
  metadata.set_type(vmfs::InodeType::kFile);
  metadata.length_bytes = 3 * vmfs::kMebibyte;
  metadata.block_bytes = vmfs::kFileBlockBytes;
  metadata.map_kind_value = static_cast<uint32_t>(vmfs::MapKind::kFileBlocks);
  Bytes descriptor(vmfs::vmfs5::kDescriptorBytes);
  base::StoreAs(std::span<std::byte>(descriptor), vmfs::vmfs5::kSectorBytes, metadata);
  writer.Put("vmfs5_descriptor", "file", descriptor);
  const base::Le32 geometry[] = {32, 64, 0x10000, 0x800, 64 * (1024 + 32 * 0x800), 4096, 0, 2, 0};
  writer.Put("vmfs5_geometry", "descriptors",
             Joined().Byte(0).Add(std::as_bytes(std::span(geometry))).bytes());
  vmfs::vmfs5::DirectoryRecord record;
  record.type_value = 3;
  record.fd = metadata.fd;
  record.name = {'a', '.', 't'};
  writer.Put("vmfs5_record", "file", base::BytesOf(record));
  writer.Put("vmfs5_record", "free_and_file",
             Joined().Add(Bytes(140)).Add(base::BytesOf(record)).bytes());
}

void PutDisks(Writer& writer) {
  constexpr std::string_view kText =
      "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=fffffffe\nparentCID=ffffffff\n"
      "createType=\"vmfs\"\n\n# Extent description\nRW 128 VMFS \"a-flat.vmdk\"\n\n"
      "# The Disk Data Base\n#DDB\n\nddb.adapterType = \"lsilogic\"\nddb.uuid = \"60 00 C2 90\"\n";
  constexpr std::string_view kTwoExtents =
      "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n"
      "createType=\"twoGbMaxExtentFlat\"\nRW 64 FLAT \"a-flat.vmdk\" 0\n"
      "RW 64 FLAT \"b-flat.vmdk\" 8\nRW 16 ZERO\n";
  for (const char* target : {"disk_descriptor", "disk_chain"}) {
    writer.Text(target, "vmfs", kText);
    writer.Text(target, "two_extents", kTwoExtents);
  }
}

void PutSnapshots(Writer& writer) {
  writer.Text("vm_folder", "vmx",
              ".encoding = \"UTF-8\"\nscsi0:0.fileName = \"a.vmdk\"\nscsi0:0.present = \"TRUE\"\n");
  writer.Text("vm_folder", "vmsd",
              ".encoding = \"UTF-8\"\nsnapshot.lastUID = \"1\"\nsnapshot.current = \"1\"\n"
              "snapshot.mru0.uid = \"1\"\nsnapshot0.uid = \"1\"\n"
              "snapshot0.displayName = \"a |22b|22\"\nsnapshot0.createTimeHigh = \"378073\"\n"
              "snapshot0.createTimeLow = \"-7\"\nsnapshot0.numDisks = \"1\"\n"
              "snapshot0.disk0.fileName = \"a.vmdk\"\nsnapshot0.disk0.node = \"scsi0:0\"\n"
              "snapshot.numSnapshots = \"1\"\nstrata.disk0.current = \"a-000001.vmdk\"\n"
              "strata.deleting.uid = \"1\"\nstrata.deleting.disk0.child = \"a-000001.vmdk\"\n");
  writer.Text("snapshot_intent", "whole",
              "guard \"a-flat.vmdk\"\nreplace \"a.vmsd\" - 1:c1d04330\n"
              "remove \"b.vmdk\" \"a.vmdk\"\nfile \"b-sesparse.vmdk\"\ncontents\na");
}

void PutSparse(Writer& writer) {
  const disklib::CowdHeader cowd = disklib::MakeCowdHeader(204'800, 8, /*all_tables=*/false);
  writer.Put("sparse_header", "vmfs_sparse", base::BytesOf(cowd));
  const disklib::HostedLayout layout = disklib::PlanHostedLayout(204'800, 128, true);
  disklib::NewHostedHeader what{.capacity_sectors = 204'800, .flags = 3, .has_descriptor = true};
  writer.Put("sparse_header", "hosted", base::BytesOf(disklib::MakeHostedHeader(what, layout)));
  what.version = disklib::kStreamVersion;
  what.flags = disklib::kStreamFlags;
  writer.Put("sparse_header", "stream", base::BytesOf(disklib::MakeHostedHeader(what, layout)));
  writer.Put("sector_file", "free_sector", Joined().Byte(0).Byte(0).Byte(14).Word(~0u).bytes());
  writer.Put("sector_file", "table", Joined().Byte(0).Byte(4).Byte(0).Word(20).Word(9).bytes());
  writer.Put("sector_file", "unclean", Joined().Byte(1).Byte(0).Byte(36).Byte(1).bytes());
  writer.Put("sector_file", "entry", Joined().Byte(1).Byte(22).Byte(0).Word(500).Word(1).bytes());
  // A place in the file in units of 512 and 2 bytes, and what is written there.
  writer.Put("stream_extent", "capacity", Joined().Byte(0).Byte(6).Word(1).bytes());
  writer.Put("stream_extent", "directory_at_end",
             Joined().Byte(0).Byte(28).Word(~0u).Word(~0u).bytes());
  writer.Put("stream_extent", "table_entry", Joined().Byte(22).Byte(0).Word(129).bytes());
  writer.Put("stream_extent", "record_head", Joined().Byte(128).Byte(0).Word(128).Word(0).bytes());
  writer.Put("stream_extent", "record_size", Joined().Byte(128).Byte(4).Word(70'000).bytes());
}

// Headers as they are made, and damage in the words of the targets.
void PutSeSparse(Writer& writer) {
  const auto header = disklib::PlanSeHeader(uint64_t{100} << 20);
  writer.Put("se_header", "constant", disklib::EncodeSeHeader(*header));
  writer.Put("se_header", "volatile", disklib::EncodeSeVolatileHeader({.free_table = 3}));
  writer.Put("se_file", "untouched", {});
  Joined joined;
  joined.Add(Bytes(32)).Add(disklib::EncodeSeVolatileHeader({.free_table = 1}));
  writer.Put("se_file", "headers", std::span(joined.bytes()).first(96));
}

// A chain's formats; then a file, a block, a place in it (two bytes), a length and the bytes.
void PutDiskCheck(Writer& writer) {
  for (uint8_t formats = 0; formats < 4; ++formats) {
    for (uint8_t file = 0; file < 4; ++file) {
      Joined joined;
      joined.Byte(formats).Byte(file).Byte(0).Byte(8).Byte(0).Byte(4).Word(77);
      joined.Byte(file).Byte(1).Byte(16).Byte(0).Byte(8).Word(1).Word(1);
      writer.Put("disk_check", fmt::format("chain_{}_file_{}", formats, file).c_str(),
                 joined.bytes());
    }
    Joined cut;
    cut.Byte(formats).Byte(3).Byte(2).Byte(0).Byte(0).Byte(0);
    writer.Put("disk_check", fmt::format("chain_{}_cut", formats).c_str(), cut.bytes());
  }
}

void PutScsi(Writer& writer) {
  const auto command = [&](const char* name, std::vector<uint8_t> cdb, uint8_t direction) {
    const size_t length = cdb.size();
    cdb.resize(32);
    cdb.insert(cdb.end(), {static_cast<uint8_t>(length), direction, 2, 0});
    cdb.resize(cdb.size() + 64, 0x11);
    writer.Put("scsi_cdb", name, std::as_bytes(std::span<const uint8_t>(cdb)));
  };
  command("inquiry", {0x12, 0, 0, 0, 96, 0}, 1);
  command("vital_page", {0x12, 1, 0xb0, 0, 96, 0}, 1);
  command("read_10", {0x28, 0, 0, 0, 0, 3, 0, 0, 1, 0}, 1);
  command("write_10", {0x2a, 0, 0, 0, 0, 3, 0, 0, 1, 0}, 2);
  command("unmap", {0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0}, 2);
  command("compare_and_write", {0x89, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0}, 2);
  command("mode_sense", {0x1a, 0, 0x3f, 0, 96, 0}, 1);
  command("write_same", {0x93, 8, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 9, 0, 0}, 2);
  for (uint8_t which = 0; which < 11; ++which) {
    Joined joined;
    joined.Byte(which).Byte(0).Byte(which == 2 ? 0x83 : 0xb0).Byte(0).Byte(60).Add(Bytes(60));
    const std::string name = "decoder_" + std::to_string(which);
    writer.Put("scsi_parameter_data", name.c_str(), joined.bytes());
  }
}

void PutExchange(Writer& writer) {
  disklib::OvfPackage package;
  package.machine.name = "vm";
  package.machine.controllers.resize(2);
  package.machine.controllers[1] = {"sata", "", 0};
  package.machine.drives = {{0, 0, 0}, {1, 1, 1}};
  package.machine.networks.push_back({"VM Network", "vmxnet3"});
  package.disks.resize(2);
  package.disks[0] = {"", "vm-disk1.vmdk", std::string(disklib::kStreamOptimizedUri), 4096, 512};
  package.disks[1] = {"", "vm-disk2.vmdk", "", 512, {}};
  const std::string envelope = disklib::WriteOvf(package).value();
  writer.Text("ovf", "two_disks", envelope);
  writer.Text("ovf", "units", "byte * 2^30");
  const std::string manifest = disklib::WriteManifest(
      {{base::DigestKind::kSha256, "vm.ovf", std::string(64, 'a')},
       {base::DigestKind::kSha1, "vm-disk1.vmdk", std::string(40, '0')}});
  writer.Text("manifest", "two_files", manifest);
  std::string archive;
  for (const std::string& content : {envelope, manifest}) {
    const bool is_first = archive.empty();
    archive +=
        disklib::EncodeArchiveHeader(is_first ? "vm.ovf" : "vm.mf", content.size(), 0).value();
    archive += content;
    archive.resize(disklib::ArchivePaddedBytes(archive.size()));
  }
  archive.resize(archive.size() + disklib::kArchiveEndBytes);
  writer.Text("archive", "envelope_and_manifest", archive);
}

void PutDaemon(Writer& writer) {
  constexpr const char* kRequests[] = {
      R"({"command": "disk", "action": "create", "disk": "a.vmdk", "size_bytes": 4194304})",
      R"({"command": "disk", "action": "info", "disk": "a.vmdk"})",
      R"({"command": "disk", "action": "rename", "disk": "a.vmdk", "target": "b.vmdk"})",
      R"({"command": "disk", "action": "extend", "disk": "b.vmdk", "size_bytes": 8388608})",
      R"({"command": "disk", "action": "delete", "disk": "b.vmdk"})",
      R"({"command": "umount", "lazy": true})",
      R"([{"a": [1, -2.5e300, null, "\u0000\ud800"]}, {}])"};
  std::string session;
  for (const char* request : kRequests) session += std::string(request) + "\n";
  writer.Text("control_message", "session", session);
  writer.Text("control_message", "create", kRequests[0]);
  writer.Text("control_message", "values", kRequests[6]);
  writer.Text("mount_table", "two_mounts",
              "22 1 0:20 / / rw shared:1 - ext4 /dev/vda1 rw\n"
              "36 22 0:52 / /mnt/a\\040b rw,nosuid - fuse.strata /tmp/x.img rw,user_id=0\n");
}

void PutAll(Writer& writer) {
  base::SimExecutor executor(1);
  const auto disk = vmfs::TemplateVolume::Get().Copy(executor);
  PutLvm(writer);
  PutHeaders(writer, *disk);
  PutResources(writer);
  PutFiles(writer, *disk);
  PutDirectories(writer);
  PutJournals(writer);
  PutVmfs5(writer);
  PutDisks(writer);
  PutExchange(writer);
  PutSnapshots(writer);
  PutSparse(writer);
  PutSeSparse(writer);
  PutDiskCheck(writer);
  PutScsi(writer);
  PutDaemon(writer);
}

}  // namespace
}  // namespace fuzz

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: fuzz_seeds FOLDER\n");
    return 2;
  }
  base::SetLogLevel(base::LogLevel::kOff);
  fuzz::Writer writer(argv[1]);
  fuzz::PutAll(writer);
  return 0;
}
