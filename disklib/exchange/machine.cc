#include "disklib/exchange/machine.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor_lines.h"
#include "disklib/vm_folder/dictionary.h"
#include "disklib/vm_folder/vmx.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;

class Lines {
 public:
  void Add(std::string_view key, std::string_view value) {
    text_ += FormatDictionaryLine(key, value);
    text_ += '\n';
  }

  std::string Take() { return std::move(text_); }

 private:
  std::string text_;
};

std::string NameOf(const MachineController& controller) {
  return fmt::format("{}{}", controller.bus, controller.number);
}

void AddControllers(const Machine& machine, Lines& lines) {
  for (const MachineController& controller : machine.controllers) {
    if (controller.bus == "ide") continue;  // always there, without lines of their own
    lines.Add(NameOf(controller) + ".present", "TRUE");
    if (!controller.type.empty()) lines.Add(NameOf(controller) + ".virtualDev", controller.type);
  }
}

void AddNetworks(const Machine& machine, Lines& lines) {
  for (size_t i = 0; i < machine.networks.size(); ++i) {
    const MachineNetwork& network = machine.networks[i];
    const std::string name = fmt::format("ethernet{}", i);
    lines.Add(name + ".present", "TRUE");
    if (!network.type.empty()) lines.Add(name + ".virtualDev", network.type);
    lines.Add(name + ".networkName", network.name);
    lines.Add(name + ".addressType", "generated");
  }
}

// "scsi0:3" -> bus "scsi", number 0, unit 3.
struct Node {
  std::string_view bus;
  uint32_t number = 0;
  uint32_t unit = 0;
};

constexpr uint64_t kNodeNumberMax = 255;

std::optional<Node> ParseNode(std::string_view text) {
  const size_t digits = text.find_first_of("0123456789");
  const size_t colon = text.find(':');
  if (digits == text.npos || colon == text.npos || colon < digits) return std::nullopt;
  const std::optional<uint64_t> number = ParseNumber(text.substr(digits, colon - digits), 10);
  const std::optional<uint64_t> unit = ParseNumber(text.substr(colon + 1), 10);
  if (!number || !unit || *number > kNodeNumberMax || *unit > kNodeNumberMax) return std::nullopt;
  return Node{text.substr(0, digits), static_cast<uint32_t>(*number), static_cast<uint32_t>(*unit)};
}

uint64_t NumberAt(const Dictionary& keys, std::string_view key, uint64_t otherwise, uint64_t max) {
  const std::string* const text = keys.Find(key);
  const std::optional<uint64_t> number = text ? ParseNumber(*text, 10) : std::nullopt;
  return number && *number > 0 && *number <= max ? *number : otherwise;
}

std::string TextAt(const Dictionary& keys, std::string_view key) {
  const std::string* const text = keys.Find(key);
  return text ? *text : std::string();
}

// The place of the controller in the machine's list; it is added when it is new.
size_t FindController(Machine& machine, const Dictionary& keys, const Node& node) {
  auto& controllers = machine.controllers;
  const auto found =
      std::find_if(controllers.begin(), controllers.end(), [&node](const auto& controller) {
        return controller.bus == node.bus && controller.number == node.number;
      });
  if (found != controllers.end()) return static_cast<size_t>(found - controllers.begin());
  MachineController controller;
  controller.bus = node.bus;
  controller.number = node.number;
  controller.type = TextAt(keys, NameOf(controller) + ".virtualDev");
  if (controller.type.empty() && node.bus == "scsi") controller.type = "lsilogic";
  controllers.push_back(std::move(controller));
  return controllers.size() - 1;
}

void ReadNetworks(const Dictionary& keys, Machine& machine) {
  constexpr int kNetworksMax = 10;
  for (int i = 0; i < kNetworksMax; ++i) {
    const std::string name = fmt::format("ethernet{}", i);
    if (!EqualsIgnoringCase(TextAt(keys, name + ".present"), "true")) continue;
    const std::string network = TextAt(keys, name + ".networkName");
    machine.networks.push_back(
        {network.empty() ? "VM Network" : network, TextAt(keys, name + ".virtualDev")});
  }
}

}  // namespace

Result<MachineFile> ReadMachineFile(std::string_view text) {
  TRY(const Dictionary keys, Dictionary::Parse(text));
  TRY(const Vmx vmx, Vmx::Parse(text));
  MachineFile file;
  Machine& machine = file.machine;
  machine.name = TextAt(keys, "displayName");
  machine.guest_os = TextAt(keys, "guestOS");
  machine.is_efi = EqualsIgnoringCase(TextAt(keys, "firmware"), "efi");
  machine.cpu_count = static_cast<uint32_t>(NumberAt(keys, "numvcpus", 1, 1'024));
  machine.memory_bytes = NumberAt(keys, "memSize", 1'024, uint64_t{1} << 25) << 20;
  machine.hardware_version = static_cast<uint32_t>(NumberAt(keys, "virtualHW.version", 14, 999));
  for (const VmxDisk& disk : vmx.disks()) {
    const std::optional<Node> node = ParseNode(disk.node);
    if (!node) {
      return Error(Code::kParseError, fmt::format("machine file: a disk at \"{}\"", disk.node));
    }
    const size_t controller = FindController(machine, keys, *node);
    machine.drives.push_back({file.disk_names.size(), controller, node->unit});
    file.disk_names.push_back(disk.file_name);
  }
  ReadNetworks(keys, machine);
  return file;
}

std::string_view DescriptorAdapterOf(const MachineController& controller) {
  if (controller.bus == "ide") return "ide";
  return controller.type == "buslogic" ? "buslogic" : "lsilogic";
}

Result<std::string> WriteMachineFile(const Machine& machine,
                                     const std::vector<std::string>& disk_names) {
  Lines lines;
  lines.Add(".encoding", "UTF-8");
  lines.Add("config.version", "8");
  lines.Add("virtualHW.version", fmt::format("{}", machine.hardware_version));
  lines.Add("displayName", machine.name);
  if (!machine.guest_os.empty()) lines.Add("guestOS", machine.guest_os);
  if (machine.is_efi) lines.Add("firmware", "efi");
  lines.Add("numvcpus", fmt::format("{}", machine.cpu_count));
  lines.Add("memSize", fmt::format("{}", machine.memory_bytes >> 20));
  AddControllers(machine, lines);
  for (const MachineDrive& drive : machine.drives) {
    if (drive.disk >= disk_names.size() || drive.controller >= machine.controllers.size()) {
      return Error(Code::kInvalidArgument, "machine file: a drive without a disk");
    }
    const MachineController& controller = machine.controllers[drive.controller];
    const std::string node = fmt::format("{}:{}", NameOf(controller), drive.unit);
    lines.Add(node + ".present", "TRUE");
    if (controller.bus == "scsi") lines.Add(node + ".deviceType", "scsi-hardDisk");
    lines.Add(node + ".fileName", disk_names[drive.disk]);
  }
  AddNetworks(machine, lines);
  return lines.Take();
}

}  // namespace disklib
