// `volume info`: what a volume is, how full it is, in which state, and who can read it.
//
// Reads headers and bitmaps only. Thread rule: the devices' executor; the result is a plain value.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "fs/base/uuid.h"
#include "vmfs/format/heartbeat_slot.h"
#include "vmfs/format/resource.h"

namespace vmfs {

// One device of the volume.
struct ExtentInfo {
  std::string name;  // as it was opened
  base::Uuid device_uuid;
  uint64_t device_bytes = 0;
  uint64_t first_unit = 0, unit_count = 0;  // of 256 MiB
};

// One kind of resource and the file that holds it.
struct ResourceInfo {
  ResourceKind kind = ResourceKind::kFd;
  std::string file_name;  // ".fdc.sf"
  uint64_t total_count = 0, free_count = 0;
  uint64_t cluster_count = 0;
  uint64_t file_bytes = 0;
  bool through_pb2 = false;  // its map needs `.pb2.sf`
};

// A heartbeat that is in use.
struct HeartbeatInfo {
  uint32_t slot = 0;
  HeartbeatState state = HeartbeatState::kInUse;
  base::Uuid owner;
  std::string host_name;
  uint64_t generation = 0;
  uint64_t journal_volume_address = 0;
};

// Whether a program can open the volume, and why not.
struct ReaderInfo {
  std::string name;
  bool can_open = true;
  std::string reason;
};

struct VolumeInfo {
  std::string label;
  base::Uuid uuid, lvm_uuid, formatting_host;
  uint32_t lvm_major = 0, lvm_minor = 0;
  uint32_t major = 0, minor = 0;
  uint64_t created_s = 0;
  bool is_ours = false;     // carries a valid mark of ours: may be written
  std::string mark_problem; // of a volume that carries a damaged or newer mark
  std::vector<std::string> read_only_reasons;  // besides not being ours
  base::Uuid machine;       // the machine it belongs to; zero: none
  uint64_t volume_bytes = 0, file_block_bytes = 0, free_bytes = 0;
  std::vector<ExtentInfo> extents;
  std::vector<ResourceInfo> resources;
  std::vector<HeartbeatInfo> heartbeats;  // those in use; none on a clean volume
  uint32_t damaged_heartbeat_count = 0;   // slots that cannot be read as heartbeats
  std::vector<ReaderInfo> readers;

  bool is_clean() const { return heartbeats.empty() && damaged_heartbeat_count == 0; }
  // "clean", "in use by …", "being replayed by …".
  std::string StateText() const;
};

// VMFS-5 volumes too. Errors: those of ReadLvm, RawVolume and vmfs5::Reader, kCorrupt for clusters
// that cannot be decoded.
base::Task<base::Result<VolumeInfo>> ReadVolumeInfo(std::span<base::BlockDevice* const> devices);

// The same in words, one fact per line.
std::string ToText(const VolumeInfo& info);

}  // namespace vmfs
