// Fuzz target: any CDB with any data against `scsi::Target` over memory.
//
// Input: 32 bytes of CDB, one of CDB length, one of direction, two of buffer length, then data.
// Every command is answered, within its buffers and inside the device; sense data decodes.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "fs/base/check.h"
#include "fs/base/sim_executor.h"
#include "tests/scsi/memory_device.h"
#include "vscsi/scsi/target.h"

namespace {

constexpr uint64_t kDeviceBytes = 64 * 1024;
constexpr size_t kHeaderBytes = 36;
constexpr size_t kBufferBytesMax = 16 * 1024;
constexpr std::byte kCanary{0xA5};

void CheckResponse(const scsi::Command& command, const scsi::Response& response) {
  CHECK(response.transferred_bytes <= base::TotalBytes(command.data));
  if (response.status != scsi::StatusCode::kCheckCondition) return;
  CHECK(scsi::DecodeSense(response.sense.view()).has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < kHeaderBytes) return 0;
  static base::SimExecutor executor(1);
  auto owned = std::make_unique<scsi_test::MemoryDevice>(kDeviceBytes);
  scsi_test::MemoryDevice& device = *owned;
  device.mutable_limits().can_write = (data[33] & 0x80) == 0;
  device.mutable_limits().transfer_bytes_max = 8192;
  scsi::Target target(std::move(owned), {});
  scsi::Nexus nexus;
  target.AddNexus(nexus);
  if ((data[33] & 0x40) == 0) nexus.Take();

  const size_t buffer_bytes = (size_t{data[34]} << 8 | data[35]) % (kBufferBytesMax + 1);
  std::vector<std::byte> buffer(buffer_bytes + 64, kCanary);
  const size_t data_bytes = std::min(size - kHeaderBytes, buffer_bytes);
  if (data_bytes > 0) std::memcpy(buffer.data(), data + kHeaderBytes, data_bytes);
  const size_t first_bytes = buffer_bytes / 3;
  const base::IoVec pieces[2] = {{buffer.data(), first_bytes},
                                 {buffer.data() + first_bytes, buffer_bytes - first_bytes}};
  scsi::Command command;
  command.cdb = scsi::CdbOf(std::span(data, std::min<size_t>(data[32], scsi::kCdbBytesMax)));
  command.direction = static_cast<scsi::Direction>(data[33] % 3);
  command.data = pieces;
  const scsi::Response response = base::RunSync(executor, target.Execute(nexus, command));
  CheckResponse(command, response);
  CHECK(device.outside_count == 0);
  CHECK(std::all_of(buffer.begin() + static_cast<std::ptrdiff_t>(buffer_bytes), buffer.end(),
                    [](std::byte b) { return b == kCanary; }));
  return 0;
}
