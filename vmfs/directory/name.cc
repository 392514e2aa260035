#include "vmfs/directory/name.h"

#include <fmt/format.h>

#include "vmfs/format/metadata_block.h"
#include "vmfs/format/name_hash.h"

namespace vmfs {
namespace {

// Length of the UTF-8 sequence that starts at `text`, or 0: the table of well-formed sequences of
// the Unicode standard (3.9, table 3-7), which leaves out overlong forms and surrogates.
size_t Utf8SequenceBytes(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  if (lead == 0xE0 && byte(1) < 0xA0) return 0;
  if (lead == 0xED && byte(1) > 0x9F) return 0;
  if (lead == 0xF0 && byte(1) < 0x90) return 0;
  if (lead == 0xF4 && byte(1) > 0x8F) return 0;
  return length;
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = Utf8SequenceBytes(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace

base::Status ValidateName(std::string_view name) {
  if (name.empty() || name == "." || name == "..") {
    return base::Error(base::Code::kInvalidArgument,
                       fmt::format("check name \"{}\": not the name of an entry", name));
  }
  if (name.size() > kNameBytesMax) {
    return base::Error(
        base::Code::kNameTooLong,
        fmt::format("check name: {} bytes, at most {} can be stored", name.size(), kNameBytesMax));
  }
  if (name.find('/') != name.npos || name.find('\0') != name.npos) {
    return base::Error(base::Code::kInvalidArgument, "check name: holds '/' or a zero byte");
  }
  if (!IsUtf8(name)) return base::Error(base::Code::kNameInvalid, "check name: not UTF-8");
  return base::Ok();
}

bool IsSystemName(std::string_view name) {
  return SystemNameBucket(name).has_value();
}

NameKey KeyOfName(std::string_view name, bool is_root) {
  if (is_root) {
    if (const auto bucket = SystemNameBucket(name)) return {.bucket = *bucket};
  }
  const uint64_t hash = HashName(name);
  return {.bucket = HashBucket(hash, is_root),
          .record_hash = RecordHash(hash),
          .link_hash = LinkHash(hash)};
}

}  // namespace vmfs
