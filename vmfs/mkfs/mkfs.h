// mkfs: makes a VMFS-6 volume on 1 to 32 devices.
//
// Crash rule: what made the target a volume before is wiped first, the superblock and the LVM
// headers are written last, each step behind a flush; so an interrupted mkfs leaves nothing that
// anybody takes for a volume (vmfs/FORMAT.md, "Crash rules"). Thread rule: the devices' executor.
// Whether the target holds something worth keeping is the caller's question (`existing.h`).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fs/base/block_device.h"
#include "fs/base/executor.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "fs/base/uuid.h"
#include "vmfs/mkfs/layout.h"

namespace vmfs {

struct MkfsOptions {
  std::string label;                     // up to 127 bytes of UTF-8 without '/' and control codes
  std::optional<uint64_t> volume_bytes;  // rounded up to 256 MiB; unset: as much as fits
  uint32_t uid = 0, gid = 0;             // owner of the root directory
  base::Uuid host;                       // of the formatting host
  // Unset: new ones are made.
  std::optional<base::Uuid> uuid, lvm_uuid;
  // Gives the devices' old contents back first, where they can. Off: only the metadata is zeroed.
  bool discard = true;
  // Called now and then with blocks of metadata done and in all; may be empty.
  std::function<void(uint64_t done, uint64_t total)> progress;
  // Asked between pieces of 1 MiB; true ends with kInterrupted. May be empty.
  std::function<bool()> is_canceled;
};

struct MkfsReport {
  std::string label;
  base::Uuid uuid, lvm_uuid;
  uint64_t volume_bytes = 0;
  uint64_t free_bytes = 0;
  uint64_t metadata_bytes = 0;  // in use by system files
  uint64_t written_bytes = 0;   // bytes this call wrote
  std::vector<uint64_t> units;  // of 256 MiB, per device
};

// Whether a label can be used. Errors: kNameTooLong, kNameInvalid.
base::Status CheckLabel(const std::string& label);

// Makes the volume. `options` outlives the call. Errors: kInvalidArgument, kNoSpace, kTooLarge
// (sizes), kNameInvalid, kNameTooLong (label), kReadOnly, kUnsupported (a device with blocks over
// 4 KiB), kInterrupted, and those of the devices.
base::Task<base::Result<MkfsReport>> MakeFileSystem(base::Executor& executor,
                                                    std::span<base::BlockDevice* const> devices,
                                                    MkfsOptions& options);

// Bytes a file needs for a volume of `volume_bytes` (rounded up to 256 MiB).
constexpr uint64_t ImageBytesFor(uint64_t volume_bytes) {
  return (volume_bytes + kUnitBytes - 1) / kUnitBytes * kUnitBytes + kLvmDataOffset;
}

}  // namespace vmfs
