// What a damaged descriptor must have been, told by the parts of it that are left.
//
// Pure functions on values. Internal to `vmfs/fsck`. Thread rule: any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "vmfs/format/inode.h"

namespace vmfs::fsck {

// What a run of addresses looks like.
struct AddressCensus {
  uint32_t file_blocks = 0, sub_blocks = 0, pb2_blocks = 0;
  uint32_t impossible = 0;  // neither a hole nor any of these, or not on this volume

  uint32_t used() const { return file_blocks + sub_blocks + pb2_blocks + impossible; }
  // Mostly no addresses at all.
  bool is_data() const { return impossible > file_blocks + sub_blocks + pb2_blocks; }
};

// What exists on the volume.
struct AddressBounds {
  uint64_t file_block_count = 0, sub_block_count = 0, pb2_count = 0;
  // Whether the address names something that exists, whatever other bits it has.
  bool Contains(Address address) const;
};

AddressCensus CountSlots(ConstMetadataSpan block, const AddressBounds& bounds);
AddressCensus CountPointers(std::span<const std::byte> pointers, const AddressBounds& bounds);

// What a directory says about a descriptor.
struct InodeHint {
  uint32_t generation = 0;
  uint32_t type = 0;
  uint32_t directory = 0;
};

// The map kind that fits the slots. `below`: what the first sub-block of the map holds, read as
// pointers; empty where there is none.
MapKind GuessMapKind(ConstMetadataSpan block, const AddressBounds& bounds,
                     const std::optional<AddressCensus>& below);

// Whether slots and what lies below them do not contradict the map kind.
bool FitsMapKind(const AddressCensus& slots, const std::optional<AddressCensus>& below,
                 const InodeMetadata& inode);

// Whether enough of a descriptor is left to restore it without inventing a file.
bool IsRestorable(ConstMetadataSpan block, FdAddress fd, const AddressBounds& bounds,
                  const std::optional<InodeHint>& hint);

// Sets right what the type, the map kind and the length must say; a descriptor that decodes and
// whose map kind is `kind` stays as it is.
void RestoreFields(MetadataSpan block, FdAddress fd, MapKind kind,
                   const std::optional<InodeHint>& hint);

}  // namespace vmfs::fsck
