// Several writers at once, each with an fsync after each change, and a crash in the middle: what
// each of them made durable is there, and every later change of theirs is whole or absent.
//
// SEED=s draws another schedule, ROUNDS=n takes n times as many crash points.

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <memory>

#include "fs/base/log.h"
#include "fs/base/sync.h"
#include "tests/support/crash_sweep.h"
#include "tests/support/volume_history.h"

namespace vmfs {
namespace {

constexpr uint64_t kVolumeBytes = uint64_t{256} << 20;
constexpr size_t kWriters = 4;
constexpr uint64_t kPointsInFastSuite = 12;

// One writer: files of its own in the root, beside the others'.
struct Writer {
  Writer(base::SimExecutor& executor, SimVolume& volume, size_t the_number)
      : number(the_number), history(executor, volume) {}

  std::string Path(int file) const { return fmt::format("/{}-{}", number, file); }

  bool Owns(std::string_view path) const {
    return path.starts_with(fmt::format("/{}-", number));
  }

  const size_t number;
  VolumeHistory history;
};

base::Task<base::Status> WriteBytes(VolumeClient client, std::string_view path,
                                    uint64_t offset_bytes, std::span<const std::byte> bytes) {
  CO_TRY(const uint64_t done, co_await client.Write(path, offset_bytes, bytes));
  if (done != bytes.size()) co_return base::Code::kNoSpace;
  co_return base::Ok();
}

base::Task<void> CreateAndWrite(VolumeClient client, Writer& writer, int file) {
  const std::string path = writer.Path(file);
  base::Task<base::Status> create = client.Create(path);
  co_await writer.history.Await("create", &create);
  writer.history.last()[path].id = writer.history.NewId();
  const size_t size = size_t{300} << (3 * (file % 4));
  const std::vector<std::byte> bytes = SeededBytes(writer.number * 100 + path.size(), size);
  base::Task<base::Status> write = WriteBytes(client, path, 0, bytes);
  co_await writer.history.Await("write", &write);
  writer.history.last()[path].Write(0, bytes);
  writer.history.Touch(path);
  base::Task<base::Status> sync = client.Sync(path);
  co_await writer.history.Await("sync", &sync);
  writer.history.MarkSynced(path);
}

// Replaces an older file by the newest one, as editors and databases do.
base::Task<void> RenameOver(VolumeClient client, Writer& writer, int file) {
  const std::string from = writer.Path(file);
  const std::string to = writer.Path(file - 1);
  base::Task<base::Status> rename = client.Rename(from, to);
  co_await writer.history.Await("rename", &rename);
  MoveInTree(writer.history.last(), from, to);
  base::Task<base::Status> sync = client.Sync(to);
  co_await writer.history.Await("sync", &sync);
  writer.history.MarkSynced(to);
}

base::Task<void> Unlink(VolumeClient client, Writer& writer, int file) {
  const std::string path = writer.Path(file);
  base::Task<base::Status> unlink = client.Unlink(path);
  co_await writer.history.Await("unlink", &unlink);
  writer.history.last().erase(path);
}

base::Task<void> Work(VolumeClient client, Writer& writer) {
  for (int file = 0; file < 8; ++file) {
    co_await CreateAndWrite(client, writer, file);
    if (file % 3 == 2) co_await RenameOver(client, writer, file);
    if (file % 4 == 3) co_await Unlink(client, writer, file - 3);
  }
}

base::Task<base::Status> WorkTogether(base::Executor& executor, VolumeClient client,
                                      std::vector<std::unique_ptr<Writer>>& writers) {
  base::TaskGroup group(executor);
  for (const auto& writer : writers) group.Add(Work(client, *writer));
  co_await group.Join();
  co_return base::Ok();
}

class Together : public testing::Test {
 protected:
  Together() : volume_(executor_, MakeDisk()) {
    base::SetLogLevel(base::LogLevel::kOff);
    volume_.options().guard = &guard_;
  }

  std::unique_ptr<base::SimDisk> MakeDisk() {
    base::SimDisk::Options options;
    options.size_bytes = kVolumeBytes + (uint64_t{17} << 20);
    options.latency_us_min = 20;
    options.latency_us_max = 900;
    return std::make_unique<base::SimDisk>(executor_, options);
  }

  // All writers to their end, from a log that begins with an empty volume.
  void Record(const JournalFaults& faults) {
    volume_.options().journal_faults = faults;
    CHECK(volume_.MakeFileSystem().has_value());
    volume_.disk().Settle();
    CHECK(volume_.Mount().has_value());
    for (size_t i = 0; i < kWriters; ++i) {
      writers_.push_back(std::make_unique<Writer>(executor_, volume_, i));
    }
    CHECK(base::RunSync(executor_,
                        WorkTogether(executor_, VolumeClient(volume_.volume()), writers_)));
    commit_count_ = volume_.volume().figures().journal.commit_count;
    CHECK(volume_.Unmount().has_value());
    for (const auto& writer : writers_) ASSERT_EQ(writer->history.failure(), "");
  }

  std::string Recover(base::SimExecutor& executor, base::SimDisk& disk, size_t prefix_length) {
    SimVolume volume(executor, disk);
    volume.options().guard = &guard_;
    if (const auto mounted = volume.Mount(); !mounted) return mounted.error().message();
    Tree found;
    const base::Status read =
        base::RunSync(executor, VolumeClient(volume.volume()).ReadTree("", found));
    if (const auto end = volume.Unmount(); !end) return end.error().message();
    if (!read) return read.error().message();
    for (const auto& writer : writers_) {
      Tree own;
      for (const auto& [path, node] : found) {
        if (writer->Owns(path)) own.emplace(path, node);
      }
      const std::string wrong = writer->history.Judge(prefix_length, own);
      if (!wrong.empty()) return fmt::format("writer {}: {}", writer->number, wrong);
    }
    return volume.CheckAfterCrash();
  }

  base::CrashSweepResult Sweep(uint64_t points) {
    base::CrashSweepOptions options;
    options.seed = base::SeedFromEnvironment(1);
    options.all_subsets_max = 1;
    options.samples = 2;
    options.torn_samples = 1;
    options.prefix_step = std::max<uint64_t>(1, volume_.disk().log().size() / points);
    options.first_prefix = options.seed % options.prefix_step;
    return base::SweepCrashes(
        volume_.disk(), options,
        [this](base::SimExecutor& executor, base::SimDisk& disk, const base::CrashCase& crash) {
          return Recover(executor, disk, crash.prefix_length);
        });
  }

  base::SimExecutor executor_{base::SeedFromEnvironment(1) * 31 + 4};
  DeadGuard guard_;
  SimVolume volume_;
  std::vector<std::unique_ptr<Writer>> writers_;
  uint64_t commit_count_ = 0;
};

TEST_F(Together, WritersThatSyncAtOnceLoseNothingInACrash) {
  Record({});
  const base::CrashSweepResult result =
      Sweep(kPointsInFastSuite * base::RoundsFromEnvironment(1));
  EXPECT_TRUE(result.ok()) << result.failure;
  // Otherwise this test would not be about commits that are shared.
  EXPECT_LT(commit_count_, kWriters * 10);
}

TEST_F(Together, ACommitThatIsAnsweredWithoutAFlushIsCaught) {
  JournalFaults faults;
  faults.skip_flush_after_ring = true;
  Record(faults);
  EXPECT_FALSE(Sweep(1000).ok());
}

}  // namespace
}  // namespace vmfs
