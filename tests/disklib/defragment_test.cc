#include "disklib/defragment.h"

#include "disklib/compare.h"
#include "disklib/delete_chain.h"
#include "disklib/linked_clone.h"
#include "disklib/provision.h"
#include "tests/disklib/support.h"

namespace disklib {
namespace {

using base::Code;
using base::Status;

// Zeros for seed 0.
void Put(Bench& bench, std::string_view path, uint64_t offset_bytes, uint64_t seed) {
  const auto chain = bench.Open(path, true);
  ASSERT_NE(chain, nullptr);
  std::vector<std::byte> bytes = Pattern(seed, 16 * 1024);
  if (seed == 0) std::fill(bytes.begin(), bytes.end(), std::byte{0});
  EXPECT_TRUE(WriteBytes(bench, *chain, offset_bytes, bytes));
  EXPECT_TRUE(bench.Run(chain->Close()));
}

std::string HashOf(Bench& bench, std::string_view path) {
  const auto hash = bench.Run(HashDisk(bench.lib, path, nullptr));
  EXPECT_TRUE(hash) << hash.error().message();
  return hash ? hash->sha256 : std::string();
}

// A child whose grains were written from the end of the disk to its start, over zeros as well.
void MakeLeaf(Bench& bench) {
  bench.Create("a.vmdk", {.size_bytes = kMebi});
  Put(bench, "a.vmdk", 64 * 1024, 1);
  const auto linked = bench.Run(CreateLinkedClone(bench.lib, "a.vmdk", "b.vmdk", {}));
  ASSERT_TRUE(linked) << linked.error().message();
  for (uint64_t place = 15; place > 0; --place) {
    Put(bench, "b.vmdk", place * 64 * 1024, place % 4 == 1 ? 0 : place);
  }
}

std::vector<fds::GrainRun> RunsOf(Bench& bench, std::string_view path) {
  const auto chain = bench.Open(path, false);
  std::vector<fds::GrainRun> runs;
  EXPECT_TRUE(bench.Run(chain->top().Lookup(0, chain->size_bytes(), runs)));
  EXPECT_TRUE(bench.Run(chain->Close()));
  return runs;
}

TEST(DefragmentLink, PutsGrainsInTheOrderOfTheDisk) {
  Bench bench;
  MakeLeaf(bench);
  const std::string hash = HashOf(bench, "b.vmdk");
  const std::string text = bench.Load("b.vmdk");
  const auto result = bench.Run(DefragmentLink(bench.lib, "b.vmdk", nullptr));
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(result->moved_bytes, 15 * 16 * 1024u);
  EXPECT_EQ(HashOf(bench, "b.vmdk"), hash);
  EXPECT_EQ(bench.Load("b.vmdk"), text) << "the descriptor stays, content id and all";
  uint64_t last_bytes = 0;
  for (const fds::GrainRun& run : RunsOf(bench, "b.vmdk")) {
    if (run.state != fds::GrainState::kData) continue;
    EXPECT_GT(run.file_offset_bytes, last_bytes);
    last_bytes = run.file_offset_bytes;
  }
  EXPECT_EQ(bench.Listing().size(), 5u);
}

TEST(DefragmentLink, RefusesFlatDisksAndDisksInUse) {
  Bench bench;
  MakeLeaf(bench);
  bench.Create("flat.vmdk", {.size_bytes = kMebi});
  EXPECT_EQ(bench.Run(DefragmentLink(bench.lib, "flat.vmdk", nullptr)).error().code(),
            Code::kUnsupported);
  const auto chain = bench.Open("b.vmdk", false);
  EXPECT_EQ(bench.Run(DefragmentLink(bench.lib, "b.vmdk", nullptr)).error().code(), Code::kBusy);
  ASSERT_TRUE(bench.Run(chain->Close()));
}

TEST(DefragmentLink, KeepsTheContentWhereverItIsCut) {
  using Crash = fss::MemoryFileSystem::Crash;
  for (const Crash crash :
       {Crash::kLosesNothing, Crash::kLosesUnsyncedData, Crash::kLosesAllUnsynced}) {
    bool was_cut = true;
    for (uint64_t call = 1; was_cut; ++call) {
      Bench bench;
      MakeLeaf(bench);
      ASSERT_TRUE(bench.Run(bench.files.SyncAll()));
      const std::string hash = HashOf(bench, "b.vmdk");
      bench.files.CutAt(call);
      static_cast<void>(bench.Run(DefragmentLink(bench.lib, "b.vmdk", nullptr)));
      was_cut = bench.files.has_failed();
      bench.files.Recover(crash);
      ASSERT_EQ(HashOf(bench, "b.vmdk"), hash) << "call " << call;
      ASSERT_TRUE(bench.Run(DefragmentLink(bench.lib, "b.vmdk", nullptr))) << "call " << call;
      ASSERT_EQ(HashOf(bench, "b.vmdk"), hash) << "call " << call;
      EXPECT_EQ(bench.Listing().size(), 5u) << "call " << call;
    }
  }
}

TEST(PunchDisk, FreesGrainsOfZerosInALeaf) {
  Bench bench;
  MakeLeaf(bench);
  const std::string hash = HashOf(bench, "b.vmdk");
  const auto result = bench.Run(PunchDisk(bench.lib, "b.vmdk", nullptr));
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(HashOf(bench, "b.vmdk"), hash);
  uint64_t data_bytes = 0;
  for (const fds::GrainRun& run : RunsOf(bench, "b.vmdk")) {
    if (run.state == fds::GrainState::kData) data_bytes += run.length_bytes;
  }
  EXPECT_EQ(data_bytes, 11 * 16 * 1024u) << "four of fifteen pieces were zeros";
}

TEST(DeleteChain, TakesAllLinksOrNone) {
  Bench bench;
  bench.Create("a.vmdk", {.size_bytes = kMebi});
  for (const auto& [parent, child] :
       {std::pair{"a.vmdk", "a-000001.vmdk"}, std::pair{"a-000001.vmdk", "a-000002.vmdk"},
        std::pair{"a-000001.vmdk", "a-000003.vmdk"}}) {
    const NewLink what{.size_bytes = kMebi,
                       .layout = DiskLayout::kSeSparse,
                       .parent_path = parent,
                       .parent_content_id = kFreshContentId};
    ASSERT_TRUE(bench.Run(CreateLink(bench.lib, child, what, nullptr)));
  }
  bench.Create("other.vmdk", {.size_bytes = kMebi});
  EXPECT_FALSE(bench.Run(DeleteDisk(bench.lib, "a.vmdk")));
  const auto chain = bench.Open("a-000003.vmdk", false);
  EXPECT_EQ(bench.Run(DeleteChain(bench.lib, "a.vmdk")).error().code(), Code::kBusy);
  EXPECT_EQ(bench.Listing().size(), 10u);
  ASSERT_TRUE(bench.Run(chain->Close()));
  const auto deleted = bench.Run(DeleteChain(bench.lib, "a-000002.vmdk"));
  ASSERT_TRUE(deleted) << deleted.error().message();
  EXPECT_EQ(deleted->deleted_paths.size(), 4u);
  EXPECT_EQ(deleted->deleted_paths.back(), "a.vmdk");
  EXPECT_EQ(bench.Listing().size(), 2u) << "the other disk stays";
}

TEST(DeleteChain, RefusesWhileALinkedCloneLives) {
  Bench bench;
  bench.Create("a.vmdk", {.size_bytes = kMebi});
  ASSERT_TRUE(bench.Run(CreateLinkedClone(bench.lib, "a.vmdk", "b.vmdk", {})));
  const auto before = bench.Listing();
  EXPECT_EQ(bench.Run(DeleteChain(bench.lib, "a.vmdk")).error().code(), Code::kUnsupported);
  EXPECT_EQ(bench.Listing(), before);
}

TEST(DeleteChain, ConvergesWhereverItIsCut) {
  bool was_cut = true;
  for (uint64_t call = 1; was_cut; ++call) {
    Bench bench;
    bench.Create("a.vmdk", {.size_bytes = kMebi});
    const NewLink what{.size_bytes = kMebi,
                       .layout = DiskLayout::kSeSparse,
                       .parent_path = "a.vmdk",
                       .parent_content_id = kFreshContentId};
    ASSERT_TRUE(bench.Run(CreateLink(bench.lib, "a-000001.vmdk", what, nullptr)));
    ASSERT_TRUE(bench.Run(bench.files.SyncAll()));
    bench.files.CutAt(call);
    static_cast<void>(bench.Run(DeleteChain(bench.lib, "a.vmdk")));
    was_cut = bench.files.has_failed();
    bench.files.Recover(fss::MemoryFileSystem::Crash::kLosesNothing);
    const auto again = bench.Run(DeleteChain(bench.lib, "a.vmdk"));
    EXPECT_TRUE(again || again.error().code() == Code::kNotFound) << again.error().message();
    EXPECT_TRUE(bench.Listing().empty()) << "call " << call;
  }
}

}  // namespace
}  // namespace disklib
