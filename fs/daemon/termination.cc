#include "fs/daemon/termination.h"

#include <cerrno>
#include <utility>

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace stratad {
namespace {

sigset_t TerminationSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  return signals;
}

}  // namespace

void BlockTerminationSignals() {
  const sigset_t signals = TerminationSignals();
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

base::Result<std::unique_ptr<TerminationSource>> TerminationSource::Create(
    std::function<void()> on_signal) {
  const sigset_t signals = TerminationSignals();
  const int descriptor = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
  if (descriptor < 0) return base::ErrnoError(errno, "wait for signals");
  return std::unique_ptr<TerminationSource>(
      new TerminationSource(descriptor, std::move(on_signal)));
}

TerminationSource::~TerminationSource() {
  close(descriptor_);
}

bool TerminationSource::Drain() {
  signalfd_siginfo signal{};
  if (read(descriptor_, &signal, sizeof(signal)) != sizeof(signal)) return false;
  on_signal_();
  return true;
}

}  // namespace stratad
