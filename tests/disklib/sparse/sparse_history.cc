#include "tests/disklib/sparse/sparse_history.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "fs/base/check.h"

namespace disklib {

using base::IoRequest;
using base::IoVec;
using base::Result;
using base::SimExecutor;
using base::Status;
using base::Task;
using fds::GrainRun;
using fds::GrainState;

namespace {

constexpr const char* kName = "delta";

template <typename T>
T Await(SimExecutor& executor, Task<T> task) {
  return base::RunSync(executor, std::move(task));
}

Task<Result<std::unique_ptr<Object>>> OpenByName(fss::FileSystem& files) {
  CO_TRY(const fss::Attributes found, co_await files.Lookup(files.root(), kName));
  files.Forget(found.inode, 1);
  co_return co_await files.Open(found.inode, fss::OpenMode::kWrite);
}

}  // namespace

SparseHistory::SparseHistory(const Options& options)
    : options_(options),
      executor_(options.seed, /*in_order=*/!options.interleaves),
      files_(options.blocks_max, options.interleaves ? &executor_ : nullptr) {
  const auto made = Await(executor_, files_.CreateFile(files_.root(), kName, {}));
  CHECK(made.has_value());
  files_.Forget(made->inode, 1);
  {
    const auto object = Await(executor_, OpenByName(files_));
    const Status formatted = Await(executor_, options.subject.format(**object, options.size_bytes));
    CHECK(formatted.has_value());
    CHECK(Await(executor_, (*object)->Close()).has_value());
  }
  const Status opened = Await(executor_, OpenExtent());
  CHECK(opened.has_value());
  grain_bytes_ = extent_->grain_map()->grain_bytes();
  grain_count_ = options.size_bytes / grain_bytes_;
  CHECK(Await(executor_, files_.SyncAll()).has_value());
  files_.Settle();
}

SparseHistory::~SparseHistory() {
  if (extent_ != nullptr) static_cast<void>(Close());
}

Task<Status> SparseHistory::OpenExtent() {
  CO_TRY(std::unique_ptr<Object> object, co_await OpenByName(files_));
  const SparseOpen open{.kind = options_.subject.kind,
                        .size_bytes = options_.size_bytes,
                        .can_write = true,
                        .path = kName};
  Result<std::unique_ptr<Extent>> opened =
      co_await options_.subject.open(executor_, object, open, options_.faults);
  if (object != nullptr) static_cast<void>(co_await object->Close());
  if (!opened) co_return opened.error();
  extent_ = *std::move(opened);
  co_return base::Ok();
}

void SparseHistory::Note(const char* verb, const Status& status) {
  if (!status && !allows_errors_ && failure_.empty()) {
    failure_ = fmt::format("{}: {}", verb, status.error().message());
  }
}

void SparseHistory::Fill(uint64_t grain, uint64_t version, std::span<std::byte> bytes) const {
  const uint64_t word = version << 32 | grain;
  for (size_t at = 0; at < bytes.size(); at += sizeof(word)) {
    std::memcpy(bytes.data() + at, &word, sizeof(word));
  }
}

Task<Status> SparseHistory::Call(Verb verb, uint64_t grain, uint64_t count,
                                 std::vector<std::byte>& bytes) {
  const uint64_t offset_bytes = grain * grain_bytes_;
  if (verb == Verb::kZero) {
    co_return co_await extent_->WriteZeroes(offset_bytes, count * grain_bytes_, true);
  }
  if (verb == Verb::kRelease) {
    co_return co_await extent_->Release(offset_bytes, count * grain_bytes_);
  }
  const IoVec piece{bytes.data(), bytes.size()};
  const IoRequest request{.offset_bytes = offset_bytes, .buffers = {&piece, 1}};
  CO_TRY(const uint64_t written_bytes, co_await extent_->Write(request));
  if (written_bytes != bytes.size()) co_return base::Code::kNoSpace;
  co_return base::Ok();
}

Task<Status> SparseHistory::Apply(Verb verb, uint64_t grain, uint64_t count) {
  const uint64_t version = next_version_++;
  uint64_t state = version;
  if (verb == Verb::kZero) state = kZeros;
  if (verb == Verb::kRelease) state = kNothing;
  std::vector<std::byte> bytes(verb == Verb::kPut ? count * grain_bytes_ : 0);
  const uint64_t asked_at = ++clock_;
  for (uint64_t i = 0; i < count; ++i) {
    if (verb == Verb::kPut) {
      Fill(grain + i, version, std::span(bytes).subspan(i * grain_bytes_, grain_bytes_));
    }
    changes_[grain + i].push_back(
        {.state = state, .asked_at = asked_at, .asked_in_log = files_.log().size()});
  }
  const Status done = co_await Call(verb, grain, count, bytes);
  Note("change", done);
  const uint64_t answered_at = ++clock_;
  for (uint64_t i = 0; i < count && done; ++i) {
    const auto is_this = [asked_at](const Change& change) { return change.asked_at == asked_at; };
    std::ranges::find_if(changes_[grain + i], is_this)->answered_at = answered_at;
  }
  co_return done;
}

Task<Status> SparseHistory::Put(uint64_t grain, uint64_t count) {
  return Apply(Verb::kPut, grain, count);
}

Task<Status> SparseHistory::Zero(uint64_t grain, uint64_t count) {
  return Apply(Verb::kZero, grain, count);
}

Task<Status> SparseHistory::Release(uint64_t grain, uint64_t count) {
  return Apply(Verb::kRelease, grain, count);
}

Task<Status> SparseHistory::Sync() {
  const uint64_t asked_at = ++clock_;
  const Status done = co_await extent_->Sync();
  Note("sync", done);
  if (done) syncs_.push_back({.asked_at = asked_at, .answered_in_log = files_.log().size()});
  co_return done;
}

// A close that fails loses what no Sync covers: no later Sync makes it certain.
void SparseHistory::NoteClosed(const Status& closed, uint64_t asked_at) {
  Note("close", closed);
  if (closed) {
    syncs_.push_back({.asked_at = asked_at, .answered_in_log = files_.log().size()});
    return;
  }
  const uint64_t last_sync = LastSyncBefore(files_.log().size());
  for (auto& [grain, changes] : changes_) {
    for (Change& change : changes) {
      if (change.answered_at >= last_sync) change.answered_at = 0;
    }
  }
}

Task<Status> SparseHistory::Reopen() {
  const uint64_t asked_at = ++clock_;
  const Status closed = co_await extent_->Close();
  extent_.reset();
  NoteClosed(closed, asked_at);
  const Status opened = co_await OpenExtent();
  Note("open", opened);
  co_return opened;
}

Status SparseHistory::Close() {
  const uint64_t asked_at = ++clock_;
  const Status closed = Await(executor_, extent_->Close());
  extent_.reset();
  NoteClosed(closed, asked_at);
  return closed;
}

uint64_t SparseHistory::LastSyncBefore(size_t prefix) const {
  uint64_t asked_at = 0;
  for (const SyncRecord& sync : syncs_) {
    if (sync.answered_in_log <= prefix) asked_at = std::max(asked_at, sync.asked_at);
  }
  return asked_at;
}

// The newest change that the Sync covers, and all that were asked for behind it.
SparseHistory::Legal SparseHistory::LegalAt(uint64_t grain, uint64_t sync_asked_at,
                                            size_t prefix) const {
  Legal legal = {kNothing};
  const auto found = changes_.find(grain);
  if (found == changes_.end()) return legal;
  for (const Change& change : found->second) {
    const bool is_covered = change.answered_at != 0 && change.answered_at < sync_asked_at;
    if (is_covered) legal.clear();
    if (is_covered || change.asked_in_log <= prefix) legal.push_back(change.state);
  }
  return legal;
}

std::string SparseHistory::CheckGrain(uint64_t grain, const GrainRun& run,
                                      std::span<const std::byte> bytes, const Legal& legal) const {
  const auto has = [&legal](uint64_t state) {
    return std::ranges::find(legal, state) != legal.end();
  };
  const auto wrong = [&](std::string_view what) {
    return fmt::format("grain {}: {}; possible are {}", grain, what, fmt::join(legal, " "));
  };
  if (run.state == GrainState::kUnallocated) return has(kNothing) ? "" : wrong("is not there");
  if (run.state == GrainState::kZero) return has(kZeros) ? "" : wrong("is zero");
  for (size_t at = 0; at < bytes.size(); at += kSectorBytes) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, sizeof(word));
    const uint64_t version = word >> 32;
    if (word == 0 && has(kZeros)) continue;
    std::array<std::byte, kSectorBytes> expected;
    Fill(grain, version, expected);
    if (version < 2 || std::memcmp(expected.data(), bytes.data() + at, kSectorBytes) != 0) {
      return wrong(fmt::format("foreign bytes in sector {}: {:#x}", at / kSectorBytes, word));
    }
    if (!has(version)) return wrong(fmt::format("version {}", version));
  }
  return "";
}

std::string SparseHistory::CheckExtent(SimExecutor& executor, Extent& extent,
                                       uint64_t sync_asked_at, size_t prefix) const {
  std::vector<std::byte> bytes(grain_bytes_);
  for (const auto& [grain, changes] : changes_) {
    std::vector<GrainRun> runs;
    const Status found =
        Await(executor, extent.grain_map()->Lookup(grain * grain_bytes_, grain_bytes_, runs));
    if (!found) return found.error().message();
    const IoVec piece{bytes.data(), bytes.size()};
    const IoRequest request{.offset_bytes = grain * grain_bytes_, .buffers = {&piece, 1}};
    const Result<uint64_t> read = Await(executor, extent.Read(request));
    if (!read) return read.error().message();
    const std::string wrong =
        CheckGrain(grain, runs.at(0), bytes, LegalAt(grain, sync_asked_at, prefix));
    if (!wrong.empty()) return wrong;
  }
  return "";
}

std::string SparseHistory::CheckNow() {
  // Everything that was answered is certain.
  return CheckExtent(executor_, *extent_, ++clock_, files_.log().size());
}

std::string SparseHistory::CheckOpens(SimExecutor& executor, fss::FileSystem& left,
                                      uint64_t sync_asked_at, size_t prefix) {
  auto object = Await(executor, OpenByName(left));
  if (!object) return "the file is gone: " + object.error().message();
  if (options_.subject.check != nullptr) {
    const std::string wrong = options_.subject.check(executor, **object);
    if (!wrong.empty()) {
      CHECK(Await(executor, (*object)->Close()).has_value());
      return wrong;
    }
  }
  std::unique_ptr<Object> file = *std::move(object);
  const SparseOpen open{.kind = options_.subject.kind,
                        .size_bytes = options_.size_bytes,
                        .can_write = true,
                        .path = kName};
  auto extent = Await(executor, options_.subject.open(executor, file, open, {}));
  if (!extent) {
    CHECK(Await(executor, file->Close()).has_value());
    return extent.error().message();
  }
  std::string wrong = CheckExtent(executor, **extent, sync_asked_at, prefix);
  // It goes on: a new grain leaves everything else as it was.
  std::vector<std::byte> bytes(grain_bytes_, std::byte{0x77});
  const IoVec piece{bytes.data(), bytes.size()};
  const uint64_t offset_bytes = (grain_count_ - 1) * grain_bytes_;
  const IoRequest request{.offset_bytes = offset_bytes, .buffers = {&piece, 1}};
  const Result<uint64_t> written = Await(executor, (*extent)->Write(request));
  if (wrong.empty() && !written) wrong = "write: " + written.error().message();
  if (wrong.empty()) wrong = CheckExtent(executor, **extent, sync_asked_at, prefix);
  const Status closed = Await(executor, (*extent)->Close());
  if (wrong.empty() && !closed) wrong = "close: " + closed.error().message();
  return wrong;
}

std::string SparseHistory::CheckAfterCut(SimExecutor& executor, fss::FileSystem& left,
                                         size_t prefix) {
  return CheckOpens(executor, left, LastSyncBefore(prefix), prefix);
}

std::string SparseHistory::CheckAnyhow() {
  if (extent_ != nullptr) static_cast<void>(Close());
  SimExecutor executor(1, /*in_order=*/true);
  return CheckAfterCut(executor, files_.live(), files_.log().size());
}

base::CrashSweepResult SparseHistory::Sweep(const base::CrashSweepOptions& options) {
  const auto check = [this](SimExecutor& executor, fss::MemoryFileSystem& left,
                            const base::CrashCase& crash) {
    return CheckAfterCut(executor, left, crash.prefix_length);
  };
  return fss::SweepCrashFiles(files_, options, check);
}

}  // namespace disklib
