// Verbs about disks that are whole devices.
#include <array>
#include <string>

#include "disklib/clone_to_device.h"
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

Task<Result<Json>> CloneToMap(DiskCall& call) {
  CO_TRY(const std::string source, PathIn(call.request, "disk"));
  CO_TRY(const std::string target, PathIn(call.request, "to"));
  const std::string device = StringOf(call.request, "device").value_or("");
  if (device.empty()) co_return Senseless("no device is named");
  const std::string adapter = StringOf(call.request, "adapter").value_or("lsilogic");
  const disklib::DeviceMapOptions options{.device = device,
                                          .is_physical = FlagOf(call.request, "physical"),
                                          .adapter_type = adapter};
  CO_TRY(const disklib::CloneResult result,
         co_await disklib::CloneToDevice(call.lib, source, call.other_lib, target, options,
                                         call.progress));
  Json json = Json::object();
  json["size_bytes"] = result.size_bytes;
  json["data_bytes"] = result.data_bytes;
  json["zero_bytes"] = result.zero_bytes;
  json["content_id"] = result.content_id;
  co_return json;
}

constexpr std::array kVerbs = {
    DiskVerb{.name = "clone-rdm", .run = CloneToMap, .crosses_volumes = true},
    DiskVerb{.name = "create-rdm", .run = CreateMap},
};

}  // namespace

std::span<const DiskVerb> DeviceVerbs() {
  return kVerbs;
}

}  // namespace stratad
