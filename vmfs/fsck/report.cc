#include "vmfs/fsck/report.h"

#include <algorithm>

namespace vmfs {

std::string_view NameOf(FindingCode code) {
  switch (code) {
    case FindingCode::kUnreadable: return "unreadable";
    case FindingCode::kLvm: return "lvm";
    case FindingCode::kSuperblock: return "superblock";
    case FindingCode::kMark: return "mark";
    case FindingCode::kReservedArea: return "reserved area";
    case FindingCode::kHeartbeat: return "heartbeat";
    case FindingCode::kInUse: return "in use";
    case FindingCode::kJournal: return "journal";
    case FindingCode::kJournalPending: return "journal pending";
    case FindingCode::kSystemFile: return "system file";
    case FindingCode::kLock: return "lock";
    case FindingCode::kStaleLock: return "stale lock";
    case FindingCode::kCluster: return "cluster";
    case FindingCode::kFreeCount: return "free count";
    case FindingCode::kBitmap: return "bitmap";
    case FindingCode::kAffinity: return "affinity";
    case FindingCode::kInode: return "descriptor";
    case FindingCode::kMapRule: return "map rule";
    case FindingCode::kBlockRange: return "block out of range";
    case FindingCode::kBlockUsedTwice: return "block used twice";
    case FindingCode::kBlockNotMarked: return "block not marked used";
    case FindingCode::kBlockLeaked: return "block leaked";
    case FindingCode::kBlockCount: return "block count";
    case FindingCode::kDirectory: return "directory";
    case FindingCode::kDirectoryRecord: return "directory record";
    case FindingCode::kDirectoryHash: return "directory hash";
    case FindingCode::kDirectoryMap: return "directory map";
    case FindingCode::kDirectoryCount: return "directory count";
    case FindingCode::kDuplicateName: return "duplicate name";
    case FindingCode::kDanglingEntry: return "dangling entry";
    case FindingCode::kParent: return "parent";
    case FindingCode::kLinkCount: return "link count";
    case FindingCode::kOrphan: return "orphan";
    case FindingCode::kRepairPending: return "repair pending";
  }
  return "unknown";
}

std::string_view NameOf(FindingSeverity severity) {
  switch (severity) {
    case FindingSeverity::kInfo: return "info";
    case FindingSeverity::kWarning: return "warning";
    case FindingSeverity::kError: return "error";
  }
  return "unknown";
}

uint64_t FsckReport::CountOf(FindingCode code) const {
  return static_cast<uint64_t>(std::ranges::count(findings, code, &Finding::code));
}

}  // namespace vmfs
