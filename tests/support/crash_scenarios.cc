#include "tests/support/crash_scenarios.h"

#include <algorithm>

#include <fmt/format.h>

#include <algorithm>

#include "fs/base/log.h"

namespace vmfs {
namespace {

constexpr uint64_t kVolumeBytes = uint64_t{256} << 20;
constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kGrownBytes = 3 * kMiB;

void TwoFiles(VolumeHistory& history) {
  history.Create("/a");
  history.Write("/a", 0, 3000);
  history.Create("/b");
  history.Write("/b", 0, 100'000);
}

void CreateFiles(VolumeHistory& history) {
  history.Create("/one");
  history.SyncAll();
  history.Create("/two");
  history.MakeSymlink("/three", "one");
  history.Sync("/two");
  history.Create("/four");
}

void WriteEveryMapKind(VolumeHistory& history) {
  history.Create("/f");
  history.Write("/f", 0, 1000);
  history.Sync("/f");
  history.Write("/f", 1000, 9000);
  history.Sync("/f");
  history.Write("/f", 10'000, 90'001);
  history.Sync("/f");
  history.Write("/f", 8 * kMiB - 100, 1000);
  history.Sync("/f");
  history.Create("/far");
  history.Write("/far", 400 * kMiB, 5000);
  history.Sync("/far");
  history.Write("/far", 3'000'000 * kMiB, 600);
  history.Sync("/far");
}

void Overwrite(VolumeHistory& history) {
  history.Write("/b", 500, 20'000);
  history.Sync("/b");
  history.Write("/a", 0, 2000);
  history.Write("/b", 4096, 8192);
  history.Sync("/a");
  history.Write("/b", 60'000, 3000);
}

// Without new times there is nothing to commit: the data alone must be flushed.
void OverwriteAndSyncData(VolumeHistory& history) {
  for (int i = 0; i < 3; ++i) {
    history.Write("/b", 4096, 8192);
    history.SyncData("/b");
  }
}

void Append(VolumeHistory& history) {
  for (int i = 0; i < 6; ++i) {
    const uint64_t size = history.now().at("/b").size_bytes;
    history.Write("/b", size, 33'333);
    if (i % 2 == 0) history.Sync("/b");
  }
}

void TruncateFiles(VolumeHistory& history) {
  history.Truncate("/b", 50'001);
  history.Sync("/b");
  history.Truncate("/b", 3 * kMiB);
  history.Sync("/b");
  history.Write("/b", 2 * kMiB, 700);
  history.Truncate("/b", 2 * kMiB + 300);
  history.Sync("/b");
  history.Truncate("/b", 0);
  history.Truncate("/a", 10);
  history.SyncAll();
  history.Create("/c");
  history.Write("/c", 0, 100'000);
  history.Sync("/c");
}

void PunchAndAllocate(VolumeHistory& history) {
  history.Write("/b", 0, 3 * kMiB);
  history.Sync("/b");
  history.Punch("/b", kMiB / 2, 2 * kMiB);
  history.Sync("/b");
  history.Allocate("/a", 0, 2 * kMiB);
  history.Sync("/a");
  history.Write("/b", kMiB + 5, 4000);
  history.Sync("/b");
}

void RenameFiles(VolumeHistory& history) {
  history.MakeDirectory("/d");
  history.SyncAll();
  history.Rename("/a", "/d/a");
  history.Sync("/d/a");
  history.Rename("/d/a", "/b");
  history.SyncAll();
  history.MakeDirectory("/e");
  history.Rename("/d", "/e/d");
  history.SyncAll();
  history.Create("/e/d/x");
  history.Rename("/e/d/x", "/b");
}

void ReplaceSafely(VolumeHistory& history) {
  for (int i = 0; i < 3; ++i) {
    history.Create("/b.new");
    history.Write("/b.new", 0, 5000 + static_cast<size_t>(i));
    history.Sync("/b.new");
    history.Rename("/b.new", "/b");
  }
}

void UnlinkFiles(VolumeHistory& history) {
  history.Unlink("/b");
  history.SyncAll();
  history.Unlink("/a");
  history.Create("/c");
  history.Write("/c", 0, 70'000);
  history.Sync("/c");
}

void Directories(VolumeHistory& history) {
  history.MakeDirectory("/d");
  history.MakeDirectory("/d/e");
  history.SyncAll();
  history.RemoveDirectory("/d/e");
  history.Create("/d/f");
  history.SyncAll();
  history.Unlink("/d/f");
  history.RemoveDirectory("/d");
  history.SyncAll();
  history.MakeDirectory("/g");
}

// What a replay must never do: bring an old directory back over new file data.
void ReuseOfDirectorySpace(VolumeHistory& history) {
  for (int i = 0; i < 3; ++i) {
    const std::string directory = fmt::format("/d{}", i);
    history.MakeDirectory(directory);
    history.Create(directory + "/x");
    history.SyncAll();
    history.Unlink(directory + "/x");
    history.RemoveDirectory(directory);
    history.SyncAll();
    const std::string file = fmt::format("/f{}", i);
    history.Create(file);
    history.Write(file, 0, 65'536);
    history.Sync(file);
  }
}

// Space that was freed, unmapped and given out again reads as zeros after any crash.
void ReuseOfFreedBlocks(VolumeHistory& history) {
  history.Create("/c");
  history.Write("/b", 0, 2 * kMiB);
  history.SyncAll();
  history.Unlink("/b");
  history.SyncAll();
  history.Wait(20'000'000);
  history.Allocate("/c", 0, 4 * kMiB);
  history.SyncAll();
  history.MakeDirectory("/d");
  history.Write("/c", kMiB + 700, 600);
  history.Sync("/c");
}

// Data in blocks behind the end may outlive the length that would show it.
void WriteIntoReserved(VolumeHistory& history) {
  history.Reserve("/a", 0, 3 * kMiB);
  history.SyncAll();
  history.Write("/a", 2 * kMiB, 5000);
  history.Write("/a", 2 * kMiB + 5000, 5000);
  history.Sync("/a");
}

void ManyNames(VolumeHistory& history) {
  history.MakeDirectory("/many");
  for (int i = 0; i < 380; ++i) {
    history.Create(fmt::format("/many/{:0>100}", i));
    if (i % 64 == 0) history.SyncAll();
  }
}

void JournalWraps(VolumeHistory& history) {
  for (int i = 0; i < 160; ++i) {
    history.Create(fmt::format("/w{}", i % 10));
    history.SyncAll();
    history.Unlink(fmt::format("/w{}", i % 10));
    if (i % 3 == 0) history.SyncAll();
  }
}

// Over 16 sub-blocks the directory moves into file blocks.
constexpr int kNamesBeforeTheMove = 3340;

void NearlyFillSubBlocksOfDirectory(VolumeHistory& history) {
  history.MakeDirectory("/many");
  for (int i = 0; i < kNamesBeforeTheMove; ++i) history.Create(fmt::format("/many/{}", i));
}

void DirectoryMovesToFileBlocks(VolumeHistory& history) {
  for (int i = 0; i < 40; ++i) {
    history.Create(fmt::format("/many/new{}", i));
    if (i % 8 == 0) history.SyncAll();
  }
  history.Unlink("/many/17");
  history.SyncAll();
}

void NearlyFillDescriptors(VolumeHistory& history) {
  for (int i = 0; i < 2030; ++i) history.MakeSymlink(fmt::format("/s{}", i), "t");
}

void GrowDescriptors(VolumeHistory& history) {
  for (int i = 0; i < 24; ++i) {
    const std::string path = fmt::format("/f{}", i);
    history.Create(path);
    if (i % 4 == 0) history.Sync(path);
  }
}

// Files that nobody can name any more live on until they are closed, across commits.
void OrphansThatAreOpen(VolumeHistory& history) {
  history.Create("/c");
  history.Write("/c", 0, 2 * kMiB);
  history.SyncAll();
  history.KeepOpen("/b");
  history.KeepOpen("/c");
  history.Unlink("/b");
  history.Rename("/a", "/c");
  history.SyncAll();
  history.Create("/d");
  history.Write("/d", 0, 70'000);
  history.Sync("/d");
  history.CloseKept();
  history.SyncAll();
  history.Create("/e");
  history.Write("/e", 0, 100'000);
  history.Sync("/e");
}

// A file with a hole in its first slots is mapped through pointer blocks from then on.
void MapsThatChange(VolumeHistory& history) {
  history.Write("/b", 0, kMiB + 1);
  history.Sync("/b");
  history.Write("/b", 3 * kMiB, 4096);
  history.Sync("/b");
  history.Punch("/b", 0, kMiB);
  history.Write("/b", 100, 500);
  history.Sync("/b");
  history.Write("/b", 3'000'000 * kMiB + 7, 900);
  history.Sync("/b");
  history.Truncate("/b", 5 * kMiB);
  history.SyncAll();
  history.Truncate("/b", 0);
  history.Write("/b", 0, 100);
  history.Sync("/b");
}

void PrepareFreedBlock(VolumeHistory& history) {
  history.Create("/b");
  history.Write("/b", 0, kMiB);
  history.Create("/c");
}

// A block that was unmapped is given out without being zeroed: that it reads as zeros must be
// durable before a file that names it.
void AllocateWhatWasUnmapped(VolumeHistory& history) {
  history.Unlink("/b");
  history.SyncAll();
  history.Wait(12'000'000);
  history.Allocate("/c", 0, kMiB);
  history.SyncAll();
}

// Descriptors of a chain change together, whatever form each of them has.
void ReplaceTogether(VolumeHistory& history) {
  history.Create("/c");
  history.Create("/d");
  history.SyncAll();
  history.Replace({{"/a", 700}, {"/b", 900}});
  history.Replace({{"/a", 5000}, {"/b", 20'000}, {"/c", 30'000}});
  history.Write("/b", 100, 300);
  history.Replace({{"/b", 3584}, {"/a", 3585}, {"/d", 0}});
  history.Write("/c", 0, 3 * kMiB);
  history.Replace({{"/d", 1}, {"/c", 60'000}});
  history.Unlink("/a");
  history.Replace({{"/c", 4000}, {"/b", 0}});
  history.Write("/d", 0, 100'000);
  history.Sync("/d");
}

// Locks of disks come and go while what they covered is still in the journal.
void DisksOpenedAndClosed(VolumeHistory& history) {
  history.KeepOpen("/b", fss::OpenMode::kExclusiveDisk);
  history.Write("/b", 0, 2 * kMiB);
  history.Sync("/b");
  history.CloseKept();
  history.KeepOpen("/b", fss::OpenMode::kSharedDisk);
  history.KeepOpen("/a", fss::OpenMode::kSharedDisk);
  history.Rename("/b", "/c");
  history.SyncAll();
  history.CloseKept();
  history.KeepOpen("/a", fss::OpenMode::kExclusiveDisk);
  history.Write("/a", 0, 70'000);
  history.Replace({{"/a", 900}, {"/c", 5000}});
  history.CloseKept();
  history.Write("/c", 0, 100'000);
  history.Sync("/c");
}

void FillSubBlocks(VolumeHistory& history) {
  for (int i = 0; i < 240; ++i) {
    const std::string path = fmt::format("/s{}", i);
    history.Create(path);
    history.Write(path, 0, 4000);
  }
}

void GrowSubBlocks(VolumeHistory& history) {
  for (int i = 240; i < 262; ++i) {
    const std::string path = fmt::format("/s{}", i);
    history.Create(path);
    history.Write(path, 0, 4000);
    if (i % 4 == 0) history.Sync(path);
  }
}

const CrashScenario kScenarios[] = {
    {"CreateFiles", nullptr, CreateFiles},
    {"WriteEveryMapKind", nullptr, WriteEveryMapKind},
    {"Overwrite", TwoFiles, Overwrite},
    {"OverwriteAndSyncData", TwoFiles, OverwriteAndSyncData},
    {"Append", TwoFiles, Append},
    {"TruncateFiles", TwoFiles, TruncateFiles},
    {"PunchAndAllocate", TwoFiles, PunchAndAllocate},
    {"RenameFiles", TwoFiles, RenameFiles},
    {"ReplaceSafely", TwoFiles, ReplaceSafely},
    {"UnlinkFiles", TwoFiles, UnlinkFiles},
    {"Directories", nullptr, Directories},
    {"ReuseOfDirectorySpace", nullptr, ReuseOfDirectorySpace},
    {"ReuseOfFreedBlocks", TwoFiles, ReuseOfFreedBlocks},
    {"WriteIntoReserved", TwoFiles, WriteIntoReserved},
    {"ManyNames", nullptr, ManyNames},
    {"JournalWraps", nullptr, JournalWraps},
    {"GrowSubBlocks", FillSubBlocks, GrowSubBlocks},
    {"DirectoryMovesToFileBlocks", NearlyFillSubBlocksOfDirectory, DirectoryMovesToFileBlocks,
     /*cost=*/5},
    {"GrowDescriptors", NearlyFillDescriptors, GrowDescriptors, /*cost=*/3},
    {"OrphansThatAreOpen", TwoFiles, OrphansThatAreOpen},
    {"MapsThatChange", TwoFiles, MapsThatChange},
    {"DisksOpenedAndClosed", TwoFiles, DisksOpenedAndClosed},
    {"ReplaceTogether", TwoFiles, ReplaceTogether},
    {"AllocateWhatWasUnmapped", PrepareFreedBlock, AllocateWhatWasUnmapped},
};

}  // namespace

std::span<const CrashScenario> CrashScenarios() { return kScenarios; }

const CrashScenario& CrashScenarioNamed(std::string_view name) {
  const auto found = std::find_if(
      std::begin(kScenarios), std::end(kScenarios),
      [name](const CrashScenario& scenario) { return name == scenario.name; });
  CHECK(found != std::end(kScenarios));
  return *found;
}

CrashRecording::CrashRecording(const CrashScenario& scenario, const MountOptions& options)
    : volume_(executor_, kVolumeBytes, /*logging=*/true), history_(executor_, volume_) {
  base::SetLogLevel(base::LogLevel::kOff);
  volume_.options() = options;
  volume_.options().guard = &guard_;
  volume_.options().machine = base::NewUuid(1);
  Note(volume_.MakeFileSystem());
  if (scenario.prepare != nullptr) {
    Note(volume_.Mount());
    scenario.prepare(history_);
    history_.Unmount();
  }
  // What the preparation did is durable; the log begins here.
  volume_.disk().Settle();
  history_.StartOver();
  Note(volume_.Mount());
  scenario.run(history_);
  history_.Unmount();
  if (failure_.empty()) failure_ = history_.failure();
}

void CrashRecording::Note(const base::Status& status) {
  if (!status && failure_.empty()) failure_ = status.error().message();
  CHECK(status.has_value());
}

base::CrashSweepResult CrashRecording::Sweep(const base::CrashSweepOptions& options) {
  return base::SweepCrashes(
      volume_.disk(), options,
      [this](base::SimExecutor& executor, base::SimDisk& disk, const base::CrashCase& crash) {
        base::LogInfo("test", "{}", crash.ToString());
        return Recover(executor, disk, crash);
      });
}

base::CrashSweepResult CrashRecording::SweepRecovery(const base::CrashSweepOptions& options,
                                                     const base::CrashSweepOptions& again) {
  return base::SweepCrashes(
      volume_.disk(), options,
      [&](base::SimExecutor& executor, base::SimDisk& disk, const base::CrashCase& crash) {
        SimVolume volume(executor, disk);
        volume.options().guard = &guard_;
        volume.options().journal_faults = recovery_faults_;
        if (const auto mounted = volume.Mount(); !mounted) return mounted.error().message();
        if (const auto end = volume.Unmount(); !end) return end.error().message();
        base::CrashSweepOptions inner = again;
        inner.prefix_step = std::max<size_t>(1, disk.log().size() / again.prefix_step);
        inner.first_prefix = crash.number % inner.prefix_step;
        const base::CrashSweepResult result = base::SweepCrashes(
            disk, inner,
            [&](base::SimExecutor& later, base::SimDisk& image, const base::CrashCase&) {
              return Recover(later, image, crash);
            });
        recovery_case_count_ += result.cases;
        return result.ok() ? "" : "cut during recovery at " + result.failure;
      });
}

// What is new after growing must be zeros, whatever the crash left behind the ends of files.
std::string CrashRecording::GrowAll(base::SimExecutor& executor, SimVolume& volume, Tree& found) {
  VolumeClient client(volume.volume());
  for (const auto& [path, node] : found) {
    const uint64_t size = node.size_bytes;
    if (node.type != fss::FileType::kRegular || size > 16 * kMiB) continue;
    const base::Status grown =
        base::RunSync(executor, client.Truncate(path, size + kGrownBytes));
    if (!grown && grown.error().code() == base::Code::kNoSpace) continue;
    std::vector<std::byte> bytes(kGrownBytes);
    const base::Result<uint64_t> read = base::RunSync(executor, client.Read(path, size, bytes));
    if (!grown || !read || *read != kGrownBytes) return "grow " + path + ": failed";
    for (size_t i = 0; i < bytes.size(); ++i) {
      if (bytes[i] == std::byte{0}) continue;
      return fmt::format("grow {}: byte {} behind the end at {} is not zero", path, i, size);
    }
  }
  return {};
}

std::string CrashRecording::Recover(base::SimExecutor& executor, base::SimDisk& disk,
                                    const base::CrashCase& crash) {
  SimVolume volume(executor, disk);
  volume.options().guard = &guard_;
  volume.options().ignore_journal_checksums = ignore_journal_checksums_;
  const base::Status mounted = volume.Mount();
  if (!mounted) return "mount: " + mounted.error().message();
  Tree found;
  const base::Status read =
      base::RunSync(executor, VolumeClient(volume.volume()).ReadTree("", found));
  const bool few = found.size() <= 5;
  const std::string exposed = few ? GrowAll(executor, volume, found) : "";
  const base::Status unmounted = volume.Unmount();
  if (!read) return "read: " + read.error().message();
  if (!unmounted) return "unmount: " + unmounted.error().message();
  std::string wrong = history_.Judge(crash.prefix_length, found);
  if (wrong.empty()) wrong = exposed;
  if (wrong.empty()) wrong = volume.CheckAfterCrash();
  return wrong;
}

}  // namespace vmfs
