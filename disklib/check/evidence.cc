#include <algorithm>
#include <chrono>
#include <ctime>
#include <string>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "disklib/check/chain_state.h"
#include "disklib/names.h"

namespace disklib::check {
namespace {

using base::Result;

std::string FormatTime(uint64_t time_us) {
  const auto seconds = static_cast<std::time_t>(time_us / 1'000'000);
  return fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", fmt::gmtime(seconds));
}

// When the snapshot that froze a link was taken; 0: no record says.
uint64_t FrozenAt(const Folder& folder, std::string_view path) {
  for (const auto& [file_path, file] : folder.files) {
    for (const Snapshot& snapshot : file.snapshots.snapshots) {
      for (const SnapshotDisk& disk : snapshot.disks) {
        const Result<std::string> named = ResolveName(folder.path, disk.file_name);
        if (named && *named == path) return snapshot.created_us;
      }
    }
  }
  return 0;
}

// When the bytes of a link were last written, by the times of its extents.
uint64_t WrittenAt(const ChainLink& link) {
  uint64_t newest_us = 0;
  for (const ObjectInfo& info : link.extent_infos) {
    newest_us = std::max(newest_us, info.modified_us);
  }
  return newest_us;
}

void SayTimes(CheckReport& report, const ChainLink& child, const ChainLink& parent) {
  const uint64_t written_us = WrittenAt(parent);
  report.evidence.push_back(fmt::format(
      "{}: descriptor of {}, data of {}", parent.file->path,
      FormatTime(parent.file->info.modified_us), FormatTime(written_us)));
  report.evidence.push_back(fmt::format("{}: descriptor of {}, data of {}", child.file->path,
                                        FormatTime(child.file->info.modified_us),
                                        FormatTime(WrittenAt(child))));
  const uint64_t frozen_us = FrozenAt(*parent.folder, parent.file->path);
  if (frozen_us != 0) {
    report.evidence.push_back(fmt::format(
        "the snapshot that froze {} was taken {}; its data was {}", parent.file->path,
        FormatTime(frozen_us),
        written_us > frozen_us + 2'000'000 ? "written after that" : "not written after that"));
  }
  const uint64_t born_us = frozen_us != 0 ? frozen_us : child.file->info.modified_us;
  if (parent.file->info.modified_us > born_us && written_us <= born_us) {
    report.evidence.push_back(fmt::format(
        "{} has a newer descriptor but no newer data: its content id may have changed alone",
        parent.file->path));
  }
}

// Whoever has the content that the child was made of.
void SayWhoHasTheContent(CheckReport& report, const ChainLink& child, const ChainLink& parent) {
  const uint32_t wanted = child.descriptor().parent_content_id;
  for (const auto& [path, file] : child.folder->files) {
    if (!file.descriptor.is_usable || &file == parent.file || &file == child.file) continue;
    if (file.descriptor.descriptor.content_id != wanted) continue;
    report.evidence.push_back(fmt::format("{} has CID {}, the content {} was made of", path,
                                          FormatContentId(wanted), child.file->path));
  }
  if (wanted == kFreshContentId) {
    report.evidence.push_back(fmt::format(
        "{} was made when {} had never been written", child.file->path, parent.file->path));
  }
  for (const FolderFile* const sibling : child.folder->ChildrenOf(parent.file->path)) {
    if (sibling == child.file || !sibling->descriptor.is_usable) continue;
    const bool agrees = sibling->descriptor.descriptor.parent_content_id ==
                        parent.descriptor().content_id;
    report.evidence.push_back(fmt::format("its sibling {} {}", sibling->path,
                                          agrees ? "agrees with the parent as it is now"
                                                 : "disagrees with the parent, too"));
  }
}

// What an unfinished operation of this program says in the descriptors.
void SayUnfinished(CheckReport& report, const ChainLink& link) {
  for (const KeyValue& pair : link.descriptor().disk_database) {
    if (!pair.key.starts_with("ddb.strata.")) continue;
    report.evidence.push_back(
        fmt::format("{} says {} = {}", link.file->path, pair.key, pair.value));
  }
}

void SayShare(CheckReport& report, const ChainLink& child) {
  const uint64_t capacity = child.descriptor().capacity_sectors() * kSectorBytes;
  const uint64_t own = std::min(child.held_bytes, capacity);
  report.evidence.push_back(fmt::format(
      "{} holds {} of {} bytes itself; {} are read from the parent as it is now",
      child.file->path, own, capacity, capacity - own));
}

}  // namespace

void GatherEvidence(CheckRun& run, const ChainLink& child, const ChainLink& parent) {
  CheckReport& report = run.report();
  report.evidence.push_back(fmt::format(
      "{} expects content {}, {} has {}", child.file->path,
      FormatContentId(child.descriptor().parent_content_id), parent.file->path,
      FormatContentId(parent.descriptor().content_id)));
  SayTimes(report, child, parent);
  SayWhoHasTheContent(report, child, parent);
  SayUnfinished(report, child);
  SayUnfinished(report, parent);
  SayShare(report, child);
}

}  // namespace disklib::check
