// `DeviceFilter`: a block device that hands everything to the one below it.
//
// A filter derives from it and overrides only what it changes. Forwarding returns the child's task:
// it is not a coroutine and costs one virtual call. Thread rule: as the device below. Place in the
// stack: under every filter of `fs/fds`, `Checked`, and whatever else stands on one device.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fs/base/block_device.h"

namespace base {

class DeviceFilter : public BlockDevice {
 public:
  const Limits& limits() const override { return child_.limits(); }

  uint64_t size_bytes() const override { return child_.size_bytes(); }

  const std::string& name() const override { return child_.name(); }

  Task<Status> Read(IoRequest request) override { return child_.Read(request); }

  Task<Status> Write(IoRequest request) override { return child_.Write(request); }

  Task<Status> Flush() override { return child_.Flush(); }

  Task<Status> Unmap(uint64_t offset_bytes, uint64_t length_bytes) override {
    return child_.Unmap(offset_bytes, length_bytes);
  }

  Task<Status> WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes, bool may_unmap) override {
    return child_.WriteZeroes(offset_bytes, length_bytes, may_unmap);
  }

  Task<Status> CompareAndWrite(uint64_t offset_bytes, std::span<const std::byte> expected,
                               std::span<const std::byte> replacement) override {
    return child_.CompareAndWrite(offset_bytes, expected, replacement);
  }

  Task<Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                         std::vector<MapRun>& runs) override {
    return child_.MapStatus(offset_bytes, length_bytes, runs);
  }

  Task<Status> Close() override { return child_.Close(); }

 protected:
  // Owns the device below.
  explicit DeviceFilter(std::unique_ptr<BlockDevice> child)
      : owned_(std::move(child)), child_(*owned_) {}

  // Borrows it: `child` outlives the filter.
  explicit DeviceFilter(BlockDevice& child) : child_(child) {}

  BlockDevice& child() { return child_; }

  const BlockDevice& child() const { return child_; }

 private:
  std::unique_ptr<BlockDevice> owned_;
  BlockDevice& child_;
};

}  // namespace base
