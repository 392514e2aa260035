// `SparseHistory`: changes to a sparse extent, remembered with the moments in which they were asked
// for and answered, and what therefore may be found after a power cut at any moment.
//
// For a cut, the last Sync that was answered before it decides: of each grain, what was answered
// before that Sync was asked for is certain, and every later change that was asked for before the
// cut is possible. A grain of data holds sectors of possible versions and nothing else. Used by the
// sweeps of every kind of sparse extent. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "disklib/sparse/sparse_extent.h"
#include "disklib/sparse/sparse_file.h"
#include "fs/base/sim_executor.h"
#include "tests/support/crash_files.h"

namespace disklib {

// A kind of sparse extent under test.
struct SparseSubject {
  base::Task<base::Status> (*format)(Object& object, uint64_t size_bytes);
  base::Task<base::Result<std::unique_ptr<Extent>>> (*open)(base::Executor& executor,
                                                            std::unique_ptr<Object>& object,
                                                            SparseOpen options,
                                                            SparseFaults faults);
  SparseKind kind = SparseKind::kSeSparse;
  // What is wrong with a file, apart from the bytes of its grains; empty when nothing is. May be
  // null.
  std::string (*check)(base::SimExecutor& executor, Object& object) = nullptr;
};

class SparseHistory {
 public:
  struct Options {
    SparseSubject subject;
    uint64_t size_bytes = uint64_t{64} << 20;
    SparseFaults faults = {};
    uint64_t seed = 1;
    bool interleaves = false;  // calls suspend, so that tasks run side by side
    uint64_t blocks_max = UINT64_MAX;
  };

  // A formatted file, opened; the log begins behind that.
  explicit SparseHistory(const Options& options);
  ~SparseHistory();

  base::SimExecutor& executor() { return executor_; }

  fss::CrashFiles& files() { return files_; }

  uint64_t grain_count() const { return grain_count_; }

  // Changes: new data for grains, zeros, nothing; each remembers itself. Errors: of the extent.
  base::Task<base::Status> Put(uint64_t grain, uint64_t count);
  base::Task<base::Status> Zero(uint64_t grain, uint64_t count);
  base::Task<base::Status> Release(uint64_t grain, uint64_t count);
  base::Task<base::Status> Sync();
  base::Task<base::Status> Reopen();

  // Closes the extent; what that answered. The destructor does it, too.
  base::Status Close();

  // What the extent shows now against what it must, empty when it agrees.
  std::string CheckNow();

  // What is wrong with the file after a cut behind that many log entries: contents, structure, and
  // that it can be written on. Empty when nothing is.
  std::string CheckAfterCut(base::SimExecutor& executor, fss::FileSystem& left, size_t prefix);

  // The same without a cut: the extent is closed where it is open, whatever that answers, and
  // what the last good Sync covers is there.
  std::string CheckAnyhow();

  base::CrashSweepResult Sweep(const base::CrashSweepOptions& options);

  // The first error of a change, empty when there was none.
  const std::string& failure() const { return failure_; }

  // For failing calls: an error of a change is an answer like any other.
  void set_allows_errors() { allows_errors_ = true; }

 private:
  // What a grain may hold: nothing, zeros, or a version of data.
  static constexpr uint64_t kNothing = 0;
  static constexpr uint64_t kZeros = 1;

  struct Change {
    uint64_t state;
    uint64_t asked_at;         // on the clock of events
    uint64_t answered_at = 0;  // 0: not yet, or an error
    size_t asked_in_log;
  };

  struct SyncRecord {
    uint64_t asked_at;
    size_t answered_in_log;
  };

  using Legal = std::vector<uint64_t>;  // states

  enum class Verb : uint8_t { kPut, kZero, kRelease };
  base::Task<base::Status> Apply(Verb verb, uint64_t grain, uint64_t count);
  base::Task<base::Status> Call(Verb verb, uint64_t grain, uint64_t count,
                                std::vector<std::byte>& bytes);
  base::Task<base::Status> OpenExtent();
  void Fill(uint64_t grain, uint64_t version, std::span<std::byte> bytes) const;
  Legal LegalAt(uint64_t grain, uint64_t sync_asked_at, size_t prefix) const;
  uint64_t LastSyncBefore(size_t prefix) const;
  std::string CheckExtent(base::SimExecutor& executor, Extent& extent, uint64_t sync_asked_at,
                          size_t prefix) const;
  std::string CheckGrain(uint64_t grain, const fds::GrainRun& run, std::span<const std::byte> bytes,
                         const Legal& legal) const;
  std::string CheckOpens(base::SimExecutor& executor, fss::FileSystem& left, uint64_t sync_asked_at,
                         size_t prefix);
  void Note(const char* verb, const base::Status& status);
  void NoteClosed(const base::Status& closed, uint64_t asked_at);

  Options options_;
  base::SimExecutor executor_;
  fss::CrashFiles files_;
  std::unique_ptr<Extent> extent_;
  uint64_t grain_bytes_ = 0;
  uint64_t grain_count_ = 0;
  std::map<uint64_t, std::vector<Change>> changes_;  // by grain
  std::vector<SyncRecord> syncs_;
  uint64_t clock_ = 0;
  uint64_t next_version_ = 2;
  std::string failure_;
  bool allows_errors_ = false;
};

}  // namespace disklib
