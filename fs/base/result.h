// Errors as values: `Result<T>` holds a value or an `Error`; `Status` is `Result<void>`.
//
// Thread rule: plain values, no shared state. Place in the stack: the ground, included by all.
// An `Error` is one `Code` plus cold detail behind one pointer, so that success stays small.
// Every code has its errno, its SCSI sense and its retryability in one table (`error_table.cc`).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace base {

// What went wrong, precisely. The name of a code says the condition, never the layer that met it.
enum class Code : uint8_t {
  kInternal = 1,        // our own invariant did not hold, answered instead of asserted
  kInvalidArgument,     // the caller asked for something that has no meaning
  kOutOfRange,          // beyond the end of a device, a table or a number
  kMisaligned,          // offset or length is not a multiple of the device's block
  kIo,                  // the device or the host's kernel failed the transfer
  kPathDead,            // the path to the device is gone; another path may succeed
  kDeviceLost,          // the device itself is gone, on every path
  kTimedOut,            // no answer within the deadline
  kCanceled,            // given up on request
  kMiscompare,          // COMPARE AND WRITE found other bytes than expected
  kReservationConflict, // another host holds a SCSI reservation
  kBusy,                // in use by somebody on this host
  kLockHeld,            // a live host or process holds the on-disk lock
  kFenced,              // our lease ran out or was taken; nothing may be written any more
  kNoSpace,             // no free block, descriptor or sub-block
  kQuota,               // a configured limit is reached
  kReadOnly,            // the volume, device or disk does not accept writes
  kNotFound,            // no such name, volume, disk or structure
  kExists,              // the name is taken
  kNotDirectory,        // a directory was needed
  kIsDirectory,         // a directory cannot be used this way
  kNotEmpty,            // the directory still has entries
  kNameTooLong,         // over 127 bytes (VMFS) or the host's limit
  kNameInvalid,         // not UTF-8, or a character that cannot be stored
  kTooLarge,            // a file or disk would pass its maximum size
  kTooManyLinks,        // link count or chain depth is at its limit
  kLoop,                // too many symbolic links, or a cycle in a chain
  kPermission,          // mode bits or ownership forbid it
  kNotPermitted,        // forbidden whoever asks (system files, hard links)
  kCrossDevice,         // source and target lie on different volumes
  kUnsupported,         // known, but not done by this layer
  kCorrupt,             // bytes from disk contradict the format
  kChecksumMismatch,    // a CRC over bytes from disk does not hold
  kVersionUnsupported,  // a format version or feature this program does not know
  kNotRecognized,       // the bytes are not of the expected format at all
  kJournalTorn,         // a journal record ends early: the end of the log
  kParseError,          // text input (descriptor, option, size) cannot be understood
  kStale,               // a handle or address refers to something that was deleted
  kNoMemory,            // a bounded cache or pool is used up
  kNoData,              // no further data or hole behind the given offset
  kInterrupted,         // stopped by a signal
  kMedium,              // the medium reports an unrecoverable error at an address
};

// How a code looks from outside. One row per code; see `error_table.cc`.
struct CodeInfo {
  std::string_view name;   // "no space"
  int errno_value;         // what a system call would report
  uint8_t sense_key;       // SCSI: SPC-4 4.5.6
  uint8_t asc, ascq;       // SCSI: SPC-4 4.5.6, additional sense code and qualifier
  bool retry_other_path;   // whether the same command may succeed over another path
};

// Returns the row of `code`; every code has one (checked by a test). Any thread.
const CodeInfo& InfoOf(Code code);

// The best code for an errno of the host's kernel. Any thread.
Code CodeFromErrno(int errno_value);

// A failure: its code and a message of the form "what was being done, to what: what was found".
class [[nodiscard]] Error {
 public:
  explicit Error(Code code) : code_(code) {}
  Error(Code code, std::string message)
      : code_(code), message_(std::make_shared<const std::string>(std::move(message))) {}

  Code code() const { return code_; }

  // The message, or the code's name where no message was given.
  std::string message() const { return message_ ? *message_ : std::string(InfoOf(code_).name); }

  int errno_value() const { return InfoOf(code_).errno_value; }

  // The same error with `context` before its message: "mount a.img: no space".
  Error Within(std::string_view context) const {
    return Error(code_, std::string(context) + ": " + message());
  }

 private:
  Code code_;
  std::shared_ptr<const std::string> message_;  // shared: errors are copied along waiters
};

// An error from errno after a failed call: "open a.img: Permission denied".
Error ErrnoError(int errno_value, std::string_view what);

// A value of T or an Error. Follows std::expected's names.
template <typename T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT: by design
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT
  Result(Code code) : state_(std::in_place_index<1>, Error(code)) {}  // NOLINT

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return *std::get_if<0>(&state_); }
  const T& operator*() const& { return *std::get_if<0>(&state_); }
  T&& operator*() && { return std::move(*std::get_if<0>(&state_)); }
  T* operator->() { return std::get_if<0>(&state_); }
  const T* operator->() const { return std::get_if<0>(&state_); }
  const Error& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: by design
  Result(Code code) : error_(Error(code)) {}  // NOLINT

  bool has_value() const { return !error_.has_value(); }
  explicit operator bool() const { return has_value(); }
  const Error& error() const { return *error_; }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

inline Status Ok() { return {}; }

}  // namespace base

#define STRATA_CONCAT_INNER(a, b) a##b
#define STRATA_CONCAT(a, b) STRATA_CONCAT_INNER(a, b)

// `TRY(auto x, Compute());` declares x or returns the error. `TRY_STATUS(Do());` for Status.
// Statements, not expressions: g++ 12 cannot compile co_await in a statement expression.
#define STRATA_TRY_IMPL(result, declaration, ...) \
  auto result = (__VA_ARGS__);                    \
  if (!result.has_value()) return result.error(); \
  declaration = *std::move(result)
#define TRY(declaration, ...) \
  STRATA_TRY_IMPL(STRATA_CONCAT(try_result_, __LINE__), declaration, __VA_ARGS__)
#define TRY_STATUS(...)                                                    \
  do {                                                                     \
    if (auto try_status = (__VA_ARGS__); !try_status.has_value())          \
      return try_status.error();                                           \
  } while (false)

// The same inside coroutines: `CO_TRY(auto n, co_await device.Read(request));`
#define STRATA_CO_TRY_IMPL(result, declaration, ...) \
  auto result = __VA_ARGS__;                         \
  if (!result.has_value()) co_return result.error(); \
  declaration = *std::move(result)
#define CO_TRY(declaration, ...) \
  STRATA_CO_TRY_IMPL(STRATA_CONCAT(try_result_, __LINE__), declaration, __VA_ARGS__)
#define STRATA_CO_TRY_STATUS_IMPL(status, ...) \
  do {                                         \
    auto status = __VA_ARGS__;                 \
    if (!status.has_value()) co_return status.error(); \
  } while (false)
#define CO_TRY_STATUS(...) \
  STRATA_CO_TRY_STATUS_IMPL(STRATA_CONCAT(try_status_, __LINE__), __VA_ARGS__)
