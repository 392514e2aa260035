// `FencedDevice`: lets a change of the volume through only while our lease holds.
//
// Every write of a mounted volume passes here, so that a host which was stopped, or cannot pulse,
// never writes behind a takeover (vmfs/FORMAT.md, "Heartbeats"). A lapsed lease makes writes wait
// for the next pulse; a lost one fails them. The heartbeat itself uses the device below.
// Thread rule: the volume's executor.
#pragma once

#include "fs/base/device_filter.h"
#include "vmfs/lock/heartbeat.h"

namespace vmfs {

class FencedDevice : public base::DeviceFilter {
 public:
  explicit FencedDevice(base::BlockDevice& device) : DeviceFilter(device) {}

  // From now on writes need this heartbeat's lease.
  void SetHeartbeat(Heartbeat* heartbeat) { heartbeat_ = heartbeat; }

  base::Task<base::Status> Write(base::IoRequest request) override {
    if (MayWrite()) return child().Write(request);
    return WriteLater(request);
  }

  base::Task<base::Status> Unmap(uint64_t offset_bytes, uint64_t length_bytes) override {
    if (MayWrite()) return child().Unmap(offset_bytes, length_bytes);
    return UnmapLater(offset_bytes, length_bytes);
  }

  base::Task<base::Status> WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes,
                                       bool may_unmap) override {
    if (MayWrite()) return child().WriteZeroes(offset_bytes, length_bytes, may_unmap);
    return ZeroLater(offset_bytes, length_bytes, may_unmap);
  }

 private:
  bool MayWrite() const { return heartbeat_ == nullptr || heartbeat_->MayWrite(); }

  base::Task<base::Status> WriteLater(base::IoRequest request) {
    CO_TRY_STATUS(co_await heartbeat_->WaitUntilMayWrite());
    co_return co_await child().Write(request);
  }

  base::Task<base::Status> UnmapLater(uint64_t offset_bytes, uint64_t length_bytes) {
    CO_TRY_STATUS(co_await heartbeat_->WaitUntilMayWrite());
    co_return co_await child().Unmap(offset_bytes, length_bytes);
  }

  base::Task<base::Status> ZeroLater(uint64_t offset_bytes, uint64_t length_bytes, bool may_unmap) {
    CO_TRY_STATUS(co_await heartbeat_->WaitUntilMayWrite());
    co_return co_await child().WriteZeroes(offset_bytes, length_bytes, may_unmap);
  }

  Heartbeat* heartbeat_ = nullptr;
};

}  // namespace vmfs
