// Descriptors, chains and folders under the checker: each invariant has an image that breaks just
// it, and each repair leaves an image that checks clean. The formats have files of their own.
#include "disklib/check/check.h"

#include <functional>

#include "disklib/check/invariants.h"
#include "disklib/descriptor_edit.h"
#include "tests/disklib/check_support.h"

namespace disklib {
namespace {

// One way to break one invariant of a chain base.vmdk <- child.vmdk <- leaf.vmdk.
struct Damage {
  std::string_view what;
  Invariant id;
  void (*make)(CheckBench& bench);
  bool has_repair = false;
  bool checks_folder = false;
};

void MakeChain(CheckBench& bench) {
  bench.MakeFlat("base.vmdk");
  bench.MakeFlat("child.vmdk", "base.vmdk");
  bench.MakeFlat("leaf.vmdk", "child.vmdk");
}

constexpr Damage kDamages[] = {
    {"a key twice", Invariant::kD1,
     [](CheckBench& b) { b.Edit("leaf.vmdk", "CID=fffffffe\n", "CID=fffffffe\nCID=1\n"); },
     true},
    {"no CID, but the child knows it", Invariant::kD1,
     [](CheckBench& b) { b.Edit("child.vmdk", "CID=fffffffe\nparentCID", "parentCID"); }, true},
    {"no version", Invariant::kD1,
     [](CheckBench& b) { b.Edit("base.vmdk", "version=1\n", ""); }, true},
    {"an unknown version", Invariant::kD1,
     [](CheckBench& b) { b.Edit("base.vmdk", "version=1\n", "version=9\n"); }, true},
    {"no parentCID, but the parent is there", Invariant::kD1,
     [](CheckBench& b) { b.Edit("leaf.vmdk", "parentCID=fffffffe\n", ""); }, true},
    {"a CID that is no number", Invariant::kD1,
     [](CheckBench& b) {
       b.Edit("leaf.vmdk", "CID=fffffffe\nparentCID", "CID=xyz\nparentCID");
     },
     true},
    {"no createType", Invariant::kD1,
     [](CheckBench& b) { b.Edit("leaf.vmdk", "createType=\"vmfs\"\n", ""); }, true},
    {"a line of nothing known", Invariant::kD1,
     [](CheckBench& b) { b.Edit("leaf.vmdk", "#DDB\n", "#DDB\nwhat is this\n"); }, true},
    {"another createType", Invariant::kD2,
     [](CheckBench& b) { b.Edit("leaf.vmdk", "\"vmfs\"", "\"seSparse\""); }, true},
    {"an empty extent", Invariant::kD2,
     [](CheckBench& b) { b.Edit("leaf.vmdk", "RW 8192", "RW 0 ZERO\nRW 8192"); }, true},
    {"an extent line that cannot be read", Invariant::kD2,
     [](CheckBench& b) { b.Edit("leaf.vmdk", "RW 8192 VMFS", "RW 8192 VMFZ"); }},
    {"no extent", Invariant::kD2,
     [](CheckBench& b) { b.Edit("leaf.vmdk", "RW 8192 VMFS \"leaf-flat.vmdk\"\n", ""); }},
    {"a missing extent", Invariant::kD3,
     [](CheckBench& b) { EXPECT_TRUE(b.Run(b.backend.Remove("child-flat.vmdk"))); }},
    {"an extent outside the datastore", Invariant::kD3,
     [](CheckBench& b) { b.Edit("leaf.vmdk", "\"leaf-flat.vmdk\"", "\"../leaf-flat.vmdk\""); }},
    {"an extent of two links", Invariant::kD3,
     [](CheckBench& b) { b.Edit("leaf.vmdk", "leaf-flat.vmdk", "child-flat.vmdk"); }},
    {"a short flat file", Invariant::kD4,
     [](CheckBench& b) { EXPECT_TRUE(b.Run(b.backend.Resize("base-flat.vmdk", kMebi))); }},
    {"a long content id that disagrees", Invariant::kD6,
     [](CheckBench& b) { b.Edit("leaf.vmdk", "CID=fffffffe\nparent", "CID=0badcafe\nparent"); },
     true},
    {"holes in a thick disk", Invariant::kD7,
     [](CheckBench& b) {
       EXPECT_TRUE(b.Run(b.backend.Remove("leaf-flat.vmdk")));
       EXPECT_TRUE(b.Run(b.backend.Create("leaf-flat.vmdk")));
       EXPECT_TRUE(b.Run(b.backend.Resize("leaf-flat.vmdk", 4 * kMebi)));
     },
     true},
    {"a uuid that cannot be", Invariant::kD7,
     [](CheckBench& b) { b.Edit("leaf.vmdk", "uuid = \"60 00", "uuid = \"60+00"); }, true},
    {"a geometry larger than the disk", Invariant::kD7,
     [](CheckBench& b) {
       b.Edit("leaf.vmdk", "cylinders = \"4\"", "cylinders = \"400\"");
     },
     true},
    {"version 3 without tracking", Invariant::kD8,
     [](CheckBench& b) { b.Edit("leaf.vmdk", "version=1", "version=3"); }, true},
    {"tracking without its file", Invariant::kD8,
     [](CheckBench& b) {
       b.Edit("leaf.vmdk", "version=1", "version=3");
       b.Edit("leaf.vmdk", "# The Disk", "changeTrackPath=\"leaf-ctk.vmdk\"\n# The Disk");
     },
     true},
    {"encryption", Invariant::kD9,
     [](CheckBench& b) {
       b.Edit("leaf.vmdk", "isNative", "encryptionKeys=\"vmware:key/list/x\"\nisNative");
     }},
    {"a parent that changed", Invariant::kC1,
     [](CheckBench& b) {
       std::string text = b.Load("base.vmdk");
       base::Random random(5);
       DescriptorEdit edit(text);
       edit.SetContentId(0x12345678, random);
       b.Store("base.vmdk", edit.text());
     },
     true},
    {"a parent that is gone", Invariant::kC1,
     [](CheckBench& b) { EXPECT_TRUE(b.Run(b.backend.Remove("base.vmdk"))); }},
    {"a parent by another name", Invariant::kC1,
     [](CheckBench& b) {
       EXPECT_TRUE(b.Run(b.backend.Rename("child.vmdk", "moved.vmdk")));
       // Contents that tell the links apart, as those of disks that were written.
       for (const char* const path : {"base.vmdk", "moved.vmdk", "leaf.vmdk"}) {
         std::string text = b.Load(path);
         base::Random random(path[0]);
         DescriptorEdit edit(text);
         edit.SetContentId(static_cast<uint32_t>(path[0]), random);
         if (path[0] == 'm') edit.SetHeader("parentCID", "00000062");
         if (path[0] == 'l') edit.SetHeader("parentCID", "0000006d");
         b.Store(path, edit.text());
       }
     },
     true},
    {"a hint without a parent", Invariant::kC2,
     [](CheckBench& b) { b.Edit("leaf.vmdk", "parentCID=fffffffe", "parentCID=ffffffff"); },
     true},
    {"a smaller child", Invariant::kC3,
     [](CheckBench& b) { b.Edit("leaf.vmdk", "RW 8192", "RW 8128"); }},
    {"a larger child", Invariant::kC3,
     [](CheckBench& b) { b.Edit("base.vmdk", "RW 8192", "RW 8128"); }},
    {"a cycle", Invariant::kC4,
     [](CheckBench& b) {
       b.Edit("base.vmdk", "parentCID=ffffffff", "parentCID=fffffffe");
       b.Edit("base.vmdk", "createType=\"vmfs\"\n",
              "createType=\"vmfs\"\nparentFileNameHint=\"leaf.vmdk\"\n");
     }},
    {"a sibling", Invariant::kC6, [](CheckBench& b) { b.MakeFlat("other.vmdk", "child.vmdk"); }},
};

class DescriptorDamage : public testing::TestWithParam<size_t> {
 protected:
  const Damage& damage() const { return kDamages[GetParam()]; }
};

TEST_P(DescriptorDamage, IsFoundAsItsInvariantAndNothingElse) {
  CheckBench bench;
  MakeChain(bench);
  EXPECT_TRUE(bench.Check("leaf.vmdk").is_clean());
  damage().make(bench);
  const CheckReport report = bench.Check("leaf.vmdk");
  EXPECT_EQ(NamesIn(report), Names{std::string(InfoOf(damage().id).name)})
      << damage().what << "\n" << TextOf(report);
  EXPECT_FALSE(report.is_clean());
}

TEST_P(DescriptorDamage, ChecksCleanWhenItIsRepaired) {
  CheckBench bench;
  MakeChain(bench);
  damage().make(bench);
  const DiskRepairReport repaired = bench.Repair("leaf.vmdk", damage().has_repair
                                                                  ? std::set{damage().id}
                                                                  : std::set<Invariant>());
  EXPECT_EQ(repaired.after.is_clean(), damage().has_repair)
      << damage().what << "\n" << TextOf(repaired.after);
  EXPECT_EQ(repaired.outcome, damage().has_repair ? DiskRepairOutcome::kRepaired
                                                  : DiskRepairOutcome::kNotPossible);
}

TEST_P(DescriptorDamage, IsLeftAloneWithoutPermission) {
  CheckBench bench;
  MakeChain(bench);
  damage().make(bench);
  std::map<std::string, std::string> before;
  for (const auto& [path, size] : bench.Listing()) before[path] = bench.Load(path);
  const CheckReport found = bench.Check("leaf.vmdk");
  bool is_automatic = true;
  for (const CheckFinding& finding : found.findings) {
    is_automatic = is_automatic && finding.repair == RepairClass::kAutomatic;
  }
  const DiskRepairReport repaired = bench.Repair("leaf.vmdk");
  if (is_automatic) {
    EXPECT_TRUE(repaired.after.is_clean());
    return;
  }
  EXPECT_EQ(repaired.outcome, DiskRepairOutcome::kNotPossible) << damage().what;
  for (const auto& [path, text] : before) EXPECT_EQ(bench.Load(path), text) << path;
}

INSTANTIATE_TEST_SUITE_P(Check, DescriptorDamage, testing::Range(size_t{0}, std::size(kDamages)));

TEST(Check, NamesEveryInvariantOnce) {
  std::set<std::string_view> names;
  for (const InvariantInfo& row : Invariants()) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_EQ(ParseInvariant(row.name), row.id);
    EXPECT_FALSE(row.sentence.empty());
    EXPECT_FALSE(row.explanation.empty());
  }
  EXPECT_EQ(ParseInvariant("x7"), Invariant::kX7);
  EXPECT_FALSE(ParseInvariant("X10"));
}

TEST(Check, RefusesWhatIsNoDisk) {
  CheckBench bench;
  bench.Store("a.vmdk", "something else");
  EXPECT_EQ(bench.Run(CheckDisk(bench.lib, "a.vmdk", {}, nullptr)).error().code(),
            base::Code::kNotRecognized);
  EXPECT_EQ(bench.Run(CheckDisk(bench.lib, "b.vmdk", {}, nullptr)).error().code(),
            base::Code::kNotFound);
}

TEST(Check, WarnsOfADeepChainAndStopsAtTheLimit) {
  CheckBench bench;
  bench.MakeFlat("0.vmdk", "", 512);
  for (int i = 1; i < 34; ++i) {
    bench.MakeFlat(fmt::format("{}.vmdk", i), fmt::format("{}.vmdk", i - 1), 512);
  }
  EXPECT_TRUE(bench.Check("7.vmdk").is_clean());
  const CheckReport deep = bench.Check("8.vmdk");
  EXPECT_EQ(deep.warning_count, 1u) << TextOf(deep);
  EXPECT_TRUE(deep.is_consistent());
  EXPECT_TRUE(bench.Check("31.vmdk").is_consistent());
  const CheckReport too_deep = bench.Check("32.vmdk");
  EXPECT_EQ(NamesIn(too_deep), Names{"C4"});
  EXPECT_FALSE(too_deep.is_consistent());
}

TEST(Check, FindsTheParentByItsContentWhenItsNameIsLost) {
  CheckBench bench;
  bench.MakeFlat("base.vmdk");
  bench.MakeFlat("leaf.vmdk", "base.vmdk");
  bench.Edit("leaf.vmdk", "CID=fffffffe\nparent", "CID=0badcafe\nparent");
  bench.Repair("leaf.vmdk");  // the long content id follows
  bench.Edit("leaf.vmdk", "parentFileNameHint=\"base.vmdk\"\n", "");
  EXPECT_EQ(NamesIn(bench.Check("leaf.vmdk")), Names{"C2"});
  EXPECT_TRUE(bench.Repair("leaf.vmdk", {Invariant::kC2}).after.is_clean());
  EXPECT_NE(bench.Load("leaf.vmdk").find("parentFileNameHint=\"base.vmdk\"\n"), std::string::npos);
}

TEST(Check, NamesWhoeverHasTheDiskOpen) {
  CheckBench bench;
  bench.MakeFlat("base.vmdk");
  std::unique_ptr<Chain> chain = bench.Open("base.vmdk", /*writable=*/true);
  const CheckReport report = bench.Check("base.vmdk");
  EXPECT_NE(report.holder.find("base.vmdk"), std::string::npos);
  EXPECT_FALSE(report.is_whole);
  EXPECT_EQ(report.error_count, 0u);
  DiskRepairOptions options;
  const auto repaired = bench.Run(RepairDisk(bench.lib, "base.vmdk", options, nullptr));
  ASSERT_FALSE(repaired);
  EXPECT_EQ(repaired.error().code(), base::Code::kBusy);
  EXPECT_NE(repaired.error().message().find("open for writing"), std::string::npos);
  EXPECT_TRUE(bench.Run(chain->Close()));
}

TEST(Check, ReportsAParentThatIsOpenForWriting) {
  CheckBench bench;
  MakeChain(bench);
  const auto info = bench.Run(bench.backend.GetInfo("base.vmdk"));
  auto claim = bench.open_disks.ClaimFiles(
      std::vector<uint64_t>{info->id}, {.disk = "base.vmdk", .user = "test", .writes = true});
  ASSERT_TRUE(claim);
  EXPECT_EQ(NamesIn(bench.Check("leaf.vmdk")), Names{"C5"});
}

TEST(Check, AsksForEachChangeOfMeaning) {
  CheckBench bench;
  MakeChain(bench);
  bench.Edit("leaf.vmdk", "parentCID=fffffffe", "parentCID=00000001");
  DiskRepairOptions options;
  std::vector<std::string> asked;
  options.confirm = [&asked](const CheckFinding& finding) {
    asked.push_back(finding.repair_text);
    return true;
  };
  const auto repaired = bench.Run(RepairDisk(bench.lib, "leaf.vmdk", options, nullptr));
  ASSERT_TRUE(repaired);
  EXPECT_TRUE(repaired->after.is_clean()) << TextOf(repaired->after);
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked.front(), "parentCID becomes fffffffe");
}

TEST(Check, RefusesToFixWhatHasNoRepair) {
  CheckBench bench;
  MakeChain(bench);
  DiskRepairOptions options;
  options.fix = {Invariant::kC4};
  const auto repaired = bench.Run(RepairDisk(bench.lib, "leaf.vmdk", options, nullptr));
  ASSERT_FALSE(repaired);
  EXPECT_EQ(repaired.error().code(), base::Code::kUnsupported);
}

TEST(Check, MakesAShortFileLongOnlyWhenAsked) {
  CheckBench bench;
  bench.MakeFlat("base.vmdk");
  ASSERT_TRUE(bench.Run(bench.backend.Resize("base-flat.vmdk", kMebi)));
  EXPECT_EQ(bench.Repair("base.vmdk").outcome, DiskRepairOutcome::kNotPossible);
  const DiskRepairReport repaired = bench.Repair("base.vmdk", {Invariant::kD4});
  EXPECT_TRUE(repaired.after.is_consistent()) << TextOf(repaired.after);
  EXPECT_EQ(bench.Listing()["base-flat.vmdk"], 4 * kMebi);
}

TEST(Check, TellsWhatSpeaksForAndAgainstABrokenConnection) {
  CheckBench bench;
  MakeChain(bench);
  bench.Edit("leaf.vmdk", "parentCID=fffffffe", "parentCID=00000001");
  EXPECT_TRUE(bench.Check("leaf.vmdk").evidence.empty());
  const CheckReport report = bench.Check("leaf.vmdk", {.explain = true});
  std::string evidence;
  for (const std::string& sentence : report.evidence) evidence += sentence + "\n";
  EXPECT_NE(evidence.find("leaf.vmdk expects content 00000001, child.vmdk has fffffffe"),
            std::string::npos)
      << evidence;
  EXPECT_NE(evidence.find("leaf.vmdk holds 4194304 of 4194304 bytes itself"), std::string::npos)
      << evidence;
}

}  // namespace
}  // namespace disklib
