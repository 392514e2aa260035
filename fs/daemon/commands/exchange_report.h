// What import and export tell: the phases they go through, and what came of it.
//
// Thread rule: the main thread. Place in the stack: the program.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/exchange/export.h"
#include "disklib/exchange/import.h"
#include "disklib/exchange/in_place.h"
#include "fs/daemon/commands/progress.h"

namespace stratad {

// A progress bar for each phase.
class ProgressPhases final : public disklib::Phases {
 public:
  disklib::Progress* Begin(std::string_view what) override {
    bar_.emplace(std::string(what));
    return &*bar_;
  }

  // Clears the last one.
  void End() { bar_.reset(); }

 private:
  std::optional<ProgressBar> bar_;
};

struct ImportReport {
  std::string machine_path;  // empty: one disk was imported
  std::vector<disklib::ImportedDisk> disks;
  std::vector<std::string> unused;  // files of the package that no disk is in
  bool has_manifest = false;
};

struct ExportReport {
  std::string path;  // of what was made
  std::string format;
  uint64_t file_bytes = 0;
  std::vector<disklib::ExportedDisk> disks;
};

// On standard output.
void PrintReport(const ImportReport& report, bool as_json);
void PrintReport(const ExportReport& report, bool as_json);
void PrintReport(const disklib::InPlaceMachine& machine, bool as_json);

}  // namespace stratad
