// Every operation on snapshots, cut at every change and failed at every call: afterwards each
// content is one that may be there, and running the operation again ends it.
#include <functional>

#include "disklib/operations.h"
#include "disklib/snapshot_intent.h"
#include "fs/fss/forwarding.h"
#include "tests/disklib/snapshot_support.h"
#include "tests/support/crash_files.h"

namespace disklib {
namespace {

using base::Code;
using base::Status;

constexpr uint64_t kSweepDiskBytes = 128 * 1024;

// Faults of the program that a sweep must notice.
struct Plants {
  bool skip_copy_sync = false;  // the parent's data is not synced before the links move
  bool skip_intent = false;     // what is decided is not written down
  bool pointer_first = false;   // the record names a new link before it is there
};

class UnsyncedFile final : public fss::ForwardingFile {
 public:
  using ForwardingFile::ForwardingFile;

  base::Task<Status> Sync(bool) override { co_return base::Ok(); }
};

class PlantedBackend final : public FileBackend {
 public:
  PlantedBackend(fss::FileSystem& files, Plants plants) : FileBackend(files), plants_(plants) {}

  base::Task<base::Result<std::unique_ptr<Object>>> Open(std::string_view path,
                                                         fss::OpenMode mode) override {
    CO_TRY(std::unique_ptr<Object> object, co_await FileBackend::Open(path, mode));
    const bool is_base = path == "vm-flat.vmdk" || path == "vm_1-flat.vmdk";
    if (plants_.skip_copy_sync && is_base) {
      co_return std::make_unique<UnsyncedFile>(std::move(object));
    }
    co_return object;
  }

  base::Task<base::Result<ObjectInfo>> ReplaceContents(std::string_view path,
                                                       std::string_view contents) override {
    if (plants_.skip_intent && path.ends_with(kIntentSuffix)) co_return ObjectInfo{};
    if (plants_.pointer_first && path == kNewLink) {
      deferred_ = contents;
      co_return ObjectInfo{};
    }
    CO_TRY(const ObjectInfo info, co_await FileBackend::ReplaceContents(path, contents));
    co_return info;
  }

  base::Task<Status> Remove(std::string_view path) override {
    if (!deferred_.empty() && path.ends_with(kIntentSuffix)) {
      CO_TRY_STATUS(co_await FileBackend::ReplaceContents(kNewLink, deferred_));
    }
    CO_TRY_STATUS(co_await FileBackend::Remove(path));
    co_return base::Ok();
  }

 private:
  static constexpr std::string_view kNewLink = "vm-000003.vmdk";

  Plants plants_;
  std::string deferred_;
};

// One disk or VM with its contents, and what may be there after the operation.
struct Case {
  const char* name;
  bool has_vm = false;
  std::function<Status(SnapshotStand&)> run;
  std::string content_after;  // a snapshot's name, or "now"
  size_t links_after = 0;     // of the disk's chain
  size_t snapshots_after = 0;
  bool is_one_file = false;  // the base holds its own descriptor
};

template <typename T>
Status StatusOf(const base::Result<T>& result) {
  return result ? base::Ok() : Status(result.error());
}

std::vector<Case> Cases() {
  const auto path = [](bool has_vm) { return has_vm ? "vm.vmx" : "vm.vmdk"; };
  std::vector<Case> cases;
  for (const bool has_vm : {false, true}) {
    const std::string_view at = path(has_vm);
    cases.push_back({"create", has_vm,
                     [at](SnapshotStand& stand) {
                       return StatusOf(
                           stand.Run(CreateSnapshot(stand.lib(), at, {.name = "three"}, nullptr)));
                     },
                     "now", 4, 3});
    cases.push_back({"revert", has_vm,
                     [at](SnapshotStand& stand) {
                       return StatusOf(
                           stand.Run(RevertToSnapshot(stand.lib(), at, "one", {}, nullptr)));
                     },
                     "one", 2, 2});
    for (const bool reclaim : {false, true}) {
      cases.push_back({reclaim ? "reclaim" : "delete", has_vm,
                       [at, reclaim](SnapshotStand& stand) {
                         return StatusOf(stand.Run(DeleteSnapshot(stand.lib(), at, "one",
                                                                  {.reclaim = reclaim}, nullptr)));
                       },
                       "now", 2, 1});
    }
  }
  for (const bool has_vm : {false, true}) {
    cases.push_back({"extend", has_vm,
                     [has_vm](SnapshotStand& stand) {
                       const ExtendOptions larger{.size_bytes = 2 * kSweepDiskBytes};
                       Status done =
                           stand.Run(ExtendDisk(stand.lib(), "vm.vmdk", larger, nullptr));
                       if (done && has_vm) {
                         done = stand.Run(ExtendDisk(stand.lib(), "vm_1.vmdk", larger, nullptr));
                       }
                       return done;
                     },
                     "grown", 4, 2});
  }
  for (const bool is_one_file : {false, true}) {
    cases.push_back({is_one_file ? "delete_all_one_file" : "delete_all", false,
                     [](SnapshotStand& stand) {
                       return StatusOf(
                           stand.Run(DeleteAllSnapshots(stand.lib(), "vm.vmdk", {}, nullptr)));
                     },
                     "now", 1, 0, is_one_file});
  }
  return cases;
}

using Contents = std::map<std::string, Content>;  // by snapshot, and "now"

// Two snapshots and a leaf with some data each. Answers what they hold.
Contents Prepare(fss::FileSystem& files, const Case& test) {
  base::SimExecutor executor(1, /*in_order=*/true);
  FileBackend backend(files);
  SnapshotStand stand(executor, backend);
  if (test.has_vm) {
    stand.MakeVm(kSweepDiskBytes);
  } else {
    const DiskLayout layout = test.is_one_file ? DiskLayout::kMonolithicSparse : DiskLayout::kVmfs;
    stand.Create("vm.vmdk", kSweepDiskBytes, layout);
  }
  Contents contents;
  uint64_t seed = 0;
  for (const char* name : {"one", "two", "now"}) {
    const SnapshotTree tree = stand.Tree();
    for (const SnapshotDiskInfo& disk : tree.disks) {
      stand.Write(disk.path, 8192 * seed, Pattern(seed + 1, 16 * 1024));
      stand.Zero(disk.path, 8192 * seed + 4096, 4096);
    }
    contents[name] = stand.ContentOf(tree.disks.at(0).path);
    if (std::string_view(name) != "now") stand.Take(name);
    ++seed;
  }
  contents["grown"] = contents["now"];
  contents["grown"].resize(2 * kSweepDiskBytes);
  return contents;
}

// What is wrong with the contents; empty: each is one that may be there.
std::string CheckContents(SnapshotStand& stand, const Case& test, const Contents& contents) {
  const auto tree = stand.Run(ListSnapshots(stand.lib(), "vm.vmdk"));
  if (!tree) return "list: " + tree.error().message();
  for (const SnapshotDiskInfo& disk : tree->disks) {
    const auto content = stand.TryContentOf(disk.path);
    if (!content) return "leaf: " + content.error().message();
    if (*content != contents.at("now") && *content != contents.at(test.content_after)) {
      return "the current state of " + disk.path + " is wrong";
    }
  }
  for (const SnapshotInfo& snapshot : tree->snapshots) {
    if (snapshot.is_being_deleted) continue;
    for (const SnapshotDiskInfo& disk : snapshot.disks) {
      const auto content = stand.TryContentOf(disk.path);
      if (!content) return "snapshot " + snapshot.name + ": " + content.error().message();
      const std::string name = snapshot.name == "three" ? "now" : snapshot.name;
      if (*content != contents.at(name)) return "snapshot " + snapshot.name + " is wrong";
    }
  }
  return {};
}

std::string CheckFinished(SnapshotStand& stand, const Case& test, const Contents& contents) {
  const std::string wrong = CheckContents(stand, test, contents);
  if (!wrong.empty()) return wrong;
  const SnapshotTree tree = stand.Tree();
  if (tree.snapshots.size() != test.snapshots_after) return "the number of snapshots is wrong";
  if (!tree.orphans.empty()) return "left behind: " + tree.orphans.front();
  size_t link_count = 0;
  for (const SnapshotDiskInfo& disk : tree.disks) {
    if (*stand.TryContentOf(disk.path) != contents.at(test.content_after)) {
      return "it ended with another content";
    }
    if (disk.link_count != test.links_after) return "the chain has another length";
    const Status written = stand.Change(disk.path, 0, Pattern(5, 512));
    if (!written) return "write: " + written.error().message();
    link_count += disk.link_count;
  }
  // A revert leaves the branch of the second snapshot, one link more.
  if (std::string_view(test.name) == "revert") link_count += tree.disks.size();
  const size_t files_count = 2 * link_count + (test.has_vm ? 2 : 1) - (test.is_one_file ? 1 : 0);
  if (stand.Files().size() != files_count) return "files were left behind";
  return {};
}

// After a cut or a failure: legal, and running it again ends it.
std::string CheckAndRunAgain(fss::FileSystem& files, const Case& test, const Contents& contents) {
  base::SimExecutor executor(1, /*in_order=*/true);
  FileBackend backend(files);
  SnapshotStand stand(executor, backend);
  const std::string wrong = CheckContents(stand, test, contents);
  if (!wrong.empty()) return wrong;
  const Status again = test.run(stand);
  if (!again && again.error().code() != Code::kNotFound) return "again: " + again.error().message();
  return CheckFinished(stand, test, contents);
}

std::string SweepCuts(const Case& test, bool replaces_together, Plants plants) {
  fss::CrashFiles files;
  files.live().set_replaces_contents(replaces_together);
  const Contents contents = Prepare(files, test);
  files.Settle();
  base::SimExecutor executor(1, /*in_order=*/true);
  {
    PlantedBackend backend(files, plants);
    SnapshotStand stand(executor, backend);
    const Status done = test.run(stand);
    if (!done) return "run: " + done.error().message();
  }
  base::CrashSweepOptions options;
  options.all_subsets_max = 3;
  options.samples = 4;
  options.torn_samples = 1;
  options.prefix_step = test.has_vm ? 4 : 1;
  const auto result = fss::SweepCrashFiles(
      files, options, [&](base::SimExecutor&, fss::MemoryFileSystem& left, const base::CrashCase&) {
        left.set_replaces_contents(replaces_together);
        return CheckAndRunAgain(left, test, contents);
      });
  EXPECT_GT(result.cases, 20u);
  return result.failure;
}

class SnapshotSweep : public testing::TestWithParam<size_t> {};

TEST_P(SnapshotSweep, SurvivesEveryCut) {
  const Case test = Cases()[GetParam()];
  for (const bool replaces_together : {false, true}) {
    EXPECT_EQ(SweepCuts(test, replaces_together, {}), "") << test.name << replaces_together;
  }
}

TEST_P(SnapshotSweep, SurvivesOneFailureAtEveryCall) {
  const Case test = Cases()[GetParam()];
  const auto round = [&](uint64_t call_number, bool* was_reached) {
    fss::MemoryFileSystem files;
    const Contents contents = Prepare(files, test);
    files.FailAt(call_number);
    {
      base::SimExecutor executor(1, /*in_order=*/true);
      FileBackend backend(files);
      SnapshotStand stand(executor, backend);
      const Status done = test.run(stand);
      static_cast<void>(done);
    }
    *was_reached = files.has_failed();
    files.StopFailing();
    std::string wrong = CheckAndRunAgain(files, test, contents);
    if (wrong.empty() && files.lookups_held() != 0) wrong = "lookups were not given back";
    return wrong;
  };
  const fss::FailureSweepResult result = fss::SweepFailures(round, test.has_vm ? 13 : 3);
  EXPECT_TRUE(result.ok()) << test.name << ": " << result.failure;
}

std::string CaseName(const testing::TestParamInfo<size_t>& info) {
  const Case test = Cases()[info.param];
  return std::string(test.name) + (test.has_vm ? "_vm" : "_disk");
}

INSTANTIATE_TEST_SUITE_P(All, SnapshotSweep, testing::Range(size_t{0}, Cases().size()), CaseName);

const Case& CaseOf(const std::vector<Case>& cases, std::string_view name) {
  for (const Case& test : cases) {
    if (test.name == name) return test;
  }
  return cases.front();
}

TEST(SnapshotSweepItself, NoticesACopyThatIsNotSyncedBeforeTheLinksMove) {
  const std::vector<Case> cases = Cases();
  EXPECT_NE(SweepCuts(CaseOf(cases, "delete"), false, {.skip_copy_sync = true}), "");
}

TEST(SnapshotSweepItself, NoticesAnIntentThatIsSkipped) {
  const std::vector<Case> cases = Cases();
  EXPECT_NE(SweepCuts(CaseOf(cases, "delete"), false, {.skip_intent = true}), "");
  EXPECT_NE(SweepCuts(CaseOf(cases, "revert"), false, {.skip_intent = true}), "");
}

TEST(SnapshotSweepItself, NoticesARecordThatNamesALinkBeforeItIsThere) {
  const std::vector<Case> cases = Cases();
  EXPECT_NE(SweepCuts(CaseOf(cases, "create"), false, {.pointer_first = true}), "");
}

}  // namespace
}  // namespace disklib
