// Making and deleting raw device maps on a VMFS volume, cut at every write of the volume and failed
// at every call: the disk is there whole or not at all, what was answered stays, running the
// operation again ends it, both checkers have nothing to say, and nobody writes to the device.
//
// ROUNDS=n takes n times as many fates of what was not flushed, SEED=s draws others.
#include <fmt/format.h>

#include "disklib/check/check.h"
#include "fs/base/log.h"
#include "tests/disklib/device_support.h"
#include "tests/support/crash_sweep.h"
#include "tests/support/vmfs_volume.h"

namespace disklib {
namespace {

using base::Code;
using base::Status;

constexpr uint64_t kVolumeBytes = uint64_t{256} << 20;
constexpr uint64_t kCallsMax = 2000;
constexpr uint64_t kNever = uint64_t{1} << 60;
constexpr const char* kDisk = "vm.vmdk";

struct MapCase {
  const char* name;
  bool makes;  // or deletes
  bool is_physical;

  const char* pointer() const { return is_physical ? "vm-rdmp.vmdk" : "vm-rdm.vmdk"; }
};

void PrintTo(const MapCase& test, std::ostream* out) {
  *out << test.name;
}

constexpr MapCase kCases[] = {
    {"MakeVirtual", true, false},
    {"MakePhysical", true, true},
    {"DeleteVirtual", false, false},
    {"DeletePhysical", false, true},
};

bool IsThere(DeviceStand& stand, std::string_view path) {
  return stand.Run(stand.lib().backend().GetInfo(path)).has_value();
}

Status RunOperation(DeviceStand& stand, const MapCase& test) {
  return test.makes ? stand.Make(kDisk, test.is_physical)
                    : stand.Run(DeleteDisk(stand.lib(), kDisk));
}

// The disk opens and is the device, and the checker agrees.
std::string JudgeDisk(DeviceStand& stand) {
  const auto content = stand.stand().TryContentOf(kDisk);
  if (!content) return "open: " + content.error().message();
  if (*content != stand.devices().Bytes()) return "the disk is not the device";
  const auto report = stand.Run(CheckDisk(stand.lib(), kDisk, {}, nullptr));
  if (!report) return "check: " + report.error().message();
  for (const CheckFinding& finding : report->findings) return "check: " + finding.text;
  return {};
}

std::string JudgeEnd(DeviceStand& stand, const MapCase& test) {
  if (test.makes) return JudgeDisk(stand);
  for (const std::string& name : stand.stand().Files()) {
    if (name.starts_with("vm")) return name + " is left";
  }
  return {};
}

// After a cut or a failure. `was_answered`: the operation had said that it was done.
std::string Judge(DeviceStand& stand, const MapCase& test, bool was_answered) {
  if (was_answered && IsThere(stand, kDisk) != test.makes) return "what was answered is undone";
  if (IsThere(stand, kDisk)) {
    if (std::string wrong = JudgeDisk(stand); !wrong.empty()) return wrong;
  }
  const Status again = RunOperation(stand, test);
  const Code if_done = test.makes ? Code::kExists : Code::kNotFound;
  if (!again && again.error().code() != if_done) return "again: " + again.error().message();
  if (std::string wrong = JudgeEnd(stand, test); !wrong.empty()) return wrong;
  return stand.devices().opened_to_write == 0 ? "" : "the device was opened for writing";
}

// The volume before the operation, and one judged afterwards.
class MapVolume {
 public:
  explicit MapVolume(const MapCase& test)
      : test_(test), volume_(executor_, kVolumeBytes, /*logging=*/true) {
    base::SetLogLevel(base::LogLevel::kOff);
    volume_.options().guard = &guard_;
    Note(volume_.MakeFileSystem());
    Note(volume_.Mount());
    if (!test.makes) NoteRun(/*makes=*/true);
    Note(volume_.Unmount());
    volume_.disk().Settle();
  }

  const std::string& failure() const { return failure_; }

  base::SimDisk& disk() { return volume_.disk(); }

  // Runs the operation to its end.
  void Record(const vmfs::JournalFaults& faults) {
    volume_.options().journal_faults = faults;
    Note(volume_.Mount());
    NoteRun(test_.makes);
    answered_at_ = disk().log().size();
    Note(volume_.Unmount());
  }

  base::CrashSweepResult Sweep() {
    const uint64_t rounds = base::RoundsFromEnvironment(1);
    base::CrashSweepOptions options;
    options.seed = base::SeedFromEnvironment(1);
    options.all_subsets_max = 2;
    options.samples = 2 * rounds;
    options.torn_samples = rounds;
    const auto recover = [this](base::SimExecutor& executor, base::SimDisk& disk,
                                const base::CrashCase& cut) {
      return JudgeNext(executor, disk, cut.prefix_length >= answered_at_);
    };
    return base::SweepCrashes(disk(), options, recover);
  }

  // Mounts what is left, as the next host does.
  std::string JudgeNext(base::SimExecutor& executor, base::SimDisk& disk, bool was_answered) {
    vmfs::SimVolume volume(executor, disk);
    volume.options().guard = &guard_;
    if (const auto mounted = volume.Mount(); !mounted) return mounted.error().message();
    FakeDevices devices(executor);
    std::string wrong;
    {
      DeviceStand stand(executor, volume.volume(), devices);
      wrong = Judge(stand, test_, was_answered);
    }
    const Status end = volume.Unmount();
    if (!wrong.empty()) return wrong;
    return end ? volume.CheckAfterCrash() : end.error().message();
  }

  vmfs::DeadGuard& guard() { return guard_; }

 private:
  void Note(const Status& status) {
    if (!status && failure_.empty()) failure_ = status.error().message();
  }

  void NoteRun(bool makes) {
    FakeDevices devices(executor_);
    DeviceStand stand(executor_, volume_.volume(), devices);
    MapCase test = test_;
    test.makes = makes;
    Note(RunOperation(stand, test));
  }

  const MapCase& test_;
  base::SimExecutor executor_{7};
  vmfs::DeadGuard guard_;
  vmfs::SimVolume volume_;
  size_t answered_at_ = 0;
  std::string failure_;
};

class DeviceMapSweep : public testing::TestWithParam<MapCase> {};

TEST_P(DeviceMapSweep, IsWholeOrNotThereAfterEveryCut) {
  MapVolume volume(GetParam());
  volume.Record({});
  ASSERT_EQ(volume.failure(), "");
  const base::CrashSweepResult result = volume.Sweep();
  EXPECT_TRUE(result.ok()) << result.failure << "\nreplay: SEED=" << base::SeedFromEnvironment(1)
                           << " ROUNDS=" << base::RoundsFromEnvironment(1)
                           << " disklib_device_test --gtest_filter=*Cut/" << GetParam().name;
  EXPECT_GT(result.cases, 10u);
}

TEST_P(DeviceMapSweep, IsWholeOrNotThereAfterOneFailureAtEveryCall) {
  const MapCase& test = GetParam();
  MapVolume original(test);
  ASSERT_EQ(original.failure(), "");
  for (uint64_t n = 1; n < kCallsMax; ++n) {
    SCOPED_TRACE(fmt::format("call {} fails", n));
    base::SimExecutor executor(n);
    vmfs::SimVolume volume(executor, original.disk().CrashImage(executor, 0, {}));
    volume.options().guard = &original.guard();
    ASSERT_TRUE(volume.Mount());
    Status done = base::Ok();
    {
      FakeDevices devices(executor);
      DeviceStand stand(executor, volume.volume(), devices);
      volume.disk().FailNth(n, Code::kIo);
      done = RunOperation(stand, test);
    }
    const bool has_failed = volume.disk().failed();
    if (!has_failed) volume.disk().FailNth(kNever, Code::kIo);
    static_cast<void>(volume.Unmount());  // says the same once more, or succeeds
    volume.disk().FailNth(kNever, Code::kIo);
    base::SimExecutor next(3);
    ASSERT_EQ(original.JudgeNext(next, volume.disk(), done.has_value()), "");
    if (!has_failed) return;
  }
  FAIL() << "the operation does not end";
}

INSTANTIATE_TEST_SUITE_P(All, DeviceMapSweep, testing::ValuesIn(kCases),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(DeviceMapSweepItself, NoticesAnswersWithoutAFlush) {
  vmfs::JournalFaults faults;
  faults.skip_flush_after_ring = true;
  for (const MapCase& test : kCases) {
    MapVolume volume(test);
    volume.Record(faults);
    ASSERT_EQ(volume.failure(), "");
    EXPECT_FALSE(volume.Sweep().ok()) << test.name;
  }
}

}  // namespace
}  // namespace disklib
