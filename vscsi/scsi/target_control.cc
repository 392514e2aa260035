// The commands of `scsi::Target` that describe the unit and move no blocks.
#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>

#include "fs/base/on_disk.h"
#include "vscsi/scsi/buffers.h"
#include "vscsi/scsi/mode_data.h"
#include "vscsi/scsi/target.h"

namespace scsi {
namespace {

constexpr VpdPage kVpdPages[] = {
    VpdPage::kSupportedPages,
    VpdPage::kUnitSerialNumber,
    VpdPage::kDeviceIdentification,
    VpdPage::kBlockLimits,
    VpdPage::kBlockDeviceCharacteristics,
    VpdPage::kLogicalBlockProvisioning,
};

constexpr uint8_t kPageControlChangeable = 1;
constexpr uint8_t kPageControlSaved = 3;
constexpr uint8_t kAllSubpages = 0xFF;

std::string HexOf(const NaaName& name) {
  std::string text;
  for (const uint8_t byte : name) {
    char digits[3];
    std::snprintf(digits, sizeof(digits), "%02x", byte);
    text += digits;
  }
  return text;
}

// T10 vendor id based: eight characters of vendor, then what the vendor likes (SPC-4 7.8.6.3).
Designator VendorDesignator(const std::string& vendor, const std::string& serial) {
  constexpr size_t kVendorCharacters = 8;
  std::string text = vendor.substr(0, kVendorCharacters);
  text.resize(kVendorCharacters, ' ');
  text += serial;
  Designator designator;
  designator.code_set = 2;
  designator.type = kDesignatorT10VendorId;
  designator.identifier.assign(text.begin(), text.end());
  return designator;
}

Designator NaaDesignator(const NaaName& name) {
  Designator designator;
  designator.type = kDesignatorNaa;
  designator.identifier.assign(name.begin(), name.end());
  return designator;
}

uint32_t Saturated32(uint64_t value) {
  return static_cast<uint32_t>(std::min<uint64_t>(value, UINT32_MAX));
}

}  // namespace

base::Task<Response> Target::TestUnitReady(Nexus&, const Command& command) {
  return SendData(command, {}, 0);
}

// Reports the oldest unit attention and clears it; status is GOOD all the same (SPC-4 6.39).
base::Task<Response> Target::RequestSense(Nexus& nexus, const Command& command) {
  const RequestSenseCdb request = DecodeRequestSense(command.cdb);
  Sense sense;
  if (nexus.has_attention()) sense.code = nexus.Take();
  const SenseBuffer buffer = EncodeSense(
      sense, request.descriptor_format ? SenseFormat::kDescriptor : SenseFormat::kFixed);
  return SendData(command, std::as_bytes(buffer.view()), request.allocation_bytes);
}

base::Task<Response> Target::Inquiry(Nexus&, const Command& command) {
  const InquiryCdb inquiry = DecodeInquiry(command.cdb);
  if (inquiry.vital_product_data) {
    const std::optional<Bytes> page = EncodeVpdPage(inquiry.page_code);
    if (!page) return Fail(InvalidCdbField(2));
    return SendData(command, *page, inquiry.allocation_bytes);
  }
  if (inquiry.page_code != 0) return Fail(InvalidCdbField(2));
  InquiryData data;
  data.vendor = options_.vendor;
  data.product = options_.product;
  data.revision = options_.revision;
  return SendData(command, EncodeInquiryData(data), inquiry.allocation_bytes);
}

std::optional<Bytes> Target::EncodeVpdPage(uint8_t page_code) const {
  switch (static_cast<VpdPage>(page_code)) {
    case VpdPage::kSupportedPages: return EncodeSupportedPages(kVpdPages);
    case VpdPage::kUnitSerialNumber: return EncodeSerialNumber(HexOf(naa_name_));
    case VpdPage::kDeviceIdentification: {
      const std::array designators = {NaaDesignator(naa_name_),
                                      VendorDesignator(options_.vendor, HexOf(naa_name_))};
      return EncodeDeviceIdentification(designators);
    }
    case VpdPage::kBlockLimits: return EncodeBlockLimits(BlockLimitsNow());
    case VpdPage::kBlockDeviceCharacteristics: return EncodeBlockDeviceCharacteristics();
    case VpdPage::kLogicalBlockProvisioning: {
      const bool thin = backing_->limits().can_unmap;
      return EncodeProvisioning({thin, thin, thin, static_cast<uint8_t>(thin ? 2 : 0)});
    }
  }
  return {};
}

BlockLimits Target::BlockLimitsNow() const {
  const base::Limits& backing = backing_->limits();
  const uint64_t physical_blocks =
      std::max<uint64_t>(1, backing.physical_block_bytes >> block_shift_);
  BlockLimits limits;
  // One physical block is what `BlockDevice` promises to replace atomically.
  if (backing.can_compare_and_write) {
    limits.compare_and_write_max =
        static_cast<uint8_t>(std::min<uint64_t>(physical_blocks, UINT8_MAX));
  }
  limits.transfer_granularity =
      static_cast<uint16_t>(std::min<uint64_t>(physical_blocks, UINT16_MAX));
  limits.transfer_max = backing.transfer_bytes_max >> block_shift_;
  limits.transfer_optimal = limits.transfer_max;
  if (backing.can_unmap) {
    limits.unmap_max = UINT32_MAX;
    limits.unmap_descriptors_max = kUnmapDescriptorsMax;
    limits.unmap_granularity =
        Saturated32(std::max<uint64_t>(1, backing.unmap_granularity_bytes >> block_shift_));
  }
  // A device that has to write zeros one by one says so by not reporting a limit.
  if (backing.can_write_zeroes) limits.write_same_max = kWriteSameBytesMax >> block_shift_;
  return limits;
}

Capacity Target::CapacityNow() const {
  const base::Limits& backing = backing_->limits();
  Capacity capacity;
  capacity.block_count = block_count();
  capacity.block_size_bytes = backing.block_size_bytes;
  const uint32_t ratio = std::max(1u, backing.physical_block_bytes >> block_shift_);
  capacity.physical_block_exponent = static_cast<uint8_t>(std::bit_width(ratio) - 1);
  capacity.provisioning = backing.can_unmap;
  capacity.reads_zeros = backing.can_unmap;
  return capacity;
}

base::Task<Response> Target::ModeSense(Nexus&, const Command& command) {
  const ModeSenseCdb mode = DecodeModeSense(command.cdb);
  if (mode.page_control == kPageControlSaved) return Fail(Sense{.code = kSavingNotSupported});
  if (mode.subpage_code != 0 && mode.subpage_code != kAllSubpages) return Fail(InvalidCdbField(3));
  const ModeValues values =
      mode.page_control == kPageControlChangeable ? ModeValues::kChangeable : ModeValues::kCurrent;
  const Bytes pages = EncodeModePages(static_cast<ModePage>(mode.page_code), values);
  if (pages.empty()) return Fail(InvalidCdbField(2));
  const ModeHeader header{!backing_->limits().can_write, true};
  const Capacity capacity = CapacityNow();
  const Capacity* descriptor = mode.no_block_descriptors ? nullptr : &capacity;
  const Bytes data = command.cdb.opcode() == Opcode::kModeSense6
                         ? EncodeModeData6(header, descriptor, pages)
                         : EncodeModeData10(header, descriptor, pages);
  return SendData(command, data, mode.allocation_bytes);
}

// A medium that cannot be removed stays; stopping the unit makes its cache durable (SBC-3 5.25).
base::Task<Response> Target::StartStopUnit(Nexus&, const Command& command) {
  const StartStopCdb start_stop = DecodeStartStop(command.cdb);
  if (start_stop.load_eject) return Fail(InvalidCdbField(4));
  if (!start_stop.start && !start_stop.no_flush && backing_->limits().can_write) return Flush();
  return SendData(command, {}, 0);
}

base::Task<Response> Target::ReportLuns(Nexus&, const Command& command) {
  constexpr uint32_t kAllocationBytesMin = 16;
  constexpr uint8_t kWellKnownOnly = 1, kSelectMax = 2;
  const ReportLunsCdb report = DecodeReportLuns(command.cdb);
  if (report.select_report > kSelectMax) return Fail(InvalidCdbField(2));
  if (report.allocation_bytes < kAllocationBytesMin) return Fail(InvalidCdbField(6));
  // Four bytes of list length, four reserved, then eight per LUN: this unit is LUN 0.
  std::array<std::byte, 16> data{};
  const uint32_t list_bytes = report.select_report == kWellKnownOnly ? 0 : 8;
  base::StoreAs(std::span(data), 0, base::Be32(list_bytes));
  return SendData(command, std::span(data).first(8 + list_bytes), report.allocation_bytes);
}

base::Task<Response> Target::ReadCapacity10(Nexus&, const Command& command) {
  const ReadCapacity10Cdb read = DecodeReadCapacity10(command.cdb);
  if (!read.partial_medium && read.lba != 0) return Fail(InvalidCdbField(2));
  const Bytes data = EncodeCapacity10(CapacityNow());
  return SendData(command, data, data.size());
}

base::Task<Response> Target::ServiceActionIn(Nexus&, const Command& command) {
  const ServiceActionInCdb action = DecodeServiceActionIn(command.cdb);
  switch (action.service_action) {
    case kServiceActionReadCapacity16:
      if ((action.byte_14 & 1) == 0 && action.lba != 0) return Fail(InvalidCdbField(2));
      return SendData(command, EncodeCapacity16(CapacityNow()), action.allocation_bytes);
    case kServiceActionGetLbaStatus: {
      if (!backing_->limits().can_map_status) return Fail(InvalidCdbField(1));
      // The starting block itself must exist, unlike in a transfer of no blocks.
      const auto refused = RefuseRange({action.lba, 1, 0}, Access::kRead);
      if (refused) return Fail(*refused);
      return LbaStatus(action.lba, action.allocation_bytes, command);
    }
    default: return Fail(InvalidCdbField(1));
  }
}

}  // namespace scsi
