#include "fs/base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/ringbuffer_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "fs/base/check.h"

namespace base {
namespace {

constexpr size_t kRingLines = 1024;
constexpr const char* kPattern = "%Y-%m-%dT%H:%M:%S.%e %^%l%$ %v";

struct Logger {
  std::shared_ptr<spdlog::sinks::ringbuffer_sink_mt> ring =
      std::make_shared<spdlog::sinks::ringbuffer_sink_mt>(kRingLines);
  std::shared_ptr<spdlog::sinks::sink> output = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  std::shared_ptr<spdlog::logger> logger = MakeLogger();

  std::shared_ptr<spdlog::logger> MakeLogger() {
    output->set_level(spdlog::level::warn);
    auto made = std::make_shared<spdlog::logger>("strata", spdlog::sinks_init_list{ring, output});
    made->set_level(spdlog::level::info);
    made->set_pattern(kPattern);
    return made;
  }
};

Logger& TheLogger() {
  static Logger logger;
  return logger;
}

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return spdlog::level::debug;
    case LogLevel::kInfo: return spdlog::level::info;
    case LogLevel::kWarn: return spdlog::level::warn;
    case LogLevel::kError: return spdlog::level::err;
    case LogLevel::kOff: return spdlog::level::off;
  }
  return spdlog::level::off;
}

}  // namespace

void SetLogLevel(LogLevel level) {
  Logger& log = TheLogger();
  log.output->set_level(ToSpdlog(level));
  log.logger->set_level(level == LogLevel::kDebug ? spdlog::level::debug : spdlog::level::info);
}

bool SetLogFile(std::string_view file_path) {
  Logger& log = TheLogger();
  try {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(std::string(file_path));
    sink->set_level(log.output->level());
    log.output = sink;
  } catch (const spdlog::spdlog_ex&) {
    return false;
  }
  log.logger->sinks().back() = log.output;
  log.logger->set_pattern(kPattern);
  log.logger->flush_on(spdlog::level::info);
  return true;
}

bool LogEnabled(LogLevel level) { return TheLogger().logger->should_log(ToSpdlog(level)); }

void WriteLogLine(LogLevel level, std::string_view component, std::string_view message) {
  TheLogger().logger->log(ToSpdlog(level), "{}: {}", component, message);
}

void DumpRecentLog() {
  for (const std::string& line : TheLogger().ring->last_formatted()) {
    std::fputs(line.c_str(), stderr);
  }
}

void CheckFailed(const char* condition, const char* file, int line) {
  DumpRecentLog();
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace base
