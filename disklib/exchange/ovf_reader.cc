#include <algorithm>
#include <map>
#include <utility>

#include <fmt/format.h>
#include <pugixml.hpp>

#include "disklib/descriptor.h"
#include "disklib/descriptor_lines.h"
#include "disklib/exchange/manifest.h"
#include "disklib/exchange/ovf.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;

// DSP0243, CIM_ResourceAllocationSettingData.ResourceType.
constexpr uint64_t kProcessor = 3;
constexpr uint64_t kMemory = 4;
constexpr uint64_t kIdeController = 5;
constexpr uint64_t kScsiController = 6;
constexpr uint64_t kEthernet = 10;
constexpr uint64_t kDisk = 17;
constexpr uint64_t kOtherStorage = 20;  // SATA and NVMe controllers

constexpr uint64_t kMemoryBytesMax = uint64_t{24} << 40;
constexpr uint64_t kCpusMax = 1'024;
constexpr uint64_t kUnitsMax = 256;
constexpr uint64_t kBusesMax = 16;

// Prefixes are the writer's choice: names are compared behind the colon.
std::string_view LocalName(const char* name) {
  const std::string_view whole(name);
  const size_t colon = whole.find(':');
  return colon == whole.npos ? whole : whole.substr(colon + 1);
}

bool IsNamed(const pugi::xml_node& node, std::string_view name) {
  return node.type() == pugi::node_element && LocalName(node.name()) == name;
}

pugi::xml_node Child(const pugi::xml_node& parent, std::string_view name) {
  return parent.find_child([name](const pugi::xml_node& node) { return IsNamed(node, name); });
}

std::string_view Attribute(const pugi::xml_node& node, std::string_view name) {
  const pugi::xml_attribute found = node.find_attribute(
      [name](const pugi::xml_attribute& one) { return LocalName(one.name()) == name; });
  return found.value();
}

std::string_view Text(const pugi::xml_node& parent, std::string_view name) {
  return Trim(Child(parent, name).child_value());
}

std::vector<pugi::xml_node> Children(const pugi::xml_node& parent, std::string_view name) {
  std::vector<pugi::xml_node> found;
  for (const pugi::xml_node& node : parent.children()) {
    if (IsNamed(node, name)) found.push_back(node);
  }
  return found;
}

Error Malformed(std::string_view what, std::string_view value) {
  return Error(Code::kParseError,
               fmt::format("OVF: {} \"{}\" is not a number in range", what, value.substr(0, 80)));
}

Result<uint64_t> Number(std::string_view text, std::string_view what, uint64_t max) {
  const std::optional<uint64_t> number = ParseNumber(text, 10);
  if (!number || *number > max) return Malformed(what, text);
  return *number;
}

// A number times its unit.
Result<uint64_t> Quantity(std::string_view text, std::string_view units, std::string_view what,
                          uint64_t max) {
  const std::optional<uint64_t> number = ParseNumber(text, 10);
  const std::optional<uint64_t> unit = ParseAllocationUnits(units);
  if (!number || !unit || *number > max / *unit) {
    return Malformed(what, fmt::format("{} {}", text, units));
  }
  return *number * *unit;
}

class Reader {
 public:
  Result<OvfPackage> Read(const pugi::xml_node& envelope) {
    TRY_STATUS(ReadReferences(Child(envelope, "References")));
    TRY_STATUS(ReadDisks(envelope));
    TRY_STATUS(FindConfiguration(Child(envelope, "DeploymentOptionSection")));
    TRY(const pugi::xml_node system, FindSystem(envelope));
    const std::string_view name = Text(system, "Name");
    package_.machine.name = name.empty() ? Attribute(system, "id") : name;
    TRY_STATUS(ReadSystem(system));
    TRY_STATUS(Order());
    return std::move(package_);
  }

 private:
  struct File {
    std::string href;
    std::string trouble;  // why it cannot be used; empty: it can
    std::optional<uint64_t> size_bytes;
  };

  Status ReadReferences(const pugi::xml_node& references);
  Status ReadDisks(const pugi::xml_node& envelope);
  Status ReadDisk(const pugi::xml_node& node);
  Status FindConfiguration(const pugi::xml_node& section);
  static Result<pugi::xml_node> FindSystem(const pugi::xml_node& envelope);
  Status ReadSystem(const pugi::xml_node& system);
  Status ReadItem(const pugi::xml_node& item);
  Status ReadController(const pugi::xml_node& item, uint64_t type);
  Status ReadDrive(const pugi::xml_node& item);
  Status ReadNetwork(const pugi::xml_node& item);
  bool IsChosen(const pugi::xml_node& item) const;
  Status Order();

  OvfPackage package_;
  std::map<std::string, File, std::less<>> files_;
  std::map<std::string, size_t, std::less<>> disk_ids_;
  std::map<std::string, size_t, std::less<>> controller_ids_;
  std::string configuration_;
};

Status Reader::ReadReferences(const pugi::xml_node& references) {
  for (const pugi::xml_node& node : Children(references, "File")) {
    const std::string id(Attribute(node, "id"));
    File file;
    file.href = Attribute(node, "href");
    const std::string_view compression = Attribute(node, "compression");
    if (!compression.empty() && compression != "identity") {
      file.trouble = fmt::format("compressed by {}", compression);
    }
    if (!Attribute(node, "chunkSize").empty()) file.trouble = "split into chunks";
    const std::string_view size = Attribute(node, "size");
    if (!size.empty()) {
      TRY(file.size_bytes, Number(size, "the size of file " + id, kCapacityBytesMax * 2));
    }
    if (!files_.emplace(id, std::move(file)).second) {
      return Error(Code::kCorrupt, fmt::format("OVF: file id \"{}\" is given twice", id));
    }
  }
  return base::Ok();
}

Status Reader::ReadDisks(const pugi::xml_node& envelope) {
  for (const pugi::xml_node& section : envelope.children()) {
    if (!IsNamed(section, "DiskSection") && !IsNamed(section, "Section")) continue;
    for (const pugi::xml_node& node : Children(section, "Disk")) TRY_STATUS(ReadDisk(node));
  }
  return base::Ok();
}

Status Reader::ReadDisk(const pugi::xml_node& node) {
  OvfDisk disk;
  disk.id = Attribute(node, "diskId");
  disk.format_uri = Attribute(node, "format");
  if (!Attribute(node, "parentRef").empty()) {
    return Error(Code::kUnsupported, fmt::format("OVF: disk \"{}\" has a parent disk", disk.id));
  }
  const std::string_view file_id = Attribute(node, "fileRef");
  if (!file_id.empty()) {
    const auto file = files_.find(file_id);
    if (file == files_.end()) {
      return Error(Code::kCorrupt, fmt::format("OVF: disk \"{}\" refers to file \"{}\", which is "
                                               "not there",
                                               disk.id, file_id));
    }
    TRY_STATUS(CheckMemberName(file->second.href));
    if (!file->second.trouble.empty()) {
      return Error(Code::kUnsupported,
                   fmt::format("OVF: {} is {}", file->second.href, file->second.trouble));
    }
    disk.file_name = file->second.href;
    disk.file_bytes = file->second.size_bytes;
  }
  const std::string_view capacity = Attribute(node, "capacity");
  const std::string_view units = Attribute(node, "capacityAllocationUnits");
  if (!capacity.empty()) {
    TRY(disk.capacity_bytes,
        Quantity(capacity, units, "the capacity of disk " + disk.id, kCapacityBytesMax));
  }
  if (package_.disks.size() == kOvfDisksMax) {
    return Error(Code::kTooLarge, fmt::format("OVF: more than {} disks", kOvfDisksMax));
  }
  if (!disk_ids_.emplace(disk.id, package_.disks.size()).second) {
    return Error(Code::kCorrupt, fmt::format("OVF: disk id \"{}\" is given twice", disk.id));
  }
  package_.disks.push_back(std::move(disk));
  return base::Ok();
}

// Of several configurations the default one counts, else the first.
Status Reader::FindConfiguration(const pugi::xml_node& section) {
  for (const pugi::xml_node& node : Children(section, "Configuration")) {
    const bool is_default = Attribute(node, "default") == "true";
    if (configuration_.empty() || is_default) configuration_ = Attribute(node, "id");
    if (is_default) break;
  }
  return base::Ok();
}

Result<pugi::xml_node> Reader::FindSystem(const pugi::xml_node& envelope) {
  std::vector<pugi::xml_node> systems = Children(envelope, "VirtualSystem");
  if (systems.empty()) systems = Children(envelope, "Content");
  const pugi::xml_node collection = Child(envelope, "VirtualSystemCollection");
  if (systems.empty()) systems = Children(collection, "VirtualSystem");
  if (systems.size() == 1) return systems.front();
  return Error(systems.empty() ? Code::kCorrupt : Code::kUnsupported,
               fmt::format("OVF: {} machines in one package, not one", systems.size()));
}

bool Reader::IsChosen(const pugi::xml_node& item) const {
  std::string_view words = Attribute(item, "configuration");
  if (words.empty()) return true;
  while (!words.empty()) {
    if (TakeWord(words) == configuration_) return true;
  }
  return false;
}

Status Reader::ReadSystem(const pugi::xml_node& system) {
  std::string os(Attribute(Child(system, "OperatingSystemSection"), "osType"));
  if (os.ends_with("Guest")) os.resize(os.size() - 5);
  std::replace(os.begin(), os.end(), '_', '-');
  package_.machine.guest_os = os;
  pugi::xml_node hardware = Child(system, "VirtualHardwareSection");
  if (!hardware) return Error(Code::kCorrupt, "OVF: the machine has no VirtualHardwareSection");
  const std::string_view family = Text(Child(hardware, "System"), "VirtualSystemType");
  if (family.starts_with("vmx-")) {
    const std::optional<uint64_t> version =
        ParseNumber(family.substr(4, family.find_first_of(" ,") - 4), 10);
    if (version && *version < 1'000) {
      package_.machine.hardware_version = static_cast<uint32_t>(*version);
    }
  }
  for (const pugi::xml_node& config : Children(hardware, "Config")) {
    if (Attribute(config, "key") != "firmware") continue;
    package_.machine.is_efi = Attribute(config, "value") == "efi";
  }
  // Drives name controllers that may come behind them.
  for (const bool controllers : {true, false}) {
    for (const pugi::xml_node& item : hardware.children()) {
      const bool is_item = IsNamed(item, "Item") || IsNamed(item, "StorageItem") ||
                           IsNamed(item, "EthernetPortItem");
      if (!is_item || !IsChosen(item)) continue;
      const std::optional<uint64_t> type = ParseNumber(Text(item, "ResourceType"), 10);
      if (!type) continue;
      const bool is_controller =
          *type == kIdeController || *type == kScsiController || *type == kOtherStorage;
      if (is_controller != controllers) continue;
      TRY_STATUS(is_controller ? ReadController(item, *type) : ReadItem(item));
    }
  }
  return base::Ok();
}

Status Reader::ReadController(const pugi::xml_node& item, uint64_t type) {
  const std::string_view sub_type = Text(item, "ResourceSubType");
  MachineController controller;
  controller.type.clear();
  if (type == kIdeController) {
    controller.bus = "ide";
  } else if (type == kOtherStorage) {
    controller.bus = sub_type.find("nvme") == sub_type.npos ? "sata" : "nvme";
  } else if (EqualsIgnoringCase(sub_type, "VirtualSCSI")) {
    controller.type = "pvscsi";
  } else if (EqualsIgnoringCase(sub_type, "lsilogicsas")) {
    controller.type = "lsisas1068";
  } else if (EqualsIgnoringCase(sub_type, "buslogic")) {
    controller.type = "buslogic";
  } else {
    controller.type = "lsilogic";
  }
  // Numbers of our own: what "Address" says is not the same with every writer.
  auto& controllers = package_.machine.controllers;
  const auto number =
      std::count_if(controllers.begin(), controllers.end(),
                    [&controller](const auto& one) { return one.bus == controller.bus; });
  controller.number = static_cast<uint32_t>(number);
  if (controller.number >= kBusesMax) {
    return Error(Code::kTooLarge,
                 fmt::format("OVF: more than {} {} controllers", kBusesMax, controller.bus));
  }
  const std::string id(Text(item, "InstanceID"));
  if (!controller_ids_.emplace(id, controllers.size()).second) {
    return Error(Code::kCorrupt, fmt::format("OVF: instance id \"{}\" is given twice", id));
  }
  controllers.push_back(std::move(controller));
  return base::Ok();
}

Status Reader::ReadItem(const pugi::xml_node& item) {
  Machine& machine = package_.machine;
  TRY(const uint64_t type, Number(Text(item, "ResourceType"), "ResourceType", UINT32_MAX));
  const std::string_view quantity = Text(item, "VirtualQuantity");
  if (type == kProcessor) {
    TRY(const uint64_t count, Number(quantity, "the number of processors", kCpusMax));
    machine.cpu_count = static_cast<uint32_t>(std::max<uint64_t>(count, 1));
  } else if (type == kMemory) {
    const std::string_view units = Text(item, "AllocationUnits");
    TRY(machine.memory_bytes,
        Quantity(quantity, units.empty() ? "MegaBytes" : units, "the memory", kMemoryBytesMax));
  } else if (type == kEthernet) {
    TRY_STATUS(ReadNetwork(item));
  } else if (type == kDisk) {
    TRY_STATUS(ReadDrive(item));
  }
  return base::Ok();
}

Status Reader::ReadNetwork(const pugi::xml_node& item) {
  MachineNetwork network;
  network.name = Text(item, "Connection");
  const std::string_view sub_type = Text(item, "ResourceSubType");
  network.type.clear();
  for (const std::string_view known :
       {"vmxnet3", "e1000e", "e1000", "vmxnet2", "vmxnet", "pcnet32"}) {
    if (!StartsWithIgnoringCase(sub_type, known)) continue;
    network.type = known;
    break;
  }
  package_.machine.networks.push_back(std::move(network));
  return base::Ok();
}

Status Reader::ReadDrive(const pugi::xml_node& item) {
  std::string_view resource = Text(item, "HostResource");
  const size_t slash = resource.rfind('/');
  const bool is_disk = resource.find("/disk/") != resource.npos;
  const std::string_view id = slash == resource.npos ? resource : resource.substr(slash + 1);
  const auto disk = disk_ids_.find(id);
  if (!is_disk || disk == disk_ids_.end()) {
    return Error(Code::kCorrupt,
                 fmt::format("OVF: a drive refers to \"{}\", which is no disk", resource));
  }
  const auto controller = controller_ids_.find(Text(item, "Parent"));
  if (controller == controller_ids_.end()) {
    return Error(Code::kCorrupt,
                 fmt::format("OVF: the drive of disk \"{}\" is on no controller", id));
  }
  MachineDrive drive;
  drive.disk = disk->second;
  drive.controller = controller->second;
  const std::string_view unit = Text(item, "AddressOnParent");
  if (!unit.empty()) {
    TRY(const uint64_t number, Number(unit, "AddressOnParent", kUnitsMax));
    drive.unit = static_cast<uint32_t>(number);
  }
  for (const MachineDrive& other : package_.machine.drives) {
    const bool is_same = other.controller == drive.controller && other.unit == drive.unit;
    if (!is_same && other.disk != drive.disk) continue;
    return Error(Code::kCorrupt, fmt::format("OVF: disk \"{}\" or its place is used twice", id));
  }
  package_.machine.drives.push_back(drive);
  return base::Ok();
}

// The disks in the order of the drives; what no drive uses behind them.
Status Reader::Order() {
  std::vector<OvfDisk> ordered;
  std::vector<bool> taken(package_.disks.size());
  for (MachineDrive& drive : package_.machine.drives) {
    taken[drive.disk] = true;
    ordered.push_back(std::move(package_.disks[drive.disk]));
    drive.disk = ordered.size() - 1;
  }
  for (size_t i = 0; i < taken.size(); ++i) {
    if (!taken[i]) ordered.push_back(std::move(package_.disks[i]));
  }
  package_.disks = std::move(ordered);
  return base::Ok();
}

}  // namespace

Result<OvfPackage> ParseOvf(std::string_view text) {
  if (text.size() > kOvfBytesMax) {
    return Error(Code::kTooLarge, fmt::format("OVF: {} bytes", text.size()));
  }
  pugi::xml_document document;
  const pugi::xml_parse_result parsed = document.load_buffer(text.data(), text.size());
  if (!parsed) {
    return Error(Code::kNotRecognized,
                 fmt::format("OVF: byte {}: {}", parsed.offset, parsed.description()));
  }
  const pugi::xml_node envelope = Child(document, "Envelope");
  if (!envelope) return Error(Code::kNotRecognized, "OVF: no Envelope");
  return Reader().Read(envelope);
}

}  // namespace disklib
