// Signals that ask the daemon to end, as an event of its executor.
//
// Thread rule: `BlockTerminationSignals` before any thread is started, the rest on the executor's
// thread. Place in the stack: life cycle of the daemon.
#pragma once

#include <functional>
#include <memory>

#include "fs/base/result.h"
#include "fs/base/uring_executor.h"

namespace stratad {

// From now on SIGTERM, SIGINT and SIGHUP wait to be taken; SIGPIPE is ignored.
void BlockTerminationSignals();

class TerminationSource final : public base::Source {
 public:
  // Errors: those of signalfd(2).
  static base::Result<std::unique_ptr<TerminationSource>> Create(std::function<void()> on_signal);
  ~TerminationSource() override;

  int descriptor() const override { return descriptor_; }

  bool Drain() override;

 private:
  TerminationSource(int descriptor, std::function<void()> on_signal)
      : descriptor_(descriptor), on_signal_(std::move(on_signal)) {}

  const int descriptor_;
  const std::function<void()> on_signal_;
};

}  // namespace stratad
