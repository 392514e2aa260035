// Verbs about disks that are whole devices.
#include <array>
#include <string>

#include "disklib/device_map.h"
#include "fs/daemon/disk_actions.h"

namespace stratad {
namespace {

using base::Result;
using base::Task;

Task<Result<Json>> CreateMap(DiskCall& call) {
  CO_TRY(const std::string path, PathIn(call.request, "disk"));
  const std::string device = StringOf(call.request, "device").value_or("");
  if (device.empty()) co_return Senseless("no device is named");
  const std::string adapter = StringOf(call.request, "adapter").value_or("lsilogic");
  const disklib::DeviceMapOptions options{.device = device,
                                          .is_physical = FlagOf(call.request, "physical"),
                                          .adapter_type = adapter};
  CO_TRY_STATUS(co_await disklib::CreateDeviceMap(call.lib, path, options));
  co_return Json::object();
}

constexpr std::array kVerbs = {DiskVerb{.name = "create-rdm", .run = CreateMap}};

}  // namespace

std::span<const DiskVerb> DeviceVerbs() {
  return kVerbs;
}

}  // namespace stratad
