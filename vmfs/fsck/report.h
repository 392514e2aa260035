// What a check found: findings in words, each with a code a program can act on, and counters.
//
// Thread rule: plain values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vmfs {

enum class FindingSeverity : uint8_t {
  kInfo,     // worth saying, nothing is wrong: a journal that will be replayed, a stale lock
  kWarning,  // a rule is broken that harms nobody yet: leaked space, a wrong hint
  kError,    // data or names are lost or will be: must be repaired
};

// What kind of thing is wrong. Repairing works by code; the text says where.
enum class FindingCode : uint8_t {
  kUnreadable,        // the device failed a read; the rest of that structure is unchecked
  kLvm,               // the LVM headers
  kSuperblock,
  kMark,              // our private mark
  kReservedArea,      // bytes that must be zero are not
  kHeartbeat,
  kInUse,             // a heartbeat is in use: the volume is mounted, or its host died
  kJournal,           // contents that cannot be replayed
  kJournalPending,    // contents that will be replayed; the check sees the state behind it
  kSystemFile,        // a resource header or a system file's map
  kLock,              // a lock block that cannot be
  kStaleLock,         // held by a heartbeat that is no longer the one it names
  kCluster,           // cluster metadata that cannot be
  kFreeCount,         // free_count does not agree with the bitmap
  kBitmap,            // codes that cannot be
  kAffinity,          // counts that do not add up
  kInode,
  kMapRule,           // a zero slot before a used one, COW or TBZ bits, wrong kind of address
  kBlockRange,        // an address of something that does not exist
  kBlockUsedTwice,
  kBlockNotMarked,    // in use, but free in the bitmap
  kBlockLeaked,       // used in the bitmap, but belongs to nothing
  kBlockCount,        // a descriptor's counts do not agree with its map
  kDirectory,         // header or block that cannot be
  kDirectoryRecord,   // a record that cannot be
  kDirectoryHash,     // a name its hash does not lead to, or a bucket that leads nowhere
  kDirectoryMap,      // the allocation map does not agree with the blocks
  kDirectoryCount,    // entry count
  kDuplicateName,
  kDanglingEntry,     // a name of a descriptor that is not there, or is another one
  kParent,            // a descriptor's parent field, or ".."
  kLinkCount,
  kOrphan,            // a descriptor without a name
  kRepairPending,     // a repair was cut short; the check sees the state behind it
};

// "block used twice"; stable, for programs.
std::string_view NameOf(FindingCode code);
std::string_view NameOf(FindingSeverity severity);

// Where a finding is, for programs. What does not apply is zero.
struct FindingPlace {
  uint32_t fd = 0;        // the descriptor, as its address; of a name, its directory
  uint8_t resource = 0;   // ResourceKind + 1 of a cluster
  uint64_t number = 0;    // the cluster, or the heartbeat
  uint64_t address = 0;   // volume address of a lock block or region
  friend bool operator==(const FindingPlace&, const FindingPlace&) = default;
};

struct Finding {
  FindingSeverity severity;
  FindingCode code;
  std::string text;
  FindingPlace place = {};
};

struct FsckCounters {
  uint64_t files = 0, directories = 0, symlinks = 0, others = 0;
  uint64_t names = 0;
  uint64_t blocks = 0, blocks_used = 0;
  uint64_t sub_blocks = 0, sub_blocks_used = 0;
  uint64_t descriptors = 0, descriptors_used = 0;
  uint64_t journal_images_replayed = 0;
};

struct FsckReport {
  std::vector<Finding> findings;  // the first ones, see FsckOptions::findings_max
  uint64_t error_count = 0, warning_count = 0, info_count = 0;
  FsckCounters counters;
  bool is_ours = false;  // carries our mark
  bool is_dirty = false; // a heartbeat is in use
  bool is_whole = false; // no structure was so broken that what hangs on it was left unchecked

  bool is_clean() const { return error_count == 0 && warning_count == 0; }
  // Number of kept findings with this code.
  uint64_t CountOf(FindingCode code) const;
};

}  // namespace vmfs
