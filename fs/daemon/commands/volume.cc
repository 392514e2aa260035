// `strata volume info`.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "fs/daemon/commands/command_line.h"
#include "fs/daemon/commands/raw_volume_task.h"
#include "vmfs/info.h"

namespace stratad {
namespace {

class InfoTask final : public DeviceTask {
 public:
  base::Task<base::Status> Run(base::UringExecutor&,
                               std::span<base::BlockDevice* const> devices) override {
    CO_TRY(info_, co_await vmfs::ReadVolumeInfo(devices));
    co_return base::Ok();
  }

  const vmfs::VolumeInfo& info() const { return info_; }

 private:
  vmfs::VolumeInfo info_;
};

Json ToJson(const vmfs::ExtentInfo& extent) {
  Json json = Json::object();
  json["name"] = extent.name;
  json["uuid"] = extent.device_uuid.ToString();
  json["size_bytes"] = extent.device_bytes;
  json["first_unit"] = extent.first_unit;
  json["unit_count"] = extent.unit_count;
  return json;
}

Json ToJson(const vmfs::ResourceInfo& resource) {
  Json json = Json::object();
  json["kind"] = std::string(vmfs::NameOf(resource.kind));
  json["file"] = resource.file_name;
  json["total"] = resource.total_count;
  json["free"] = resource.free_count;
  json["clusters"] = resource.cluster_count;
  json["file_bytes"] = resource.file_bytes;
  json["through_pb2"] = resource.through_pb2;
  return json;
}

Json ToJson(const vmfs::HeartbeatInfo& heartbeat) {
  Json json = Json::object();
  json["slot"] = heartbeat.slot;
  json["replaying"] = heartbeat.state == vmfs::HeartbeatState::kReplaying;
  json["owner"] = heartbeat.owner.ToString();
  json["host"] = heartbeat.host_name;
  json["generation"] = heartbeat.generation;
  return json;
}

Json ToJson(const vmfs::ReaderInfo& reader) {
  Json json = Json::object();
  json["name"] = reader.name;
  json["can_open"] = reader.can_open;
  if (!reader.reason.empty()) json["reason"] = reader.reason;
  return json;
}

template <typename Part>
Json ToList(const std::vector<Part>& parts) {
  Json list = Json::array();
  for (const Part& part : parts) list.push_back(ToJson(part));
  return list;
}

Json ToJson(const vmfs::VolumeInfo& info) {
  Json json = Json::object();
  json["label"] = info.label;
  json["uuid"] = info.uuid.ToString();
  json["lvm_uuid"] = info.lvm_uuid.ToString();
  json["formatting_host"] = info.formatting_host.ToString();
  json["lvm_version"] = fmt::format("{}.{}", info.lvm_major, info.lvm_minor);
  json["version"] = fmt::format("{}.{}", info.major, info.minor);
  json["created_seconds"] = info.created_s;
  json["made_by_strata"] = info.is_ours;
  if (!info.mark_problem.empty()) json["mark_problem"] = info.mark_problem;
  if (!info.read_only_reasons.empty()) json["read_only_reasons"] = info.read_only_reasons;
  if (!info.machine.is_zero()) json["machine"] = info.machine.ToString();
  json["clean"] = info.is_clean();
  json["state"] = info.StateText();
  json["size_bytes"] = info.volume_bytes;
  json["block_bytes"] = info.file_block_bytes;
  json["free_bytes"] = info.free_bytes;
  json["devices"] = ToList(info.extents);
  json["resources"] = ToList(info.resources);
  json["heartbeats"] = ToList(info.heartbeats);
  json["readers"] = ToList(info.readers);
  return json;
}

int ShowInfo(const std::vector<std::string>& targets, bool as_json) {
  InfoTask task;
  const base::Status read = RunOnDevices(targets, task);
  if (!read) return PrintError("volume info", read.error());
  fmt::print("{}", as_json ? ToPrettyText(ToJson(task.info())) + "\n" : ToText(task.info()));
  return kExitOk;
}

}  // namespace

void AddVolumeCommands(CommandLine& line) {
  CLI::App* volume = line.app.add_subcommand("volume", "Look at volumes");
  volume->require_subcommand(1);
  CLI::App* info = volume->add_subcommand(
      "info", "Show what a volume is, how full, in which state, and who can read it");
  auto targets = std::make_shared<std::vector<std::string>>();
  auto as_json = std::make_shared<bool>(false);
  info->add_option("targets", *targets, "All devices of the volume")
      ->required()
      ->expected(1, 32)
      ->type_name("TARGET...");
  info->add_flag("--json", *as_json, "For programs");
  info->callback([&line, targets, as_json] { line.exit_code = ShowInfo(*targets, *as_json); });
}

}  // namespace stratad
