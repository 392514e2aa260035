#include "fs/daemon/commands/progress.h"

#include <cstdio>
#include <utility>

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

namespace stratad {
namespace {

constexpr int kBarCells = 40;

volatile sig_atomic_t interrupted = 0;

void NoteInterrupt(int) {
  interrupted = 1;
}

}  // namespace

void CatchInterrupts() {
  struct sigaction action {};

  action.sa_handler = NoteInterrupt;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool Interrupted() {
  return interrupted != 0;
}

ProgressBar::ProgressBar(std::string title)
    : title_(std::move(title)), shown_(isatty(STDERR_FILENO) != 0) {}

ProgressBar::~ProgressBar() {
  if (shown_ && last_percent_ >= 0) fmt::print(stderr, "\r\033[K");
}

bool ProgressBar::Advance(uint64_t done, uint64_t total) {
  const double part = total == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(total);
  const int percent = static_cast<int>(part * 100);
  if (shown_ && percent != last_percent_) {
    last_percent_ = percent;
    const int cells = static_cast<int>(part * kBarCells);
    fmt::print(stderr, "\r{} [{:#<{}}{: <{}}] {:3} %", title_, "", cells, "", kBarCells - cells,
               percent);
    std::fflush(stderr);
  }
  return !Interrupted();
}

}  // namespace stratad
