// Going into the background: the parent waits until the daemon says whether the mount is up.
//
// Thread rule: before any thread or ring is made; fork(2) would not copy them. Place in the stack:
// life cycle of the daemon.
#pragma once

#include <memory>
#include <string>

#include "fs/base/result.h"
#include "fs/daemon/daemon.h"

namespace stratad {

// What a daemon process works with; `RunInBackground` calls it once.
class DaemonMain {
 public:
  virtual ~DaemonMain() = default;

  // Runs the daemon to its end and answers the process's exit code.
  virtual int Run(StartListener& listener) = 0;
};

// Forks. The child leaves the terminal and runs `daemon`; the parent returns as soon as the child
// has reported, with what it reported. Error kIo: the child ended without a word.
base::Status RunInBackground(DaemonMain& daemon);

}  // namespace stratad
