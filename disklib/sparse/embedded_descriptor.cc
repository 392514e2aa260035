#include "disklib/sparse/embedded_descriptor.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include <fmt/format.h>

#include "disklib/descriptor.h"
#include "disklib/sparse/file_sectors.h"
#include "disklib/sparse/hosted_format.h"

namespace disklib {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

namespace {

using Bytes = std::vector<std::byte>;

Task<Result<HostedHeader>> ReadHeader(Object& object) {
  std::array<std::byte, kHostedHeaderBytes> sector;
  CO_TRY_STATUS(co_await ReadSectors(object, 0, sector));
  CO_TRY(const HostedHeader header, DecodeHostedHeader(sector));
  if (header.descriptor_sector == 0 || header.descriptor_sectors == 0) {
    co_return Error(Code::kNotFound, "hosted sparse header: no embedded descriptor");
  }
  co_return header;
}

// The room of the descriptor, as it is.
Task<Result<Bytes>> ReadRoom(Object& object, HostedHeader header) {
  Bytes room(header.descriptor_sectors * kSectorBytes);
  CO_TRY_STATUS(co_await ReadSectors(object, header.descriptor_sector, room));
  co_return room;
}

// The sectors in which two rooms differ: the first, and how many from there to the last.
struct Difference {
  uint64_t first = 0;
  uint64_t count = 0;
};

Difference Compare(const Bytes& old_room, const Bytes& new_room) {
  Difference difference;
  for (uint64_t i = 0; i < new_room.size() / kSectorBytes; ++i) {
    const size_t at = i * kSectorBytes;
    if (std::memcmp(&old_room[at], &new_room[at], kSectorBytes) == 0) continue;
    if (difference.count == 0) difference.first = i;
    difference.count = i - difference.first + 1;
  }
  return difference;
}

Task<Status> StoreDurably(Object& object, uint64_t sector, std::span<const std::byte> bytes) {
  CO_TRY_STATUS(co_await WriteSectors(object, sector, bytes));
  co_return co_await object.Sync(/*data_only=*/false);
}

// One sector: it happens at once or not at all.
Task<Status> PointTo(Object& object, HostedHeader header, uint64_t sector) {
  header.descriptor_sector = sector;
  return StoreDurably(object, 0, base::BytesOf(header));
}

// Brings home what an earlier call left behind the grains when it was cut.
Task<Status> FinishMove(Object& object, HostedHeader& header) {
  if (header.descriptor_sector == kEmbeddedDescriptorSector) co_return base::Ok();
  CO_TRY(const Bytes room, co_await ReadRoom(object, header));
  CO_TRY_STATUS(co_await StoreDurably(object, kEmbeddedDescriptorSector, room));
  header.descriptor_sector = kEmbeddedDescriptorSector;
  co_return co_await StoreDurably(object, 0, base::BytesOf(header));
}

}  // namespace

Task<Result<std::string>> ReadEmbeddedDescriptor(Object& object) {
  CO_TRY(const HostedHeader header, co_await ReadHeader(object));
  CO_TRY(const Bytes room, co_await ReadRoom(object, header));
  std::string text(reinterpret_cast<const char*>(room.data()), room.size());
  text.resize(std::min(text.size(), text.find('\0')));
  co_return text;
}

Task<Status> ReplaceEmbeddedDescriptor(Object& object, std::string_view text) {
  CO_TRY(HostedHeader header, co_await ReadHeader(object));
  const uint64_t room_bytes = header.descriptor_sectors * kSectorBytes;
  if (text.size() > room_bytes) {
    co_return Error(Code::kTooLarge, fmt::format("embedded descriptor: {} bytes, its room has {}",
                                                 text.size(), room_bytes));
  }
  CO_TRY_STATUS(co_await FinishMove(object, header));
  Bytes room(room_bytes);
  std::memcpy(room.data(), text.data(), text.size());
  CO_TRY(const Bytes old_room, co_await ReadRoom(object, header));
  const Difference difference = Compare(old_room, room);
  const std::span<const std::byte> changed = std::span<const std::byte>(room).subspan(
      difference.first * kSectorBytes, difference.count * kSectorBytes);
  const uint64_t home = header.descriptor_sector;
  if (difference.count == 0) co_return base::Ok();
  if (difference.count == 1) {
    co_return co_await StoreDurably(object, home + difference.first, changed);
  }
  const uint64_t away = SectorsOf(object);
  CO_TRY_STATUS(CheckSectorAddresses("embedded descriptor", away, header.descriptor_sectors));
  CO_TRY_STATUS(co_await StoreDurably(object, away, room));
  CO_TRY_STATUS(co_await PointTo(object, header, away));
  CO_TRY_STATUS(co_await StoreDurably(object, home + difference.first, changed));
  co_return co_await PointTo(object, header, home);
}

}  // namespace disklib
