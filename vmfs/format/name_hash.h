// The hash of directory entries' names (vmfs/FORMAT.md, "Name hash").
//
// Bob Jenkins' public-domain 64-bit mixing over a 256-byte buffer. Names are bytes. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace vmfs {

// The hash of a name of at most 255 bytes (CHECKed).
uint64_t HashName(std::string_view name);

inline constexpr uint32_t kHashBucketCount = 16001;
inline constexpr uint32_t kRootHashBucketCount = 15973;  // the last 28 belong to system names

// Index of a name's bucket. In the root the system names have theirs by name.
uint32_t HashBucket(uint64_t hash, bool is_root);

// The low half goes into the record, bits 16 to 31 into a link.
constexpr uint32_t RecordHash(uint64_t hash) { return static_cast<uint32_t>(hash); }
constexpr uint16_t LinkHash(uint64_t hash) { return static_cast<uint16_t>(hash >> 16); }

// The root's bucket of ".fbb.sf" … ".dfd.sf"; nothing for other names. Names found here cannot be
// created, renamed or removed, whether they exist or not.
std::optional<uint32_t> SystemNameBucket(std::string_view name);

}  // namespace vmfs
