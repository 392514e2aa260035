#include "vmfs/mkfs/existing.h"

#include <algorithm>
#include <string_view>

#include "fs/base/aligned_buffer.h"
#include "fs/base/on_disk.h"
#include "vmfs/format/lvm.h"

namespace vmfs {
namespace {

using std::string_view_literals::operator""sv;

struct Signature {
  size_t offset;
  std::string_view bytes;
  const char* description;
};

// Where each format keeps its magic number: documents of the formats, libblkid's list of facts.
constexpr Signature kSignatures[] = {
    {512, "EFI PART"sv, "a GPT partition table"},
    {4096, "EFI PART"sv, "a GPT partition table (4 KiB sectors)"},
    {0x438, "\x53\xef"sv, "an ext2, ext3 or ext4 file system"},
    {0, "XFSB"sv, "an XFS file system"},
    {0x10040, "_BHRfS_M"sv, "a btrfs file system"},
    {3, "NTFS    "sv, "an NTFS file system"},
    {3, "EXFAT   "sv, "an exFAT file system"},
    {54, "FAT1"sv, "a FAT file system"},
    {82, "FAT32"sv, "a FAT file system"},
    {0x400, "\x10\x20\xf5\xf2"sv, "an F2FS file system"},
    {0, "hsqs"sv, "a squashfs file system"},
    {0x8001, "CD001"sv, "an ISO 9660 image"},
    {4086, "SWAPSPACE2"sv, "Linux swap space"},
    {0, "LUKS\xba\xbe"sv, "a LUKS container"},
    {512, "LABELONE"sv, "an LVM2 physical volume"},
    {4096, "\xfc\x4e\x2b\xa9"sv, "a member of a Linux RAID array"},
    {0, "\xfc\x4e\x2b\xa9"sv, "a member of a Linux RAID array"},
    {0, "QFI\xfb"sv, "a qcow2 image"},
    {0, "KDMV"sv, "a VMDK sparse extent"},
    {0, "COWD"sv, "a VMDK delta extent"},
    {0, "# Disk DescriptorFile"sv, "a VMDK descriptor"},
    {0, "conectix"sv, "a VHD image"},
    {0, "vhdxfile"sv, "a VHDX image"},
};

bool Holds(std::span<const std::byte> head, const Signature& signature) {
  if (head.size() < signature.offset + signature.bytes.size()) return false;
  return std::ranges::equal(head.subspan(signature.offset, signature.bytes.size()),
                            signature.bytes, {}, {},
                            [](char c) { return std::byte(static_cast<unsigned char>(c)); });
}

// A VMFS volume of any version: the LVM header's magic, and the volume's name where it has one.
std::optional<std::string> DescribeVmfs(std::span<const std::byte> head) {
  if (head.size() < kLvmHeaderOffset + sizeof(LvmDeviceHeader)) return std::nullopt;
  const auto header = base::LoadAs<LvmDeviceHeader>(head, kLvmHeaderOffset);
  if (header.magic != kLvmMagic) return std::nullopt;
  std::string text = "a VMFS volume, version " + std::to_string(uint32_t{header.major});
  const size_t entry_offset = kLvmHeaderOffset + kLvmVolumeTableOffset;
  if (header.major == kLvmMajor && head.size() >= entry_offset + sizeof(LvmVolumeEntry)) {
    text += ", UUID " + base::LoadAs<LvmVolumeEntry>(head, entry_offset).volume_uuid.ToString();
  }
  return text;
}

// A boot sector with at least one plausible partition. Asked last: file systems have it too.
bool HoldsPartitionTable(std::span<const std::byte> head) {
  if (head.size() < 512 || head[510] != std::byte{0x55} || head[511] != std::byte{0xaa}) {
    return false;
  }
  for (size_t entry = 446; entry < 510; entry += 16) {
    const auto boot_flag = std::to_integer<uint8_t>(head[entry]);
    const bool has_type = head[entry + 4] != std::byte{0};
    const bool has_size = base::LoadAs<Le32>(head, entry + 12) != 0;
    if ((boot_flag == 0 || boot_flag == 0x80) && has_type && has_size) return true;
  }
  return false;
}

}  // namespace

std::optional<std::string> DescribeExistingContent(std::span<const std::byte> head) {
  if (auto vmfs = DescribeVmfs(head)) return vmfs;
  for (const Signature& signature : kSignatures) {
    if (Holds(head, signature)) return signature.description;
  }
  if (HoldsPartitionTable(head)) return "an MBR partition table";
  return std::nullopt;
}

base::Task<base::Result<std::optional<std::string>>> ProbeExistingContent(
    base::BlockDevice& device) {
  const uint64_t size = std::min(kExistingContentBytes, device.size_bytes());
  base::AlignedBuffer head(size);
  const uint64_t step = std::min<uint64_t>(device.limits().transfer_bytes_max, 256 << 10);
  for (uint64_t offset = 0; offset < size; offset += step) {
    const base::IoVec piece{head.data() + offset, std::min(step, size - offset)};
    const base::IoRequest request{offset, std::span<const base::IoVec>(&piece, 1)};
    CO_TRY_STATUS(co_await device.Read(request));
  }
  co_return DescribeExistingContent(head.span());
}

}  // namespace vmfs
