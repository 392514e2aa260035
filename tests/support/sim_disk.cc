#include "tests/support/sim_disk.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "fs/base/check.h"
#include "fs/base/device_range.h"
#include "fs/base/random.h"

namespace base {
namespace {

constexpr uint64_t kSectorBytes = 512;
// A torn change larger than this loses its end; tearing each sector by itself would take for ever.
constexpr uint64_t kTearBySectorMax = 8 << 20;

Limits MakeLimits(const SimDisk::Options& options) {
  Limits limits;
  limits.block_size_bytes = options.block_size_bytes;
  limits.physical_block_bytes = std::max<uint32_t>(4096, options.block_size_bytes);
  limits.can_unmap = true;
  limits.can_write_zeroes = true;
  limits.can_compare_and_write = true;
  limits.can_map_status = true;
  return limits;
}

void ApplyPart(SparseStore& store, const SimDisk::LogEntry& entry, uint64_t from, uint64_t count) {
  if (entry.change == SimDisk::Change::kZero) {
    store.Zero(entry.offset_bytes + from, count);
  } else if (entry.change != SimDisk::Change::kFlush) {
    store.Write(entry.offset_bytes + from, std::span(entry.data).subspan(from, count));
  }
}

void Apply(SparseStore& store, const SimDisk::LogEntry& entry) {
  ApplyPart(store, entry, 0, entry.length_bytes);
}

void ApplyTorn(SparseStore& store, const SimDisk::LogEntry& entry, uint64_t seed) {
  Random random(seed);
  if (entry.length_bytes > kTearBySectorMax) {
    const uint64_t sectors = random.Below(entry.length_bytes / kSectorBytes);
    return ApplyPart(store, entry, 0, sectors * kSectorBytes);
  }
  for (uint64_t at = 0; at < entry.length_bytes; at += kSectorBytes) {
    if (random.OneIn(2)) ApplyPart(store, entry, at, kSectorBytes);
  }
}

}  // namespace

SimDisk::SimDisk(Executor& executor, const Options& options)
    : executor_(executor), options_(options), limits_(MakeLimits(options)), calls_(executor) {
  CHECK(options.size_bytes % options.block_size_bytes == 0);
  CHECK(options.latency_us_min <= options.latency_us_max);
}

SimDisk::~SimDisk() {
  Abandon();
}

SimDisk::Call SimDisk::StartCall() {
  ++call_count_;
  Call call{log_.size()};
  call.fails = call_count_ == fail_at_call_;
  call.after_effect = fail_after_effect_;
  return call;
}

Task<void> SimDisk::Delay() {
  if (options_.latency_us_max == 0) co_return;
  const uint64_t spread = options_.latency_us_max - options_.latency_us_min + 1;
  co_await executor_.Sleep(options_.latency_us_min + executor_.random().Below(spread));
}

Error SimDisk::Failure(const char* verb) const {
  return Error(fail_code_,
               fmt::format("{} {}: injected failure of call {}", verb, name(), fail_at_call_));
}

void SimDisk::FailNth(uint64_t n, Code code, bool after_effect) {
  fail_at_call_ = n == 0 ? 0 : call_count_ + n;
  fail_code_ = code;
  fail_after_effect_ = after_effect;
}

Task<Status> SimDisk::Read(IoRequest request) {
  const Call call = StartCall();
  const CallCounter::Scope scope(calls_);
  CO_TRY_STATUS(CheckDeviceRange(*this, "read", request.offset_bytes, request.size_bytes()));
  co_await Delay();
  if (call.fails) co_return Failure("read");
  uint64_t at = request.offset_bytes;
  for (const IoVec& piece : request.buffers) {
    visible_.Read(at, std::span(piece.data, piece.size_bytes));
    at += piece.size_bytes;
  }
  co_return Ok();
}

Task<Status> SimDisk::Write(IoRequest request) {
  const Call call = StartCall();
  const CallCounter::Scope scope(calls_);
  const uint64_t size = request.size_bytes();
  CO_TRY_STATUS(CheckDeviceRange(*this, "write", request.offset_bytes, size));
  co_await Delay();
  if (call.fails && !call.after_effect) co_return Failure("write");
  std::vector<std::byte> data(size);
  std::byte* target = data.data();
  for (const IoVec& piece : request.buffers) {
    std::memcpy(target, piece.data, piece.size_bytes);
    target += piece.size_bytes;
  }
  const bool durable = request.fua && !mutations_.ignore_fua;
  LogEntry entry{Change::kWrite, durable, request.offset_bytes, size, {}, 0};
  entry.data = std::move(data);
  Append(call, std::move(entry));
  if (call.fails) co_return Failure("write");
  co_return Ok();
}

Task<Status> SimDisk::Flush() {
  const Call call = StartCall();
  const CallCounter::Scope scope(calls_);
  co_await Delay();
  if (call.fails && !call.after_effect) co_return Failure("flush");
  if (!mutations_.ignore_flush && options_.logging) {
    log_.push_back({Change::kFlush, false, 0, 0, {}, call.issued_at});
  }
  if (call.fails) co_return Failure("flush");
  co_return Ok();
}

Task<Status> SimDisk::Unmap(uint64_t offset_bytes, uint64_t length_bytes) {
  return Zero("unmap", offset_bytes, length_bytes);
}

Task<Status> SimDisk::WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes, bool) {
  return Zero("write zeros to", offset_bytes, length_bytes);
}

Task<Status> SimDisk::Zero(const char* verb, uint64_t offset_bytes, uint64_t length_bytes) {
  const Call call = StartCall();
  const CallCounter::Scope scope(calls_);
  CO_TRY_STATUS(CheckDeviceRange(*this, verb, offset_bytes, length_bytes));
  co_await Delay();
  if (call.fails && !call.after_effect) co_return Failure(verb);
  LogEntry entry{Change::kZero, false, offset_bytes, length_bytes, {}, 0};
  Append(call, std::move(entry));
  if (call.fails) co_return Failure(verb);
  co_return Ok();
}

Task<Status> SimDisk::CompareAndWrite(uint64_t offset_bytes, std::span<const std::byte> expected,
                                      std::span<const std::byte> replacement) {
  const Call call = StartCall();
  const CallCounter::Scope scope(calls_);
  const uint64_t physical = limits_.physical_block_bytes;
  CO_TRY_STATUS(CheckDeviceRange(*this, "compare and write", offset_bytes, expected.size()));
  if (expected.empty() || expected.size() != replacement.size() ||
      offset_bytes % physical + expected.size() > physical) {
    co_return Error(Code::kInvalidArgument, "compare and write: not one range of a block");
  }
  co_await Delay();
  if (call.fails && !call.after_effect) co_return Failure("compare and write");
  std::vector<std::byte> found(expected.size());
  visible_.Read(offset_bytes, found);
  if (!std::ranges::equal(found, expected)) co_return Code::kMiscompare;
  LogEntry entry{Change::kCompareAndWrite, true, offset_bytes, replacement.size(), {}, 0};
  entry.data.assign(replacement.begin(), replacement.end());
  Append(call, std::move(entry));
  if (call.fails) co_return Failure("compare and write");
  co_return Ok();
}

Task<Status> SimDisk::MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                std::vector<MapRun>& runs) {
  const Call call = StartCall();
  const CallCounter::Scope scope(calls_);
  CO_TRY_STATUS(CheckDeviceRange(*this, "map", offset_bytes, length_bytes));
  co_await Delay();
  if (call.fails) co_return Failure("map");
  visible_.Map(offset_bytes, length_bytes, runs);
  co_return Ok();
}

Task<Status> SimDisk::Close() {
  co_await calls_.Drain();
  co_return Ok();
}

void SimDisk::Append(const Call& call, LogEntry entry) {
  ++write_count_;
  bytes_written_ += entry.data.size();
  Apply(visible_, entry);
  if (!options_.logging) return;
  entry.issued_at = call.issued_at;
  if (mutations_.tear_compare_and_write && entry.change == Change::kCompareAndWrite) {
    entry.change = Change::kWrite;
    entry.durable = false;
  }
  log_.push_back(std::move(entry));
}

void SimDisk::Peek(uint64_t offset_bytes, std::span<std::byte> target) const {
  CHECK(offset_bytes + target.size() <= options_.size_bytes);
  visible_.Read(offset_bytes, target);
}

void SimDisk::Poke(uint64_t offset_bytes, std::span<const std::byte> source) {
  CHECK(offset_bytes + source.size() <= options_.size_bytes);
  CHECK(log_.empty());  // a log would not know of it
  visible_.Write(offset_bytes, source);
  initial_ = visible_;
  medium_.reset();
}

void SimDisk::Settle() {
  CHECK(calls_.count() == 0);
  initial_ = visible_;
  log_.clear();
  medium_.reset();
  medium_count_ = 0;
}

// How many entries are on the medium in any case: what the flushes within the prefix cover.
size_t SimDisk::SettledCount(size_t prefix_length) const {
  size_t settled = 0;
  for (size_t i = 0; i < prefix_length; ++i) {
    if (log_[i].change == Change::kFlush) settled = std::max(settled, log_[i].issued_at);
  }
  return settled;
}

std::vector<size_t> SimDisk::OpenChanges(size_t prefix_length) const {
  CHECK(prefix_length <= log_.size());
  std::vector<size_t> open;
  for (size_t i = SettledCount(prefix_length); i < log_.size(); ++i) {
    const LogEntry& entry = log_[i];
    const bool done = i < prefix_length;
    if (entry.change == Change::kFlush || (done && entry.durable)) continue;
    if (done || entry.issued_at <= prefix_length) open.push_back(i);
  }
  return open;
}

void SimDisk::AdvanceMedium(size_t settled_count) {
  if (!medium_ || medium_count_ > settled_count) {
    medium_ = std::make_shared<SparseStore>(initial_);
    medium_count_ = 0;
  } else if (medium_count_ < settled_count && medium_.use_count() > 1) {
    medium_ = std::make_shared<SparseStore>(*medium_);  // images stand on the old one
  }
  for (; medium_count_ < settled_count; ++medium_count_) Apply(*medium_, log_[medium_count_]);
}

std::unique_ptr<SimDisk> SimDisk::CrashImage(Executor& executor, size_t prefix_length,
                                             std::span<const Fate> fates) {
  const std::vector<size_t> open = OpenChanges(prefix_length);
  CHECK(fates.size() == open.size());
  AdvanceMedium(SettledCount(prefix_length));
  Options options = options_;
  options.latency_us_min = 0;
  options.latency_us_max = 0;
  auto image = std::make_unique<SimDisk>(executor, options);
  image->visible_ = SparseStore(medium_);
  size_t next_open = 0;
  for (size_t i = medium_count_; i < log_.size(); ++i) {
    const LogEntry& entry = log_[i];
    if (next_open == open.size() || open[next_open] != i) {
      if (i < prefix_length) Apply(image->visible_, entry);  // durable by itself
      continue;
    }
    const Fate& fate = fates[next_open++];
    if (fate.kind == Fate::Kind::kLost) continue;
    const bool whole = fate.kind == Fate::Kind::kKept || entry.change == Change::kCompareAndWrite;
    whole ? Apply(image->visible_, entry) : ApplyTorn(image->visible_, entry, fate.tear_seed);
  }
  image->Settle();
  return image;
}

}  // namespace base
