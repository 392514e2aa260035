// `dump`: structures of a volume in words, for engineers.
//
// Every function answers text, one field per line, for a structure however damaged: what cannot be
// decoded is said in its place. Nothing is replayed. Thread rule: the device's executor.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/format/resource.h"
#include "vmfs/lvm_device.h"
#include "vmfs/raw_volume.h"

namespace vmfs {

// A kind by the name `NameOf` gives it; nothing for other words.
std::optional<ResourceKind> ParseResourceKind(std::string_view name);

// LVM headers of all devices; pure.
std::string DumpLvm(const LvmVolume& volume);
// Superblock and mark; pure.
std::string DumpSuperblock(const RawVolume& volume);

// Heartbeat slots that are or have been in use. Errors of all below: those of Read, kCorrupt where
// the way to the structure is damaged. `volume` has its system files loaded, but for the first two.
base::Task<base::Result<std::string>> DumpHeartbeats(RawVolume& volume);
// The lock block at a volume address.
base::Task<base::Result<std::string>> DumpLock(RawVolume& volume, uint64_t volume_address);
// A descriptor: lock, fields, slots.
base::Task<base::Result<std::string>> DumpInode(RawVolume& volume, FdAddress fd);
// A cluster header: lock, counts, bitmap as runs, affinity.
base::Task<base::Result<std::string>> DumpCluster(RawVolume& volume, ResourceKind kind,
                                                  uint64_t cluster);
// A directory: header, blocks, records.
base::Task<base::Result<std::string>> DumpDirectory(RawVolume& volume, FdAddress fd);
// The journal block at a volume address: header and transactions from the tail on.
base::Task<base::Result<std::string>> DumpJournal(RawVolume& volume, uint64_t volume_address);

}  // namespace vmfs
