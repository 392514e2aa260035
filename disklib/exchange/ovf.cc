#include "disklib/exchange/ovf.h"

#include <algorithm>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor.h"
#include "disklib/descriptor_lines.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;

constexpr std::string_view kEnvelopeStart =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
    "<Envelope xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\"\n"
    "  xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\"\n"
    "  xmlns:rasd=\"http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/"
    "CIM_ResourceAllocationSettingData\"\n"
    "  xmlns:vmw=\"http://www.vmware.com/schema/ovf\"\n"
    "  xmlns:vssd=\"http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/"
    "CIM_VirtualSystemSettingData\">\n";

// Text for an element or a quoted attribute. Errors: kNameInvalid.
Result<std::string> Escape(std::string_view text) {
  std::string escaped;
  for (const char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    if (byte < ' ' || byte == 0x7f) {
      return Error(Code::kNameInvalid,
                   fmt::format("OVF: \"{}\" has a control character", text.substr(0, 80)));
    }
    switch (letter) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&quot;"; break;
      default: escaped += letter;
    }
  }
  return escaped;
}

// The children of an Item, in the order the schema wants: that of their names.
using ItemFields = std::map<std::string_view, std::string>;

std::string FormatItem(const ItemFields& fields) {
  std::string text = "      <Item>\n";
  for (const auto& [name, value] : fields) {
    text += fmt::format("        <rasd:{}>{}</rasd:{}>\n", name, value, name);
  }
  return text + "      </Item>\n";
}

std::string_view SubTypeOf(const MachineController& controller) {
  if (controller.bus == "sata") return "vmware.sata.ahci";
  if (controller.bus == "nvme") return "vmware.nvme.controller";
  if (controller.type == "pvscsi") return "VirtualSCSI";
  if (controller.type == "lsisas1068") return "lsilogicsas";
  return controller.type;
}

int ResourceTypeOf(const MachineController& controller) {
  if (controller.bus == "ide") return 5;
  return controller.bus == "scsi" ? 6 : 20;
}

class Writer {
 public:
  explicit Writer(const OvfPackage& package) : package_(package), machine_(package.machine) {}

  Result<std::string> Write() {
    text_ = kEnvelopeStart;
    TRY_STATUS(AddReferences());
    TRY_STATUS(AddDisks());
    TRY_STATUS(AddNetworks());
    TRY_STATUS(AddSystem());
    text_ += "</Envelope>\n";
    return std::move(text_);
  }

 private:
  Status AddReferences();
  Status AddDisks();
  Status AddNetworks();
  Status AddSystem();
  Status AddHardware();
  void AddProcessorAndMemory();
  void AddControllers();
  Status AddDrives();
  Status AddNetworkCards();

  const OvfPackage& package_;
  const Machine& machine_;
  std::string text_;
  uint32_t next_id_ = 1;
  std::vector<uint32_t> controller_ids_;
};

Status Writer::AddReferences() {
  text_ += "  <References>\n";
  for (size_t i = 0; i < package_.disks.size(); ++i) {
    const OvfDisk& disk = package_.disks[i];
    TRY(const std::string name, Escape(disk.file_name));
    const std::string size =
        disk.file_bytes ? fmt::format(" ovf:size=\"{}\"", *disk.file_bytes) : std::string();
    text_ += fmt::format("    <File ovf:href=\"{}\" ovf:id=\"file{}\"{}/>\n", name, i + 1, size);
  }
  text_ += "  </References>\n";
  return base::Ok();
}

Status Writer::AddDisks() {
  text_ += "  <DiskSection>\n    <Info>Virtual disks</Info>\n";
  for (size_t i = 0; i < package_.disks.size(); ++i) {
    const OvfDisk& disk = package_.disks[i];
    TRY(const std::string format, Escape(disk.format_uri));
    text_ += fmt::format(
        "    <Disk ovf:capacity=\"{}\" ovf:capacityAllocationUnits=\"byte\" "
        "ovf:diskId=\"vmdisk{}\" ovf:fileRef=\"file{}\" ovf:format=\"{}\"/>\n",
        disk.capacity_bytes, i + 1, i + 1, format);
  }
  text_ += "  </DiskSection>\n";
  return base::Ok();
}

Status Writer::AddNetworks() {
  if (machine_.networks.empty()) return base::Ok();
  text_ += "  <NetworkSection>\n    <Info>Networks</Info>\n";
  std::vector<std::string_view> named;
  for (const MachineNetwork& network : machine_.networks) {
    if (std::find(named.begin(), named.end(), network.name) != named.end()) continue;
    named.push_back(network.name);
    TRY(const std::string name, Escape(network.name));
    text_ += fmt::format(
        "    <Network ovf:name=\"{}\">\n      <Description>{}</Description>\n    </Network>\n",
        name, name);
  }
  text_ += "  </NetworkSection>\n";
  return base::Ok();
}

Status Writer::AddSystem() {
  TRY(const std::string name, Escape(machine_.name));
  std::string os = machine_.guest_os;
  std::replace(os.begin(), os.end(), '-', '_');
  TRY(const std::string os_type, Escape(os.empty() ? "otherGuest" : os + "Guest"));
  text_ += fmt::format(
      "  <VirtualSystem ovf:id=\"{}\">\n    <Info>A virtual machine</Info>\n    <Name>{}</Name>\n"
      "    <OperatingSystemSection ovf:id=\"1\" vmw:osType=\"{}\">\n"
      "      <Info>The guest's operating system</Info>\n    </OperatingSystemSection>\n",
      name, name, os_type);
  TRY_STATUS(AddHardware());
  text_ += "  </VirtualSystem>\n";
  return base::Ok();
}

Status Writer::AddHardware() {
  TRY(const std::string name, Escape(machine_.name));
  text_ += fmt::format(
      "    <VirtualHardwareSection>\n      <Info>Virtual hardware</Info>\n      <System>\n"
      "        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>\n"
      "        <vssd:InstanceID>0</vssd:InstanceID>\n"
      "        <vssd:VirtualSystemIdentifier>{}</vssd:VirtualSystemIdentifier>\n"
      "        <vssd:VirtualSystemType>vmx-{:02}</vssd:VirtualSystemType>\n      </System>\n",
      name, machine_.hardware_version);
  AddProcessorAndMemory();
  AddControllers();
  TRY_STATUS(AddDrives());
  TRY_STATUS(AddNetworkCards());
  if (machine_.is_efi) {
    text_ += "      <vmw:Config ovf:required=\"false\" vmw:key=\"firmware\" vmw:value=\"efi\"/>\n";
  }
  text_ += "    </VirtualHardwareSection>\n";
  return base::Ok();
}

void Writer::AddProcessorAndMemory() {
  text_ += FormatItem({{"AllocationUnits", "hertz * 10^6"},
                       {"Description", "Number of virtual CPUs"},
                       {"ElementName", fmt::format("{} virtual CPUs", machine_.cpu_count)},
                       {"InstanceID", fmt::format("{}", next_id_++)},
                       {"ResourceType", "3"},
                       {"VirtualQuantity", fmt::format("{}", machine_.cpu_count)}});
  const uint64_t mebibytes = machine_.memory_bytes >> 20;
  text_ += FormatItem({{"AllocationUnits", "byte * 2^20"},
                       {"Description", "Memory size"},
                       {"ElementName", fmt::format("{} MB of memory", mebibytes)},
                       {"InstanceID", fmt::format("{}", next_id_++)},
                       {"ResourceType", "4"},
                       {"VirtualQuantity", fmt::format("{}", mebibytes)}});
}

void Writer::AddControllers() {
  for (const MachineController& controller : machine_.controllers) {
    ItemFields fields = {
        {"Address", fmt::format("{}", controller.number)},
        {"Description", fmt::format("{} controller", controller.bus)},
        {"ElementName", fmt::format("{} controller {}", controller.bus, controller.number)},
        {"InstanceID", fmt::format("{}", next_id_)},
        {"ResourceType", fmt::format("{}", ResourceTypeOf(controller))}};
    if (controller.bus != "ide") fields["ResourceSubType"] = SubTypeOf(controller);
    controller_ids_.push_back(next_id_++);
    text_ += FormatItem(fields);
  }
}

Status Writer::AddDrives() {
  for (size_t i = 0; i < machine_.drives.size(); ++i) {
    const MachineDrive& drive = machine_.drives[i];
    if (drive.disk >= package_.disks.size() || drive.controller >= controller_ids_.size()) {
      return Error(Code::kInvalidArgument, fmt::format("OVF: drive {} without a disk", i));
    }
    text_ += FormatItem({{"AddressOnParent", fmt::format("{}", drive.unit)},
                         {"ElementName", fmt::format("Hard disk {}", i + 1)},
                         {"HostResource", fmt::format("ovf:/disk/vmdisk{}", drive.disk + 1)},
                         {"InstanceID", fmt::format("{}", next_id_++)},
                         {"Parent", fmt::format("{}", controller_ids_[drive.controller])},
                         {"ResourceType", "17"}});
  }
  return base::Ok();
}

Status Writer::AddNetworkCards() {
  for (size_t i = 0; i < machine_.networks.size(); ++i) {
    const MachineNetwork& network = machine_.networks[i];
    TRY(const std::string name, Escape(network.name));
    TRY(const std::string type, Escape(network.type == "vmxnet3" ? "VmxNet3"
                                       : network.type.empty()    ? "E1000"
                                                                 : network.type));
    text_ += FormatItem({{"AddressOnParent", fmt::format("{}", i + 7)},
                         {"AutomaticAllocation", "true"},
                         {"Connection", name},
                         {"ElementName", fmt::format("Network adapter {}", i + 1)},
                         {"InstanceID", fmt::format("{}", next_id_++)},
                         {"ResourceSubType", type},
                         {"ResourceType", "10"}});
  }
  return base::Ok();
}

}  // namespace

Result<std::string> WriteOvf(const OvfPackage& package) {
  return Writer(package).Write();
}

std::optional<uint64_t> ParseAllocationUnits(std::string_view units) {
  std::string_view rest = Trim(units);
  if (rest.empty()) return 1;
  const std::pair<std::string_view, int> kWords[] = {
      {"KB", 10}, {"KiloBytes", 10}, {"MB", 20}, {"MegaBytes", 20},
      {"GB", 30}, {"GigaBytes", 30}, {"TB", 40}, {"TeraBytes", 40},
  };
  for (const auto& [word, power] : kWords) {
    if (EqualsIgnoringCase(rest, word)) return uint64_t{1} << power;
  }
  // "byte * 2^30" (DSP0004, programmatic units).
  const std::string_view word = StartsWithIgnoringCase(rest, "bytes") ? "bytes" : "byte";
  if (!StartsWithIgnoringCase(rest, word)) return std::nullopt;
  rest = Trim(rest.substr(word.size()));
  if (rest.empty()) return 1;
  if (!rest.starts_with('*')) return std::nullopt;
  rest = Trim(rest.substr(1));
  const size_t caret = std::min(rest.find('^'), rest.size());
  const std::optional<uint64_t> radix = ParseNumber(Trim(rest.substr(0, caret)), 10);
  const std::optional<uint64_t> power =
      caret == rest.size() ? 1 : ParseNumber(Trim(rest.substr(caret + 1)), 10);
  if (!radix || !power || *radix == 0 || *power > 62) return std::nullopt;
  uint64_t value = 1;
  for (uint64_t i = 0; i < *power; ++i) {
    if (value > kCapacityBytesMax / *radix) return std::nullopt;
    value *= *radix;
  }
  return value;
}

}  // namespace disklib
