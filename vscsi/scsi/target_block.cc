// The commands of `scsi::Target` that read, write, unmap, compare or map blocks.
#include <algorithm>
#include <cstring>

#include "fs/base/aligned_buffer.h"
#include "vscsi/scsi/buffers.h"
#include "vscsi/scsi/target.h"

namespace scsi {
namespace {

// Scratch memory of commands that need their own: patterns, comparisons.
constexpr uint64_t kScratchBytesMax = 256 * 1024;

// Bytes of GET LBA STATUS that one command looks at per descriptor asked for, and in all.
constexpr uint64_t kMapWindowBytesPerRun = 1 << 20;
constexpr uint64_t kMapWindowBytesMax = uint64_t{1} << 28;
constexpr int kMapWindowsMax = 16;

// Buffers that point the other way than the command are no buffers of it.
std::span<const base::IoVec> BuffersOf(const Command& command, Direction direction) {
  return command.direction == direction ? command.data : std::span<const base::IoVec>{};
}

LbaState LbaStateOf(base::MapState state) {
  switch (state) {
    case base::MapState::kHole: return LbaState::kDeallocated;
    case base::MapState::kZero: return LbaState::kAnchored;
    case base::MapState::kData: break;
  }
  return LbaState::kMapped;
}

bool AllZero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

// Adds what was found to `runs` in blocks; runs of one state and at most 2^32 - 1 blocks join.
void AppendRuns(std::span<const base::MapRun> found, uint32_t block_shift,
                std::vector<LbaRun>& runs) {
  for (const base::MapRun& run : found) {
    const LbaState state = LbaStateOf(run.state);
    const auto count = static_cast<uint32_t>(run.length_bytes >> block_shift);
    if (!runs.empty() && runs.back().state == state &&
        runs.back().block_count <= UINT32_MAX - count) {
      runs.back().block_count += count;
    } else {
      runs.push_back({run.offset_bytes >> block_shift, count, state});
    }
  }
}

}  // namespace

base::Task<Response> Target::Read(Nexus&, const Command& command) {
  const BlockRangeCdb range = DecodeBlockRange(command.cdb);
  if (const auto refused = RefuseTransfer(range, Access::kRead)) return Fail(*refused);
  const base::IoRequest request{BytesOf(range.lba), BuffersOf(command, Direction::kIn),
                                (range.flags & kFlagFua) != 0};
  const uint64_t expected = BytesOf(range.block_count);
  if (expected != 0 && request.size_bytes() == expected) return ReadWhole(request);
  return ReadPart(request, expected);
}

base::Task<Response> Target::Write(Nexus&, const Command& command) {
  const BlockRangeCdb range = DecodeBlockRange(command.cdb);
  if (const auto refused = RefuseTransfer(range, Access::kWrite)) return Fail(*refused);
  const base::IoRequest request{BytesOf(range.lba), BuffersOf(command, Direction::kOut),
                                (range.flags & kFlagFua) != 0};
  const uint64_t expected = BytesOf(range.block_count);
  if (expected != 0 && request.size_bytes() == expected) return WriteWhole(request);
  return WritePart(request, expected);
}

base::Task<Response> Target::ReadWhole(base::IoRequest request) {
  const base::Status status = co_await backing_->Read(request);
  co_return ResponseFor(status, request.size_bytes());
}

base::Task<Response> Target::WriteWhole(base::IoRequest request) {
  const base::Status status = co_await backing_->Write(request);
  co_return ResponseFor(status, request.size_bytes());
}

// Buffers shorter or longer than the CDB says: whole blocks go straight, the piece of a block at
// the end through scratch memory.
base::Task<Response> Target::ReadPart(base::IoRequest request, uint64_t expected_bytes) {
  const uint64_t room = request.size_bytes();
  const uint64_t moved = std::min(room, expected_bytes);
  const uint64_t tail = moved & (BytesOf(1) - 1);
  const std::vector<base::IoVec> pieces = Slice(request.buffers, 0, moved - tail);
  if (!pieces.empty()) {
    base::IoRequest whole{request.offset_bytes, pieces, request.fua};
    const base::Status status = co_await backing_->Read(whole);
    if (!status) co_return ResponseFor(status, 0);
  }
  if (tail != 0) {
    base::AlignedBuffer block(BytesOf(1));
    const base::IoVec piece = block.piece();
    base::IoRequest last{request.offset_bytes + moved - tail, {&piece, 1}, request.fua};
    const base::Status status = co_await backing_->Read(last);
    if (!status) co_return ResponseFor(status, 0);
    Scatter(block.span().first(tail), request.buffers, moved - tail);
  }
  Response response = ResponseFor(base::Ok(), moved);
  response.residual_bytes = static_cast<int64_t>(room) - static_cast<int64_t>(expected_bytes);
  co_return response;
}

// As above; a piece of a block cannot be written and counts as not transferred.
base::Task<Response> Target::WritePart(base::IoRequest request, uint64_t expected_bytes) {
  const uint64_t room = request.size_bytes();
  const uint64_t moved = std::min(room, expected_bytes) & ~(BytesOf(1) - 1);
  const std::vector<base::IoVec> pieces = Slice(request.buffers, 0, moved);
  if (!pieces.empty()) {
    base::IoRequest whole{request.offset_bytes, pieces, request.fua};
    const base::Status status = co_await backing_->Write(whole);
    if (!status) co_return ResponseFor(status, 0);
  }
  Response response = ResponseFor(base::Ok(), moved);
  response.residual_bytes = room > expected_bytes ? static_cast<int64_t>(room - moved)
                                                  : -static_cast<int64_t>(expected_bytes - moved);
  co_return response;
}

// The range is ignored, which SBC-3 5.26 allows: everything becomes durable.
base::Task<Response> Target::SynchronizeCache(Nexus&, const Command& command) {
  const BlockRangeCdb range = DecodeBlockRange(command.cdb);
  constexpr uint8_t kNoProtectField = 0x1F;
  const BlockRangeCdb checked{range.lba, range.block_count,
                              static_cast<uint8_t>(range.flags & kNoProtectField)};
  if (const auto refused = RefuseRange(checked, Access::kRead)) return Fail(*refused);
  if (!backing_->limits().can_write) return SendData(command, {}, 0);
  return Flush();
}

base::Task<Response> Target::Flush() {
  const base::Status status = co_await backing_->Flush();
  co_return ResponseFor(status, 0);
}

// Nothing is fetched: the cache of the host is below us. GOOD, for the range exists.
base::Task<Response> Target::PreFetch(Nexus&, const Command& command) {
  BlockRangeCdb range = DecodeBlockRange(command.cdb);
  range.flags = 0;
  if (const auto refused = RefuseRange(range, Access::kRead)) return Fail(*refused);
  return SendData(command, {}, 0);
}

base::Task<Response> Target::Unmap(Nexus&, const Command& command) {
  const UnmapCdb unmap = DecodeUnmap(command.cdb);
  if (!backing_->limits().can_unmap) return Fail(Sense{.code = kInvalidOpcode});
  if (unmap.anchor) return Fail(InvalidCdbField(1));
  if (!backing_->limits().can_write) return Fail(Sense{.code = kWriteProtected});
  return UnmapList(command, unmap.parameter_list_bytes);
}

std::optional<Sense> Target::RefuseUnmapList(std::span<const UnmapRange> ranges) const {
  if (ranges.size() > kUnmapDescriptorsMax) return Sense{.code = kInvalidFieldInList};
  for (const UnmapRange& range : ranges) {
    const auto refused = RefuseRange({range.lba, range.block_count, 0}, Access::kWrite);
    if (refused) return refused;
  }
  return {};
}

base::Task<Response> Target::UnmapList(Command command, uint16_t list_bytes) {
  // A guest can change its list while we work: it is copied, checked as a whole, then used.
  Bytes list(list_bytes);
  list.resize(Gather(BuffersOf(command, Direction::kOut), 0, list));
  if (list_bytes == 0) co_return Response{};
  const base::Result<std::vector<UnmapRange>> ranges = DecodeUnmapList(list);
  if (!ranges) co_return CheckCondition(Sense{.code = kListLengthError}, sense_format_);
  if (const auto refused = RefuseUnmapList(*ranges))
    co_return CheckCondition(*refused, sense_format_);
  for (const UnmapRange& range : *ranges) {
    if (range.block_count == 0) continue;
    const base::Status status =
        co_await backing_->Unmap(BytesOf(range.lba), BytesOf(range.block_count));
    if (!status) co_return ResponseFor(status, 0);
  }
  co_return ResponseFor(base::Ok(), list.size());
}

std::optional<Sense> Target::RefuseWriteSame(const BlockRangeCdb& range) const {
  const bool unmap = (range.flags & kFlagUnmap) != 0;
  if ((range.flags & kFlagAnchor) != 0) return InvalidCdbField(1);
  if (unmap && !backing_->limits().can_unmap) return InvalidCdbField(1);
  if (const auto refused = RefuseRange(range, Access::kWrite)) return refused;
  if (BytesOf(range.block_count) > kWriteSameBytesMax) return InvalidCdbField(10);
  return {};
}

base::Task<Response> Target::WriteSame(Nexus&, const Command& command) {
  BlockRangeCdb range = DecodeBlockRange(command.cdb);
  const bool is_16 = command.cdb.opcode() == Opcode::kWriteSame16;
  const bool no_data = is_16 && (range.flags & kFlagNoDataOut) != 0;
  // A count of 0 reaches to the end of the unit (SBC-3 5.45, WSNZ = 0).
  if (range.block_count == 0 && range.lba <= block_count()) {
    const uint64_t rest = block_count() - range.lba;
    if (BytesOf(rest) > kWriteSameBytesMax) return Fail(InvalidCdbField(is_16 ? 10 : 7));
    range.block_count = static_cast<uint32_t>(rest);
  }
  if (const auto refused = RefuseWriteSame(range)) return Fail(*refused);
  if (range.block_count == 0) return SendData(command, {}, 0);
  if (no_data) return WriteZeroes(range, (range.flags & kFlagUnmap) != 0);
  if (base::TotalBytes(BuffersOf(command, Direction::kOut)) != BytesOf(1)) {
    return Fail(InvalidCdbField(0));
  }
  return WritePattern(range, command);
}

base::Task<Response> Target::WriteZeroes(BlockRangeCdb range, bool may_unmap) {
  const base::Status status =
      co_await backing_->WriteZeroes(BytesOf(range.lba), BytesOf(range.block_count), may_unmap);
  co_return ResponseFor(status, 0);
}

// One block of data-out to every block of the range. Zeros, which is what ESX sends, go the cheap
// way; with the UNMAP bit other data is written all the same, as SBC-3 5.45 asks.
base::Task<Response> Target::WritePattern(BlockRangeCdb range, Command command) {
  const uint64_t length = BytesOf(range.block_count);
  base::AlignedBuffer pattern(static_cast<size_t>(std::min(length, kScratchBytesMax)));
  const auto block = pattern.span().first(BytesOf(1));
  Gather(command.data, 0, block);
  if (AllZero(block)) {
    const Response response = co_await WriteZeroes(range, (range.flags & kFlagUnmap) != 0);
    co_return response;
  }
  for (size_t at = block.size(); at < pattern.span().size(); at += block.size()) {
    std::memcpy(pattern.span().data() + at, block.data(), block.size());
  }
  const uint64_t step =
      std::min<uint64_t>(pattern.span().size(), backing_->limits().transfer_bytes_max);
  for (uint64_t done = 0; done < length; done += step) {
    const base::IoVec piece{pattern.span().data(),
                            static_cast<size_t>(std::min(step, length - done))};
    base::IoRequest request{BytesOf(range.lba) + done, {&piece, 1}};
    const base::Status status = co_await backing_->Write(request);
    if (!status) co_return ResponseFor(status, 0);
  }
  co_return ResponseFor(base::Ok(), block.size());
}

base::Task<Response> Target::CompareAndWrite(Nexus&, const Command& command) {
  const BlockRangeCdb range = DecodeBlockRange(command.cdb);
  const uint8_t block_count_max = BlockLimitsNow().compare_and_write_max;
  if (block_count_max == 0) return Fail(Sense{.code = kInvalidOpcode});
  if (range.block_count > block_count_max) return Fail(InvalidCdbField(13));
  if (const auto refused = RefuseRange(range, Access::kWrite)) return Fail(*refused);
  if (range.block_count == 0) return SendData(command, {}, 0);
  if (base::TotalBytes(BuffersOf(command, Direction::kOut)) < 2 * BytesOf(range.block_count)) {
    return Fail(InvalidCdbField(13));
  }
  return CompareAndWriteBlocks(range, command);
}

base::Task<Response> Target::CompareAndWriteBlocks(BlockRangeCdb range, Command command) {
  const size_t half = BytesOf(range.block_count);
  // Copied, so that the guest cannot change what is compared after it was checked.
  base::AlignedBuffer data(2 * half);
  Gather(command.data, 0, data.span());
  const uint64_t offset = BytesOf(range.lba);
  const auto expected = data.span().first(half);
  const auto replacement = data.span().subspan(half);
  const base::Status status = co_await backing_->CompareAndWrite(offset, expected, replacement);
  if (status || status.error().code() != base::Code::kMiscompare) {
    co_return ResponseFor(status, 2 * half);
  }
  Sense sense{.code = kMiscompareDuringVerify};
  sense.information = co_await FirstDifference(offset, expected);
  co_return CheckCondition(sense, sense_format_);
}

// Where the device differs from `expected` now: a hint, since others may write meanwhile.
base::Task<uint64_t> Target::FirstDifference(uint64_t offset_bytes,
                                             std::span<const std::byte> expected) {
  base::AlignedBuffer found(expected.size());
  const base::IoVec piece = found.piece();
  base::IoRequest request{offset_bytes, {&piece, 1}};
  const base::Status status = co_await backing_->Read(request);
  if (!status) co_return 0;
  const auto at = std::mismatch(expected.begin(), expected.end(), found.span().begin()).first;
  co_return at == expected.end() ? 0 : static_cast<uint64_t>(at - expected.begin());
}

base::Task<Response> Target::Verify(Nexus&, const Command& command) {
  const BlockRangeCdb range = DecodeBlockRange(command.cdb);
  const uint8_t byte_check = ByteCheckOf(range.flags);
  if (byte_check == 2) return Fail(InvalidCdbField(1));
  const auto refused =
      byte_check == 1 ? RefuseTransfer(range, Access::kRead) : RefuseRange(range, Access::kRead);
  if (refused) return Fail(*refused);
  const uint64_t needed = byte_check == 1   ? BytesOf(range.block_count)
                          : byte_check == 3 ? BytesOf(1)
                                            : 0;
  if (base::TotalBytes(BuffersOf(command, Direction::kOut)) < needed) {
    return Fail(InvalidCdbField(2));
  }
  return CompareRange(range, command, /*write_first=*/false);
}

base::Task<Response> Target::WriteAndVerify(Nexus&, const Command& command) {
  const BlockRangeCdb range = DecodeBlockRange(command.cdb);
  if (ByteCheckOf(range.flags) > 1) return Fail(InvalidCdbField(1));
  if (const auto refused = RefuseTransfer(range, Access::kWrite)) return Fail(*refused);
  if (base::TotalBytes(BuffersOf(command, Direction::kOut)) < BytesOf(range.block_count)) {
    return Fail(InvalidCdbField(2));
  }
  return CompareRange(range, command, /*write_first=*/true);
}

// Reads the range back and compares it with data-out by BYTCHK: 0 only reads, 1 compares all of
// it, 3 compares each block with the one block given.
base::Task<Response> Target::CompareRange(BlockRangeCdb range, Command command, bool write_first) {
  const uint64_t length = BytesOf(range.block_count);
  const uint64_t start = BytesOf(range.lba);
  if (write_first && length != 0) {
    const std::vector<base::IoVec> pieces = Slice(command.data, 0, length);
    base::IoRequest request{start, pieces, /*fua=*/true};
    const base::Status status = co_await backing_->Write(request);
    if (!status) co_return ResponseFor(status, 0);
  }
  const uint8_t byte_check = ByteCheckOf(range.flags);
  const uint64_t step_max = byte_check == 3 ? BytesOf(1) : kScratchBytesMax;
  const auto step = std::min<uint64_t>(
      {step_max, backing_->limits().transfer_bytes_max, std::max(length, BytesOf(1))});
  base::AlignedBuffer found(step), wanted(step);
  for (uint64_t done = 0; done < length; done += step) {
    const auto size = static_cast<size_t>(std::min(step, length - done));
    const base::IoVec piece{found.span().data(), size};
    base::IoRequest request{start + done, {&piece, 1}};
    const base::Status status = co_await backing_->Read(request);
    if (!status) co_return ResponseFor(status, 0);
    if (byte_check == 0) continue;
    Gather(command.data, byte_check == 1 ? done : 0, wanted.span().first(size));
    const auto last = found.span().begin() + static_cast<std::ptrdiff_t>(size);
    const auto at = std::mismatch(found.span().begin(), last, wanted.span().begin()).first;
    if (at == last) continue;
    Sense sense{.code = kMiscompareDuringVerify};
    sense.information = done + static_cast<uint64_t>(at - found.span().begin());
    co_return CheckCondition(sense, sense_format_);
  }
  co_return ResponseFor(base::Ok(), base::TotalBytes(BuffersOf(command, Direction::kOut)));
}

// As many runs as fit in the allocation length, found by looking at the device in growing windows,
// so that neither a fragmented nor a huge empty device makes one command long.
base::Task<Response> Target::LbaStatus(uint64_t lba, uint32_t allocation_bytes, Command command) {
  const size_t room = std::max<size_t>(allocation_bytes, kLbaStatusHeaderBytes);
  const size_t run_count_max =
      std::max<size_t>(1, (room - kLbaStatusHeaderBytes) / kLbaStatusDescriptorBytes);
  std::vector<LbaRun> runs;
  uint64_t window = std::min(run_count_max * kMapWindowBytesPerRun, kMapWindowBytesMax);
  uint64_t at = BytesOf(lba);
  for (int round = 0; round < kMapWindowsMax && runs.size() < run_count_max; ++round) {
    const uint64_t length = std::min(window, BytesOf(block_count()) - at);
    if (length == 0) break;
    std::vector<base::MapRun> found;
    const base::Status status = co_await backing_->MapStatus(at, length, found);
    if (!status) co_return ResponseFor(status, 0);
    AppendRuns(found, block_shift_, runs);
    at += length;
    window = std::min(2 * window, kMapWindowBytesMax);
  }
  runs.resize(std::min(runs.size(), run_count_max));
  const Bytes data = EncodeLbaStatus(runs);
  const Response response = co_await SendData(command, data, allocation_bytes);
  co_return response;
}

}  // namespace scsi
