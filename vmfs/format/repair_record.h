// The repair record and its log: what an interrupted repair has to finish (ours).
//
// While the record at volume address 0x250000 is valid, the blocks its log holds go home before
// anything else is done with the volume. Every checksum covers the repair's identity and the place
// as well as the bytes, so that a stale or misdirected chunk is never believed (vmfs/FORMAT.md,
// "Repair record"). Plain values, any thread; no I/O.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "fs/base/on_disk.h"
#include "fs/base/result.h"
#include "fs/base/uuid.h"
#include "vmfs/format/metadata_block.h"
#include "vmfs/format/heartbeat_slot.h"
#include "vmfs/format/resource.h"

namespace vmfs {

inline constexpr uint64_t kRepairRecordOffset = 0x250000;  // volume address
inline constexpr uint64_t kRepairLogOffset = 0x251000;     // up to the heartbeats
inline constexpr uint32_t kRepairLogSlots =
    (kHeartbeatOffset - kRepairLogOffset) / kMetadataBlockBytes;  // 175

inline constexpr std::array<char, 8> kRepairMagic = {'S', 'T', 'R', 'R', 'E', 'P', 'R', '1'};
inline constexpr std::array<char, 8> kRepairChunkMagic = {'S', 'T', 'R', 'R', 'C', 'H', 'K', '1'};
inline constexpr uint32_t kRepairChunksMax = 500;
inline constexpr uint32_t kRepairImagesMax = 255;  // of one chunk, which is at most 1 MiB

// One repair: what its checksums cover besides content.
struct RepairIdentity {
  base::Uuid volume_uuid;  // of the file system
  uint64_t number = 0;     // random
  friend bool operator==(const RepairIdentity&, const RepairIdentity&) = default;
};

// The record in memory: where the chunks of the log begin.
struct RepairRecord {
  RepairIdentity identity;
  std::vector<uint64_t> chunk_addresses;  // volume addresses, 1 to kRepairChunksMax
  friend bool operator==(const RepairRecord&, const RepairRecord&) = default;
};

// One image of a chunk: slot i + 1 behind the chunk's first holds the bytes of entry i.
struct RepairEntry {
  uint64_t home_address = 0;
  uint32_t image_crc = 0;  // RepairImageCrc()
  friend bool operator==(const RepairEntry&, const RepairEntry&) = default;
};

// Encodes into one metadata block. Chunk addresses 1 to 500, entries 1 to 255 (CHECKed).
void EncodeRepairRecord(const RepairRecord& record, MetadataSpan block);
void EncodeRepairChunk(const RepairIdentity& identity, uint32_t index,
                       std::span<const RepairEntry> entries, MetadataSpan block);

// Errors: kNotRecognized (no record: the usual case), kChecksumMismatch, kVersionUnsupported,
// kCorrupt (no chunk or too many; addresses outside a volume of `volume_bytes`, or not of a block).
base::Result<RepairRecord> DecodeRepairRecord(ConstMetadataSpan block, uint64_t volume_bytes);
// Errors: kCorrupt, kChecksumMismatch: another chunk's, another repair's, or damaged.
base::Result<std::vector<RepairEntry>> DecodeRepairChunk(ConstMetadataSpan block,
                                                         const RepairIdentity& identity,
                                                         uint32_t index, uint64_t volume_bytes);

uint32_t RepairImageCrc(const RepairIdentity& identity, uint64_t home_address,
                        ConstMetadataSpan image);

}  // namespace vmfs
