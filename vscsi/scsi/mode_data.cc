#include "vscsi/scsi/mode_data.h"

#include <algorithm>
#include <array>

#include "fs/base/on_disk.h"

namespace scsi {
namespace {

using base::Be16;
using base::Be32;

struct CachingPage {
  uint8_t page, page_bytes, flags;
  uint8_t reserved[17];
};

static_assert(base::OnDisk<CachingPage> && sizeof(CachingPage) == 20);
constexpr uint8_t kWriteCacheEnabled = 0x04;

struct ControlPage {
  uint8_t page, page_bytes, flags_2, flags_3, flags_4, flags_5;
  uint8_t obsolete_6[2];
  Be16 busy_timeout, self_test_time;
};

static_assert(base::OnDisk<ControlPage> && sizeof(ControlPage) == 12);
constexpr uint8_t kNoLogSaving = 0x02;             // GLTSD
constexpr uint8_t kUnrestrictedReordering = 0x10;  // QUEUE ALGORITHM MODIFIER 1

struct Header6 {
  uint8_t data_bytes, medium_type, parameter, block_descriptor_bytes;
};

static_assert(base::OnDisk<Header6> && sizeof(Header6) == 4);

struct Header10 {
  Be16 data_bytes;
  uint8_t medium_type, parameter, long_lba, reserved_5;
  Be16 block_descriptor_bytes;
};

static_assert(base::OnDisk<Header10> && sizeof(Header10) == 8);

// Short form; the first byte of the block length is reserved and 0 for any size below 16 MiB.
struct BlockDescriptor {
  Be32 block_count, block_size_bytes;
};

static_assert(base::OnDisk<BlockDescriptor> && sizeof(BlockDescriptor) == 8);

template <base::OnDisk T>
void Append(Bytes& bytes, const T& wire) {
  const auto added = base::BytesOf(wire);
  bytes.insert(bytes.end(), added.begin(), added.end());
}

uint8_t ParameterOf(const ModeHeader& header) {
  return static_cast<uint8_t>((header.write_protected ? 0x80u : 0u) |
                              (header.dpo_fua ? 0x10u : 0u));
}

void AppendBlockDescriptor(Bytes& bytes, const Capacity* capacity) {
  if (capacity == nullptr) return;
  const uint64_t count = std::min<uint64_t>(capacity->block_count, UINT32_MAX);
  Append(bytes, BlockDescriptor{static_cast<uint32_t>(count), capacity->block_size_bytes});
}

}  // namespace

Bytes EncodeModePages(ModePage page, ModeValues values) {
  const bool current = values == ModeValues::kCurrent;
  Bytes bytes;
  if (page == ModePage::kCaching || page == ModePage::kAll) {
    CachingPage caching{static_cast<uint8_t>(ModePage::kCaching), sizeof(CachingPage) - 2, 0, {}};
    if (current) caching.flags = kWriteCacheEnabled;
    Append(bytes, caching);
  }
  if (page == ModePage::kControl || page == ModePage::kAll) {
    ControlPage control{};
    control.page = static_cast<uint8_t>(ModePage::kControl);
    control.page_bytes = sizeof(ControlPage) - 2;
    if (current) {
      control.flags_2 = kNoLogSaving;
      control.flags_3 = kUnrestrictedReordering;
    }
    Append(bytes, control);
  }
  return bytes;
}

Bytes EncodeModeData6(const ModeHeader& header, const Capacity* capacity,
                      std::span<const std::byte> pages) {
  const size_t descriptor_bytes = capacity ? sizeof(BlockDescriptor) : 0;
  const size_t size = sizeof(Header6) + descriptor_bytes + pages.size();
  Bytes bytes;
  Append(bytes, Header6{static_cast<uint8_t>(size - 1), 0, ParameterOf(header),
                        static_cast<uint8_t>(descriptor_bytes)});
  AppendBlockDescriptor(bytes, capacity);
  bytes.insert(bytes.end(), pages.begin(), pages.end());
  return bytes;
}

Bytes EncodeModeData10(const ModeHeader& header, const Capacity* capacity,
                       std::span<const std::byte> pages) {
  const size_t descriptor_bytes = capacity ? sizeof(BlockDescriptor) : 0;
  const size_t size = sizeof(Header10) + descriptor_bytes + pages.size();
  Bytes bytes;
  Append(bytes, Header10{static_cast<uint16_t>(size - 2), 0, ParameterOf(header), 0, 0,
                         static_cast<uint16_t>(descriptor_bytes)});
  AppendBlockDescriptor(bytes, capacity);
  bytes.insert(bytes.end(), pages.begin(), pages.end());
  return bytes;
}

base::Result<ModeHeader> DecodeModeHeader6(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(Header6)) {
    return base::Error(base::Code::kParseError,
                       "decode MODE SENSE(6) data: shorter than its header");
  }
  const auto wire = base::LoadAs<Header6>(bytes);
  return ModeHeader{(wire.parameter & 0x80) != 0, (wire.parameter & 0x10) != 0};
}

}  // namespace scsi
