#include "disklib/operations.h"

#include <functional>

#include "tests/disklib/support.h"

namespace disklib {
namespace {

using base::Code;
using base::Status;
using fss::MemoryFileSystem;

TEST(CreateDisk, WritesTheCanonicalDescriptor) {
  Bench bench;
  bench.Create("vm.vmdk", {.size_bytes = uint64_t{40} << 30});
  const std::string text = bench.Load("vm.vmdk");
  EXPECT_TRUE(
      text.starts_with("# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\n"
                       "CID=fffffffe\nparentCID=ffffffff\nisNativeSnapshot=\"no\"\n"
                       "createType=\"vmfs\"\n\n# Extent description\n"
                       "RW 83886080 VMFS \"vm-flat.vmdk\"\n\n# The Disk Data Base\n#DDB\n\n"
                       "ddb.adapterType = \"lsilogic\"\n"))
      << text;
  const Descriptor descriptor = *ParseDescriptor(text);
  EXPECT_EQ(*WriteDescriptor(descriptor), text);
  EXPECT_EQ(bench.Listing(), (std::map<std::string, uint64_t>{{"vm-flat.vmdk", uint64_t{40} << 30},
                                                              {"vm.vmdk", text.size()}}));
  const DiskInfo info = *bench.Run(bench.lib.GetInfo("vm.vmdk"));
  EXPECT_TRUE(info.is_thin);
  EXPECT_EQ(info.geometry, (Geometry{5221, 255, 63}));
  EXPECT_EQ(info.extents.at(0).allocated_bytes, 0u);
  EXPECT_TRUE(info.holder.empty());
}

TEST(CreateDisk, TakesSpaceAsAsked) {
  Bench bench;
  bench.Create("thin.vmdk", {.size_bytes = 4 * kMebi, .provisioning = Provisioning::kThin});
  bench.Create("lazy.vmdk", {.size_bytes = 4 * kMebi, .provisioning = Provisioning::kZeroedThick});
  bench.Create("eager.vmdk",
               {.size_bytes = 4 * kMebi, .provisioning = Provisioning::kEagerZeroedThick});
  EXPECT_EQ(bench.Run(bench.lib.GetInfo("thin.vmdk"))->extents[0].allocated_bytes, 0u);
  for (const char* thick : {"lazy.vmdk", "eager.vmdk"}) {
    const DiskInfo info = *bench.Run(bench.lib.GetInfo(thick));
    EXPECT_EQ(info.extents[0].allocated_bytes, 4 * kMebi) << thick;
    EXPECT_FALSE(info.is_thin);
  }
  const auto state_of = [&bench](std::string_view path) {
    const auto chain = bench.Open(path, false);
    std::vector<base::MapRun> runs;
    EXPECT_TRUE(bench.Run(chain->MapStatus(0, 4 * kMebi, runs)));
    EXPECT_TRUE(bench.Run(chain->Close()));
    return runs.at(0).state;
  };
  EXPECT_EQ(state_of("thin.vmdk"), base::MapState::kHole);
  EXPECT_EQ(state_of("lazy.vmdk"), base::MapState::kZero);
  EXPECT_EQ(state_of("eager.vmdk"), base::MapState::kData) << "zeros were really written";
}

TEST(CreateDisk, RefusesWhatIsInTheWayAndWhatHasNoMeaning) {
  Bench bench;
  bench.Store("a-flat.vmdk", "precious");
  const Status in_way = bench.Run(CreateDisk(bench.lib, "a.vmdk", {.size_bytes = kMebi}, nullptr));
  EXPECT_EQ(in_way.error().code(), Code::kExists);
  EXPECT_NE(in_way.error().message().find("a-flat.vmdk is in the way"), std::string::npos);
  EXPECT_EQ(bench.Load("a-flat.vmdk"), "precious");
  bench.Create("b.vmdk", {.size_bytes = kMebi});
  const auto code = [&bench](std::string_view path, NewDisk disk) {
    return bench.Run(CreateDisk(bench.lib, path, disk, nullptr)).error().code();
  };
  EXPECT_EQ(code("b.vmdk", {.size_bytes = kMebi}), Code::kExists);
  EXPECT_EQ(code("c.vmdk", {.size_bytes = 0}), Code::kInvalidArgument);
  EXPECT_EQ(code("c.vmdk", {.size_bytes = uint64_t{63} << 40}), Code::kTooLarge);
  EXPECT_EQ(code("c.vmdk", {.size_bytes = kMebi, .adapter_type = "odd"}), Code::kInvalidArgument);
  EXPECT_EQ(code("c", {.size_bytes = kMebi}), Code::kNameInvalid);
  EXPECT_EQ(code("none/c.vmdk", {.size_bytes = kMebi}), Code::kNotFound);
  EXPECT_EQ(bench.Listing().size(), 3u);
}

class StopAt : public Progress {
 public:
  bool Advance(uint64_t done_bytes, uint64_t total_bytes) override {
    EXPECT_LE(done_bytes, total_bytes);
    return ++calls < 2;
  }

  int calls = 0;
};

TEST(CreateDisk, CanBeStoppedAndLeavesNothing) {
  Bench bench;
  StopAt progress;
  const NewDisk disk{.size_bytes = 64 * kMebi, .provisioning = Provisioning::kEagerZeroedThick};
  EXPECT_EQ(bench.Run(CreateDisk(bench.lib, "a.vmdk", disk, &progress)).error().code(),
            Code::kInterrupted);
  EXPECT_TRUE(bench.Listing().empty());
}

TEST(CreateDisk, LeavesNothingWhenSpaceRunsOut) {
  Bench bench;
  bench.files.~MemoryFileSystem();
  new (&bench.files) MemoryFileSystem("small", 100);
  const NewDisk disk{.size_bytes = 64 * kMebi, .provisioning = Provisioning::kZeroedThick};
  EXPECT_EQ(bench.Run(CreateDisk(bench.lib, "a.vmdk", disk, nullptr)).error().code(),
            Code::kNoSpace);
  EXPECT_TRUE(bench.Listing().empty());
}

TEST(RenameDisk, MovesAllPartsAndKeepsContentAndId) {
  Bench bench;
  const auto made = bench.Run(bench.files.MakeDirectory(bench.files.root(), "new", {}));
  bench.files.Forget(made->inode, 1);
  bench.Create("a.vmdk", {.size_bytes = kMebi});
  auto chain = bench.Open("a.vmdk", true);
  std::vector<std::byte> bytes = Pattern(1, 512);
  ASSERT_TRUE(WriteBytes(bench, *chain, 0, bytes));
  ASSERT_TRUE(bench.Run(chain->Close()));
  const std::string id = bench.Run(bench.lib.GetInfo("a.vmdk"))->content_id;
  ASSERT_TRUE(bench.Run(RenameDisk(bench.lib, "a.vmdk", "b.vmdk")));
  ASSERT_TRUE(bench.Run(RenameDisk(bench.lib, "b.vmdk", "new/c.vmdk")));
  EXPECT_TRUE(bench.Listing().empty());
  const DiskInfo info = *bench.Run(bench.lib.GetInfo("new/c.vmdk"));
  EXPECT_EQ(info.content_id, id);
  EXPECT_EQ(info.extents.at(0).path, "new/c-flat.vmdk");
  EXPECT_TRUE(info.unfinished_rename.empty());
  EXPECT_EQ(bench.Load("new/c.vmdk").find("strata"), std::string::npos);
  chain = bench.Open("new/c.vmdk", false);
  std::vector<std::byte> read(512);
  ASSERT_TRUE(ReadBytes(bench, *chain, 0, read));
  EXPECT_EQ(read, bytes);
  ASSERT_TRUE(bench.Run(chain->Close()));
}

TEST(RenameDisk, RefusesTargetsThatStandThere) {
  Bench bench;
  bench.Create("a.vmdk", {.size_bytes = kMebi});
  bench.Create("b.vmdk", {.size_bytes = kMebi});
  bench.Store("c-flat.vmdk", "precious");
  const auto before = bench.Listing();
  EXPECT_EQ(bench.Run(RenameDisk(bench.lib, "a.vmdk", "b.vmdk")).error().code(), Code::kExists);
  EXPECT_EQ(bench.Run(RenameDisk(bench.lib, "a.vmdk", "c.vmdk")).error().code(), Code::kExists);
  EXPECT_EQ(bench.Run(RenameDisk(bench.lib, "a.vmdk", "a.vmdk")).error().code(), Code::kExists);
  EXPECT_EQ(bench.Run(RenameDisk(bench.lib, "n.vmdk", "m.vmdk")).error().code(), Code::kNotFound);
  EXPECT_EQ(bench.Listing(), before);
}

TEST(DeleteDisk, RemovesAllPartsAndNothingElse) {
  Bench bench;
  bench.Store("other", "kept");
  bench.Create("a.vmdk", {.size_bytes = 3000 * kMebi, .layout = DiskLayout::kTwoGbMaxExtentFlat});
  bench.Store("a-ctk.vmdk", "tracking");
  bench.Store("a.vmdk", bench.Load("a.vmdk") + "changeTrackPath=\"a-ctk.vmdk\"\n");
  EXPECT_EQ(bench.Listing().size(), 5u);
  ASSERT_TRUE(bench.Run(DeleteDisk(bench.lib, "a.vmdk")));
  EXPECT_EQ(bench.Listing(), (std::map<std::string, uint64_t>{{"other", 4}}));
  EXPECT_EQ(bench.Run(DeleteDisk(bench.lib, "a.vmdk")).error().code(), Code::kNotFound);
}

TEST(DeleteDisk, RefusesExtentsThatAnotherDiskNames) {
  Bench bench;
  bench.Create("a.vmdk", {.size_bytes = kMebi});
  bench.Store("copy.vmdk", bench.Load("a.vmdk"));
  const Status deleted = bench.Run(DeleteDisk(bench.lib, "a.vmdk"));
  EXPECT_EQ(deleted.error().code(), Code::kUnsupported);
  EXPECT_NE(deleted.error().message().find("copy.vmdk"), std::string::npos);
  EXPECT_EQ(bench.Listing().size(), 3u);
}

TEST(ExtendDisk, GrowsFilesGeometryAndDescriptor) {
  Bench bench;
  bench.Create("a.vmdk", {.size_bytes = kMebi, .provisioning = Provisioning::kZeroedThick});
  ASSERT_TRUE(bench.Run(ExtendDisk(bench.lib, "a.vmdk", {.size_bytes = 8 * kMebi}, nullptr)));
  const DiskInfo info = *bench.Run(bench.lib.GetInfo("a.vmdk"));
  EXPECT_EQ(info.capacity_bytes, 8 * kMebi);
  EXPECT_EQ(info.extents[0].object_bytes, 8 * kMebi);
  EXPECT_EQ(info.extents[0].allocated_bytes, 8 * kMebi) << "a thick disk stays thick";
  EXPECT_EQ(info.geometry, GeometryFor(8 * kMebi / 512, "lsilogic"));
  EXPECT_NE(info.content_id, "fffffffe");
  const std::string text = bench.Load("a.vmdk");
  ASSERT_TRUE(bench.Run(ExtendDisk(bench.lib, "a.vmdk", {.size_bytes = 8 * kMebi}, nullptr)));
  EXPECT_EQ(bench.Load("a.vmdk"), text) << "the same size changes nothing";
  EXPECT_EQ(
      bench.Run(ExtendDisk(bench.lib, "a.vmdk", {.size_bytes = kMebi}, nullptr)).error().code(),
      Code::kInvalidArgument);
}

TEST(ExtendDisk, AddsExtentsToASplitDisk) {
  Bench bench;
  bench.Create("a.vmdk", {.size_bytes = kMebi, .layout = DiskLayout::kTwoGbMaxExtentFlat});
  ASSERT_TRUE(bench.Run(ExtendDisk(bench.lib, "a.vmdk", {.size_bytes = 5000 * kMebi}, nullptr)));
  const DiskInfo info = *bench.Run(bench.lib.GetInfo("a.vmdk"));
  ASSERT_EQ(info.extents.size(), 3u);
  EXPECT_EQ(info.extents[0].size_bytes, 2047 * kMebi);
  EXPECT_EQ(info.extents[2].size_bytes, (5000 - 2 * 2047) * kMebi);
  EXPECT_EQ(info.extents[2].path, "a-f003.vmdk");
  EXPECT_EQ(bench.Listing().size(), 4u);
}

TEST(ExtendDisk, ShowsZerosWhereAFileWasTooLong) {
  Bench bench;
  bench.Create("a.vmdk", {.size_bytes = kMebi});
  ASSERT_TRUE(bench.Run(bench.backend.Resize("a-flat.vmdk", 0)));
  bench.Store("a-flat.vmdk", std::string(kMebi, 'd') + std::string(5000, 'j'));
  ASSERT_TRUE(bench.Run(ExtendDisk(bench.lib, "a.vmdk", {.size_bytes = 2 * kMebi}, nullptr)));
  EXPECT_EQ(bench.Load("a-flat.vmdk"), std::string(kMebi, 'd') + std::string(kMebi, '\0'));
}

TEST(ExtendDisk, RefusesLastExtentsThatCannotGrow) {
  Bench bench;
  bench.Store("a", std::string(4096, 'a'));
  bench.Store("x.vmdk",
              "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n"
              "createType=\"custom\"\nRW 8 FLAT \"a\" 0\nRW 8 ZERO\n");
  EXPECT_EQ(
      bench.Run(ExtendDisk(bench.lib, "x.vmdk", {.size_bytes = kMebi}, nullptr)).error().code(),
      Code::kUnsupported);
}

// The sweeps: a scenario is cut, or fails, at its nth call, for every n until it succeeds.

struct Scenario {
  const char* name;
  std::function<void(Bench&)> prepare;
  std::function<Status(Bench&)> run;
  std::string_view old_path;  // the disk before; empty: none
  std::string_view new_path;  // the disk after; empty: none
  uint64_t old_bytes = kMebi;
  uint64_t new_bytes = kMebi;
  std::map<std::string, uint64_t> files_after;  // descriptors left out
};

// Whether a disk opens at `path`, has that size and the content the preparation wrote.
bool IsWhole(Bench& bench, std::string_view path, uint64_t size_bytes, bool has_content) {
  auto opened = bench.Run(bench.lib.Open(path, {.writable = true, .user = "sweep"}));
  if (!opened) return false;
  const bool fits = (*opened)->size_bytes() == size_bytes;
  std::vector<std::byte> read(512);
  EXPECT_TRUE(ReadBytes(bench, **opened, 0, read));
  EXPECT_EQ(read, has_content ? Pattern(9, 512) : std::vector<std::byte>(512)) << path;
  EXPECT_TRUE(bench.Run((*opened)->Close()));
  return fits;
}

void MakeWithContent(Bench& bench, NewDisk disk) {
  bench.Create("a.vmdk", disk);
  const auto chain = bench.Open("a.vmdk", true);
  std::vector<std::byte> bytes = Pattern(9, 512);
  ASSERT_TRUE(WriteBytes(bench, *chain, 0, bytes));
  ASSERT_TRUE(bench.Run(chain->Flush()));
  ASSERT_TRUE(bench.Run(chain->Close()));
}

Status ExtendTo(Bench& bench, uint64_t size_bytes) {
  return bench.Run(ExtendDisk(bench.lib, "a.vmdk", {.size_bytes = size_bytes}, nullptr));
}

std::vector<Scenario> Scenarios() {
  const NewDisk split{.size_bytes = 3000 * kMebi, .layout = DiskLayout::kTwoGbMaxExtentFlat};
  const NewDisk thick{.size_bytes = kMebi, .provisioning = Provisioning::kEagerZeroedThick};
  const uint64_t chunk = 2047 * kMebi;
  return {
      {"create",
       [](Bench&) {},
       [=](Bench& bench) { return bench.Run(CreateDisk(bench.lib, "a.vmdk", thick, nullptr)); },
       "",
       "a.vmdk",
       0,
       kMebi,
       {{"a-flat.vmdk", kMebi}}},
      {"create split",
       [](Bench&) {},
       [=](Bench& bench) { return bench.Run(CreateDisk(bench.lib, "a.vmdk", split, nullptr)); },
       "",
       "a.vmdk",
       0,
       3000 * kMebi,
       {{"a-f001.vmdk", chunk}, {"a-f002.vmdk", 3000 * kMebi - chunk}}},
      {"rename",
       [](Bench& bench) { MakeWithContent(bench, {.size_bytes = kMebi}); },
       [](Bench& bench) { return bench.Run(RenameDisk(bench.lib, "a.vmdk", "b.vmdk")); },
       "a.vmdk",
       "b.vmdk",
       kMebi,
       kMebi,
       {{"b-flat.vmdk", kMebi}}},
      {"rename split",
       [=](Bench& bench) { MakeWithContent(bench, split); },
       [](Bench& bench) { return bench.Run(RenameDisk(bench.lib, "a.vmdk", "b.vmdk")); },
       "a.vmdk",
       "b.vmdk",
       3000 * kMebi,
       3000 * kMebi,
       {{"b-f001.vmdk", chunk}, {"b-f002.vmdk", 3000 * kMebi - chunk}}},
      {"delete",
       [=](Bench& bench) { MakeWithContent(bench, split); },
       [](Bench& bench) { return bench.Run(DeleteDisk(bench.lib, "a.vmdk")); },
       "a.vmdk",
       "",
       3000 * kMebi,
       0,
       {}},
      {"extend",
       [](Bench& bench) { MakeWithContent(bench, {.size_bytes = kMebi}); },
       [](Bench& bench) { return ExtendTo(bench, 3 * kMebi); },
       "a.vmdk",
       "a.vmdk",
       kMebi,
       3 * kMebi,
       {{"a-flat.vmdk", 3 * kMebi}}},
      {"extend split",
       [=](Bench& bench) { MakeWithContent(bench, split); },
       [](Bench& bench) { return ExtendTo(bench, 5000 * kMebi); },
       "a.vmdk",
       "a.vmdk",
       3000 * kMebi,
       5000 * kMebi,
       {{"a-f001.vmdk", chunk}, {"a-f002.vmdk", chunk}, {"a-f003.vmdk", 5000 * kMebi - 2 * chunk}}},
  };
}

class OperationSweep : public testing::TestWithParam<size_t> {
 protected:
  // The disk is whole under its old or its new name, or is legally absent.
  static void ExpectLegal(Bench& bench, const Scenario& scenario) {
    const bool has_content = !scenario.old_path.empty();
    const bool is_old = has_content && IsWhole(bench, scenario.old_path, scenario.old_bytes, true);
    const bool is_new = !scenario.new_path.empty() &&
                        IsWhole(bench, scenario.new_path, scenario.new_bytes, has_content);
    if (is_old || is_new) {
      EXPECT_FALSE(is_old && is_new && scenario.old_path != scenario.new_path);
      return;
    }
    EXPECT_TRUE(scenario.old_path.empty() || scenario.new_path.empty()) << "the disk is lost";
    const std::string_view path = scenario.old_path.empty() ? scenario.new_path : scenario.old_path;
    const auto opened = bench.Run(bench.lib.Open(path, {}));
    EXPECT_EQ(opened.error().code(), Code::kNotFound) << "half a disk";
  }

  static void ExpectFinished(Bench& bench, const Scenario& scenario) {
    std::map<std::string, uint64_t> listing = bench.Listing();
    if (!scenario.new_path.empty()) {
      EXPECT_TRUE(
          IsWhole(bench, scenario.new_path, scenario.new_bytes, !scenario.old_path.empty()));
      EXPECT_EQ(listing.erase(std::string(scenario.new_path)), 1u);
    }
    EXPECT_EQ(listing, scenario.files_after) << "something was left behind";
    EXPECT_EQ(bench.files.lookups_held(), 0u);
  }

  // Running again finishes the work, or finds it finished.
  static void RunAgain(Bench& bench, const Scenario& scenario) {
    const Status again = scenario.run(bench);
    if (!again) {
      const Code code = again.error().code();
      EXPECT_TRUE(code == Code::kNotFound || code == Code::kExists) << again.error().message();
    }
    ExpectFinished(bench, scenario);
  }
};

TEST_P(OperationSweep, SurvivesACutAtEveryCall) {
  const Scenario scenario = Scenarios()[GetParam()];
  for (const MemoryFileSystem::Crash crash :
       {MemoryFileSystem::Crash::kLosesNothing, MemoryFileSystem::Crash::kLosesUnsyncedData,
        MemoryFileSystem::Crash::kLosesAllUnsynced}) {
    bool has_succeeded = false;
    for (uint64_t call = 1; !has_succeeded; ++call) {
      SCOPED_TRACE(std::string(scenario.name) + ": cut at call " + std::to_string(call) +
                   ", crash kind " + std::to_string(static_cast<int>(crash)));
      Bench bench;
      scenario.prepare(bench);
      bench.files.CutAt(call);
      has_succeeded = scenario.run(bench).has_value() && !bench.files.has_failed();
      bench.files.Recover(crash);
      ExpectLegal(bench, scenario);
      if (!has_succeeded) RunAgain(bench, scenario);
      if (has_succeeded) ExpectFinished(bench, scenario);
      ASSERT_LT(call, 1000u);
      if (HasFailure()) return;
    }
  }
}

TEST_P(OperationSweep, SurvivesOneFailureAtEveryCall) {
  const Scenario scenario = Scenarios()[GetParam()];
  bool has_succeeded = false;
  for (uint64_t call = 1; !has_succeeded; ++call) {
    SCOPED_TRACE(std::string(scenario.name) + ": call " + std::to_string(call) + " fails");
    Bench bench;
    scenario.prepare(bench);
    bench.files.FailAt(call);
    const Status status = scenario.run(bench);
    has_succeeded = !bench.files.has_failed();
    if (!status) {
      EXPECT_NE(status.error().message().find("planted"), std::string::npos);
    }
    bench.files.StopFailing();
    ExpectLegal(bench, scenario);
    if (!status) RunAgain(bench, scenario);
    if (status) ExpectFinished(bench, scenario);
    ASSERT_LT(call, 1000u);
    if (HasFailure()) return;
  }
}

std::string ScenarioName(const testing::TestParamInfo<size_t>& test) {
  std::string name = Scenarios()[test.param].name;
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, OperationSweep, testing::Range(size_t{0}, Scenarios().size()),
                         ScenarioName);

}  // namespace
}  // namespace disklib
