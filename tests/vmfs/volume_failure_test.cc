// The Nth device call fails, for every N: the operation answers the cause or succeeds all the same,
// nothing hangs or asserts, and the next mount finds a whole volume with the operation done or not.
//
// Both kinds of failure: the call has no effect, or it takes effect and its answer is lost.

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <ostream>

#include "fs/base/log.h"
#include "tests/support/vmfs_volume.h"
#include "tests/support/volume_history.h"

namespace vmfs {
namespace {

constexpr uint64_t kVolumeBytes = uint64_t{256} << 20;
constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kCallsMax = 2000;
constexpr uint64_t kNever = uint64_t{1} << 60;

base::Task<base::Status> WriteBytesTo(VolumeClient client, const char* path, uint64_t offset_bytes,
                                      size_t length_bytes) {
  const std::vector<std::byte> bytes = SeededBytes(offset_bytes + 1, length_bytes);
  CO_TRY(const uint64_t done, co_await client.Write(path, offset_bytes, bytes));
  if (done != length_bytes) co_return base::Code::kNoSpace;
  co_return co_await client.Sync(path);
}

base::Task<base::Status> CreateOne(VolumeClient client) {
  CO_TRY_STATUS(co_await client.Create("/new"));
  co_return co_await client.SyncAll();
}

base::Task<base::Status> MakeDirectoryOne(VolumeClient client) {
  CO_TRY_STATUS(co_await client.MakeDirectory("/directory"));
  co_return co_await client.SyncAll();
}

base::Task<base::Status> WriteNewBlocks(VolumeClient client) {
  co_return co_await WriteBytesTo(client, "/small", 3 * kMiB - 100, 700'000);
}

base::Task<base::Status> WriteSubBlock(VolumeClient client) {
  co_return co_await WriteBytesTo(client, "/small", 1000, 20'000);
}

base::Task<base::Status> Overwrite(VolumeClient client) {
  co_return co_await WriteBytesTo(client, "/large", 1001, 70'001);
}

base::Task<base::Status> TruncateDown(VolumeClient client) {
  CO_TRY_STATUS(co_await client.Truncate("/large", 100'001));
  co_return co_await client.SyncAll();
}

base::Task<base::Status> TruncateUp(VolumeClient client) {
  CO_TRY_STATUS(co_await client.Truncate("/large", 900 * kMiB));
  co_return co_await client.SyncAll();
}

base::Task<base::Status> RenameOver(VolumeClient client) {
  CO_TRY_STATUS(co_await client.Rename("/small", "/large"));
  co_return co_await client.SyncAll();
}

base::Task<base::Status> UnlinkLarge(VolumeClient client) {
  CO_TRY_STATUS(co_await client.Unlink("/large"));
  co_return co_await client.SyncAll();
}

base::Task<base::Status> RemoveDirectoryOne(VolumeClient client) {
  CO_TRY_STATUS(co_await client.RemoveDirectory("/empty"));
  co_return co_await client.SyncAll();
}

base::Task<base::Status> ReplaceBoth(VolumeClient client) {
  const std::pair<std::string, std::string> files[] = {{"/small", SeededText(5, 40'000)},
                                                       {"/large", SeededText(6, 20'000)}};
  co_return co_await client.Replace(files);
}

base::Task<base::Status> OpenAndClose(VolumeClient client, fss::OpenMode mode) {
  CO_TRY(const std::unique_ptr<fss::File> file, co_await client.Open("/large", mode));
  co_return co_await file->Close();
}

base::Task<base::Status> OpenDisks(VolumeClient client) {
  CO_TRY_STATUS(co_await client.Truncate("/large", 5 * kMiB));
  CO_TRY_STATUS(co_await OpenAndClose(client, fss::OpenMode::kExclusiveDisk));
  CO_TRY_STATUS(co_await OpenAndClose(client, fss::OpenMode::kSharedDisk));
  co_return co_await OpenAndClose(client, fss::OpenMode::kSharedDisk);
}

struct Operation {
  const char* name;
  base::Task<base::Status> (*run)(VolumeClient client);  // null: the mount and unmount alone
  bool changes_data = false;                             // may be found half done
};

void PrintTo(const Operation& operation, std::ostream* out) { *out << operation.name; }

const Operation kOperations[] = {
    {"Create", CreateOne},
    {"MakeDirectory", MakeDirectoryOne},
    {"WriteNewBlocks", WriteNewBlocks, true},
    {"WriteSubBlock", WriteSubBlock, true},
    {"Overwrite", Overwrite, true},
    {"TruncateDown", TruncateDown, true},
    {"TruncateUp", TruncateUp},
    {"RenameOver", RenameOver},
    {"ReplaceBoth", ReplaceBoth},
    {"OpenDisks", OpenDisks},
    {"Unlink", UnlinkLarge},
    {"RemoveDirectory", RemoveDirectoryOne},
};

// A volume with something in it, of which every case gets a copy.
class FailingVolume : public testing::TestWithParam<Operation> {
 protected:
  FailingVolume() : original_(executor_, kVolumeBytes, /*logging=*/true) {
    base::SetLogLevel(base::LogLevel::kOff);
    CHECK(original_.MakeFileSystem().has_value());
    CHECK(original_.Mount().has_value());
    VolumeHistory history(executor_, original_);
    history.Create("/small");
    history.Write("/small", 0, 500);
    history.Create("/large");
    history.Write("/large", 0, 2 * kMiB + 7777);
    history.MakeDirectory("/empty");
    history.Unmount();
    CHECK(history.failure().empty());
    original_.disk().Settle();
    before_ = history.now();
  }

  std::unique_ptr<base::SimDisk> Copy(base::SimExecutor& executor) {
    return original_.disk().CrashImage(executor, 0, {});
  }

  static base::Result<Tree> ReadAll(base::SimExecutor& executor, SimVolume& volume) {
    Tree tree;
    const base::Status read =
        base::RunSync(executor, VolumeClient(volume.volume()).ReadTree("", tree));
    if (!read) return read.error();
    return tree;
  }

  // What a complete run leaves.
  Tree After(const Operation& operation) {
    base::SimExecutor executor(1);
    SimVolume volume(executor, Copy(executor));
    CHECK(volume.Mount().has_value());
    CHECK(base::RunSync(executor, operation.run(VolumeClient(volume.volume()))).has_value());
    return *ReadAll(executor, volume);
  }

  // Mounts what the failure left, as the next host does.
  std::string CheckNextMount(base::SimDisk& disk, const Tree* after, bool half_is_fine) {
    base::SimExecutor executor(3);
    SimVolume volume(executor, disk);
    volume.options().guard = &guard_;
    if (const auto mounted = volume.Mount(); !mounted) return "mount: " + mounted.error().message();
    const base::Result<Tree> found = ReadAll(executor, volume);
    if (const auto end = volume.Unmount(); !end) return "unmount: " + end.error().message();
    if (!found) return "read: " + found.error().message();
    const std::string not_before = DescribeDifference(before_, *found);
    const std::string not_after = after ? DescribeDifference(*after, *found) : not_before;
    if (!half_is_fine && !not_before.empty() && !not_after.empty()) {
      return "neither as before: " + not_before + "; nor as after: " + not_after;
    }
    return volume.CheckAfterCrash();
  }

  static std::string CauseOf(const base::Status& status) {
    if (status || status.error().code() == base::Code::kIo) return {};
    return "answered " + status.error().message();
  }

  base::SimExecutor executor_{11};
  DeadGuard guard_;
  SimVolume original_;
  Tree before_;
};

TEST_P(FailingVolume, AnswersTheCauseAndStaysWhole) {
  const Operation& operation = GetParam();
  const Tree after = After(operation);
  for (const bool after_effect : {false, true}) {
    for (uint64_t n = 1;; ++n) {
      ASSERT_LT(n, kCallsMax);
      SCOPED_TRACE(fmt::format("call {} fails{}", n, after_effect ? " after its effect" : ""));
      base::SimExecutor executor(n);
      SimVolume volume(executor, Copy(executor));
      volume.options().guard = &guard_;
      ASSERT_TRUE(volume.Mount().has_value());
      volume.disk().FailNth(n, base::Code::kIo, after_effect);
      const base::Status status =
          base::RunSync(executor, operation.run(VolumeClient(volume.volume())));
      const bool failed = volume.disk().failed();
      if (!failed) volume.disk().FailNth(kNever, base::Code::kIo);
      EXPECT_EQ(CauseOf(status), "");
      EXPECT_EQ(CauseOf(volume.Unmount()), "");
      EXPECT_EQ(CheckNextMount(volume.disk(), &after, operation.changes_data && !status), "");
      if (HasFailure() || !failed) break;
    }
    if (HasFailure()) break;
  }
}

INSTANTIATE_TEST_SUITE_P(Operations, FailingVolume, testing::ValuesIn(kOperations),
                         [](const auto& tested) { return tested.param.name; });

class FailingMount : public FailingVolume {};

TEST_P(FailingMount, AnswersTheCauseAndStaysWhole) {
  for (uint64_t n = 1;; ++n) {
    ASSERT_LT(n, kCallsMax);
    SCOPED_TRACE(fmt::format("call {} of mount, write and unmount fails", n));
    base::SimExecutor executor(n);
    SimVolume volume(executor, Copy(executor));
    volume.options().guard = &guard_;
    volume.disk().FailNth(n, base::Code::kIo, GetParam().changes_data);
    const base::Status mounted = volume.Mount();
    EXPECT_EQ(CauseOf(mounted), "");
    if (mounted) {
      (void)base::RunSync(executor, CreateOne(VolumeClient(volume.volume())));
      EXPECT_EQ(CauseOf(volume.Unmount()), "");
    }
    const bool failed = volume.disk().failed();
    volume.disk().FailNth(kNever, base::Code::kIo);
    EXPECT_EQ(CheckNextMount(volume.disk(), nullptr, /*half_is_fine=*/true), "");
    if (HasFailure() || !failed) break;
  }
}

const Operation kMounts[] = {{"WithoutEffect", nullptr, false}, {"AfterItsEffect", nullptr, true}};

INSTANTIATE_TEST_SUITE_P(Mounts, FailingMount, testing::ValuesIn(kMounts),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace vmfs
