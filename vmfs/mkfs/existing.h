// What a target of mkfs already holds, in words, so that a program may refuse to destroy it.
//
// Signatures of file systems, partition tables, disk images and volume managers. Thread rule: pure,
// any thread, but for the reading helper, which runs on the device's executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace vmfs {

// How many bytes from the begin of a target should be looked at.
inline constexpr uint64_t kExistingContentBytes = 0x102000;

// Names what `head`, the first bytes of a target, is the begin of: "an ext file system", "a VMFS
// volume (6113001e-…)". Nothing when no signature is found; other data may be there all the same.
std::optional<std::string> DescribeExistingContent(std::span<const std::byte> head);

// Reads the begin of `device` and describes it. Errors: those of Read.
base::Task<base::Result<std::optional<std::string>>> ProbeExistingContent(
    base::BlockDevice& device);

}  // namespace vmfs
