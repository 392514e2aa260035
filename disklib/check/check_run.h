// `CheckRun`: what the parts of one check share, and how they read.
//
// Internal to `disklib/check`. Thread rule: the executor of the Lib.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/check/check.h"
#include "disklib/check/findings.h"
#include "fs/base/result.h"
#include "fs/base/task.h"

namespace disklib::check {

class CheckRun {
 public:
  // Borrows everything.
  CheckRun(Lib& lib, CheckOptions options, CheckReport& report, Progress* progress)
      : lib_(lib), options_(options), findings_(report, options.findings_max),
        progress_(progress) {}
  CheckRun(const CheckRun&) = delete;
  CheckRun& operator=(const CheckRun&) = delete;

  Lib& lib() { return lib_; }

  const CheckOptions& options() const { return options_; }

  Findings& findings() { return findings_; }

  CheckReport& report() { return findings_.report(); }

  // Adds to the work that is known to come, and to what is done. Error: kInterrupted.
  void Expect(uint64_t bytes) { total_bytes_ += bytes; }
  base::Status Advance(uint64_t bytes);

  // Reads from `offset_bytes`; what lies behind the end of the file reads as zeros. A read that
  // fails is a finding and answers false.
  base::Task<bool> Read(Object& object, uint64_t offset_bytes, std::span<std::byte> target);

 private:
  Lib& lib_;
  CheckOptions options_;
  Findings findings_;
  Progress* progress_;
  uint64_t done_bytes_ = 0;
  uint64_t total_bytes_ = 0;
};

// An extent's file as the checks of the formats get it.
struct ExtentFile {
  Object* object = nullptr;
  std::string path;
  uint64_t line_sectors = 0;  // what the descriptor says
  bool is_writable = false;   // opened for repair
  // Told what the header says, before anything else is judged by it (D5).
  std::function<void(uint64_t header_sectors)> take_size;
  uint64_t held_bytes = 0;    // answers: of the disk that the extent holds itself
};

// Writes all of `bytes`. For repairs. Errors: kNoSpace, kIo.
base::Task<base::Status> WriteAt(Object& object, uint64_t offset_bytes,
                                 std::span<const std::byte> bytes);

// Writes the sectors of a table, which lies at `offset_bytes`, that were changed.
template <typename Table>
base::Task<base::Status> StoreChanged(Object& object, uint64_t offset_bytes, Table& table) {
  for (const size_t sector : table.changed_sectors()) {
    const size_t at = sector * kSectorBytes;
    const size_t length = std::min<size_t>(kSectorBytes, table.bytes().size() - at);
    CO_TRY_STATUS(co_await WriteAt(object, offset_bytes + at, table.bytes().subspan(at, length)));
  }
  table.Reset();
  co_return base::Ok();
}

// Where data is next in a file, from `offset_bytes`; `end_bytes` if there is none before. A file
// that cannot say is all data.
base::Task<uint64_t> NextData(Object& object, uint64_t offset_bytes, uint64_t end_bytes);

// The checks of the formats. Each repairs as it goes where the findings say so, in an order that
// can be cut anywhere: first what protects data, then what refers to it, then what frees. What is
// wrong is a finding. Errors: kInterrupted; when repairing, those of writing.
base::Task<base::Status> CheckHosted(CheckRun& run, ExtentFile& file);
base::Task<base::Status> CheckStream(CheckRun& run, ExtentFile& file);
base::Task<base::Status> CheckVmfsSparse(CheckRun& run, ExtentFile& file);
base::Task<base::Status> CheckSeSparse(CheckRun& run, ExtentFile& file);

}  // namespace disklib::check
