// What the phases of a check share: the volume, the findings, and who uses what.
//
// Internal to `vmfs/fsck`. Thread rule: the device's executor.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "vmfs/format/heartbeat_slot.h"
#include "vmfs/format/journal_block.h"
#include "vmfs/fsck/fsck.h"
#include "vmfs/raw_volume.h"

namespace vmfs::fsck {

// One bit per thing.
class Bitmap {
 public:
  void Resize(uint64_t count) {
    count_ = count;
    words_.assign((count + 63) / 64, 0);
  }
  uint64_t count() const { return count_; }
  bool Get(uint64_t index) const { return (words_[index / 64] >> (index % 64) & 1) != 0; }
  void Clear(uint64_t index) { words_[index / 64] &= ~(uint64_t{1} << (index % 64)); }
  // Sets the bit; answers whether it was set before.
  bool Set(uint64_t index) {
    const bool before = Get(index);
    words_[index / 64] |= uint64_t{1} << (index % 64);
    return before;
  }

 private:
  uint64_t count_ = 0;
  std::vector<uint64_t> words_;
};

// What the bitmaps of a kind say, and what was found in use.
struct Usage {
  Bitmap marked;
  Bitmap seen;
  std::vector<uint32_t> keys;    // affinity, where the kind has keys and this program checks them
  std::vector<uint32_t> owners;  // the descriptor first seen to use it, where there are keys
};

// How many blocks of a small-block cluster belong to a descriptor.
struct OwnedBlocks {
  uint32_t fd = 0;
  uint32_t block_count = 0;
};

// An address in a descriptor's map that leads to what another one uses already.
struct DoubleUse {
  uint32_t fd = 0;
  uint64_t ordinal = 0;  // of the addresses in the map, pointer blocks included, in walking order
  friend auto operator<=>(const DoubleUse&, const DoubleUse&) = default;
};

// One record of a directory.
struct NameEntry {
  uint32_t directory = 0;  // its address
  uint32_t target = 0;
  uint32_t generation = 0;
  uint32_t type = 0;
  uint64_t file_offset = 0;  // of the record
};

inline FindingPlace PlaceOf(FdAddress fd) {
  FindingPlace place;
  place.fd = fd.raw();
  return place;
}
inline FindingPlace PlaceOf(ResourceKind kind, uint64_t cluster) {
  FindingPlace place;
  place.resource = static_cast<uint8_t>(static_cast<uint8_t>(kind) + 1);
  place.number = cluster;
  return place;
}
inline FindingPlace PlaceOfHeartbeat(uint32_t index) {
  FindingPlace place;
  place.number = index;
  place.address = HeartbeatAddress(index);
  return place;
}

// What is remembered of a descriptor until the names have been seen.
struct InodeSummary {
  uint32_t generation = 0;
  uint32_t parent = 0;
  uint32_t link_count = 0;
  uint32_t name_count = 0;
  uint32_t subdirectory_count = 0;
  uint8_t type = 0;  // 0: no valid descriptor here

  bool is_directory() const { return type == static_cast<uint8_t>(InodeType::kDirectory); }
};

class State {
 public:
  State(RawVolume& volume, FsckOptions& options, FsckReport& report)
      : volume_(volume), options_(options), report_(report) {}

  RawVolume& volume() { return volume_; }
  FsckReport& report() { return report_; }

  template <typename... Args>
  void Error(FindingCode code, fmt::format_string<Args...> format, Args&&... args) {
    Add(FindingSeverity::kError, code, fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  void Warning(FindingCode code, fmt::format_string<Args...> format, Args&&... args) {
    Add(FindingSeverity::kWarning, code, fmt::format(format, std::forward<Args>(args)...));
  }
  // The same with where it is.
  template <typename... Args>
  void Error(FindingPlace place, FindingCode code, fmt::format_string<Args...> format,
             Args&&... args) {
    Add(FindingSeverity::kError, code, fmt::format(format, std::forward<Args>(args)...), place);
  }
  template <typename... Args>
  void Warning(FindingPlace place, FindingCode code, fmt::format_string<Args...> format,
               Args&&... args) {
    Add(FindingSeverity::kWarning, code, fmt::format(format, std::forward<Args>(args)...), place);
  }
  template <typename... Args>
  void Info(FindingCode code, fmt::format_string<Args...> format, Args&&... args) {
    Add(FindingSeverity::kInfo, code, fmt::format(format, std::forward<Args>(args)...));
  }
  void Add(FindingSeverity severity, FindingCode code, std::string text, FindingPlace place = {}) {
    report_.error_count += severity == FindingSeverity::kError ? 1 : 0;
    report_.warning_count += severity == FindingSeverity::kWarning ? 1 : 0;
    report_.info_count += severity == FindingSeverity::kInfo ? 1 : 0;
    if (report_.findings.size() < options_.findings_max) {
      report_.findings.push_back({severity, code, std::move(text), place});
    }
  }

  // Reports progress and asks whether to go on.
  base::Status Progress(std::string_view phase, uint64_t done, uint64_t total) {
    if (options_.progress) options_.progress(phase, done, total);
    if (options_.is_canceled && options_.is_canceled()) {
      return base::Error(base::Code::kInterrupted, "fsck: interrupted");
    }
    return base::Ok();
  }

  // Reads; a failure is a finding and answers false.
  base::Task<bool> Read(uint64_t volume_address, std::span<std::byte> target) {
    const base::Status status = co_await volume_.Read(volume_address, target);
    if (!status) Error(FindingCode::kUnreadable, "{}", status.error().message());
    co_return status.has_value();
  }

  // Judges a lock block found where `type` belongs.
  void CheckLock(std::span<const std::byte> bytes, uint64_t address, LockType type);

  std::array<HeartbeatSlot, kHeartbeatSlotCount> heartbeats{};
  Usage blocks, sub_blocks, pb2, fds, journal;
  std::vector<InodeSummary> inodes;        // by cluster x 256 + item
  std::vector<uint32_t> last_generations;  // handed out, by descriptor cluster
  std::vector<Orphan> known_orphans;       // named by journals

  // What a repair needs besides the findings.
  bool collects_names = false;
  std::vector<NameEntry> names;            // with `collects_names`
  std::vector<DoubleUse> double_uses;
  bool reserved_sub_block_used = false;
  std::vector<FdAddress> unmarked_fds;  // alive and named, but marked free
  std::vector<std::vector<OwnedBlocks>> owned_blocks;      // by small-block cluster
  std::vector<std::vector<OwnedBlocks>> affinity_lists;    // the same, as the clusters say
  std::set<std::pair<ResourceKind, uint64_t>> bad_clusters;  // with bits, counts or keys to rewrite
  std::array<uint64_t, kHeartbeatSlotCount> lock_generations{};  // the highest any lock names

  void NoteHolder(uint64_t heartbeat_address, uint64_t generation) {
    if (!IsHeartbeatAddress(heartbeat_address)) return;
    uint64_t& highest = lock_generations[HeartbeatIndex(heartbeat_address)];
    highest = std::max(highest, generation);
  }
  void NoteBadCluster(ResourceKind kind, uint64_t cluster) { bad_clusters.emplace(kind, cluster); }

  Usage& usage(ResourceKind kind) {
    switch (kind) {
      case ResourceKind::kFd: return fds;
      case ResourceKind::kSubBlock: return sub_blocks;
      case ResourceKind::kPb2: return pb2;
      case ResourceKind::kJournal: return journal;
      default: return blocks;
    }
  }
  uint64_t InodeIndex(FdAddress fd) const { return uint64_t{fd.cluster()} * 256 + fd.item(); }

 private:
  RawVolume& volume_;
  FsckOptions& options_;
  FsckReport& report_;
};

// A superblock of ours with every field that is the same on all volumes, or follows from the
// format, as it must be; whose it is stays.
Superblock WithFixedFields(Superblock superblock);

// All phases. Errors: kInterrupted only.
base::Task<base::Status> RunPhases(State& state);

// The phases, in this order. Each answers kInterrupted only.
base::Task<base::Status> CheckHeaders(State& state);      // superblock, mark, heartbeats
base::Task<base::Status> CheckJournals(State& state);     // and replays them in memory
base::Task<base::Status> CheckResources(State& state);    // clusters of every kind
base::Task<base::Status> CheckInodes(State& state);       // descriptors and block maps
base::Task<base::Status> CheckDirectories(State& state);  // contents of every directory
void CheckReferences(State& state);                       // what only the whole shows

}  // namespace vmfs::fsck
