#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include "fs/base/check.h"
#include "fs/base/sim_executor.h"
#include "tests/fuzz/pieces.h"
#include "tests/scsi/memory_device.h"
#include "vscsi/scsi/mode_data.h"
#include "vscsi/scsi/parameter_data.h"
#include "vscsi/scsi/sense.h"
#include "vscsi/scsi/target.h"

namespace fuzz {
namespace {

constexpr uint64_t kDeviceBytes = 64 * 1024;
constexpr size_t kHeaderBytes = 36;
constexpr size_t kBufferBytesMax = 16 * 1024;
constexpr size_t kGuardBytes = 64;
constexpr std::byte kCanary{0xA5};

void CheckResponse(const scsi::Command& command, const scsi::Response& response) {
  CHECK(response.transferred_bytes <= base::TotalBytes(command.data));
  if (response.status != scsi::StatusCode::kCheckCondition) return;
  CHECK(scsi::DecodeSense(response.sense.view()).has_value());
}

uint8_t At(Input input, size_t index) { return static_cast<uint8_t>(input[index]); }

}  // namespace

// Any CDB with any data against `scsi::Target` over memory: 32 bytes of CDB, one of its length, one
// of direction, two of buffer length, then data. Every command is answered, within its buffers and
// inside the device; sense data decodes.
void RunScsiCdb(Input input) {
  if (input.size() < kHeaderBytes) return;
  base::SimExecutor executor(1);
  auto owned = std::make_unique<scsi_test::MemoryDevice>(kDeviceBytes);
  scsi_test::MemoryDevice& device = *owned;
  device.mutable_limits().can_write = (At(input, 33) & 0x80) == 0;
  device.mutable_limits().transfer_bytes_max = 8192;
  scsi::Target target(std::move(owned), {});
  scsi::Nexus nexus;
  target.AddNexus(nexus);
  if ((At(input, 33) & 0x40) == 0) nexus.Take();

  const size_t buffer_bytes =
      (size_t{At(input, 34)} << 8 | At(input, 35)) % (kBufferBytesMax + 1);
  std::vector<std::byte> buffer(buffer_bytes + kGuardBytes, kCanary);
  const size_t data_bytes = std::min(input.size() - kHeaderBytes, buffer_bytes);
  if (data_bytes > 0) std::memcpy(buffer.data(), input.data() + kHeaderBytes, data_bytes);
  const size_t first_bytes = buffer_bytes / 3;
  const base::IoVec pieces[2] = {{buffer.data(), first_bytes},
                                 {buffer.data() + first_bytes, buffer_bytes - first_bytes}};
  std::array<uint8_t, kHeaderBytes> cdb;
  std::memcpy(cdb.data(), input.data(), cdb.size());
  scsi::Command command;
  command.cdb = scsi::CdbOf(
      std::span<const uint8_t>(cdb).first(std::min<size_t>(cdb[32], scsi::kCdbBytesMax)));
  command.direction = static_cast<scsi::Direction>(cdb[33] % 3);
  command.data = pieces;
  const scsi::Response response = base::RunSync(executor, target.Execute(nexus, command));
  CheckResponse(command, response);
  CHECK(device.outside_count == 0);
  CHECK(std::all_of(buffer.begin() + static_cast<std::ptrdiff_t>(buffer_bytes), buffer.end(),
                    [](std::byte b) { return b == kCanary; }));
}

// Data of a device, as an initiator decodes it.
void RunScsiParameterData(Input input) {
  Pieces pieces(input);
  const uint8_t which = pieces.Byte();
  const Input bytes = pieces.rest();
  switch (which % 11) {
    case 0: (void)scsi::DecodeInquiryData(bytes); break;
    case 1: (void)scsi::DecodeVpdHeader(bytes); break;
    case 2: (void)scsi::DecodeDeviceIdentification(bytes); break;
    case 3: (void)scsi::DecodeBlockLimits(bytes); break;
    case 4: (void)scsi::DecodeProvisioning(bytes); break;
    case 5: (void)scsi::DecodeCapacity16(bytes); break;
    case 6: (void)scsi::DecodeLbaStatus(bytes); break;
    case 7: (void)scsi::DecodeUnmapList(bytes); break;
    case 8: (void)scsi::DecodeModeHeader6(bytes); break;
    default: {
      std::vector<uint8_t> sense(bytes.size());
      if (!bytes.empty()) std::memcpy(sense.data(), bytes.data(), bytes.size());
      (void)scsi::DecodeSense(sense);
    }
  }
}

}  // namespace fuzz
