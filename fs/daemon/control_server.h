// `ControlServer`: the daemon's Unix socket, one JSON object per line in each direction.
//
// A request is {"command": NAME, …}; the answer is {"ok": true, …} or {"ok": false, "error": TEXT,
// "code": NAME, "errno": NUMBER}. Long work sends lines {"progress": {"done": BYTES, "total":
// BYTES}} before its answer; a caller that shuts down its sending side asks it to stop. Requests of
// one connection are answered in order, connections side by side. Only the user who runs the
// daemon, and root, are heard.
// The process ignores SIGPIPE: clients may leave at any time.
// Thread rule: the executor's thread. Place in the stack: beside the FUSE sessions.
#pragma once

#include <memory>
#include <string>
#include <unordered_set>

#include "disklib/new_extents.h"
#include "fs/base/result.h"
#include "fs/base/sync.h"
#include "fs/base/uring_executor.h"
#include "fs/daemon/json.h"

namespace stratad {

class ControlHandler {
 public:
  virtual ~ControlHandler() = default;

  // The answer to a request, without "ok" when it is a success. `caller` hears how far the work is,
  // and answers false when it hung up.
  virtual base::Task<base::Result<Json>> Handle(Json& request, disklib::Progress& caller) = 0;
};

class ControlServer {
 public:
  // Listens. What a dead daemon left at `socket_path` is replaced. Blocks shortly.
  // Errors: kBusy (somebody answers there) and others of errno.
  static base::Result<std::unique_ptr<ControlServer>> Create(base::UringExecutor& executor,
                                                             const std::string& socket_path,
                                                             ControlHandler& handler);
  ~ControlServer();

  void Start();

  // Takes no more connections, lets requests under way finish, and removes the socket.
  base::Task<void> Stop();

 private:
  struct Connection {
    int descriptor;
    bool reading = false;
    std::string received;
  };

  ControlServer(base::UringExecutor& executor, const std::string& socket_path, int listener,
                ControlHandler& handler);

  base::Task<void> AcceptLoop();
  base::Task<void> Serve(int descriptor);
  base::Task<bool> ReadLine(Connection& connection, std::string& line);
  base::Task<bool> WriteLine(Connection& connection, std::string& line);

  base::UringExecutor& executor_;
  const std::string socket_path_;
  int listener_;
  ControlHandler& handler_;
  base::TaskGroup tasks_;
  std::unordered_set<Connection*> connections_;
  bool stopping_ = false;
};

// The wire form of an answer.
Json ToAnswer(const base::Result<Json>& result);

}  // namespace stratad
