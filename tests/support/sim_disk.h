// `SimDisk`: a simulated disk with a volatile cache, a log of writes, and faults on demand.
//
// The fault model. A disk keeps what was written in a cache; readers always see the newest bytes. A
// crash ends power. What then is on the medium:
//  * every change that was answered before the start of a flush that was itself answered;
//  * every FUA write and every compare-and-write that was answered;
//  * of all other changes, those in flight included, each by itself: all of it, none of it, or any
//    subset of its 512-byte sectors (torn). A compare-and-write in flight is all or nothing.
// Of two surviving changes to one sector the later one wins. Nothing else ever changes: no bit
// rots, no write lands elsewhere. Deviations are switched on by `Mutations`, to show that a test
// would notice them.
//
// The log holds one entry for each change and each flush, in the order in which they took effect.
// A crash point is a prefix of the log; `CrashImage` makes the disk that a host finds after it.
//
// Thread rule: as `BlockDevice`, on any executor. The contents outlive `Close`: the disk can be
// used again, as by the next host that opens it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fs/base/block_device.h"
#include "fs/base/call_counter.h"
#include "fs/base/executor.h"
#include "tests/support/sparse_store.h"

namespace base {

class SimDisk final : public BlockDevice {
 public:
  struct Options {
    uint64_t size_bytes = 1 << 30;
    std::string name = "sim";
    uint32_t block_size_bytes = 512;
    bool logging = true;          // off: a plain memory device, fast and small
    uint64_t latency_us_min = 0;  // of each call, drawn from the executor's randomness;
    uint64_t latency_us_max = 0;  // both 0: answered at once
  };

  // Faults of the disk itself that a crash test must notice.
  struct Mutations {
    bool ignore_flush = false;            // answers a flush and keeps everything in its cache
    bool ignore_fua = false;              // treats FUA writes as others
    bool tear_compare_and_write = false;  // one in flight, and one answered, may be torn or lost
  };

  enum class Change : uint8_t { kWrite, kZero, kCompareAndWrite, kFlush };

  struct LogEntry {
    Change change;
    bool durable;  // survives by itself: FUA, compare-and-write
    uint64_t offset_bytes;
    uint64_t length_bytes;
    std::vector<std::byte> data;  // empty for kZero and kFlush
    size_t issued_at;             // entries in the log when the call began
  };

  // What becomes of one change whose fate a crash leaves open.
  struct Fate {
    enum class Kind : uint8_t { kLost, kKept, kTorn };
    Kind kind = Kind::kLost;
    uint64_t tear_seed = 0;  // of the surviving sectors, for kTorn
  };

  SimDisk(Executor& executor, const Options& options);
  ~SimDisk() override;

  const Limits& limits() const override { return limits_; }

  uint64_t size_bytes() const override { return options_.size_bytes; }

  const std::string& name() const override { return options_.name; }

  Task<Status> Read(IoRequest request) override;
  Task<Status> Write(IoRequest request) override;
  Task<Status> Flush() override;
  Task<Status> Unmap(uint64_t offset_bytes, uint64_t length_bytes) override;
  Task<Status> WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes, bool may_unmap) override;
  Task<Status> CompareAndWrite(uint64_t offset_bytes, std::span<const std::byte> expected,
                               std::span<const std::byte> replacement) override;
  Task<Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                         std::vector<MapRun>& runs) override;
  Task<Status> Close() override;

  // The n-th device call from now (1: the next) answers `code`. Its effect does not take place, or,
  // with `after_effect`, takes place all the same, as when an answer is lost on the way.
  void FailNth(uint64_t n, Code code, bool after_effect = false);

  // Whether the call that was to fail has come.
  bool failed() const { return fail_at_call_ != 0 && call_count_ >= fail_at_call_; }

  uint64_t call_count() const { return call_count_; }  // all calls but Close

  uint64_t write_count() const { return write_count_; }

  uint64_t bytes_written() const { return bytes_written_; }

  Mutations& mutations() { return mutations_; }

  // Direct access, past cache, log, faults and latency.
  void Peek(uint64_t offset_bytes, std::span<std::byte> target) const;
  void Poke(uint64_t offset_bytes, std::span<const std::byte> source);

  // Makes the disk larger, as when a LUN grows.
  void Grow(uint64_t size_bytes) { options_.size_bytes = size_bytes; }

  // Makes it end early, as an image does that was not copied whole.
  void Truncate(uint64_t size_bytes) { options_.size_bytes = size_bytes; }

  const std::vector<LogEntry>& log() const { return log_; }

  // Forgets the calls in flight, after `SimExecutor::AbandonAll`: their callers have crashed.
  void Abandon() { calls_.Abandon(); }

  // Everything seen now counts as on the medium: empties the log. Nothing may be in flight.
  void Settle();

  // Indices of the changes whose fate is open when the first `prefix_length` entries have taken
  // effect: unflushed ones among them, and later ones that were already issued.
  std::vector<size_t> OpenChanges(size_t prefix_length) const;

  // The disk after a crash at that point: `fates[i]` is for the i-th of `OpenChanges`. It is
  // settled, has no latency, and belongs to `executor`. Cheapest when prefixes do not decrease.
  std::unique_ptr<SimDisk> CrashImage(Executor& executor, size_t prefix_length,
                                      std::span<const Fate> fates);

 private:
  struct Call {
    size_t issued_at;
    bool fails = false;
    bool after_effect = false;
  };

  Call StartCall();
  Task<void> Delay();
  Error Failure(const char* verb) const;
  Task<Status> Zero(const char* verb, uint64_t offset_bytes, uint64_t length_bytes);
  void Append(const Call& call, LogEntry entry);
  size_t SettledCount(size_t prefix_length) const;
  void AdvanceMedium(size_t settled_count);

  Executor& executor_;
  Options options_;
  Limits limits_;
  Mutations mutations_;
  SparseStore visible_;
  std::vector<LogEntry> log_;

  // What a crash finds in any case: the contents at the start of the log, and its first
  // `medium_count_` entries. Shared with the images made from it.
  SparseStore initial_;
  std::shared_ptr<SparseStore> medium_;
  size_t medium_count_ = 0;

  uint64_t call_count_ = 0;
  uint64_t write_count_ = 0;
  uint64_t bytes_written_ = 0;
  uint64_t fail_at_call_ = 0;  // 0: none
  Code fail_code_ = Code::kIo;
  bool fail_after_effect_ = false;
  CallCounter calls_;
};

}  // namespace base
