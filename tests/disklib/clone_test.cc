#include "disklib/clone.h"

#include <map>

#include "disklib/linked_clone.h"
#include "disklib/operations.h"
#include "fs/fss/forwarding.h"
#include "tests/disklib/support.h"

namespace disklib {
namespace {

using base::Code;
using base::MapRun;
using base::MapState;
using base::Result;
using base::Status;

// A disk with data at odd places, and what it holds.
std::vector<std::byte> MakeSource(Bench& bench, std::string_view path, uint64_t size_bytes) {
  bench.Create(path, {.size_bytes = size_bytes, .adapter_type = "pvscsi"});
  std::vector<std::byte> content(size_bytes);
  const auto chain = bench.Open(path, true);
  for (const uint64_t offset_bytes : {uint64_t{0}, kMebi - 512, 3 * kMebi, size_bytes - 4096}) {
    std::vector<std::byte> bytes = Pattern(offset_bytes + 1, 4096);
    std::copy(bytes.begin(), bytes.end(),
              content.begin() + static_cast<std::ptrdiff_t>(offset_bytes));
    EXPECT_TRUE(WriteBytes(bench, *chain, offset_bytes, bytes));
  }
  EXPECT_TRUE(bench.Run(chain->Close()));
  return content;
}

std::vector<std::byte> ContentOf(Bench& bench, std::string_view path) {
  const auto chain = bench.Open(path, false);
  std::vector<std::byte> bytes(chain->size_bytes());
  EXPECT_TRUE(ReadBytes(bench, *chain, 0, bytes));
  EXPECT_TRUE(bench.Run(chain->Close()));
  return bytes;
}

Result<CloneResult> Clone(Bench& bench, std::string_view from, std::string_view to,
                          CloneOptions options = {}, Progress* progress = nullptr) {
  return bench.Run(CloneDisk(bench.lib, from, bench.lib, to, options, progress));
}

TEST(CloneDisk, CopiesTheContentAndNotTheHoles) {
  Bench bench;
  const auto content = MakeSource(bench, "a.vmdk", 40 * kMebi);
  const auto cloned = Clone(bench, "a.vmdk", "b.vmdk");
  ASSERT_TRUE(cloned) << cloned.error().message();
  EXPECT_EQ(cloned->size_bytes, 40 * kMebi);
  EXPECT_EQ(cloned->data_bytes + cloned->zero_bytes, 40 * kMebi);
  EXPECT_TRUE(ContentOf(bench, "b.vmdk") == content);
  const DiskInfo info = *bench.Run(bench.lib.GetInfo("b.vmdk"));
  EXPECT_TRUE(info.is_thin);
  EXPECT_LE(info.allocated_bytes, kMebi) << "holes stay holes";
}

// Counts what is asked to be copied from file to file, which these files refuse.
class CountingFile final : public fss::ForwardingFile {
 public:
  CountingFile(std::unique_ptr<fss::File> below, uint64_t& count)
      : ForwardingFile(std::move(below)), count_(count) {}

  base::Task<Result<uint64_t>> CopyFrom(fss::File& source, uint64_t source_offset_bytes,
                                        uint64_t offset_bytes, uint64_t length_bytes) override {
    ++count_;
    return ForwardingFile::CopyFrom(source, source_offset_bytes, offset_bytes, length_bytes);
  }

 private:
  uint64_t& count_;
};

class CountingFiles final : public fss::ForwardingFileSystem {
 public:
  using ForwardingFileSystem::ForwardingFileSystem;

  base::Task<Result<std::unique_ptr<fss::File>>> Open(fss::InodeNumber inode,
                                                      fss::OpenMode mode) override {
    CO_TRY(std::unique_ptr<fss::File> file, co_await ForwardingFileSystem::Open(inode, mode));
    co_return std::make_unique<CountingFile>(std::move(file), count);
  }

  uint64_t count = 0;
};

TEST(CloneDisk, CopiesFromFileToFileUnlessItIsToReadAll) {
  Bench bench;
  const auto content = MakeSource(bench, "a.vmdk", 8 * kMebi);
  CountingFiles counting(bench.files);
  FileBackend backend(counting);
  Lib lib(bench.executor, backend, bench.open_disks);
  const auto clone = [&bench, &lib](std::string_view to, bool reads_all) {
    const CloneOptions options{.reads_all = reads_all};
    return bench.Run(CloneDisk(lib, "a.vmdk", lib, to, options, nullptr));
  };
  ASSERT_TRUE(clone("read.vmdk", true));
  EXPECT_EQ(counting.count, 0u);
  ASSERT_TRUE(clone("taken.vmdk", false));
  EXPECT_GT(counting.count, 0u);
  for (const char* name : {"read.vmdk", "taken.vmdk"}) {
    EXPECT_TRUE(ContentOf(bench, name) == content) << name;
  }
}

TEST(CloneDisk, HasItsOwnIdentityAndTheContentsId) {
  Bench bench;
  MakeSource(bench, "a.vmdk", 4 * kMebi);
  bench.Store("a.vmdk",
              bench.Load("a.vmdk") +
                  "ddb.toolsVersion = \"12352\"\nddb.iofilters = \"x\"\n"
                  "ddb.sidecars = \"a_1.vmfd\"\nddb.strata.renamingFrom = \"old.vmdk\"\n");
  ASSERT_TRUE(Clone(bench, "a.vmdk", "b.vmdk"));
  const DiskInfo source = *bench.Run(bench.lib.GetInfo("a.vmdk"));
  const DiskInfo clone = *bench.Run(bench.lib.GetInfo("b.vmdk"));
  EXPECT_EQ(clone.content_id, source.content_id) << "equal content, equal id";
  EXPECT_NE(clone.uuid, source.uuid);
  EXPECT_EQ(clone.adapter_type, "pvscsi");
  EXPECT_EQ(clone.geometry, source.geometry);
  const Descriptor descriptor = *ParseDescriptor(bench.Load("b.vmdk"));
  EXPECT_EQ(*descriptor.FindDatabase("ddb.toolsVersion"), "12352");
  EXPECT_EQ(descriptor.FindDatabase("ddb.iofilters"), nullptr);
  EXPECT_EQ(descriptor.FindDatabase("ddb.sidecars"), nullptr);
  EXPECT_EQ(descriptor.FindDatabase("ddb.strata.renamingFrom"), nullptr);
  EXPECT_EQ(*descriptor.FindDatabase("ddb.longContentID"),
            *ParseDescriptor(bench.Load("a.vmdk"))->FindDatabase("ddb.longContentID"));
}

std::string KeyOf(Bench& bench, std::string_view path, std::string_view key) {
  const Descriptor descriptor = *ParseDescriptor(bench.Load(path));
  const std::string* const value = descriptor.FindDatabase(key);
  return value == nullptr ? std::string() : *value;
}

TEST(CloneDisk, TakesEachTraitFromTheNearestLinkThatHasIt) {
  Bench bench;
  MakeSource(bench, "a.vmdk", 4 * kMebi);
  std::string text = bench.Load("a.vmdk");
  const std::string heads = "ddb.geometry.heads = \"64\"";
  ASSERT_NE(text.find(heads), std::string::npos);
  text.replace(text.find(heads), heads.size(), "ddb.geometry.heads = \"16\"");
  bench.Store("a.vmdk", text + "ddb.toolsVersion = \"12352\"\nddb.virtualHWVersion = \"21\"\n");
  for (const char* const path : {"middle.vmdk", "leaf.vmdk"}) {
    const std::string parent = path == std::string_view("leaf.vmdk") ? "middle.vmdk" : "a.vmdk";
    ASSERT_TRUE(bench.Run(CreateLinkedClone(bench.lib, parent, path, {})));
  }
  bench.Store("middle.vmdk", bench.Load("middle.vmdk") + "ddb.toolsVersion = \"13000\"\n");
  ASSERT_TRUE(Clone(bench, "leaf.vmdk", "b.vmdk"));
  EXPECT_EQ(KeyOf(bench, "b.vmdk", "ddb.adapterType"), "pvscsi");
  EXPECT_EQ(KeyOf(bench, "b.vmdk", "ddb.geometry.heads"), "16");
  EXPECT_EQ(KeyOf(bench, "b.vmdk", "ddb.virtualHWVersion"), "21");
  EXPECT_EQ(KeyOf(bench, "b.vmdk", "ddb.toolsVersion"), "13000");
  EXPECT_NE(KeyOf(bench, "b.vmdk", "ddb.uuid"), KeyOf(bench, "a.vmdk", "ddb.uuid"));
  EXPECT_EQ(KeyOf(bench, "b.vmdk", "ddb.longContentID"),
            KeyOf(bench, "leaf.vmdk", "ddb.longContentID"));
  ASSERT_TRUE(Clone(bench, "leaf.vmdk", "c.vmdk", {.adapter_type = "ide"}));
  EXPECT_EQ(KeyOf(bench, "c.vmdk", "ddb.adapterType"), "ide");
  EXPECT_EQ(KeyOf(bench, "c.vmdk", "ddb.geometry.sectors"), "63") << "as the adapter counts";
}

TEST(CloneDisk, CountsCylindersAnewWhenALinkMadeTheDiskLarger) {
  Bench bench;
  MakeSource(bench, "a.vmdk", 4 * kMebi);
  ASSERT_TRUE(bench.Run(CreateLinkedClone(bench.lib, "a.vmdk", "leaf.vmdk", {})));
  ASSERT_TRUE(bench.Run(ExtendDisk(bench.lib, "leaf.vmdk", {.size_bytes = 9 * kMebi}, nullptr)));
  ASSERT_TRUE(Clone(bench, "leaf-000001.vmdk", "b.vmdk"));
  EXPECT_EQ(KeyOf(bench, "b.vmdk", "ddb.adapterType"), "pvscsi");
  EXPECT_EQ(KeyOf(bench, "b.vmdk", "ddb.geometry.cylinders"), "9");
}

TEST(LinkedClone, OfASnapshotNamesTheAdapterOfTheDisk) {
  Bench bench;
  MakeSource(bench, "a.vmdk", 4 * kMebi);
  ASSERT_TRUE(bench.Run(CreateLinkedClone(bench.lib, "a.vmdk", "leaf.vmdk", {})));
  ASSERT_TRUE(bench.Run(CreateLinkedClone(bench.lib, "leaf.vmdk", "b.vmdk",
                                          {.layout = DiskLayout::kMonolithicSparse})));
  EXPECT_EQ(bench.Run(bench.lib.GetInfo("b.vmdk"))->adapter_type, "pvscsi");
}

TEST(CloneDisk, TakesSpaceAsItsFormatSays) {
  Bench bench;
  const auto content = MakeSource(bench, "a.vmdk", 8 * kMebi);
  const std::map<std::string, MapState> state_of_zeros = {{"thin", MapState::kHole},
                                                          {"zeroedthick", MapState::kZero},
                                                          {"eagerzeroedthick", MapState::kData}};
  for (const auto& [word, state] : state_of_zeros) {
    CloneOptions options;
    ASSERT_TRUE(ParseCloneFormat(word, options));
    const std::string path = word + ".vmdk";
    const auto cloned = Clone(bench, "a.vmdk", path, options);
    ASSERT_TRUE(cloned) << cloned.error().message();
    EXPECT_TRUE(ContentOf(bench, path) == content) << word;
    const auto chain = bench.Open(path, false);
    std::vector<MapRun> runs;
    ASSERT_TRUE(bench.Run(chain->MapStatus(5 * kMebi, kMebi, runs)));
    EXPECT_EQ(runs.at(0).state, state) << word;
    ASSERT_TRUE(bench.Run(chain->Close()));
    const uint64_t allocated_bytes = bench.Run(bench.lib.GetInfo(path))->allocated_bytes;
    EXPECT_EQ(allocated_bytes >= 8 * kMebi, word != "thin") << word;
  }
}

TEST(CloneDisk, LeavesOutZerosThatWereWritten) {
  Bench bench;
  bench.Create("a.vmdk",
               {.size_bytes = 8 * kMebi, .provisioning = Provisioning::kEagerZeroedThick});
  const auto cloned = Clone(bench, "a.vmdk", "b.vmdk");
  ASSERT_TRUE(cloned);
  EXPECT_EQ(cloned->data_bytes, 0u);
  const DiskInfo info = *bench.Run(bench.lib.GetInfo("b.vmdk"));
  EXPECT_EQ(info.extents.at(0).allocated_bytes, 0u);
}

TEST(CloneDisk, SplitsAndJoinsFiles) {
  Bench bench;
  bench.Create("a.vmdk", {.size_bytes = 4200 * kMebi});
  const auto chain = bench.Open("a.vmdk", true);
  std::vector<std::byte> bytes = Pattern(9, 2 * kMebi);
  const uint64_t border_bytes = 2047 * kMebi - kMebi;
  ASSERT_TRUE(WriteBytes(bench, *chain, border_bytes, bytes));
  ASSERT_TRUE(bench.Run(chain->Close()));
  ASSERT_TRUE(Clone(bench, "a.vmdk", "b.vmdk", {.layout = DiskLayout::kTwoGbMaxExtentFlat}));
  ASSERT_TRUE(Clone(bench, "b.vmdk", "c.vmdk"));
  for (const char* path : {"b.vmdk", "c.vmdk"}) {
    const auto copy = bench.Open(path, false);
    std::vector<std::byte> read(2 * kMebi);
    ASSERT_TRUE(ReadBytes(bench, *copy, border_bytes, read));
    EXPECT_TRUE(read == bytes) << path;
    ASSERT_TRUE(bench.Run(copy->Close()));
  }
  EXPECT_EQ(bench.Run(bench.lib.GetInfo("b.vmdk"))->extents.size(), 3u);
}

TEST(CloneDisk, RefusesADiskThatIsWrittenAndANameThatIsTaken) {
  Bench bench;
  MakeSource(bench, "a.vmdk", 4 * kMebi);
  const auto chain = bench.Open("a.vmdk", true);
  const auto refused = Clone(bench, "a.vmdk", "b.vmdk");
  EXPECT_EQ(refused.error().code(), Code::kBusy);
  EXPECT_NE(refused.error().message().find("test"), std::string::npos) << "names the holder";
  ASSERT_TRUE(bench.Run(chain->Close()));
  bench.Create("c.vmdk", {.size_bytes = kMebi});
  EXPECT_EQ(Clone(bench, "a.vmdk", "c.vmdk").error().code(), Code::kExists);
  EXPECT_EQ(bench.Listing().size(), 4u);
}

class StopAfter : public Progress {
 public:
  explicit StopAfter(int calls) : calls_left_(calls) {}

  bool Advance(uint64_t done_bytes, uint64_t total_bytes) override {
    EXPECT_LE(done_bytes, total_bytes);
    return --calls_left_ > 0;
  }

 private:
  int calls_left_;
};

TEST(CloneDisk, CanBeStoppedAndLeavesNothing) {
  Bench bench;
  MakeSource(bench, "a.vmdk", 40 * kMebi);
  const auto before = bench.Listing();
  for (const int calls : {1, 2, 3}) {
    StopAfter progress(calls);
    EXPECT_EQ(Clone(bench, "a.vmdk", "b.vmdk", {}, &progress).error().code(), Code::kInterrupted);
    EXPECT_EQ(bench.Listing(), before);
  }
}

TEST(CloneDisk, IsWholeOrAbsentWhereverItIsCut) {
  for (const auto crash : {fss::MemoryFileSystem::Crash::kLosesNothing,
                           fss::MemoryFileSystem::Crash::kLosesUnsyncedData,
                           fss::MemoryFileSystem::Crash::kLosesAllUnsynced}) {
    bool was_cut = true;
    for (uint64_t call = 1; was_cut; ++call) {
      Bench bench;
      const auto content = MakeSource(bench, "a.vmdk", 5 * kMebi);
      ASSERT_TRUE(bench.Run(bench.files.SyncAll()));
      bench.files.CutAt(call);
      const auto cloned = Clone(bench, "a.vmdk", "b.vmdk");
      was_cut = bench.files.has_failed();
      bench.files.Recover(crash);
      if (bench.Run(Exists(bench.backend, "b.vmdk")).value()) {
        EXPECT_TRUE(ContentOf(bench, "b.vmdk") == content) << "call " << call;
      }
      const auto again = Clone(bench, "a.vmdk", "b.vmdk");
      EXPECT_TRUE(again || again.error().code() == Code::kExists) << call;
      EXPECT_TRUE(ContentOf(bench, "b.vmdk") == content) << "call " << call;
      EXPECT_EQ(bench.Listing().size(), 4u) << "nothing unfinished is left, call " << call;
    }
  }
}

TEST(CloneDisk, SurvivesOneFailureAtEveryCall) {
  bool has_failed = true;
  for (uint64_t call = 1; has_failed; ++call) {
    Bench bench;
    const auto content = MakeSource(bench, "a.vmdk", 5 * kMebi);
    bench.files.FailAt(call);
    const auto first = Clone(bench, "a.vmdk", "b.vmdk");
    has_failed = bench.files.has_failed();
    bench.files.StopFailing();
    if (!first) {
      const auto again = Clone(bench, "a.vmdk", "b.vmdk");
      EXPECT_TRUE(again || again.error().code() == Code::kExists) << call;
    }
    EXPECT_TRUE(ContentOf(bench, "b.vmdk") == content) << "call " << call;
    EXPECT_EQ(bench.files.lookups_held(), 0u);
  }
}

}  // namespace
}  // namespace disklib
