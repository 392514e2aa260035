#include "fs/daemon/process_state.h"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>

namespace stratad {
namespace {

// PF_EXITING of the kernel's task flags, field 9 of proc_pid_stat(5).
constexpr uint64_t kExitingFlag = 0x4;
constexpr uint64_t kKillBit = uint64_t{1} << (SIGKILL - 1);

std::string ReadAll(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// A mask of signals, "ShdPnd:\t0000000000000100".
bool IsKillIn(std::string_view status, std::string_view key) {
  const size_t at = status.find(key);
  if (at == std::string_view::npos) return false;
  std::string_view digits = status.substr(at + key.size());
  digits.remove_prefix(std::min(digits.size(), digits.find_first_not_of(" \t")));
  uint64_t mask = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), mask, 16);
  return (mask & kKillBit) != 0;
}

}  // namespace

bool SaysEnding(std::string_view stat, std::string_view status) {
  // The name stands in parentheses and may hold anything.
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string_view::npos) return true;
  std::istringstream fields{std::string(stat.substr(name_end + 1))};
  std::string state, skipped;
  uint64_t flags = 0;
  fields >> state;
  for (int field = 4; field <= 8; ++field) fields >> skipped;
  fields >> flags;
  return state == "Z" || state == "X" || (flags & kExitingFlag) != 0 ||
         IsKillIn(status, "SigPnd:") || IsKillIn(status, "ShdPnd:");
}

bool IsEnding(pid_t process) {
  const std::string folder = "/proc/" + std::to_string(process);
  return SaysEnding(ReadAll(folder + "/stat"), ReadAll(folder + "/status"));
}

pid_t ProcessIn(std::string_view address_text) {
  constexpr std::string_view kKey = " pid ";
  const size_t at = address_text.rfind(kKey);
  if (at == std::string_view::npos) return 0;
  const std::string_view digits = address_text.substr(at + kKey.size());
  pid_t process = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), process);
  return process;
}

}  // namespace stratad
