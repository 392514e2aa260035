#include "fs/daemon/commands/mounted_volumes.h"

#include <filesystem>
#include <utility>

#include "fs/base/log.h"
#include "fs/daemon/control_client.h"
#include "fs/daemon/json.h"

namespace stratad {

base::Result<std::unique_ptr<MountedVolumes>> MountedVolumes::Ask(base::UringExecutor& executor,
                                                                  const std::string& mount_point) {
  TRY(ControlClient client, ControlClient::ConnectToMount(mount_point));
  Json request = Json::object();
  request["command"] = "status";
  TRY(const Json status, client.Ask(request));
  std::unique_ptr<MountedVolumes> volumes(new MountedVolumes(executor));
  for (const Json& volume : status.value("volumes", Json::array())) {
    volumes->names_.push_back({.uuid = StringOf(volume, "uuid").value_or(""),
                               .label = StringOf(volume, "label").value_or("")});
    volumes->folders_.push_back(StringOf(volume, "folder").value_or(""));
  }
  volumes->opened_.resize(volumes->names_.size());
  return volumes;
}

std::optional<size_t> MountedVolumes::IndexOf(const std::string& folder) const {
  for (size_t i = 0; i < folders_.size(); ++i) {
    std::error_code error;
    // A volume is shown by its UUID, too, as a link.
    if (folders_[i] == folder || std::filesystem::canonical(folder, error) == folders_[i]) return i;
  }
  return std::nullopt;
}

void MountedVolumes::SetOwn(const std::string& folder, disklib::ObjectBackend& backend,
                            disklib::OpenDisks& open_disks) {
  own_index_ = IndexOf(folder);
  if (!own_index_) return;
  own_ = {.uuid = names_[*own_index_].uuid, .backend = &backend, .open_disks = &open_disks};
}

std::optional<std::string> MountedVolumes::UuidOf(const std::string& folder) const {
  const std::optional<size_t> index = IndexOf(folder);
  return index ? std::optional<std::string>(names_[*index].uuid) : std::nullopt;
}

base::Result<std::unique_ptr<MountedVolumes::Opened>> MountedVolumes::OpenVolume(size_t index) {
  auto opened = std::make_unique<Opened>();
  fss::PosixFileSystem::Options options;
  options.folder_path = folders_[index];
  options.read_only = true;
  TRY(opened->files, fss::PosixFileSystem::Create(executor_, options));
  opened->backend = std::make_unique<disklib::FileBackend>(*opened->files);
  opened->volume = {.uuid = names_[index].uuid,
                    .backend = opened->backend.get(),
                    .open_disks = &opened->open_disks};
  return opened;
}

const disklib::Volume* MountedVolumes::Find(std::string_view name) {
  const std::optional<size_t> index = FindVolumeName(names_, name);
  if (!index) return nullptr;
  if (index == own_index_) return &own_;
  std::unique_ptr<Opened>& opened = opened_[*index];
  if (opened == nullptr) {
    base::Result<std::unique_ptr<Opened>> fresh = OpenVolume(*index);
    if (!fresh) {
      base::LogWarn("volumes", "{}: {}", folders_[*index], fresh.error().message());
      return nullptr;
    }
    opened = *std::move(fresh);
  }
  return &opened->volume;
}

base::Task<base::Status> MountedVolumes::Close() {
  base::Status first;
  for (const std::unique_ptr<Opened>& opened : opened_) {
    if (opened == nullptr) continue;
    const base::Status closed = co_await opened->files->Unmount();
    if (first && !closed) first = closed;
  }
  co_return first;
}

}  // namespace stratad
