#include <cerrno>
#include <cstring>
#include <string>

#include "fs/base/check.h"
#include "fs/base/result.h"

namespace base {
namespace {

struct Row {
  Code code;
  CodeInfo info;
};

// Sense data: SPC-4 table "ASC and ASCQ assignments".
constexpr Row kRows[] = {
    {Code::kInternal, {"internal error", EIO, 0x4, 0x44, 0x00, false}},
    {Code::kInvalidArgument, {"invalid argument", EINVAL, 0x5, 0x24, 0x00, false}},
    {Code::kOutOfRange, {"out of range", EINVAL, 0x5, 0x21, 0x00, false}},
    {Code::kMisaligned, {"misaligned", EINVAL, 0x5, 0x21, 0x04, false}},
    {Code::kIo, {"input/output error", EIO, 0x4, 0x44, 0x00, true}},
    {Code::kPathDead, {"path dead", EIO, 0x2, 0x04, 0x00, true}},
    {Code::kDeviceLost, {"device lost", ENXIO, 0x5, 0x25, 0x00, true}},
    {Code::kTimedOut, {"timed out", ETIMEDOUT, 0xb, 0x2e, 0x00, true}},
    {Code::kCanceled, {"canceled", ECANCELED, 0xb, 0x00, 0x00, false}},
    {Code::kMiscompare, {"miscompare", EAGAIN, 0xe, 0x1d, 0x00, false}},
    {Code::kReservationConflict, {"reservation conflict", EBUSY, 0x0, 0x00, 0x00, false}},
    {Code::kBusy, {"busy", EBUSY, 0x2, 0x04, 0x00, false}},
    {Code::kLockHeld, {"lock held", EBUSY, 0x2, 0x04, 0x00, false}},
    {Code::kFenced, {"fenced", EIO, 0x7, 0x27, 0x00, false}},
    {Code::kNoSpace, {"no space", ENOSPC, 0x7, 0x27, 0x07, false}},
    {Code::kQuota, {"limit reached", EDQUOT, 0x7, 0x27, 0x07, false}},
    {Code::kReadOnly, {"read-only", EROFS, 0x7, 0x27, 0x00, false}},
    {Code::kNotFound, {"not found", ENOENT, 0x5, 0x25, 0x00, false}},
    {Code::kExists, {"exists", EEXIST, 0x5, 0x26, 0x00, false}},
    {Code::kNotDirectory, {"not a directory", ENOTDIR, 0x5, 0x26, 0x00, false}},
    {Code::kIsDirectory, {"is a directory", EISDIR, 0x5, 0x26, 0x00, false}},
    {Code::kNotEmpty, {"not empty", ENOTEMPTY, 0x5, 0x26, 0x00, false}},
    {Code::kNameTooLong, {"name too long", ENAMETOOLONG, 0x5, 0x26, 0x00, false}},
    {Code::kNameInvalid, {"name not valid UTF-8", EILSEQ, 0x5, 0x26, 0x00, false}},
    {Code::kTooLarge, {"too large", EFBIG, 0x5, 0x21, 0x00, false}},
    {Code::kTooManyLinks, {"too many links", EMLINK, 0x5, 0x26, 0x00, false}},
    {Code::kLoop, {"loop", ELOOP, 0x5, 0x26, 0x00, false}},
    {Code::kPermission, {"permission denied", EACCES, 0x7, 0x27, 0x00, false}},
    {Code::kNotPermitted, {"not permitted", EPERM, 0x7, 0x27, 0x00, false}},
    {Code::kCrossDevice, {"crosses volumes", EXDEV, 0x5, 0x26, 0x00, false}},
    {Code::kUnsupported, {"not supported", EOPNOTSUPP, 0x5, 0x20, 0x00, false}},
    {Code::kCorrupt, {"corrupt", EIO, 0x3, 0x11, 0x00, false}},
    {Code::kChecksumMismatch, {"checksum mismatch", EIO, 0x3, 0x11, 0x00, false}},
    {Code::kVersionUnsupported, {"version not supported", EPROTONOSUPPORT, 0x5, 0x26, 0x00, false}},
    {Code::kNotRecognized, {"not recognized", EINVAL, 0x5, 0x26, 0x00, false}},
    {Code::kJournalTorn, {"journal torn", EIO, 0x3, 0x11, 0x00, false}},
    {Code::kParseError, {"cannot be parsed", EINVAL, 0x5, 0x26, 0x00, false}},
    {Code::kStale, {"stale", ESTALE, 0x5, 0x25, 0x00, false}},
    {Code::kNoMemory, {"out of memory", ENOMEM, 0x2, 0x04, 0x00, false}},
    {Code::kNoData, {"no data", ENXIO, 0x5, 0x21, 0x00, false}},
    {Code::kInterrupted, {"interrupted", EINTR, 0xb, 0x00, 0x00, false}},
    {Code::kMedium, {"medium error", EIO, 0x3, 0x11, 0x00, false}},
};

}  // namespace

const CodeInfo& InfoOf(Code code) {
  for (const Row& row : kRows) {
    if (row.code == code) return row.info;
  }
  CheckFailed("code has a row", __FILE__, __LINE__);
}

Code CodeFromErrno(int errno_value) {
  switch (errno_value) {
    case ENODEV: return Code::kDeviceLost;
    case ENXIO: return Code::kNoData;
    case EINVAL: return Code::kInvalidArgument;
    case EAGAIN: return Code::kBusy;
    case ETXTBSY: return Code::kBusy;
    case EBUSY: return Code::kBusy;
    case EIO: return Code::kIo;
    default: break;
  }
  for (const Row& row : kRows) {
    if (row.info.errno_value == errno_value) return row.code;
  }
  return Code::kIo;
}

Error ErrnoError(int errno_value, std::string_view what) {
  return Error(CodeFromErrno(errno_value), std::string(what) + ": " + std::strerror(errno_value));
}

}  // namespace base
