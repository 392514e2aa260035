// Extents that are devices: whether their pointer is one, and the device here and large enough.
#include <fmt/format.h>

#include "disklib/check/chain_state.h"
#include "disklib/device_map.h"

namespace disklib::check {
namespace {

using base::Code;
using base::Result;
using base::Status;
using base::Task;

// Opens what the line names. Errors: those of ReadPointer and of DeviceOpener.
Task<Result<std::unique_ptr<Object>>> OpenDevice(CheckRun& run, ChainLink& link, size_t index) {
  const Descriptor& descriptor = link.descriptor();
  const ExtentLine& line = descriptor.extents[index];
  DeviceOpener* const devices = run.lib().devices();
  std::string pointed_id;
  if (line.type == ExtentType::kVmfsRdm) {
    CO_TRY(pointed_id, co_await ReadPointer(run.lib().backend(), link.found_paths[index]));
  }
  if (devices == nullptr) {
    co_return base::Error(Code::kUnsupported,
                          fmt::format("{} is a device, and devices are not opened here",
                                      line.file_name));
  }
  if (line.type == ExtentType::kVmfsRdm) {
    co_return co_await devices->OpenById(pointed_id, /*can_write=*/false);
  }
  const std::string* const known = descriptor.FindDatabase(kDeviceIdKey);
  const std::string_view id = known == nullptr ? std::string_view() : std::string_view(*known);
  co_return co_await devices->OpenByPath(line.file_name, id, /*can_write=*/false);
}

}  // namespace

Task<Status> CheckDevice(CheckRun& run, ChainLink& link, size_t index) {
  const ExtentLine& line = link.descriptor().extents[index];
  const Result<std::unique_ptr<Object>> device = co_await OpenDevice(run, link, index);
  if (!device) {
    run.findings().Add({.id = Invariant::kD9, .text = device.error().message()});
    link.is_whole = false;
    co_return base::Ok();
  }
  const uint64_t device_bytes = (*device)->size_bytes();
  const uint64_t needed_bytes = (line.offset_sectors + line.sector_count) * kSectorBytes;
  if (device_bytes < needed_bytes) {
    run.findings().Add({.id = Invariant::kD4,
                        .text = fmt::format("the device of {} has {} bytes, its line needs {}",
                                            line.file_name, device_bytes, needed_bytes)});
  }
  link.held_bytes += line.sector_count * kSectorBytes;
  co_return co_await (*device)->Close();
}

}  // namespace disklib::check
