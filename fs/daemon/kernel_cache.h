// `KernelCache`: makes the kernel forget what changed behind its back, off the executor's thread.
//
// A notification may wait for the very request that the executor is about to answer, so each batch
// runs on a thread of its own while the executor goes on. Thread rule: the executor's thread. Place
// in the stack: between the side doors of the volumes and the FUSE session that shows their files.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/sync.h"
#include "fs/base/uring_executor.h"
#include "fs/daemon/fuse_session.h"

namespace stratad {

class KernelCache {
 public:
  explicit KernelCache(base::UringExecutor& executor)
      : executor_(executor), tasks_(executor), changed_(executor) {}

  // The session whose kernel side is meant; nullptr: nothing is sent (any more).
  void Attach(FuseSession* session) { session_ = session; }

  // Inodes as the session numbers them.
  void ForgetName(fss::InodeNumber parent, std::string_view name);
  void ForgetContent(fss::InodeNumber inode);

  // Waits until everything that was asked for is done.
  base::Task<void> Flush();

 private:
  struct Change {
    fss::InodeNumber inode;
    std::string name;  // empty: the inode's content, else a name in this directory
  };

  void Add(Change change);
  base::Task<void> Send();

  base::UringExecutor& executor_;
  FuseSession* session_ = nullptr;
  std::vector<Change> pending_;
  bool sending_ = false;
  base::TaskGroup tasks_;
  base::AsyncCondition changed_;
};

}  // namespace stratad
