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
      separate_(UpperOptions(options)),
      inner_(options.one_session ? outer_ : separate_),
      volumes_(outer_),
      separate_devices_(separate_),
      devices_(options.one_session ? volumes_ : separate_devices_),
      volumes_folder_(outer_.AddDirectory(outer_.root(), "volumes")) {
  // With two sessions, the second one is mounted over this directory.
  const fss::InodeNumber folder = outer_.AddDirectory(outer_.root(), "devices");
  const fss::InodeNumber top = options.one_session ? folder : separate_.root();
  disks_folder_ = inner_.AddDirectory(top, "disks");
  virtual_disks_folder_ = inner_.AddDirectory(top, "vdisks");
  inner_.AddDirectory(top, "deltadisks");
  inner_.AddDirectory(top, "cbt");
  inner_.AddDirectory(top, "svm");
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
  devices_.Graft(inner_.AddDirectory(virtual_disks_folder_, volume_name), disks,
                 fss::Switch::Caching::kNone);
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
