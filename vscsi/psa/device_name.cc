#include "vscsi/psa/device_name.h"

#include <algorithm>

#include <fmt/format.h>

namespace psa {
namespace {

constexpr uint8_t kLogicalUnit = 0;

const scsi::Designator* Find(std::span<const scsi::Designator> designators, uint8_t type) {
  for (const scsi::Designator& designator : designators) {
    const bool fits = designator.type == type && designator.association == kLogicalUnit;
    if (fits && !designator.identifier.empty()) return &designator;
  }
  return nullptr;
}

std::string HexOf(std::span<const uint8_t> bytes) {
  std::string text;
  for (const uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

// Blanks and whatever cannot stand in a file name become underscores.
std::string TextOf(std::span<const uint8_t> bytes) {
  std::string text;
  for (const uint8_t byte : bytes) {
    const bool plain = byte > ' ' && byte < 0x7F && byte != '/';
    text += plain ? static_cast<char>(byte) : '_';
  }
  return text;
}

}  // namespace

std::string DeviceNameOf(std::span<const scsi::Designator> designators, const PathAddress& path) {
  if (const auto* naa = Find(designators, scsi::kDesignatorNaa)) {
    return "naa." + HexOf(naa->identifier);
  }
  if (const auto* eui = Find(designators, scsi::kDesignatorEui64)) {
    return "eui." + HexOf(eui->identifier);
  }
  if (const auto* vendor = Find(designators, scsi::kDesignatorT10VendorId)) {
    return "t10." + TextOf(vendor->identifier);
  }
  return "mpx." + path.ToString();
}

std::string VmlNameOf(std::span<const scsi::Designator> designators, const PathAddress& path,
                      std::string_view product) {
  const auto* naa = Find(designators, scsi::kDesignatorNaa);
  if (naa == nullptr) return {};
  std::array<uint8_t, 6> model;
  model.fill(' ');
  std::copy_n(product.begin(), std::min(product.size(), model.size()), model.begin());
  return fmt::format("vml.0200{:02x}0000", path.lun & 0xFF) + HexOf(naa->identifier) + HexOf(model);
}

}  // namespace psa
