// Reads cluster headers in order through a 1 MiB window, so that neighbours cost one device read.
//
// For whoever goes through all clusters of a kind: the checker, `volume info`. Thread rule: the
// device's executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "fs/base/aligned_buffer.h"
#include "fs/base/result.h"
#include "fs/base/task.h"
#include "vmfs/raw_volume.h"

namespace vmfs {

struct ClusterHeader {
  uint64_t address = 0;              // volume address of the lock block
  std::span<const std::byte> bytes;  // lock block and metadata block; until the next call

  std::span<const std::byte> lock() const { return bytes.first(kMetadataBlockBytes); }
  ConstMetadataSpan metadata() const {
    return bytes.subspan(kMetadataBlockBytes).first<kMetadataBlockBytes>();
  }
};

class ClusterReader {
 public:
  // `volume` has its system files loaded and outlives the reader.
  explicit ClusterReader(RawVolume& volume) : volume_(volume), buffer_(kWindowBytes) {}
  ClusterReader(const ClusterReader&) = delete;
  ClusterReader& operator=(const ClusterReader&) = delete;

  // Errors: kCorrupt (the file has no such place), those of Read.
  base::Task<base::Result<ClusterHeader>> Read(ResourceKind kind, uint64_t cluster) {
    CO_TRY(const uint64_t address, volume_.ClusterAddress(kind, cluster));
    const uint64_t begin = address / kWindowBytes * kWindowBytes;
    if (!valid_ || begin != begin_) {
      begin_ = begin;
      const base::Status status = co_await volume_.Read(begin, buffer_.span());
      valid_ = status.has_value();
      if (!valid_) co_return status.error();
    }
    co_return ClusterHeader{address, buffer_.span().subspan(address - begin, kClusterHeaderBytes)};
  }

 private:
  static constexpr uint64_t kWindowBytes = 1 << 20;

  RawVolume& volume_;
  base::AlignedBuffer buffer_;
  uint64_t begin_ = 0;
  bool valid_ = false;
};

}  // namespace vmfs
