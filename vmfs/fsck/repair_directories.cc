// Contents of directories that contradict themselves, rebuilt from their names.
#include <set>

#include "vmfs/fsck/directory_edit.h"
#include "vmfs/fsck/repair_work.h"

namespace vmfs::fsck {
namespace {

bool IsOfDirectory(FindingCode code) {
  switch (code) {
    case FindingCode::kDirectory:
    case FindingCode::kDirectoryRecord:
    case FindingCode::kDirectoryHash:
    case FindingCode::kDirectoryMap:
    case FindingCode::kDirectoryCount:
    case FindingCode::kDuplicateName:
    case FindingCode::kInode:  // too short for what a directory holds
    case FindingCode::kParent: return true;
    default: return false;
  }
}

}  // namespace

base::Task<base::Status> RepairDirectories(RepairWork& work) {
  if (work.state() == nullptr || !work.state()->report().is_whole) co_return base::Ok();
  State& state = *work.state();
  std::set<FdAddress> directories;
  for (const Finding& finding : state.report().findings) {
    const FdAddress fd(finding.place.fd);
    if (fd.is_none() || !IsOfDirectory(finding.code)) continue;
    const uint64_t index = state.InodeIndex(fd);
    if (index >= state.inodes.size()) continue;
    if (state.inodes[index].is_directory() || fd == kSddFd) directories.insert(fd);
  }
  for (const FdAddress fd : directories) {
    DirectoryEdit edit;
    const base::Status done = co_await RebuildDirectory(work, fd, edit);
    if (!IsLocal(done)) co_return done;
  }
  co_return base::Ok();
}

}  // namespace vmfs::fsck
