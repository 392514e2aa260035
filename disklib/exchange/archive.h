// The tar archive that an OVA is: one member's header at a time. Pure.
//
// An OVA is a tar of plain files, the .ovf first (DSP0243, "Distribution"). Members are contiguous,
// so that a reader goes from header to header and then works on the OVA in place
// (`member_backend.h`), and a writer fills in headers when it knows the sizes. The only place that
// names libarchive. Thread rule: plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "fs/base/result.h"

namespace disklib {

inline constexpr uint64_t kArchiveBlockBytes = 512;
// What a header with all its extensions may take.
inline constexpr size_t kArchiveHeaderBytesMax = size_t{64} << 10;
inline constexpr size_t kArchiveMembersMax = 1'024;
// Two zero blocks end an archive.
inline constexpr uint64_t kArchiveEndBytes = 2 * kArchiveBlockBytes;

struct ArchiveMember {
  std::string name;
  uint64_t header_bytes = 0;  // the content begins behind this many bytes
  uint64_t size_bytes = 0;

  friend bool operator==(const ArchiveMember&, const ArchiveMember&) = default;
};

// Bytes a member's content takes in the archive.
constexpr uint64_t ArchivePaddedBytes(uint64_t size_bytes) {
  return (size_bytes + kArchiveBlockBytes - 1) / kArchiveBlockBytes * kArchiveBlockBytes;
}

// Reads the member whose header begins with `bytes` (up to kArchiveHeaderBytesMax of the archive);
// nothing at the archive's end. A leading "./" is dropped from the name. Errors: kNotRecognized (no
// tar header), kCorrupt (a header that ends early or contradicts itself), kNameInvalid
// (`CheckMemberName`), kUnsupported (a link, folder, device or sparse file).
base::Result<std::optional<ArchiveMember>> DecodeArchiveHeader(std::span<const std::byte> bytes);

// The header of a plain file: one block, whatever the size. Above 8 GiB the size stands in the
// binary form that GNU tar, ovftool and libarchive read. Errors: as CheckMemberName, and
// kNameTooLong above 100 bytes.
base::Result<std::string> EncodeArchiveHeader(std::string_view name, uint64_t size_bytes,
                                              uint64_t modified_seconds);

}  // namespace disklib
