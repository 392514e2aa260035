// `VolumeHold`: keeps a volume from being mounted while it is checked, and finds who has it
// mounted.
//
// A daemon locks one guard byte of the backing file for as long as it lives (vmfs/FORMAT.md,
// Heartbeats). Shared locks of all of them exclude daemons, but not other checks, and need no
// permission to write. Thread rule: any thread; never waits for a lock. Place in the stack:
// programs that work on volumes nobody may change meanwhile.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fs/base/result.h"

namespace stratad {

// Who keeps a volume from being held.
struct VolumeHolder {
  // Of a daemon; nothing: another check or repair, or one that has just let go.
  std::optional<uint32_t> slot;
};

class VolumeHold {
 public:
  VolumeHold() = default;

  VolumeHold(VolumeHold&& other) noexcept : descriptors_(std::exchange(other.descriptors_, {})) {}

  VolumeHold& operator=(VolumeHold&&) = delete;
  ~VolumeHold();

  // Who has the volume, or nothing: the volume on `paths` is held until the VolumeHold is
  // destroyed. `exclusive` keeps other checks out as well, for who changes the volume. Errors:
  // kNotFound, kPermission and others of errno.
  base::Result<std::optional<VolumeHolder>> Take(std::span<const std::string> paths,
                                                 bool exclusive = false);

 private:
  base::Result<std::optional<VolumeHolder>> TakeOne(const std::string& path, bool exclusive);

  std::vector<int> descriptors_;
};

}  // namespace stratad
