#include "disklib/sparse/sector_io.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include <fmt/format.h>

#include "fs/base/check.h"
#include "fs/base/on_disk.h"
#include "fs/base/sync.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::IoRequest;
using base::IoVec;
using base::Status;
using base::Task;

constexpr size_t kRunSectorCountMax = 256;  // 128 KiB a write
constexpr uint64_t kWritesInFlightMax = 16;

struct SectorRunWrite {
  uint64_t first_sector;
  std::vector<IoVec> pieces;
};

// One write for each run of neighbours.
std::vector<SectorRunWrite> CutIntoRuns(SectorMap& sectors) {
  std::vector<SectorRunWrite> runs;
  for (auto& [number, bytes] : sectors) {
    const bool goes_on = !runs.empty() && runs.back().pieces.size() < kRunSectorCountMax &&
                         runs.back().first_sector + runs.back().pieces.size() == number;
    if (!goes_on) runs.push_back({.first_sector = number, .pieces = {}});
    runs.back().pieces.push_back({bytes.data(), bytes.size()});
  }
  return runs;
}

Task<void> WriteRun(Object& object, SectorRunWrite& run, Status& first_error) {
  const IoRequest request{.offset_bytes = run.first_sector * kSectorBytes, .buffers = run.pieces};
  const uint64_t size_bytes = request.size_bytes();
  const base::Result<uint64_t> written = co_await object.Write(request);
  Status done = base::Ok();
  if (!written) done = written.error();
  if (written && *written < size_bytes) {
    done = Error(Code::kNoSpace,
                 fmt::format("sparse extent: no space for sectors {} to {}", run.first_sector,
                             run.first_sector + run.pieces.size() - 1));
  }
  if (!done && first_error) first_error = done;
}

uint64_t ValueBytes(MetadataChange::Kind kind) {
  switch (kind) {
    case MetadataChange::Kind::kStore8: return 1;
    case MetadataChange::Kind::kStore32: return 4;
    case MetadataChange::Kind::kStore64: return 8;
    case MetadataChange::Kind::kSetBits:
    case MetadataChange::Kind::kClearBits: return 0;
  }
  return 0;
}

bool IsBits(const MetadataChange& change) {
  return change.kind == MetadataChange::Kind::kSetBits ||
         change.kind == MetadataChange::Kind::kClearBits;
}

std::byte& ByteAt(SectorMap& sectors, uint64_t offset_bytes) {
  return sectors.at(offset_bytes / kSectorBytes)[offset_bytes % kSectorBytes];
}

void ChangeBits(const MetadataChange& change, SectorMap& sectors) {
  const bool sets = change.kind == MetadataChange::Kind::kSetBits;
  uint64_t bit = change.first_bit;
  const uint64_t end_bit = bit + change.count;
  while (bit < end_bit) {
    const uint64_t within = bit % 8;
    const uint64_t width = std::min(8 - within, end_bit - bit);
    const auto mask = static_cast<std::byte>(((1u << width) - 1) << within);
    std::byte& target = ByteAt(sectors, change.offset_bytes + bit / 8);
    target = sets ? target | mask : target & ~mask;
    bit += width;
  }
}

void StoreValues(const MetadataChange& change, SectorMap& sectors) {
  const uint64_t size_bytes = ValueBytes(change.kind);
  const base::Le64 value = change.value;
  const std::span<const std::byte> bytes = base::BytesOf(value).first(size_bytes);
  for (uint64_t i = 0; i < change.count; ++i) {
    const uint64_t at = change.offset_bytes + i * size_bytes;
    DCHECK(at % size_bytes == 0);
    std::memcpy(&ByteAt(sectors, at), bytes.data(), size_bytes);
  }
}

}  // namespace

Task<Status> ReadRange(Object& object, uint64_t offset_bytes, std::span<std::byte> bytes) {
  uint64_t done_bytes = 0;
  while (done_bytes < bytes.size()) {
    const IoVec piece{bytes.data() + done_bytes, bytes.size() - done_bytes};
    const IoRequest request{.offset_bytes = offset_bytes + done_bytes, .buffers = {&piece, 1}};
    CO_TRY(const uint64_t read_bytes, co_await object.Read(request));
    if (read_bytes == 0) break;
    done_bytes += read_bytes;
  }
  std::ranges::fill(bytes.subspan(done_bytes), std::byte{0});
  co_return base::Ok();
}

Task<Status> WriteSectors(base::Executor& executor, Object& object, SectorMap& sectors) {
  std::vector<SectorRunWrite> runs = CutIntoRuns(sectors);
  Status first_error = base::Ok();
  base::TaskGroup group(executor);
  for (SectorRunWrite& run : runs) {
    co_await group.WaitUntilAtMost(kWritesInFlightMax - 1);
    if (!first_error) break;
    group.Add(WriteRun(object, run, first_error));
  }
  co_await group.Join();
  co_return first_error;
}

void AddTouched(const MetadataChange& change, SectorMap& sectors) {
  uint64_t first_byte = change.offset_bytes;
  uint64_t end_byte = first_byte + change.count * ValueBytes(change.kind);
  if (IsBits(change)) {
    end_byte = first_byte + (change.first_bit + change.count + 7) / 8;
    first_byte += change.first_bit / 8;
  }
  for (uint64_t sector = first_byte / kSectorBytes; sector * kSectorBytes < end_byte; ++sector) {
    sectors.try_emplace(sector);
  }
}

void ApplyChange(const MetadataChange& change, SectorMap& sectors) {
  if (IsBits(change)) {
    ChangeBits(change, sectors);
  } else {
    StoreValues(change, sectors);
  }
}

// Fills the sectors with what the file holds, from memory where they were written last.
Task<Status> MetadataWriter::LoadMissing(SectorMap& touched) {
  for (auto at = touched.begin(); at != touched.end();) {
    const auto known = kept_.find(at->first);
    if (known != kept_.end()) {
      at->second = known->second;
      ++at;
      continue;
    }
    std::vector<std::byte> bytes(kSectorBytes);
    auto end = std::next(at);
    for (uint64_t next = at->first + 1; end != touched.end() && end->first == next &&
                                        !kept_.contains(next) && bytes.size() < 128 * 1024;
         ++next, ++end) {
      bytes.resize(bytes.size() + kSectorBytes);
    }
    CO_TRY_STATUS(co_await ReadRange(object_, at->first * kSectorBytes, bytes));
    for (size_t offset = 0; at != end; ++at, offset += kSectorBytes) {
      std::memcpy(at->second.data(), bytes.data() + offset, kSectorBytes);
    }
  }
  co_return base::Ok();
}

Task<Status> MetadataWriter::Write(std::vector<MetadataChange>& changes) {
  if (changes.empty()) co_return base::Ok();
  SectorMap touched;
  for (const MetadataChange& change : changes) AddTouched(change, touched);
  CO_TRY_STATUS(co_await LoadMissing(touched));
  for (const MetadataChange& change : changes) ApplyChange(change, touched);
  kept_.clear();
  CO_TRY_STATUS(co_await WriteSectors(executor_, object_, touched));
  if (touched.size() <= kKeptSectorCountMax) kept_ = std::move(touched);
  co_return base::Ok();
}

}  // namespace disklib
