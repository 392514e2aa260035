#include "fs/daemon/mount_tree.h"

#include <utility>

#include <fmt/format.h>

#include "fs/daemon/device_file.h"

namespace stratad {
namespace {

fss::DevFs::Options UpperOptions(const MountTree::Options& options) {
  return {"strata", options.uid, options.gid, options.created_us};
}

}  // namespace

MountTree::MountTree(const Options& options)
    : outer_(UpperOptions(options)),
      inner_(UpperOptions(options)),
      volumes_(outer_),
      devices_(inner_),
      volumes_folder_(outer_.AddDirectory(outer_.root(), "volumes")),
      disks_folder_(inner_.AddDirectory(inner_.root(), "disks")),
      virtual_disks_folder_(inner_.AddDirectory(inner_.root(), "vdisks")) {
  // The second session is mounted over this one.
  outer_.AddDirectory(outer_.root(), "devices");
  inner_.AddDirectory(inner_.root(), "deltadisks");
  inner_.AddDirectory(inner_.root(), "cbt");
  inner_.AddDirectory(inner_.root(), "svm");
}

std::string MountTree::AddVolume(fss::FileSystem& file_system) {
  const std::string wanted = FolderNameOf(file_system.label(), file_system.uuid());
  std::string name = wanted;
  for (int number = 1; outer_.Has(volumes_folder_, name); ++number) {
    name = fmt::format("{} ({})", wanted, number);
  }
  volumes_.Graft(outer_.AddDirectory(volumes_folder_, name), file_system);
  if (!outer_.Has(volumes_folder_, file_system.uuid())) {
    outer_.AddSymlink(volumes_folder_, file_system.uuid(), name);
  }
  return name;
}

void MountTree::AddVirtualDisks(std::string_view volume_name, fss::FileSystem& disks) {
  devices_.Graft(inner_.AddDirectory(virtual_disks_folder_, volume_name), disks);
}

void MountTree::AddDevice(std::string_view name, base::BlockDevice& device) {
  if (inner_.Has(disks_folder_, name)) return;
  inner_.AddDevice(disks_folder_, name, std::make_unique<BlockDeviceNode>(device));
}

std::string FolderNameOf(std::string_view label, std::string_view uuid) {
  std::string name;
  for (const char c : label) name += c == '/' || static_cast<uint8_t>(c) < 0x20 ? '_' : c;
  if (name.empty() || name == "." || name == "..") return std::string(uuid);
  return name;
}

}  // namespace stratad
