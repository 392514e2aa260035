// CHECK guards our own invariants and stays on in release builds; DCHECK is for costly ones.
//
// A failed CHECK prints the condition, the place and the last log lines, and ends the process.
// Nothing that comes from a disk, a guest, a socket or a file is ever checked this way: that is
// validated and answered with an error.
#pragma once

namespace base {

[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);

}  // namespace base

#define CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::base::CheckFailed(#condition, __FILE__, __LINE__))

#ifdef NDEBUG
#define DCHECK(condition) static_cast<void>(0)
#else
#define DCHECK(condition) CHECK(condition)
#endif
