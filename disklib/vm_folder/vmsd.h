// `SnapshotList`: the .vmsd file, the record of a VM's snapshots. Parser and writer. Pure.
//
// A snapshot names, for each disk, the link it froze: the disk as it was. Keys this program does
// not know are kept; snapshots are numbered from 0 anew when the list is written
// (disklib/FORMAT.md, "Snapshots"). An empty file is a list without snapshots. Where a folder has
// no .vmx, the list also says which leaf a disk stands on (`current_disks`). Thread rule: plain
// values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/descriptor.h"
#include "fs/base/result.h"

namespace disklib {

inline constexpr std::string_view kVmsdSuffix = ".vmsd";
inline constexpr size_t kSnapshotCountMax = 1'024;
inline constexpr size_t kSnapshotDisksMax = 1'024;

struct SnapshotDisk {
  std::string file_name;  // descriptor of the frozen link, relative to the folder
  std::string node;       // "scsi0:0"
  std::vector<KeyValue> other_keys = {};  // without "snapshotN.diskM."

  friend bool operator==(const SnapshotDisk&, const SnapshotDisk&) = default;
};

struct Snapshot {
  uint32_t uid = 0;
  uint32_t parent_uid = 0;  // 0: a root
  std::string display_name;
  std::string description;
  uint64_t created_us = 0;  // since 1970; 0: not said
  std::vector<SnapshotDisk> disks;
  std::vector<KeyValue> other_keys;  // without "snapshotN."; filename and type are here

  friend bool operator==(const Snapshot&, const Snapshot&) = default;
};

// A delete that was begun and not finished: its links may hold other bytes than the record says.
struct UnfinishedDelete {
  uint32_t uid = 0;
  std::vector<std::string> children;  // links that are still to be committed into their parents

  friend bool operator==(const UnfinishedDelete&, const UnfinishedDelete&) = default;
};

struct SnapshotList {
  std::string encoding = "UTF-8";
  uint32_t last_uid = 0;
  uint32_t current_uid = 0;  // the snapshot the VM goes on from; 0: none
  std::optional<uint32_t> declared_count;  // numSnapshots as it was read
  std::vector<uint32_t> recently_used;     // uids
  std::vector<Snapshot> snapshots;
  std::vector<std::string> current_disks;  // strata.diskM.current
  std::optional<UnfinishedDelete> unfinished_delete;
  std::vector<KeyValue> other_keys;

  // Null if there is none of that uid.
  const Snapshot* Find(uint32_t uid) const;
  Snapshot* Find(uint32_t uid);

  // Adds a snapshot behind the current one and makes it current; answers it.
  Snapshot& Add(std::string_view name, std::string_view description, uint64_t created_us);

  // Takes a snapshot out; its children become its parent's, and so does the current state.
  void Remove(uint32_t uid);

  friend bool operator==(const SnapshotList&, const SnapshotList&) = default;
};

// Errors: as Dictionary::Parse; kParseError (a number that is none), kTooLarge (more snapshots or
// disks than the limits above).
base::Result<SnapshotList> ParseSnapshotList(std::string_view text);

// Whether what a list says can be: uids unique, parents there and no cycle, the current snapshot
// there, the count right. Error kCorrupt naming the fault. Operations ask before they change it.
base::Status CheckSnapshotList(const SnapshotList& list);

// The canonical text.
std::string WriteSnapshotList(const SnapshotList& list);

// The snapshot a user means by a uid ("3"), or by its name. Errors: kNotFound,
// kInvalidArgument naming the uids when several have that name.
base::Result<uint32_t> FindSnapshot(const SnapshotList& list, std::string_view name_or_uid);

}  // namespace disklib
