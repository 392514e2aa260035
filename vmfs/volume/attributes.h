// From a descriptor to `fss::Attributes`, and back for what a user may change.
//
// Plain functions. VMFS keeps seconds in 32 bits; times outside are clamped.
#pragma once

#include <algorithm>

#include "fs/fss/file_system.h"
#include "vmfs/format/inode.h"
#include "vmfs/inode/inode.h"
#include "vmfs/volume/volume.h"

namespace vmfs {

inline uint32_t ClampSeconds(uint64_t microseconds) {
  return static_cast<uint32_t>(std::min<uint64_t>(microseconds / 1'000'000, UINT32_MAX));
}

inline fss::FileType TypeOf(InodeType type, FdAddress fd) {
  switch (type) {
    case InodeType::kDirectory: return fss::FileType::kDirectory;
    case InodeType::kSymlink: return fss::FileType::kSymlink;
    case InodeType::kSystem:
      return fd == kSddFd ? fss::FileType::kDirectory : fss::FileType::kRegular;
    default: return fss::FileType::kRegular;
  }
}

inline fss::Attributes AttributesOf(const Inode& inode, const MountOptions& options, bool ours) {
  const InodeMetadata metadata = inode.metadata();
  constexpr uint64_t kSecond = 1'000'000;
  fss::Attributes attributes;
  attributes.inode = inode.fd.raw();
  attributes.generation = metadata.generation;
  attributes.type = TypeOf(metadata.type(), inode.fd);
  attributes.mode = metadata.mode & 07777;
  attributes.link_count = metadata.link_count;
  attributes.uid = ours ? uint32_t{metadata.uid} : options.foreign_uid.value_or(metadata.uid);
  attributes.gid = ours ? uint32_t{metadata.gid} : options.foreign_gid.value_or(metadata.gid);
  attributes.size_bytes = metadata.length_bytes;
  attributes.allocated_bytes = metadata.block_count * metadata.block_bytes;
  attributes.block_size_bytes = 4096;
  attributes.modified_us = inode.lazy_modified_s.value_or(metadata.modified_s) * kSecond;
  attributes.changed_us =
      std::max<uint32_t>(metadata.changed_s, inode.lazy_modified_s.value_or(0)) * kSecond;
  attributes.accessed_us = inode.lazy_accessed_s.value_or(metadata.accessed_s) * kSecond;
  return attributes;
}

// Everything of `change` but the size.
inline void ApplyChange(const fss::AttributeChange& change, uint32_t now_s,
                        InodeMetadata& metadata) {
  if (change.mode) metadata.mode = (metadata.mode & ~07777u) | (*change.mode & 07777u);
  if (change.uid) metadata.uid = *change.uid;
  if (change.gid) metadata.gid = *change.gid;
  if (change.modified_us) metadata.modified_s = ClampSeconds(*change.modified_us);
  if (change.accessed_us) metadata.accessed_s = ClampSeconds(*change.accessed_us);
  if (change.changed_us) {
    metadata.changed_s = ClampSeconds(*change.changed_us);
  } else if (!change.keeps_times || metadata.type() != InodeType::kFile) {
    metadata.changed_s = now_s;
  }
}

}  // namespace vmfs
