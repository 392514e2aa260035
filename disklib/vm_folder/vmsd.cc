#include "disklib/vm_folder/vmsd.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor_lines.h"
#include "disklib/vm_folder/dictionary.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;

// Uids are counted upwards for ever.
constexpr uint32_t kUidMax = 0x7fffffff;

Result<uint32_t> NumberOf(const KeyValue& entry) {
  const std::optional<uint64_t> number = ParseNumber(entry.value, 10);
  if (number && *number <= std::numeric_limits<uint32_t>::max()) {
    return static_cast<uint32_t>(*number);
  }
  return Error(Code::kParseError, fmt::format("{}: not a number: {}", entry.key,
                                              std::string_view(entry.value).substr(0, 40)));
}

// A time is kept as two signed 32-bit numbers; answers the half's bits.
Result<uint64_t> HalfOf(const KeyValue& entry) {
  std::string_view digits = entry.value;
  const bool is_negative = digits.starts_with('-');
  if (is_negative) digits.remove_prefix(1);
  const std::optional<uint64_t> number = ParseNumber(digits, 10);
  if (!number || *number > std::numeric_limits<uint32_t>::max()) {
    return Error(Code::kParseError, fmt::format("{}: not a number: {}", entry.key,
                                                std::string_view(entry.value).substr(0, 40)));
  }
  return (is_negative ? uint64_t{0} - *number : *number) & 0xffffffff;
}

// Takes "disk" and a number off "disk12.fileName": the rest is "fileName". Nothing if it has
// another form.
std::optional<uint32_t> TakeNumbered(std::string_view word, std::string_view& key) {
  if (!StartsWithIgnoringCase(key, word)) return std::nullopt;
  const std::string_view behind = key.substr(word.size());
  const size_t dot = behind.find('.');
  if (dot == std::string_view::npos || dot > 6) return std::nullopt;
  const std::optional<uint64_t> number = ParseNumber(behind.substr(0, dot), 10);
  if (!number) return std::nullopt;
  key = behind.substr(dot + 1);
  return static_cast<uint32_t>(*number);
}

// What is read of the numbered parts, by their numbers, which may have gaps.
struct Parts {
  std::map<uint32_t, Snapshot> snapshots;
  std::map<uint32_t, std::map<uint32_t, SnapshotDisk>> disks;
  std::map<uint32_t, uint32_t> recently_used;
  std::map<uint32_t, std::string> current_disks;
  std::map<uint32_t, std::string> deleted_children;
  size_t disk_count = 0;
};

Status ReadSnapshotDisk(const KeyValue& entry, std::string_view key, SnapshotDisk& disk) {
  if (EqualsIgnoringCase(key, "fileName")) {
    disk.file_name = entry.value;
  } else if (EqualsIgnoringCase(key, "node")) {
    disk.node = entry.value;
  } else {
    disk.other_keys.push_back({std::string(key), entry.value});
  }
  return base::Ok();
}

Status ReadTime(const KeyValue& entry, bool is_high, Snapshot& snapshot) {
  TRY(const uint64_t half, HalfOf(entry));
  snapshot.created_us |= is_high ? half << 32 : half;
  return base::Ok();
}

Status ReadSnapshotKey(const KeyValue& entry, std::string_view key, uint32_t index, Parts& parts) {
  Snapshot& snapshot = parts.snapshots[index];
  if (parts.snapshots.size() > kSnapshotCountMax) {
    return Error(Code::kTooLarge, fmt::format("more than {} snapshots", kSnapshotCountMax));
  }
  if (const std::optional<uint32_t> disk = TakeNumbered("disk", key)) {
    if (!parts.disks[index].contains(*disk) && ++parts.disk_count > kSnapshotDisksMax) {
      return Error(Code::kTooLarge, fmt::format("more than {} disks", kSnapshotDisksMax));
    }
    return ReadSnapshotDisk(entry, key, parts.disks[index][*disk]);
  }
  if (EqualsIgnoringCase(key, "uid")) {
    TRY(snapshot.uid, NumberOf(entry));
  } else if (EqualsIgnoringCase(key, "parent")) {
    TRY(snapshot.parent_uid, NumberOf(entry));
  } else if (EqualsIgnoringCase(key, "displayName")) {
    snapshot.display_name = entry.value;
  } else if (EqualsIgnoringCase(key, "description")) {
    snapshot.description = entry.value;
  } else if (EqualsIgnoringCase(key, "createTimeHigh")) {
    return ReadTime(entry, /*is_high=*/true, snapshot);
  } else if (EqualsIgnoringCase(key, "createTimeLow")) {
    return ReadTime(entry, /*is_high=*/false, snapshot);
  } else if (!EqualsIgnoringCase(key, "numDisks")) {
    snapshot.other_keys.push_back({std::string(key), entry.value});
  }
  return base::Ok();
}

UnfinishedDelete& UnfinishedDeleteOf(SnapshotList& list) {
  if (!list.unfinished_delete) list.unfinished_delete.emplace();
  return *list.unfinished_delete;
}

// Keys of the whole list: "snapshot.current", "snapshot.mru0.uid". False: not one of them.
Result<bool> ReadListKey(const KeyValue& entry, SnapshotList& list, Parts& parts) {
  std::string_view key = entry.key;
  if (EqualsIgnoringCase(key, ".encoding")) {
    list.encoding = entry.value;
    return true;
  }
  if (const auto mru = TakeNumbered("snapshot.mru", key); mru && EqualsIgnoringCase(key, "uid")) {
    TRY(parts.recently_used[*mru], NumberOf(entry));
    return true;
  }
  key = entry.key;
  if (EqualsIgnoringCase(key, "snapshot.lastUID")) {
    TRY(list.last_uid, NumberOf(entry));
  } else if (EqualsIgnoringCase(key, "snapshot.current")) {
    TRY(list.current_uid, NumberOf(entry));
  } else if (EqualsIgnoringCase(key, "snapshot.numSnapshots")) {
    TRY(list.declared_count, NumberOf(entry));
  } else {
    return false;
  }
  return true;
}

// Keys of our own: "strata.disk0.current". False: not one of them.
Result<bool> ReadOwnKey(const KeyValue& entry, SnapshotList& list, Parts& parts) {
  std::string_view key = entry.key;
  if (EqualsIgnoringCase(key, "strata.deleting.uid")) {
    TRY(UnfinishedDeleteOf(list).uid, NumberOf(entry));
    return true;
  }
  const auto disk = TakeNumbered("strata.disk", key);
  if (disk && EqualsIgnoringCase(key, "current")) {
    parts.current_disks[*disk] = entry.value;
    return true;
  }
  key = entry.key;
  const auto child = TakeNumbered("strata.deleting.disk", key);
  if (!child || !EqualsIgnoringCase(key, "child")) return false;
  parts.deleted_children[*child] = entry.value;
  static_cast<void>(UnfinishedDeleteOf(list));
  return true;
}

Status ReadEntry(const KeyValue& entry, SnapshotList& list, Parts& parts) {
  TRY(const bool is_list_key, ReadListKey(entry, list, parts));
  if (is_list_key) return base::Ok();
  TRY(const bool is_own_key, ReadOwnKey(entry, list, parts));
  if (is_own_key) return base::Ok();
  std::string_view key = entry.key;
  if (const std::optional<uint32_t> index = TakeNumbered("snapshot", key)) {
    return ReadSnapshotKey(entry, key, *index, parts);
  }
  list.other_keys.push_back(entry);
  return base::Ok();
}

void JoinParts(Parts& parts, SnapshotList& list) {
  for (auto& [index, snapshot] : parts.snapshots) {
    for (auto& [disk_index, disk] : parts.disks[index]) snapshot.disks.push_back(std::move(disk));
    list.snapshots.push_back(std::move(snapshot));
  }
  for (const auto& [index, uid] : parts.recently_used) list.recently_used.push_back(uid);
  for (auto& [index, path] : parts.current_disks) list.current_disks.push_back(std::move(path));
  for (auto& [index, path] : parts.deleted_children) {
    UnfinishedDeleteOf(list).children.push_back(std::move(path));
  }
}

// Collects lines.
class LineWriter {
 public:
  void Add(std::string_view key, std::string_view value) {
    text_ += FormatDictionaryLine(key, value) + "\n";
  }

  void Add(std::string_view key, uint32_t number) { Add(key, fmt::format("{}", number)); }

  void Add(std::string_view prefix, const std::vector<KeyValue>& entries) {
    for (const KeyValue& entry : entries) Add(fmt::format("{}{}", prefix, entry.key), entry.value);
  }

  std::string Take() { return std::move(text_); }

 private:
  std::string text_;
};

void WriteSnapshot(const Snapshot& snapshot, size_t index, LineWriter& writer) {
  const std::string prefix = fmt::format("snapshot{}.", index);
  writer.Add(prefix + "uid", snapshot.uid);
  if (snapshot.parent_uid != 0) writer.Add(prefix + "parent", snapshot.parent_uid);
  writer.Add(prefix, snapshot.other_keys);
  writer.Add(prefix + "displayName", snapshot.display_name);
  if (!snapshot.description.empty()) writer.Add(prefix + "description", snapshot.description);
  if (snapshot.created_us != 0) {
    const auto high = static_cast<int32_t>(snapshot.created_us >> 32);
    const auto low = static_cast<int32_t>(snapshot.created_us & 0xffffffff);
    writer.Add(prefix + "createTimeHigh", fmt::format("{}", high));
    writer.Add(prefix + "createTimeLow", fmt::format("{}", low));
  }
  writer.Add(prefix + "numDisks", static_cast<uint32_t>(snapshot.disks.size()));
  for (size_t i = 0; i < snapshot.disks.size(); ++i) {
    const SnapshotDisk& disk = snapshot.disks[i];
    const std::string disk_prefix = fmt::format("{}disk{}.", prefix, i);
    writer.Add(disk_prefix + "fileName", disk.file_name);
    writer.Add(disk_prefix + "node", disk.node);
    writer.Add(disk_prefix, disk.other_keys);
  }
}

void WriteOwnKeys(const SnapshotList& list, LineWriter& writer) {
  for (size_t i = 0; i < list.current_disks.size(); ++i) {
    writer.Add(fmt::format("strata.disk{}.current", i), list.current_disks[i]);
  }
  if (!list.unfinished_delete) return;
  writer.Add("strata.deleting.uid", list.unfinished_delete->uid);
  const std::vector<std::string>& children = list.unfinished_delete->children;
  for (size_t i = 0; i < children.size(); ++i) {
    writer.Add(fmt::format("strata.deleting.disk{}.child", i), children[i]);
  }
}

Status CheckParents(const SnapshotList& list) {
  for (const Snapshot& snapshot : list.snapshots) {
    size_t step_count = 0;
    for (const Snapshot* at = &snapshot; at->parent_uid != 0; ++step_count) {
      at = list.Find(at->parent_uid);
      if (at == nullptr) {
        return Error(Code::kCorrupt, fmt::format("snapshot {}: its parent is not in the list",
                                                 snapshot.uid));
      }
      if (step_count > list.snapshots.size()) {
        return Error(Code::kCorrupt,
                     fmt::format("snapshot {}: its parents form a cycle", snapshot.uid));
      }
    }
  }
  return base::Ok();
}

}  // namespace

const Snapshot* SnapshotList::Find(uint32_t uid) const {
  const auto found = std::find_if(snapshots.begin(), snapshots.end(),
                                  [uid](const Snapshot& each) { return each.uid == uid; });
  return found == snapshots.end() ? nullptr : &*found;
}

Snapshot* SnapshotList::Find(uint32_t uid) {
  return const_cast<Snapshot*>(std::as_const(*this).Find(uid));
}

Snapshot& SnapshotList::Add(std::string_view name, std::string_view description,
                            uint64_t created_us) {
  for (const Snapshot& each : snapshots) last_uid = std::max(last_uid, each.uid);
  Snapshot snapshot;
  snapshot.uid = ++last_uid;
  snapshot.parent_uid = current_uid;
  snapshot.display_name = name;
  snapshot.description = description;
  snapshot.created_us = created_us;
  current_uid = snapshot.uid;
  recently_used.insert(recently_used.begin(), snapshot.uid);
  snapshots.push_back(std::move(snapshot));
  return snapshots.back();
}

void SnapshotList::Remove(uint32_t uid) {
  const Snapshot* const removed = Find(uid);
  if (removed == nullptr) return;
  const uint32_t parent_uid = removed->parent_uid;
  std::erase_if(snapshots, [uid](const Snapshot& each) { return each.uid == uid; });
  for (Snapshot& each : snapshots) {
    if (each.parent_uid == uid) each.parent_uid = parent_uid;
  }
  if (current_uid == uid) current_uid = parent_uid;
  std::erase(recently_used, uid);
}

Result<SnapshotList> ParseSnapshotList(std::string_view text) {
  TRY(const Dictionary dictionary, Dictionary::Parse(text));
  SnapshotList list;
  Parts parts;
  for (const KeyValue& entry : dictionary.Entries()) TRY_STATUS(ReadEntry(entry, list, parts));
  JoinParts(parts, list);
  return list;
}

Status CheckSnapshotList(const SnapshotList& list) {
  std::set<uint32_t> uids;
  for (const Snapshot& snapshot : list.snapshots) {
    if (snapshot.uid == 0 || !uids.insert(snapshot.uid).second) {
      return Error(Code::kCorrupt,
                   fmt::format("snapshots: uid {} is zero or given twice", snapshot.uid));
    }
  }
  TRY_STATUS(CheckParents(list));
  if (list.last_uid >= kUidMax || (!uids.empty() && *uids.rbegin() >= kUidMax)) {
    return Error(Code::kCorrupt, "snapshots: a uid is too large to count on from");
  }
  if (list.current_uid != 0 && list.Find(list.current_uid) == nullptr) {
    return Error(Code::kCorrupt, fmt::format("snapshots: the current one, {}, is not in the list",
                                             list.current_uid));
  }
  if (list.declared_count && *list.declared_count != list.snapshots.size()) {
    return Error(Code::kCorrupt, fmt::format("snapshots: {} are said, {} are there",
                                             *list.declared_count, list.snapshots.size()));
  }
  return base::Ok();
}

std::string WriteSnapshotList(const SnapshotList& list) {
  LineWriter writer;
  writer.Add(".encoding", list.encoding);
  writer.Add("snapshot.lastUID", list.last_uid);
  if (list.current_uid != 0) writer.Add("snapshot.current", list.current_uid);
  for (size_t i = 0; i < list.recently_used.size(); ++i) {
    writer.Add(fmt::format("snapshot.mru{}.uid", i), list.recently_used[i]);
  }
  writer.Add("", list.other_keys);
  for (size_t i = 0; i < list.snapshots.size(); ++i) WriteSnapshot(list.snapshots[i], i, writer);
  writer.Add("snapshot.numSnapshots", static_cast<uint32_t>(list.snapshots.size()));
  WriteOwnKeys(list, writer);
  return writer.Take();
}

Result<uint32_t> FindSnapshot(const SnapshotList& list, std::string_view name_or_uid) {
  std::vector<uint32_t> uids;
  for (const Snapshot& snapshot : list.snapshots) {
    if (snapshot.display_name == name_or_uid) uids.push_back(snapshot.uid);
  }
  if (uids.size() == 1) return uids.front();
  if (uids.size() > 1) {
    return Error(Code::kInvalidArgument,
                 fmt::format("snapshot {}: several have this name, say which by its number: {}",
                             name_or_uid, fmt::join(uids, ", ")));
  }
  const std::optional<uint64_t> number = ParseNumber(name_or_uid, 10);
  if (number && *number <= std::numeric_limits<uint32_t>::max() &&
      list.Find(static_cast<uint32_t>(*number)) != nullptr) {
    return static_cast<uint32_t>(*number);
  }
  return Error(Code::kNotFound, fmt::format("snapshot {}: no such snapshot", name_or_uid));
}

}  // namespace disklib
