#include "vmfs/format/superblock.h"

#include "fs/base/check.h"
#include "fs/base/crc32c.h"
#include "vmfs/format/corrupt.h"

namespace vmfs {
namespace {

// One fact per row: what a VMFS-6 superblock must say about the shape of the volume.
base::Status CheckShape(const Superblock& superblock) {
  struct Row {
    const char* name;
    uint64_t found, expected;
  };
  const Row rows[] = {
      {"disk block size", superblock.disk_block_bytes, 512},
      {"file block size", superblock.file_block_bytes, kFileBlockBytes},
      {"sub-block size", superblock.sub_block_bytes, kSubBlockBytes},
      {"journal block size", superblock.journal_block_bytes, kJournalBlockBytes},
      {"descriptor cluster group offset", superblock.fdc_cluster_group_offset, 0x10000},
      {"descriptor clusters per group", superblock.fdc_clusters_per_group, 8},
      {"log2 of small blocks per large block", superblock.log2_small_blocks_per_large, 9},
      {"log2 of pointer block size", superblock.log2_pointer_block_bytes, 16},
      {"address of .pb2.sf", superblock.pb2_fd, kPb2Fd.raw()},
      {"address of .sdd.sf", superblock.sdd_fd, kSddFd.raw()},
  };
  for (const Row& row : rows) {
    if (row.found != row.expected) {
      return CorruptError("superblock: {} is {:#x}, expected {:#x}", row.name, row.found,
                          row.expected);
    }
  }
  return base::Ok();
}

// The CRC covers where the mark lies, so that a copy at another place does not count.
uint32_t MarkCrc(const StrataMark& mark) {
  const Le64 place = kSuperblockOffset + kMarkOffset;
  return base::Crc32c(base::BytesOf(mark).first(offsetof(StrataMark, crc)),
                      base::Crc32c(base::BytesOf(place)));
}

}  // namespace

base::Result<Superblock> DecodeSuperblock(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(Superblock)) {
    return NotRecognizedError("superblock: only {} bytes", bytes.size());
  }
  const auto superblock = base::LoadAs<Superblock>(bytes);
  if (superblock.magic >= kSuperblockMagicUnknownFirst &&
      superblock.magic <= kSuperblockMagicUnknownLast) {
    return VersionError("superblock: magic {:#x}, a kind of VMFS whose layout is not known",
                        uint32_t{superblock.magic});
  }
  if (superblock.magic != kSuperblockMagic && superblock.magic != kSuperblockMagicLocal) {
    return NotRecognizedError("superblock: magic {:#x}, expected {:#x}", uint32_t{superblock.magic},
                              kSuperblockMagic);
  }
  if (superblock.major == kVmfs5Major) return superblock;
  if (superblock.major != kVmfs6Major) {
    return VersionError("superblock: major version {}, only {} (VMFS-6) and {} (VMFS-5) are known",
                        uint32_t{superblock.major}, kVmfs6Major, kVmfs5Major);
  }
  if (superblock.metadata_alignment != kMetadataBlockBytes) {
    return VersionError("superblock: metadata alignment {}, only {} is known",
                        uint32_t{superblock.metadata_alignment}, kMetadataBlockBytes);
  }
  TRY_STATUS(CheckShape(superblock));
  return superblock;
}

std::vector<std::string> ReadOnlyReasons(const Superblock& superblock) {
  std::vector<std::string> reasons;
  if (superblock.magic == kSuperblockMagicLocal) reasons.push_back("VMFS-L, made by ESXi alone");
  if (!superblock.is_vmfs6()) return reasons;
  if (superblock.minor > kVmfs6Minor) {
    reasons.push_back(fmt::format("minor version {}, newer than {}", superblock.minor,
                                  kVmfs6Minor));
  }
  if (superblock.checksum_type != 0) {
    reasons.push_back(fmt::format("metadata checksums of type {}, which are neither verified nor "
                                  "kept",
                                  superblock.checksum_type));
  }
  if (const uint32_t unknown = superblock.config_flags & ~kConfigFlagsKnown; unknown != 0) {
    reasons.push_back(fmt::format("unknown configuration flags {:#x}", unknown));
  }
  return reasons;
}

base::Result<StrataMark> DecodeMark(std::span<const std::byte> superblock_block,
                                    const base::Uuid& uuid) {
  if (superblock_block.size() < kMarkOffset + sizeof(StrataMark)) {
    return NotRecognizedError("mark: only {} bytes of superblock", superblock_block.size());
  }
  const auto mark = base::LoadAs<StrataMark>(superblock_block, kMarkOffset);
  if (mark.magic != kMarkMagic) return NotRecognizedError("mark: none, not a volume of ours");
  if (mark.crc != MarkCrc(mark)) {
    return base::Error(base::Code::kChecksumMismatch,
                       fmt::format("mark: CRC {:#010x}, expected {:#010x}", uint32_t{mark.crc},
                                   MarkCrc(mark)));
  }
  if (mark.major != kMarkMajor) {
    return VersionError("mark: major version {}, only {} is known", uint16_t{mark.major},
                        kMarkMajor);
  }
  if (mark.incompatible_features != 0) {
    return VersionError("mark: unknown incompatible features {:#x}",
                        uint64_t{mark.incompatible_features});
  }
  if (mark.uuid != uuid) {
    return CorruptError("mark: made for volume {}, found on {}", mark.uuid.ToString(),
                        uuid.ToString());
  }
  return mark;
}

void EncodeMark(StrataMark mark, std::span<std::byte> superblock_block) {
  CHECK(superblock_block.size() >= kMarkOffset + sizeof(StrataMark));
  mark.magic = kMarkMagic;
  mark.crc = MarkCrc(mark);
  base::StoreAs(superblock_block, kMarkOffset, mark);
}

}  // namespace vmfs
