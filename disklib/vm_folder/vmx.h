// `Vmx`: the configuration of a VM, as far as it names virtual disks. Pure.
//
// A disk is attached at a node, "scsi0:0"; its keys are `scsi0:0.fileName`, `.present`,
// `.deviceType`, `.mode`. Only the lines that change are rewritten (disklib/FORMAT.md,
// "Snapshots"). Thread rule: a plain value.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "disklib/vm_folder/dictionary.h"
#include "fs/base/result.h"

namespace disklib {

inline constexpr std::string_view kVmxSuffix = ".vmx";

struct VmxDisk {
  std::string node;       // "scsi0:0"
  std::string file_name;  // of the current leaf's descriptor, as it stands there
  std::string mode;       // "persistent", "independent-persistent" …; empty: persistent

  bool is_independent() const;

  friend bool operator==(const VmxDisk&, const VmxDisk&) = default;
};

class Vmx {
 public:
  // Errors: as Dictionary::Parse; kUnsupported (a disk's name in another encoding than UTF-8).
  static base::Result<Vmx> Parse(std::string_view text);

  // The disks that are present, in the order of their lines; no optical drives.
  const std::vector<VmxDisk>& disks() const { return disks_; }

  // The disk at a node, or null.
  const VmxDisk* FindDisk(std::string_view node) const;

  // Names another leaf at a node that has a disk. Errors: kNotFound.
  base::Status SetFileName(std::string_view node, std::string_view file_name);

  // The whole text.
  std::string Text() const { return dictionary_.Text(); }

 private:
  Dictionary dictionary_;
  std::vector<VmxDisk> disks_;
};

}  // namespace disklib
