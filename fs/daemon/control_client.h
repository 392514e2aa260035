// The other end of the control socket, for programs: one connection, blocking.
//
// Thread rule: one owner. Place in the stack: used by the commands of `strata`.
#pragma once

#include <string>
#include <utility>

#include "disklib/new_extents.h"
#include "fs/base/result.h"
#include "fs/daemon/json.h"

namespace stratad {

class ControlClient {
 public:
  // Errors: kNotFound (no daemon serves there) and others of errno.
  static base::Result<ControlClient> Connect(const std::string& socket_path);

  // Connects to the daemon of the mount that `path` lies on. Errors: kNotFound as well when it lies
  // on none.
  static base::Result<ControlClient> ConnectToMount(const std::string& mount_point);

  ControlClient(ControlClient&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)),
        process_descriptor_(std::exchange(other.process_descriptor_, -1)),
        received_(std::move(other.received_)) {}

  ControlClient& operator=(ControlClient&&) = delete;
  ~ControlClient();

  // Sends a request and waits for its answer, for as long as that takes. A refusal becomes an error
  // with the daemon's code and words. `progress` may be null; when it answers false, also after a
  // signal, the daemon is asked to stop and its answer awaited. Error kIo: the daemon ended without
  // an answer.
  base::Result<Json> Ask(const Json& request, disklib::Progress* progress = nullptr);

  // Waits until the daemon's process is gone.
  void WaitForExit();

 private:
  ControlClient(int descriptor, int process_descriptor)
      : descriptor_(descriptor), process_descriptor_(process_descriptor) {}

  // One line, without its end. Signals end the wait for it with kInterrupted.
  base::Result<std::string> ReadLine();

  int descriptor_;
  int process_descriptor_;  // pidfd of the daemon; -1 where the kernel gave none
  std::string received_;
};

}  // namespace stratad
