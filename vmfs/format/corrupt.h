// The error of every decoder: bytes from disk that contradict the format.
//
// Any thread.
#pragma once

#include <fmt/format.h>

#include <utility>

#include "fs/base/result.h"

namespace vmfs {

// kCorrupt with a message "structure at address: what was found".
template <typename... Args>
base::Error CorruptError(fmt::format_string<Args...> format, Args&&... args) {
  return base::Error(base::Code::kCorrupt, fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
base::Error NotRecognizedError(fmt::format_string<Args...> format, Args&&... args) {
  return base::Error(base::Code::kNotRecognized, fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
base::Error VersionError(fmt::format_string<Args...> format, Args&&... args) {
  return base::Error(base::Code::kVersionUnsupported,
                     fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace vmfs
