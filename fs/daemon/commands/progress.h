// A progress bar on a terminal, and being interrupted: for work that takes long.
//
// Nothing is shown when standard error is no terminal. Ctrl-C asks the work to stop at its next
// step instead of ending the process in the middle. Thread rule: the main thread. Place in the
// stack: the program.
#pragma once

#include <cstdint>
#include <string>

#include "disklib/new_extents.h"

namespace stratad {

class ProgressBar final : public disklib::Progress {
 public:
  explicit ProgressBar(std::string title);

  // Clears the line.
  ~ProgressBar();

  // Shows how far the work is. Answers false when it should stop.
  bool Advance(uint64_t done, uint64_t total) override;

 private:
  const std::string title_;
  const bool shown_;
  int last_percent_ = -1;
};

// Whether SIGINT or SIGTERM came since the program installed `CatchInterrupts`.
void CatchInterrupts();
bool Interrupted();

}  // namespace stratad
