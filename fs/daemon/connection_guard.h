// `ConnectionGuard`: a small process that ends the daemon's FUSE connections when the daemon is
// killed.
//
// A thread that makes the kernel forget a name waits for that folder's lock, and cannot be
// interrupted. Somebody who creates a file in that folder holds the lock until the daemon answers.
// Were the daemon killed just then, the thread would keep the process, its connection and its hold
// on the volume for ever. The guard hears of the death of the daemon's first thread (prctl(2),
// PR_SET_PDEATHSIG) and aborts the connections through fusectl, so that the one lets go of the
// other. Thread rule: Start() on the process's first thread before there are others; Watch() on any
// one thread at a time. Place in the stack: beside the FUSE sessions.
#pragma once

#include <string>

#include <sys/types.h>

#include "fs/base/result.h"

namespace stratad {

class ConnectionGuard {
 public:
  // Forks. Errors: those of errno.
  static base::Result<ConnectionGuard> Start();

  ConnectionGuard(ConnectionGuard&& other) noexcept;
  ConnectionGuard& operator=(ConnectionGuard&&) = delete;

  // The guard ends, and leaves the connections alone.
  ~ConnectionGuard();

  // `device`: as mount tables show the mount, "0:52". Where fusectl is not mounted and this user
  // may not mount it, the connection stays without a guard. Errors: kInvalidArgument, kIo (the
  // guard is gone).
  base::Status Watch(const std::string& device);

  pid_t process() const { return process_; }

 private:
  ConnectionGuard(pid_t process, int pipe) : process_(process), pipe_(pipe) {}

  pid_t process_;
  int pipe_;  // tells the guard what to watch; -1: moved from
};

}  // namespace stratad
