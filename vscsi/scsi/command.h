// `Command` and `Response`: one SCSI command on its way to a logical unit, and its answer.
//
// ESX words: SCSI_Command with its SG_Array. Data is never copied on the way: the buffers of the
// caller travel as `base::IoVec` pieces. Both are plain values without destructors, so that they
// may be passed to coroutines. Thread rule: plain values.
#pragma once

#include <cstdint>
#include <span>

#include "fs/base/block_device.h"
#include "vscsi/scsi/cdb.h"
#include "vscsi/scsi/sense.h"

namespace scsi {

// Seen from the initiator: `kIn` reads from the device.
enum class Direction : uint8_t { kNone, kIn, kOut };

struct Command {
  Cdb cdb;
  Direction direction = Direction::kNone;
  // Data-in or data-out buffers by `direction`. The memory, and the array of pieces itself, belong
  // to the caller and stay valid until the command has been answered.
  std::span<const base::IoVec> data;
};

static_assert(std::is_trivially_destructible_v<Command>);

struct Response {
  StatusCode status = StatusCode::kGood;
  SenseBuffer sense;               // with kCheckCondition
  uint64_t transferred_bytes = 0;  // moved between the buffers and the device
  // Underflow: bytes of the buffers that were not used. Negative is overflow: bytes the CDB asked
  // for and the buffers had no room for.
  int64_t residual_bytes = 0;
};

static_assert(std::is_trivially_destructible_v<Response>);

// CHECK CONDITION with `sense`.
inline Response CheckCondition(const Sense& sense, SenseFormat format) {
  Response response;
  response.status = StatusCode::kCheckCondition;
  response.sense = EncodeSense(sense, format);
  return response;
}

}  // namespace scsi
