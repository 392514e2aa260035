// The import in place from another datastore, cut at every change and failed at every call: the
// machine is there and whole, or it is not there and the import can be run again; the old datastore
// keeps every byte.
#include <utility>

#include "disklib/check/check.h"
#include "disklib/exchange/in_place.h"
#include "tests/disklib/exchange/two_datastores.h"
#include "tests/support/crash_files.h"

namespace disklib {
namespace {

using base::Code;

// A fault that the sweep must notice: the machine is there before its disks.
class PlantedBackend final : public FileBackend {
 public:
  PlantedBackend(fss::FileSystem& files, bool machine_first)
      : FileBackend(files), machine_first_(machine_first) {}

  base::Task<base::Result<ObjectInfo>> Create(std::string_view path) override {
    if (std::exchange(machine_first_, false)) {
      CO_TRY([[maybe_unused]] const ObjectInfo machine,
             co_await FileBackend::ReplaceContents("vm/vm.vmx", kNewMachine));
    }
    base::Result<ObjectInfo> made = co_await FileBackend::Create(path);
    co_return made;
  }

 private:
  static constexpr std::string_view kNewMachine =
      "scsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"vm-000001.vmdk\"\n";

  bool machine_first_;
};

// The new datastore as one run of the program sees it.
class NewDatastore {
 public:
  NewDatastore(base::SimExecutor& executor, fss::FileSystem& files, OldDatastore& old,
               bool machine_first = false)
      : executor_(executor), backend_(files, machine_first), both_(old, backend_, open_disks_) {}

  base::Result<InPlaceMachine> Import() {
    return base::RunSync(executor_, ImportInPlace(lib_, kOldMachine, "vm"));
  }

  bool HasMachine() { return base::RunSync(executor_, backend_.GetInfo("vm/vm.vmx")).has_value(); }

  bool MachineNamesItsDisk() {
    const auto text = base::RunSync(executor_, ReadObject(backend_, "vm/vm.vmx", 1 << 20));
    return text && text->find("scsi0:0.fileName = \"vm-000001.vmdk\"") != std::string::npos;
  }

  // What the program does with the folder that a cut left, before it fills it again.
  void EmptyFolder() {
    ListingSink sink;
    EXPECT_TRUE(base::RunSync(executor_, backend_.List("vm", sink)));
    for (const std::string& name : sink.names) {
      EXPECT_TRUE(base::RunSync(executor_, backend_.Remove("vm/" + name)));
    }
  }

  // What a guest reads; an error in words.
  base::Result<std::vector<std::byte>> Read(std::string_view path) {
    auto opened = base::RunSync(executor_, lib_.Open(path, {}));
    if (!opened) return opened.error();
    std::vector<std::byte> bytes(kDiskBytes);
    const base::IoVec piece{bytes.data(), bytes.size()};
    const base::IoRequest request{.offset_bytes = 0, .buffers = {&piece, 1}};
    const auto read = base::RunSync(executor_, (*opened)->Read(request));
    const auto closed = base::RunSync(executor_, (*opened)->Close());
    if (!read) return read.error();
    if (!closed) return closed.error();
    return bytes;
  }

  std::string Check(std::string_view path) {
    const auto report = base::RunSync(executor_, CheckDisk(lib_, path, {}, nullptr));
    if (!report) return report.error().message();
    if (report->is_clean() && report->is_whole) return {};
    return report->findings.empty() ? "the check saw not all" : report->findings[0].text;
  }

 private:
  base::SimExecutor& executor_;
  PlantedBackend backend_;
  OpenDisks open_disks_;
  TwoDatastores both_;
  Lib lib_{executor_, backend_, open_disks_, &both_};
};

void PrepareFolder(base::SimExecutor& executor, fss::FileSystem& files) {
  const auto made = base::RunSync(executor, files.MakeDirectory(files.root(), "vm", {}));
  ASSERT_TRUE(made) << made.error().message();
  files.Forget(made->inode, 1);
}

std::vector<std::byte> WantedContent(OldDatastore& old) {
  std::vector<std::byte> bytes(kDiskBytes);
  const auto chain = old.bench.Open("vm/vm-000001.vmdk", false);
  EXPECT_TRUE(ReadBytes(old.bench, *chain, 0, bytes));
  EXPECT_TRUE(old.bench.Run(chain->Close()));
  return bytes;
}

// What is wrong after a cut or a failure; empty when nothing is.
std::string Judge(base::SimExecutor& executor, fss::FileSystem& files, OldDatastore& old,
                  const std::vector<std::byte>& wanted) {
  NewDatastore store(executor, files, old);
  if (!store.HasMachine()) {
    store.EmptyFolder();
    const auto made = store.Import();
    if (!made) return "run again: " + made.error().message();
  }
  if (!store.MachineNamesItsDisk()) return "the machine does not name its disk";
  const auto read = store.Read("vm/vm-000001.vmdk");
  if (!read) return read.error().message();
  if (*read != wanted) return "the child does not read as its parent";
  return store.Check("vm/vm-000001.vmdk");
}

base::CrashSweepResult SweepCuts(bool machine_first) {
  OldDatastore old;
  const auto old_bytes = old.Files();
  const std::vector<std::byte> wanted = WantedContent(old);
  fss::CrashFiles files;
  base::SimExecutor executor(1, /*in_order=*/true);
  PrepareFolder(executor, files);
  files.Settle();
  {
    NewDatastore store(executor, files, old, machine_first);
    const auto made = store.Import();
    EXPECT_TRUE(made) << made.error().message();
  }
  base::CrashSweepOptions options;
  options.seed = base::SeedFromEnvironment(1);
  options.all_subsets_max = 3;
  options.samples = 16 * base::RoundsFromEnvironment(1);
  options.torn_samples = base::RoundsFromEnvironment(1);
  const auto result = fss::SweepCrashFiles(
      files, options,
      [&](base::SimExecutor& after_crash, fss::MemoryFileSystem& left, const base::CrashCase&) {
        return Judge(after_crash, left, old, wanted);
      });
  EXPECT_EQ(old.Files(), old_bytes);
  return result;
}

TEST(InPlaceSweep, SurvivesEveryCut) {
  const base::CrashSweepResult result = SweepCuts(/*machine_first=*/false);
  EXPECT_TRUE(result.ok()) << result.failure;
  EXPECT_GT(result.cases, 10u);
}

TEST(InPlaceSweep, NoticesAMachineThatIsThereBeforeItsDisks) {
  EXPECT_FALSE(SweepCuts(/*machine_first=*/true).ok());
}

// Of calls on either datastore.
void SweepFailuresOn(bool is_old) {
  OldDatastore old;
  const auto old_bytes = old.Files();
  const std::vector<std::byte> wanted = WantedContent(old);
  const auto round = [&](uint64_t call_number, bool* was_reached) {
    fss::MemoryFileSystem files;
    base::SimExecutor executor(1, /*in_order=*/true);
    PrepareFolder(executor, files);
    fss::MemoryFileSystem& failing = is_old ? old.bench.files : files;
    failing.FailAt(call_number);
    {
      NewDatastore store(executor, files, old);
      const auto made = store.Import();
      *was_reached = failing.has_failed();
      static_cast<void>(made);  // what is left is judged
    }
    failing.StopFailing();
    std::string wrong = Judge(executor, files, old, wanted);
    if (wrong.empty() && files.lookups_held() != 0) wrong = "lookups were not given back";
    if (wrong.empty() && old.bench.files.lookups_held() != 0) wrong = "the same on the old one";
    return wrong;
  };
  const fss::FailureSweepResult result = fss::SweepFailures(round);
  EXPECT_TRUE(result.ok()) << result.failure;
  EXPECT_GT(result.rounds, 10u);
  EXPECT_EQ(old.Files(), old_bytes);
}

TEST(InPlaceSweep, SurvivesOneFailureAtEveryCallOfTheNewDatastore) {
  SweepFailuresOn(/*is_old=*/false);
}

TEST(InPlaceSweep, SurvivesOneFailureAtEveryCallOfTheOldDatastore) {
  SweepFailuresOn(/*is_old=*/true);
}

}  // namespace
}  // namespace disklib
