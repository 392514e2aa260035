// `Machine`: what a package or a `.vmx` says of a virtual machine, as far as both can say it.
//
// A plain value between the OVF codec and the `.vmx` writer. Thread rule: plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"

namespace disklib {

// A controller with drives. Names are those of a `.vmx`: "scsi", "ide", "sata", "nvme"; types:
// "lsilogic", "lsisas1068", "pvscsi", "buslogic", empty for the others.
struct MachineController {
  std::string bus = "scsi";
  std::string type = "lsilogic";
  uint32_t number = 0;  // "scsi0"

  friend bool operator==(const MachineController&, const MachineController&) = default;
};

struct MachineDrive {
  size_t disk = 0;        // which disk: a place in the owner's list
  size_t controller = 0;  // a place in Machine::controllers
  uint32_t unit = 0;      // "scsi0:UNIT"

  friend bool operator==(const MachineDrive&, const MachineDrive&) = default;
};

struct MachineNetwork {
  std::string name;              // "VM Network"
  std::string type = "vmxnet3";  // "e1000", "e1000e"; empty: not known

  friend bool operator==(const MachineNetwork&, const MachineNetwork&) = default;
};

struct Machine {
  std::string name;
  uint32_t cpu_count = 1;
  uint64_t memory_bytes = uint64_t{1} << 30;
  uint32_t hardware_version = 14;  // "vmx-14"
  std::string guest_os;            // a `.vmx` word, "debian11-64"; empty: not known
  bool is_efi = false;
  std::vector<MachineController> controllers;
  std::vector<MachineDrive> drives;
  std::vector<MachineNetwork> networks;

  friend bool operator==(const Machine&, const Machine&) = default;
};

// The adapter type that a drive's descriptor names: "lsilogic" for scsi of any type but buslogic,
// "ide" for ide; others "lsilogic".
std::string_view DescriptorAdapterOf(const MachineController& controller);

// The text of a `.vmx` for a machine whose disks have these descriptors. Errors: kInvalidArgument
// (a drive without a disk or a controller).
base::Result<std::string> WriteMachineFile(const Machine& machine,
                                           const std::vector<std::string>& disk_names);

// What a `.vmx` says: the machine, and the descriptors of its disks in the order of its drives.
struct MachineFile {
  Machine machine;
  std::vector<std::string> disk_names;

  friend bool operator==(const MachineFile&, const MachineFile&) = default;
};

// Keys it does not know are passed over, and numbers that make no sense. Errors: as `Vmx::Parse`;
// kParseError (a disk at a place that cannot be).
base::Result<MachineFile> ReadMachineFile(std::string_view text);

}  // namespace disklib
