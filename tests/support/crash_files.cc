#include "tests/support/crash_files.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "fs/base/check.h"

namespace fss {

using base::Code;
using base::IoRequest;
using base::IoVec;
using base::Result;
using base::Status;
using base::Task;
using Change = CrashFiles::Change;
using LogEntry = CrashFiles::LogEntry;
using Fate = base::SimDisk::Fate;

namespace {

constexpr uint64_t kSectorBytes = 512;

bool IsName(const LogEntry& entry) {
  return entry.change == Change::kCreate || entry.change == Change::kRemove ||
         entry.change == Change::kRename;
}

bool IsSync(const LogEntry& entry) {
  return entry.change == Change::kSync || entry.change == Change::kSyncAll;
}

// The value of a task that never suspends.
template <typename T>
T Now(Task<T> task) {
  task.Start();
  CHECK(task.Done());
  return task.TakeValue();
}

// A change is made again where what it is about survived.
void CheckReplayed(const Status& status) {
  if (status) return;
  const Code code = status.error().code();
  CHECK(code == Code::kStale || code == Code::kNotFound || code == Code::kNoSpace);
}

template <typename T>
void CheckReplayed(const Result<T>& result) {
  CheckReplayed(result ? Status() : Status(result.error()));
}

Task<Status> WritePiece(File& file, uint64_t offset_bytes, std::span<const std::byte> bytes) {
  const IoVec piece{const_cast<std::byte*>(bytes.data()), bytes.size()};
  const IoRequest request{.offset_bytes = offset_bytes, .buffers = {&piece, 1}};
  CO_TRY(const uint64_t written_bytes, co_await file.Write(request));
  if (written_bytes != bytes.size()) co_return Code::kNoSpace;
  co_return base::Ok();
}

// Writes the sectors that survive.
void ReplayWrite(File& file, const LogEntry& entry, const Fate& fate) {
  if (fate.kind != Fate::Kind::kTorn) {
    CheckReplayed(Now(WritePiece(file, entry.offset_bytes, entry.data)));
    return;
  }
  base::Random random(fate.tear_seed);
  const std::span<const std::byte> data(entry.data);
  for (uint64_t at = 0; at < data.size();) {
    const uint64_t to_border = kSectorBytes - (entry.offset_bytes + at) % kSectorBytes;
    const uint64_t count = std::min<uint64_t>(to_border, data.size() - at);
    if (random.OneIn(2)) {
      CheckReplayed(Now(WritePiece(file, entry.offset_bytes + at, data.subspan(at, count))));
    }
    at += count;
  }
}

void ReplayContent(MemoryFileSystem& files, const LogEntry& entry, const Fate& fate) {
  auto opened = Now(files.Open(entry.inode, OpenMode::kWrite));
  if (!opened) return CheckReplayed(opened);
  File& file = **opened;
  if (entry.change == Change::kWrite) {
    ReplayWrite(file, entry, fate);
  } else {
    CheckReplayed(Now(file.Allocate(entry.mode, entry.offset_bytes, entry.length_bytes)));
  }
  CHECK(Now(file.Close()).has_value());
}

void ReplayCreate(MemoryFileSystem& files, const LogEntry& entry) {
  switch (entry.type) {
    case FileType::kDirectory:
      return CheckReplayed(Now(files.MakeDirectory(entry.inode, entry.name, entry.new_inode)));
    case FileType::kSymlink:
      return CheckReplayed(
          Now(files.MakeSymlink(entry.inode, entry.name, entry.to_name, entry.new_inode)));
    default: return CheckReplayed(Now(files.CreateFile(entry.inode, entry.name, entry.new_inode)));
  }
}

void ReplayReplace(MemoryFileSystem& files, const LogEntry& entry) {
  std::vector<Replacement> replacements;
  for (const auto& [inode, text] : entry.contents) replacements.push_back({inode, text});
  CheckReplayed(Now(files.ReplaceContents(replacements)));
}

void Replay(MemoryFileSystem& files, const LogEntry& entry, const Fate& fate) {
  switch (entry.change) {
    case Change::kWrite:
    case Change::kAllocate: return ReplayContent(files, entry, fate);
    case Change::kSetAttributes:
      return CheckReplayed(Now(files.SetAttributes(entry.inode, entry.attributes)));
    case Change::kReplace: return ReplayReplace(files, entry);
    case Change::kCreate: return ReplayCreate(files, entry);
    case Change::kRemove:
      return CheckReplayed(Now(entry.type == FileType::kDirectory
                                   ? files.RemoveDirectory(entry.inode, entry.name)
                                   : files.Unlink(entry.inode, entry.name)));
    case Change::kRename:
      return CheckReplayed(
          Now(files.Rename(entry.inode, entry.name, entry.to_inode, entry.to_name, false)));
    case Change::kSync:
    case Change::kSyncAll: return;
  }
}

std::unique_ptr<MemoryFileSystem> CopyOf(const MemoryFileSystem& files) {
  auto copy = std::make_unique<MemoryFileSystem>(files);
  copy->Recover(MemoryFileSystem::Crash::kLosesNothing);
  return copy;
}

}  // namespace

// An open file: logs what changes it.
class CrashFile final : public ForwardingFile {
 public:
  CrashFile(CrashFiles& files, std::unique_ptr<File> below)
      : ForwardingFile(std::move(below)), files_(files) {}

  Task<Result<uint64_t>> Read(IoRequest request) override {
    co_await files_.Pause();
    co_return co_await below().Read(request);
  }

  Task<Result<uint64_t>> Write(IoRequest request) override {
    LogEntry entry = files_.NewEntry(Change::kWrite, inode());
    co_await files_.Pause();
    CO_TRY(const uint64_t written_bytes, co_await below().Write(request));
    entry.offset_bytes = request.offset_bytes;
    entry.is_durable = request.fua;
    for (const IoVec& piece : request.buffers) {
      entry.data.insert(entry.data.end(), piece.data, piece.data + piece.size_bytes);
    }
    entry.data.resize(written_bytes);
    files_.log_.push_back(std::move(entry));
    co_await files_.Pause();
    co_return written_bytes;
  }

  Task<Status> Sync(bool data_only) override {
    LogEntry entry = files_.NewEntry(Change::kSync, inode());
    co_await files_.Pause();
    CO_TRY_STATUS(co_await below().Sync(data_only));
    if (!files_.ignores_syncs_) files_.log_.push_back(std::move(entry));
    co_await files_.Pause();
    co_return base::Ok();
  }

  Task<Status> Allocate(AllocateMode mode, uint64_t offset_bytes, uint64_t length_bytes) override {
    LogEntry entry = files_.NewEntry(Change::kAllocate, inode());
    co_await files_.Pause();
    CO_TRY_STATUS(co_await below().Allocate(mode, offset_bytes, length_bytes));
    entry.mode = mode;
    entry.offset_bytes = offset_bytes;
    entry.length_bytes = length_bytes;
    files_.log_.push_back(std::move(entry));
    co_await files_.Pause();
    co_return base::Ok();
  }

  Task<Status> AllocateKeepingTimes(AllocateMode mode, uint64_t offset_bytes,
                                    uint64_t length_bytes) override {
    return Allocate(mode, offset_bytes, length_bytes);
  }

 private:
  CrashFiles& files_;
};

std::string LogEntry::ToString() const {
  switch (change) {
    case Change::kWrite:
      return fmt::format("write inode {} [{}, +{})", inode, offset_bytes, data.size());
    case Change::kAllocate:
      return fmt::format("allocate {} inode {} [{}, +{})", static_cast<int>(mode), inode,
                         offset_bytes, length_bytes);
    case Change::kSetAttributes: return fmt::format("set attributes of inode {}", inode);
    case Change::kReplace: return fmt::format("replace {} contents", contents.size());
    case Change::kCreate: return fmt::format("create {} in {}", name, inode);
    case Change::kRemove: return fmt::format("remove {} in {}", name, inode);
    case Change::kRename: return fmt::format("rename {} to {}", name, to_name);
    case Change::kSync: return fmt::format("sync inode {}", inode);
    case Change::kSyncAll: return "sync all";
  }
  return "?";
}

CrashFiles::CrashFiles(uint64_t blocks_max, base::Executor* executor)
    : CrashFiles(std::make_unique<MemoryFileSystem>("crash", blocks_max), executor) {}

CrashFiles::CrashFiles(std::unique_ptr<MemoryFileSystem> live, base::Executor* executor)
    : ForwardingFileSystem(*live), live_(std::move(live)), executor_(executor) {
  Settle();
}

CrashFiles::~CrashFiles() = default;

void CrashFiles::Settle() {
  log_.clear();
  settled_.clear();
  open_.clear();
  medium_ = CopyOf(*live_);
  medium_count_ = 0;
}

Task<void> CrashFiles::Pause() {
  if (executor_ != nullptr) co_await executor_->Yield();
}

LogEntry CrashFiles::NewEntry(Change change, InodeNumber inode) const {
  LogEntry entry;
  entry.change = change;
  entry.inode = inode;
  entry.issued_at = log_.size();
  return entry;
}

Task<Result<Attributes>> CrashFiles::SetAttributes(InodeNumber inode, AttributeChange change) {
  LogEntry entry = NewEntry(Change::kSetAttributes, inode);
  entry.attributes = change;
  co_await Pause();
  CO_TRY(const Attributes attributes, co_await live_->SetAttributes(inode, change));
  log_.push_back(std::move(entry));
  co_await Pause();
  co_return attributes;
}

Task<Result<Attributes>> CrashFiles::Create(InodeNumber parent, std::string_view name,
                                            std::string_view target, NewInode attributes,
                                            FileType type) {
  LogEntry entry = NewEntry(Change::kCreate, parent);
  entry.name = name;
  entry.to_name = target;
  entry.new_inode = attributes;
  entry.type = type;
  co_await Pause();
  Task<Result<Attributes>> task = live_->CreateFile(parent, name, attributes);
  if (type == FileType::kDirectory) task = live_->MakeDirectory(parent, name, attributes);
  if (type == FileType::kSymlink) task = live_->MakeSymlink(parent, name, target, attributes);
  CO_TRY(const Attributes made, co_await task);
  log_.push_back(std::move(entry));
  co_await Pause();
  co_return made;
}

Task<Result<Attributes>> CrashFiles::CreateFile(InodeNumber parent, std::string_view name,
                                                NewInode attributes) {
  return Create(parent, name, "", attributes, FileType::kRegular);
}

Task<Result<Attributes>> CrashFiles::MakeDirectory(InodeNumber parent, std::string_view name,
                                                   NewInode attributes) {
  return Create(parent, name, "", attributes, FileType::kDirectory);
}

Task<Result<Attributes>> CrashFiles::MakeSymlink(InodeNumber parent, std::string_view name,
                                                 std::string_view target, NewInode attributes) {
  return Create(parent, name, target, attributes, FileType::kSymlink);
}

Task<Status> CrashFiles::Remove(InodeNumber parent, std::string_view name, FileType type) {
  LogEntry entry = NewEntry(Change::kRemove, parent);
  entry.name = name;
  entry.type = type;
  co_await Pause();
  Task<Status> task = live_->Unlink(parent, name);
  if (type == FileType::kDirectory) task = live_->RemoveDirectory(parent, name);
  CO_TRY_STATUS(co_await task);
  log_.push_back(std::move(entry));
  co_await Pause();
  co_return base::Ok();
}

Task<Status> CrashFiles::Unlink(InodeNumber parent, std::string_view name) {
  return Remove(parent, name, FileType::kRegular);
}

Task<Status> CrashFiles::RemoveDirectory(InodeNumber parent, std::string_view name) {
  return Remove(parent, name, FileType::kDirectory);
}

Task<Status> CrashFiles::Rename(InodeNumber from_parent, std::string_view from_name,
                                InodeNumber to_parent, std::string_view to_name, bool no_replace) {
  LogEntry entry = NewEntry(Change::kRename, from_parent);
  entry.name = from_name;
  entry.to_inode = to_parent;
  entry.to_name = to_name;
  co_await Pause();
  CO_TRY_STATUS(co_await live_->Rename(from_parent, from_name, to_parent, to_name, no_replace));
  log_.push_back(std::move(entry));
  co_await Pause();
  co_return base::Ok();
}

Task<Result<std::unique_ptr<File>>> CrashFiles::Open(InodeNumber inode, OpenMode mode) {
  CO_TRY(std::unique_ptr<File> file, co_await live_->Open(inode, mode));
  std::unique_ptr<File> logged = std::make_unique<CrashFile>(*this, std::move(file));
  co_return logged;
}

Task<Status> CrashFiles::ReplaceContents(std::span<const Replacement> replacements) {
  LogEntry entry = NewEntry(Change::kReplace, 0);
  entry.is_durable = true;
  for (const Replacement& replacement : replacements) {
    entry.contents.emplace_back(replacement.inode, std::string(replacement.contents));
  }
  co_await Pause();
  CO_TRY_STATUS(co_await live_->ReplaceContents(replacements));
  log_.push_back(std::move(entry));
  co_await Pause();
  co_return base::Ok();
}

Task<Status> CrashFiles::SyncAll() {
  LogEntry entry = NewEntry(Change::kSyncAll, 0);
  co_await Pause();
  CO_TRY_STATUS(co_await live_->SyncAll());
  if (!ignores_syncs_) log_.push_back(std::move(entry));
  co_await Pause();
  co_return base::Ok();
}

Task<Status> CrashFiles::Unmount() {
  return SyncAll();
}

// Marks what the entry, a sync that was answered, covers.
void CrashFiles::MarkSettled(size_t index, std::vector<bool>& settled) const {
  const LogEntry& sync = log_[index];
  settled[index] = true;
  for (size_t i = 0; i < std::min(sync.issued_at, index); ++i) {
    const bool is_of_file = !IsName(log_[i]) && log_[i].inode == sync.inode;
    if (sync.change == Change::kSyncAll || is_of_file) settled[i] = true;
  }
}

std::vector<bool> CrashFiles::SettledBefore(size_t prefix_length) const {
  std::vector<bool> settled(prefix_length, false);
  for (size_t i = 0; i < prefix_length; ++i) {
    if (log_[i].is_durable) settled[i] = true;
    if (IsSync(log_[i])) MarkSettled(i, settled);
  }
  return settled;
}

std::vector<size_t> CrashFiles::OpenAmong(const std::vector<bool>& settled) const {
  std::vector<size_t> open;
  for (size_t i = 0; i < log_.size(); ++i) {
    const bool is_in_flight = i >= settled.size() && log_[i].issued_at < settled.size();
    if (IsSync(log_[i])) continue;
    if (i < settled.size() ? !settled[i] : is_in_flight) open.push_back(i);
  }
  return open;
}

const std::vector<size_t>& CrashFiles::OpenChanges(size_t prefix_length) {
  CHECK(prefix_length <= log_.size());
  if (settled_.size() != prefix_length || prefix_length == 0) {
    settled_ = SettledBefore(prefix_length);
    open_ = OpenAmong(settled_);
  }
  return open_;
}

// Moves the settled beginning of the log into what every later crash finds.
void CrashFiles::AdvanceMedium(const std::vector<bool>& settled) {
  CHECK(medium_count_ <= settled.size());
  while (medium_count_ < settled.size() && settled[medium_count_]) {
    Replay(*medium_, log_[medium_count_], {Fate::Kind::kKept, 0});
    ++medium_count_;
  }
}

std::unique_ptr<MemoryFileSystem> CrashFiles::CrashImage(size_t prefix_length,
                                                         std::span<const Fate> fates) {
  const std::vector<size_t>& open = OpenChanges(prefix_length);
  CHECK(open.size() == fates.size());
  AdvanceMedium(settled_);
  auto image = std::make_unique<MemoryFileSystem>(*medium_);
  size_t next_open = 0;
  bool names_survive = true;
  for (size_t i = medium_count_; i < log_.size(); ++i) {
    Fate fate{Fate::Kind::kKept, 0};
    if (next_open < open.size() && open[next_open] == i) {
      fate = fates[next_open++];
    } else if (i >= prefix_length) {
      continue;
    }
    if (IsName(log_[i])) {
      names_survive = names_survive && fate.kind != Fate::Kind::kLost;
      if (!names_survive) continue;
    }
    if (fate.kind != Fate::Kind::kLost) Replay(*image, log_[i], fate);
  }
  image->Recover(MemoryFileSystem::Crash::kLosesNothing);
  return image;
}

base::CrashSweepResult SweepCrashFiles(CrashFiles& files, const base::CrashSweepOptions& options,
                                       const CrashFilesCheck& check, uint64_t failures_max) {
  const base::CrashSubject subject{
      .log_length = files.log().size(),
      .open_changes = [&](size_t prefix_length) { return files.OpenChanges(prefix_length); },
      .run =
          [&](base::SimExecutor& executor, const base::CrashCase& crash) {
            const auto image = files.CrashImage(crash.prefix_length, crash.fates);
            return check(executor, *image, crash);
          }};
  base::CrashSweepResult result = base::SweepCrashSubject(subject, options, failures_max);
  return result;
}

FailureSweepResult SweepFailures(
    const std::function<std::string(uint64_t call_number, bool* was_reached)>& round,
    uint64_t step) {
  FailureSweepResult result;
  for (uint64_t call_number = 1;; call_number += step) {
    bool was_reached = false;
    const std::string wrong = round(call_number, &was_reached);
    ++result.rounds;
    if (!wrong.empty()) {
      result.failure = fmt::format("with call {} failed: {}", call_number, wrong);
      return result;
    }
    if (!was_reached) return result;
  }
}

}  // namespace fss
