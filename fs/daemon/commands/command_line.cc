#include "fs/daemon/commands/command_line.h"

#include <array>
#include <cstdio>

#include <fmt/format.h>

namespace stratad {

int PrintError(std::string_view what, const base::Error& error) {
  fmt::print(stderr, "strata {}: {}\n", what, error.message());
  return kExitFailed;
}

int ExitCodeOf(std::string_view what, const base::Status& status) {
  return status ? kExitOk : PrintError(what, status.error());
}

std::string DescribeOpenDisk(const Json& disk) {
  const std::string path = StringOf(disk, "disk").value_or("");
  const std::string user = StringOf(disk, "user").value_or("");
  if (FlagOf(disk, "stands_on")) return fmt::format("{} stands on it ({})", path, user);
  return fmt::format("{} is open for {} ({})", path, FlagOf(disk, "writes") ? "writing" : "reading",
                     user);
}

std::string FormatBytes(uint64_t bytes) {
  constexpr std::array<std::string_view, 6> kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  if (unit == 0) return fmt::format("{} B", bytes);
  return fmt::format("{:.{}f} {}", value, value < 100 ? 1 : 0, kUnits[unit]);
}

std::string FormatDuration(uint64_t seconds) {
  const uint64_t minutes = seconds / 60;
  const uint64_t hours = minutes / 60;
  const uint64_t days = hours / 24;
  if (days > 0) return fmt::format("{} d {} h", days, hours % 24);
  if (hours > 0) return fmt::format("{} h {} min", hours, minutes % 60);
  if (minutes > 0) return fmt::format("{} min {} s", minutes, seconds % 60);
  return fmt::format("{} s", seconds);
}

}  // namespace stratad
