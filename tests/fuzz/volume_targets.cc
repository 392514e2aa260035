#include <array>
#include <memory>
#include <string>
#include <vector>

#include "fs/base/check.h"
#include "fs/base/crc32c.h"
#include "fs/base/sim_executor.h"
#include "tests/fuzz/pieces.h"
#include "tests/support/sim_disk.h"
#include "vmfs/format/heartbeat_slot.h"
#include "vmfs/format/lock_block.h"
#include "vmfs/format/lvm.h"
#include "vmfs/format/superblock.h"
#include "vmfs/lvm_device.h"
#include "vmfs/mkfs/existing.h"
#include "vmfs/vmfs5/format.h"

namespace fuzz {
namespace {

constexpr size_t kLvmDevices = 3;
constexpr size_t kLvmExtents = 6;

// Headers, volume entry and some extents of one device, as the input says.
void PokeLvm(Pieces& pieces, base::SimDisk& disk) {
  const auto poke = [&disk, &pieces](uint64_t offset, size_t size_bytes) {
    const std::vector<std::byte> bytes = Padded(pieces.Next(size_bytes), size_bytes);
    disk.Poke(offset, bytes);
    return bytes;
  };
  const std::vector<std::byte> bytes =
      poke(vmfs::kLvmHeaderOffset, sizeof(vmfs::LvmDeviceHeader));
  const auto header = base::LoadAs<vmfs::LvmDeviceHeader>(bytes);
  poke(header.VolumeTableAt(), sizeof(vmfs::LvmVolumeEntry));
  poke(header.PeTableAt(), kLvmExtents * sizeof(vmfs::LvmPeEntry));
}

// Whatever was put together maps every offset of the volume to a place on a device.
void UseLvmDevice(base::SimExecutor& executor, base::BlockDevice& device) {
  std::vector<std::byte> bytes(vmfs::kMetadataBlockBytes);
  const uint64_t last = device.size_bytes() - bytes.size();
  const uint64_t middle = last / 2 / vmfs::kMetadataBlockBytes * vmfs::kMetadataBlockBytes;
  // The third crosses from one unit to the next, which may be another device's.
  for (const uint64_t offset : {uint64_t{0}, middle, vmfs::kUnitBytes - bytes.size() / 2, last}) {
    if (offset > last) continue;
    const base::IoVec piece{bytes.data(), bytes.size()};
    const base::IoRequest request{offset, std::span(&piece, 1)};
    CHECK(base::RunSync(executor, device.Read(request)).has_value());
  }
  std::vector<base::MapRun> runs;
  CHECK(base::RunSync(executor, device.MapStatus(0, device.size_bytes(), runs)).has_value());
}

}  // namespace

void RunLvm(Input input) {
  Pieces pieces(input);
  const uint8_t shape = pieces.Byte();
  base::SimExecutor executor(1);
  std::vector<std::unique_ptr<base::SimDisk>> disks;
  std::vector<base::BlockDevice*> devices;
  for (size_t i = 0; i < 1 + shape % kLvmDevices; ++i) {
    base::SimDisk::Options options;
    options.size_bytes = vmfs::kLvmAreaBytes + (1 + (shape >> 2)) * vmfs::kUnitBytes;
    options.logging = false;
    disks.push_back(std::make_unique<base::SimDisk>(executor, options));
    devices.push_back(disks.back().get());
    PokeLvm(pieces, *disks.back());
  }
  auto volume = base::RunSync(executor, vmfs::OpenLvm(devices));
  if (volume) UseLvmDevice(executor, **volume);
}

void RunSuperblock(Input input) {
  const auto superblock = vmfs::DecodeSuperblock(input);
  if (!superblock) return;
  if (superblock->is_vmfs6()) return;
  (void)vmfs::vmfs5::CheckSuperblock(*superblock);
}

void RunMark(Input input) {
  // The CRC is put right, unless the last byte says not to.
  std::vector<std::byte> block = Padded({}, vmfs::kMetadataBlockBytes);
  Pieces pieces(input);
  auto mark = pieces.Take<vmfs::StrataMark>();
  if (input.size() % 2 == 0) {
    vmfs::EncodeMark(mark, block);
  } else {
    base::StoreAs(std::span<std::byte>(block), vmfs::kMarkOffset, mark);
  }
  (void)vmfs::DecodeMark(block, mark.uuid);
  (void)vmfs::DecodeMark(block, base::Uuid{});
  (void)vmfs::DecodeMark(input, mark.uuid);
}

void RunHeartbeatSlot(Input input) {
  const auto slot = vmfs::DecodeHeartbeatSlot(input, vmfs::HeartbeatAddress(0));
  if (slot) CHECK(slot->own_address == vmfs::HeartbeatAddress(0));
}

void RunLockBlock(Input input) {
  constexpr uint64_t kAddress = 0x710000;
  const auto lock = vmfs::DecodeLockBlock(input, kAddress);
  if (lock) CHECK(lock->own_address == kAddress && lock->holder_count <= vmfs::kLockHoldersMax);
  (void)vmfs::DecodeLockBlock(input, kAddress, vmfs::LockType::kFdCluster);
}

void RunExistingContent(Input input) {
  (void)vmfs::DescribeExistingContent(input);
}

}  // namespace fuzz
