#include "vscsi/scsi/target.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "fs/base/check.h"
#include "vscsi/scsi/buffers.h"

namespace scsi {
namespace {

constexpr uint8_t kControlNaca = 0x04;  // SAM-5 5.2: ACA is not supported

base::Task<Response> Answer(Response response) {
  co_return response;
}

}  // namespace

NaaName NaaNameOf(const std::array<uint8_t, 16>& identity) {
  constexpr uint8_t kNaaType = 0x6;
  // Bit 1 of the first octet marks a locally administered id; the rest spells "ST".
  constexpr uint32_t kCompanyId = 0x025354;
  uint64_t high = 0, low = 0;
  for (size_t i = 0; i < 8; ++i) {
    high = high << 8 | identity[i];
    low = low << 8 | identity[i + 8];
  }
  const uint64_t vendor_bits = (high ^ high >> 36) & 0xF'FFFF'FFFF;
  const uint64_t first = uint64_t{kNaaType} << 60 | uint64_t{kCompanyId} << 36 | vendor_bits;
  NaaName name;
  for (size_t i = 0; i < 8; ++i) {
    name[i] = static_cast<uint8_t>(first >> (56 - 8 * i));
    name[i + 8] = static_cast<uint8_t>(low >> (56 - 8 * i));
  }
  return name;
}

std::array<uint8_t, 16> IdentityFromName(std::string_view name) {
  __extension__ using Wide = unsigned __int128;
  const Wide prime = (Wide{1} << 88) | 0x13B;
  Wide hash = (Wide{0x6C62272E07BB0142} << 64) | 0x62B821756295C58D;
  for (const char character : name) {
    hash ^= static_cast<uint8_t>(character);
    hash *= prime;
  }
  std::array<uint8_t, 16> identity;
  for (size_t i = 0; i < 16; ++i) identity[i] = static_cast<uint8_t>(hash >> (120 - 8 * i));
  return identity;
}

Target::Target(std::unique_ptr<base::BlockDevice> backing, TargetOptions options)
    : backing_(std::move(backing)), options_(std::move(options)) {
  const uint32_t block_size = backing_->limits().block_size_bytes;
  CHECK(std::has_single_bit(block_size));
  block_shift_ = static_cast<uint32_t>(std::countr_zero(block_size));
  known_size_bytes_ = backing_->size_bytes();
  if (options_.identity == std::array<uint8_t, 16>{}) {
    options_.identity = IdentityFromName(backing_->name());
  }
  naa_name_ = NaaNameOf(options_.identity);
}

void Target::AddNexus(Nexus& nexus) {
  nexuses_.push_back(&nexus);
}

void Target::RemoveNexus(Nexus& nexus) {
  std::erase(nexuses_, &nexus);
}

std::span<const Target::Entry> Target::Entries() {
  static constexpr Entry kEntries[] = {
      {Opcode::kTestUnitReady, false, &Target::TestUnitReady},
      {Opcode::kRequestSense, true, &Target::RequestSense},
      {Opcode::kRead6, false, &Target::Read},
      {Opcode::kWrite6, false, &Target::Write},
      {Opcode::kInquiry, true, &Target::Inquiry},
      {Opcode::kModeSense6, false, &Target::ModeSense},
      {Opcode::kStartStopUnit, false, &Target::StartStopUnit},
      {Opcode::kReadCapacity10, false, &Target::ReadCapacity10},
      {Opcode::kRead10, false, &Target::Read},
      {Opcode::kWrite10, false, &Target::Write},
      {Opcode::kWriteAndVerify10, false, &Target::WriteAndVerify},
      {Opcode::kVerify10, false, &Target::Verify},
      {Opcode::kPreFetch10, false, &Target::PreFetch},
      {Opcode::kSynchronizeCache10, false, &Target::SynchronizeCache},
      {Opcode::kWriteSame10, false, &Target::WriteSame},
      {Opcode::kUnmap, false, &Target::Unmap},
      {Opcode::kModeSense10, false, &Target::ModeSense},
      {Opcode::kRead16, false, &Target::Read},
      {Opcode::kCompareAndWrite, false, &Target::CompareAndWrite},
      {Opcode::kWrite16, false, &Target::Write},
      {Opcode::kWriteAndVerify16, false, &Target::WriteAndVerify},
      {Opcode::kVerify16, false, &Target::Verify},
      {Opcode::kPreFetch16, false, &Target::PreFetch},
      {Opcode::kSynchronizeCache16, false, &Target::SynchronizeCache},
      {Opcode::kWriteSame16, false, &Target::WriteSame},
      {Opcode::kServiceActionIn16, false, &Target::ServiceActionIn},
      {Opcode::kReportLuns, true, &Target::ReportLuns},
      {Opcode::kRead12, false, &Target::Read},
      {Opcode::kWrite12, false, &Target::Write},
      {Opcode::kWriteAndVerify12, false, &Target::WriteAndVerify},
      {Opcode::kVerify12, false, &Target::Verify},
  };
  return kEntries;
}

const Target::Entry* Target::FindEntry(uint8_t opcode) {
  // One look-up per command on the data path: the table by opcode is built once.
  static const std::array<const Entry*, 256> by_opcode = [] {
    std::array<const Entry*, 256> table{};
    for (const Entry& entry : Entries()) table[static_cast<uint8_t>(entry.opcode)] = &entry;
    return table;
  }();
  return by_opcode[opcode];
}

base::Task<Response> Target::Execute(Nexus& nexus, Command command) {
  NoticeGrowth();
  const Entry* entry = FindEntry(command.cdb.bytes[0]);
  if (entry == nullptr) return Fail(Sense{.code = kInvalidOpcode});
  if (command.cdb.size_bytes < CdbSizeOf(command.cdb.bytes[0])) return Fail(InvalidCdbField(0));
  // The CONTROL byte of the command, wherever a transport's longer CDB field may end.
  command.cdb.size_bytes = CdbSizeOf(command.cdb.bytes[0]);
  if (nexus.has_attention() && !entry->bypasses_attention) {
    return Fail(Sense{.code = nexus.Take()});
  }
  if ((command.cdb.control() & kControlNaca) != 0) {
    return Fail(InvalidCdbField(static_cast<uint16_t>(command.cdb.size_bytes - 1)));
  }
  return (this->*entry->handler)(nexus, command);
}

// A device may grow while it is open; every initiator hears of it with its next command.
void Target::NoticeGrowth() {
  const uint64_t size_bytes = backing_->size_bytes();
  if (size_bytes == known_size_bytes_) return;
  known_size_bytes_ = size_bytes;
  for (Nexus* nexus : nexuses_) nexus->Raise(kCapacityChanged);
}

std::optional<Sense> Target::RefuseRange(const BlockRangeCdb& range, Access access) const {
  if (range.protect() != 0) return InvalidCdbField(1);
  const uint64_t count = block_count();
  if (range.lba > count || range.block_count > count - range.lba) {
    Sense sense{.code = kLbaOutOfRange};
    sense.information = range.lba;
    return sense;
  }
  if (access == Access::kWrite && !backing_->limits().can_write) {
    return Sense{.code = kWriteProtected};
  }
  return {};
}

std::optional<Sense> Target::RefuseTransfer(const BlockRangeCdb& range, Access access) const {
  if (BytesOf(range.block_count) > backing_->limits().transfer_bytes_max) {
    return InvalidCdbField(2);
  }
  return RefuseRange(range, access);
}

base::Task<Response> Target::Fail(const Sense& sense) const {
  return Answer(CheckCondition(sense, sense_format_));
}

Response Target::ResponseFor(const base::Status& status, uint64_t transferred_bytes) const {
  Response response;
  if (status.has_value()) {
    response.transferred_bytes = transferred_bytes;
    return response;
  }
  const base::Code code = status.error().code();
  if (code == base::Code::kReservationConflict) {
    response.status = StatusCode::kReservationConflict;
    return response;
  }
  return CheckCondition(Sense{.code = SenseOf(code)}, sense_format_);
}

base::Task<Response> Target::SendData(const Command& command, std::span<const std::byte> data,
                                      uint64_t allocation_bytes) const {
  const uint64_t wanted = std::min<uint64_t>(data.size(), allocation_bytes);
  Response response;
  uint64_t room = 0;
  if (command.direction == Direction::kIn) {
    room = base::TotalBytes(command.data);
    response.transferred_bytes = Scatter(data.first(wanted), command.data, 0);
  }
  response.residual_bytes =
      room >= wanted ? static_cast<int64_t>(room - wanted) : -static_cast<int64_t>(wanted - room);
  return Answer(response);
}

}  // namespace scsi
