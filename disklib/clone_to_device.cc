#include "disklib/clone_to_device.h"

#include <memory>

#include <fmt/format.h>

#include "disklib/chain.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

// Nothing is known of what a device held: zeros are stored, too.
class DeviceTarget final : public CopyTarget {
 public:
  explicit DeviceTarget(Object& device) : device_(device) {}

  bool wants_zeros() const override { return true; }

  Task<Status> Store(base::IoRequest request) override {
    CO_TRY(const uint64_t written_bytes, co_await device_.Write(request));
    if (written_bytes == request.size_bytes()) co_return base::Ok();
    co_return Error(Code::kNoSpace, "the device ends early");
  }

  Task<Status> StoreZeros(uint64_t offset_bytes, uint64_t length_bytes) override {
    return ZeroRange(device_, offset_bytes, length_bytes);
  }

 private:
  Object& device_;
};

class ChainFiller final : public DeviceFiller {
 public:
  ChainFiller(Chain& chain, base::Executor& executor, Progress* progress)
      : chain_(chain), executor_(executor), progress_(progress) {}

  Task<Status> Fill(Object& device) override {
    if (device.size_bytes() < chain_.size_bytes()) {
      co_return Error(Code::kNoSpace, fmt::format("the device has {} bytes, the disk {}",
                                                  device.size_bytes(), chain_.size_bytes()));
    }
    DeviceTarget target(device);
    CO_TRY(counts_, co_await CopyContent(executor_, chain_, target, {.progress = progress_}));
    co_return co_await device.Sync(/*data_only=*/false);
  }

  const CopyCounts& counts() const { return counts_; }

 private:
  Chain& chain_;
  base::Executor& executor_;
  Progress* progress_;
  CopyCounts counts_;
};

// A chain that stands on the device would change under itself.
Task<Status> CheckElsewhere(Lib& source_lib, Chain& chain, std::string_view device) {
  const std::string base_path = chain.links().front()->path();
  CO_TRY(const DeviceMapInfo map, co_await GetDeviceMap(source_lib, base_path));
  if (!map.is_map || source_lib.devices() == nullptr) co_return base::Ok();
  CO_TRY(const DeviceInfo own, co_await source_lib.devices()->Find(map.device));
  CO_TRY(const DeviceInfo wanted, co_await source_lib.devices()->Find(device));
  if (own.id != wanted.id) co_return base::Ok();
  co_return Error(Code::kInvalidArgument, fmt::format("{} lies on {} itself", base_path, own.id));
}

}  // namespace

Task<Result<CloneResult>> CloneToDevice(Lib& source_lib, std::string_view source, Lib& target_lib,
                                        std::string_view target, DeviceMapOptions map,
                                        Progress* progress) {
  const OpenOptions open_options{.writable = false, .user = "strata disk clone"};
  CO_TRY(const std::unique_ptr<Chain> chain, co_await source_lib.Open(source, open_options));
  ChainFiller filler(*chain, target_lib.executor(), progress);
  map.filler = &filler;
  Status made = co_await CheckElsewhere(source_lib, *chain, map.device);
  if (made) made = co_await CreateDeviceMap(target_lib, target, map);
  CloneResult result{.size_bytes = chain->size_bytes(),
                     .data_bytes = filler.counts().data_bytes,
                     .zero_bytes = filler.counts().zero_bytes,
                     .content_id = {}};
  const Status closed = co_await chain->Close();
  if (!made) co_return made.error().Within(fmt::format("clone {}", source));
  if (!closed) co_return closed.error();
  CO_TRY(const LoadedDescriptor disk, co_await target_lib.Load(target, /*need_extents=*/false));
  result.content_id = FormatContentId(disk.descriptor.content_id);
  co_return result;
}

}  // namespace disklib
