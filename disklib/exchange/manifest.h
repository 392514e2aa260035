// The manifest of an exchange package: what each of its files hashes to. Pure.
//
// One line a file, `SHA256(disk1.vmdk)= 5e88…` (DSP0243, "Manifest file"). Older packages have
// SHA1, some SHA512. Thread rule: plain values. Place in the stack: used by import and export.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fs/base/digest.h"
#include "fs/base/result.h"

namespace disklib {

inline constexpr size_t kManifestBytesMax = size_t{1} << 20;

struct ManifestEntry {
  base::DigestKind kind = base::DigestKind::kSha256;
  std::string file_name;
  std::string digest;  // lower-case hex

  friend bool operator==(const ManifestEntry&, const ManifestEntry&) = default;
};

// Reads a manifest: blanks round '=', CRLF and upper-case hex are taken. Errors: kTooLarge,
// kParseError (a line of another shape, a digest of the wrong length), kUnsupported (another
// algorithm), kNameInvalid (`CheckMemberName`), kCorrupt (a file named twice).
base::Result<std::vector<ManifestEntry>> ParseManifest(std::string_view text);

// The text, in the form that importers compare byte by byte: no blank before '(', one behind '='.
std::string WriteManifest(const std::vector<ManifestEntry>& entries);

// The entry of a file, or null.
const ManifestEntry* FindEntry(const std::vector<ManifestEntry>& entries,
                               std::string_view file_name);

// Compares the digest of what was read with what the manifest says. Error
// kChecksumMismatch naming the file.
base::Status CheckDigest(const ManifestEntry& entry, std::string_view digest);

// Whether `name` may be that of a file in a package: one plain name, no folder, not hidden, no
// control character, at most 127 bytes. Errors: kNameInvalid, kNameTooLong.
base::Status CheckMemberName(std::string_view name);

}  // namespace disklib
