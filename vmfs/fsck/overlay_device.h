// `OverlayDevice`: a volume with changes that are held in memory only.
//
// A repair writes here and checks the result before the disk is touched. Changes are whole metadata
// blocks; besides, blocks can be shown as copies of others, whose bytes are not held. Internal to
// `vmfs/fsck`. Thread rule: the volume's executor.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "fs/base/device_filter.h"
#include "vmfs/format/resource.h"

namespace vmfs::fsck {

class OverlayDevice final : public base::DeviceFilter {
 public:
  struct Copy {
    uint64_t from = 0, to = 0, length_bytes = 0;  // volume addresses; whole metadata blocks
  };

  // Borrows the volume, of which it only reads.
  explicit OverlayDevice(base::BlockDevice& volume) : DeviceFilter(volume) {}

  base::Task<base::Status> Read(base::IoRequest request) override;
  // Whole metadata blocks; a block that already holds these bytes stays unchanged.
  base::Task<base::Status> Write(base::IoRequest request) override;
  base::Task<base::Status> Flush() override { return Refuse(true); }
  base::Task<base::Status> Unmap(uint64_t, uint64_t) override { return Refuse(false); }
  base::Task<base::Status> WriteZeroes(uint64_t, uint64_t, bool) override { return Refuse(false); }
  base::Task<base::Status> CompareAndWrite(uint64_t, std::span<const std::byte>,
                                           std::span<const std::byte>) override {
    return Refuse(false);
  }
  base::Task<base::Status> Close() override { return Refuse(true); }

  // Puts bytes over a block without a look at what is below.
  void Put(uint64_t address, ConstMetadataSpan bytes);
  // Shows `copy.to` as what `copy.from` holds now; later changes of one do not reach the other.
  void AddCopy(const Copy& copy);

  const std::map<uint64_t, std::unique_ptr<MetadataBytes>>& blocks() const { return blocks_; }
  const std::vector<Copy>& copies() const { return copies_; }
  // The first error of the volume below; nothing when every read of it succeeded.
  const std::optional<base::Error>& failure() const { return failure_; }
  // Grows with every change.
  uint64_t change_count() const { return change_count_; }

 private:
  static base::Task<base::Status> Refuse(bool is_nothing_to_do);
  base::Task<base::Status> ReadVolume(uint64_t address, std::span<std::byte> target);
  base::Task<base::Status> ReadBelow(uint64_t address, std::span<std::byte> target);

  std::map<uint64_t, std::unique_ptr<MetadataBytes>> blocks_;
  std::vector<Copy> copies_;
  uint64_t change_count_ = 0;
  std::optional<base::Error> failure_;
};

}  // namespace vmfs::fsck
