// Logging: one component name per call, levels as in house style, the last lines kept for CHECK.
//
// `base::LogInfo("vmfs", "mounted label={} uuid={}", label, uuid)`. Thread rule: any thread.
// `error`: an administrator must act. `warn`: handled but unusual. `info`: life cycle, a few lines
// per mount. `debug`: per operation; nothing above debug on the data path. An error is logged once,
// where it is handled. spdlog is named in `log.cc` alone.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string_view>
#include <utility>

namespace base {

enum class LogLevel : uint8_t { kDebug, kInfo, kWarn, kError, kOff };

// Lines below `level` are kept in the ring only. Default: kWarn, to standard error.
void SetLogLevel(LogLevel level);

// Sends lines to `file_path` (appended) instead of standard error. Returns false if it cannot.
bool SetLogFile(std::string_view file_path);

// Whether a line of `level` goes anywhere (output, or the ring of the last 1,024 lines).
bool LogEnabled(LogLevel level);

void WriteLogLine(LogLevel level, std::string_view component, std::string_view message);

// Prints the ring of the last lines to standard error; called when a CHECK fails.
void DumpRecentLog();

template <typename... Args>
void Log(LogLevel level, std::string_view component, fmt::format_string<Args...> format,
         Args&&... args) {
  if (LogEnabled(level)) {
    WriteLogLine(level, component, fmt::format(format, std::forward<Args>(args)...));
  }
}

template <typename... Args>
void LogError(std::string_view component, fmt::format_string<Args...> format, Args&&... args) {
  Log(LogLevel::kError, component, format, std::forward<Args>(args)...);
}
template <typename... Args>
void LogWarn(std::string_view component, fmt::format_string<Args...> format, Args&&... args) {
  Log(LogLevel::kWarn, component, format, std::forward<Args>(args)...);
}
template <typename... Args>
void LogInfo(std::string_view component, fmt::format_string<Args...> format, Args&&... args) {
  Log(LogLevel::kInfo, component, format, std::forward<Args>(args)...);
}
template <typename... Args>
void LogDebug(std::string_view component, fmt::format_string<Args...> format, Args&&... args) {
  Log(LogLevel::kDebug, component, format, std::forward<Args>(args)...);
}

}  // namespace base
