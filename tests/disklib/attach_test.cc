#include "disklib/attach.h"

#include "disklib/chain_info.h"
#include "disklib/children.h"
#include "disklib/clone.h"
#include "disklib/compare.h"
#include "disklib/linked_clone.h"
#include "tests/disklib/support.h"

namespace disklib {
namespace {

using base::Code;
using base::Status;

void Put(Bench& bench, std::string_view path, uint64_t offset_bytes, uint64_t seed,
         uint64_t size_bytes = 4096) {
  const auto chain = bench.Open(path, true);
  ASSERT_NE(chain, nullptr);
  std::vector<std::byte> bytes = Pattern(seed, size_bytes);
  if (seed == 0) std::fill(bytes.begin(), bytes.end(), std::byte{0});
  EXPECT_TRUE(WriteBytes(bench, *chain, offset_bytes, bytes));
  EXPECT_TRUE(bench.Run(chain->Close()));
}

std::string HashOf(Bench& bench, std::string_view path) {
  const auto hash = bench.Run(HashDisk(bench.lib, path, nullptr));
  EXPECT_TRUE(hash) << hash.error().message();
  return hash ? hash->sha256 : std::string();
}

// Four units: "a.vmdk" with data at 0 and two, its child "b.vmdk" with data at one and two.
void MakeChain(Bench& bench, uint64_t unit_bytes = kMebi) {
  bench.Create("a.vmdk", {.size_bytes = 4 * unit_bytes});
  Put(bench, "a.vmdk", 0, 1);
  Put(bench, "a.vmdk", 2 * unit_bytes, 2);
  const auto linked = bench.Run(CreateLinkedClone(bench.lib, "a.vmdk", "b.vmdk", {}));
  ASSERT_TRUE(linked) << linked.error().message();
  Put(bench, "b.vmdk", unit_bytes, 3);
  Put(bench, "b.vmdk", 2 * unit_bytes, 4);
}

TEST(ChainInfo, CountsEachByteOnceAndSaysWhatADeleteCosts) {
  Bench bench;
  MakeChain(bench);
  const auto info = bench.Run(GetChainInfo(bench.lib, "b.vmdk"));
  ASSERT_TRUE(info) << info.error().message();
  ASSERT_EQ(info->links.size(), 2u);
  const LinkUsage& base = info->links[0];
  const LinkUsage& leaf = info->links[1];
  EXPECT_EQ(base.path, "a.vmdk");
  EXPECT_EQ(base.data_bytes, 2 * 4096u);
  EXPECT_EQ(base.unique_bytes, 4096u) << "the other block is hidden by the leaf";
  EXPECT_EQ(base.delete_needs_bytes, 0u);
  EXPECT_EQ(leaf.kind, "seSparse");
  EXPECT_EQ(leaf.data_bytes, 2 * 4096u);
  EXPECT_EQ(leaf.unique_bytes, 2 * 4096u);
  EXPECT_EQ(leaf.delete_needs_bytes, 4096u) << "the base holds the other block";
  EXPECT_EQ(leaf.delete_frees_bytes, leaf.allocated_bytes);
  EXPECT_EQ(info->data_bytes, 3 * 4096u);
  EXPECT_EQ(info->allocated_bytes, base.allocated_bytes + leaf.allocated_bytes);
}

TEST(AttachLink, MovesALinkToACopyOfItsParent) {
  Bench bench;
  MakeChain(bench);
  const std::string hash = HashOf(bench, "b.vmdk");
  ASSERT_TRUE(bench.Run(CloneDisk(bench.lib, "a.vmdk", bench.lib, "copy.vmdk", {}, nullptr)));
  const Status attached = bench.Run(AttachLink(bench.lib, "b.vmdk", "copy.vmdk", {}));
  ASSERT_TRUE(attached) << attached.error().message();
  EXPECT_EQ(ParseDescriptor(bench.Load("b.vmdk"))->parent_file_name_hint, "copy.vmdk");
  EXPECT_EQ(HashOf(bench, "b.vmdk"), hash);
  EXPECT_TRUE(bench.Run(RegisteredChildren(bench.backend, "a.vmdk"))->empty());
  EXPECT_EQ(bench.Run(RegisteredChildren(bench.backend, "copy.vmdk"))->size(), 1u)
      << "a linked clone stays one";
  EXPECT_TRUE(bench.Run(DeleteDisk(bench.lib, "a.vmdk"))) << "nothing stands on it any more";
}

TEST(AttachLink, RefusesAnotherContentAnotherSizeAndARing) {
  Bench bench;
  MakeChain(bench);
  bench.Create("other.vmdk", {.size_bytes = 4 * kMebi});
  bench.Create("large.vmdk", {.size_bytes = 8 * kMebi});
  const auto code = [&bench](std::string_view path, std::string_view parent,
                             AttachOptions options = {}) {
    const Status attached = bench.Run(AttachLink(bench.lib, path, parent, options));
    return attached ? Code::kIo : attached.error().code();
  };
  EXPECT_EQ(code("b.vmdk", "other.vmdk"), Code::kMiscompare);
  EXPECT_EQ(code("b.vmdk", "large.vmdk", {.changes_content = true}), Code::kInvalidArgument);
  EXPECT_EQ(code("other.vmdk", "a.vmdk"), Code::kInvalidArgument) << "a flat disk";
  ASSERT_TRUE(bench.Run(CreateLinkedClone(bench.lib, "b.vmdk", "c.vmdk", {})));
  EXPECT_EQ(code("b.vmdk", "c.vmdk", {.changes_content = true}), Code::kLoop);
}

TEST(AttachLink, DrawsANewIdWhenTheContentChanges) {
  Bench bench;
  MakeChain(bench);
  bench.Create("other.vmdk", {.size_bytes = 4 * kMebi});
  const uint32_t id = ParseDescriptor(bench.Load("b.vmdk"))->content_id;
  ASSERT_TRUE(bench.Run(AttachLink(bench.lib, "b.vmdk", "other.vmdk", {.changes_content = true})));
  EXPECT_NE(ParseDescriptor(bench.Load("b.vmdk"))->content_id, id);
  EXPECT_FALSE(HashOf(bench, "b.vmdk").empty());
}

TEST(AttachLink, MakesNoChainThatIsTooLongToOpen) {
  Bench bench;
  bench.Create("0.vmdk", {.size_bytes = kMebi});
  for (size_t link = 1; link < kChainLinksMax; ++link) {
    const std::string below = std::to_string(link - 1) + ".vmdk";
    const std::string path = std::to_string(link) + ".vmdk";
    ASSERT_TRUE(bench.Run(CreateLinkedClone(bench.lib, below, path, {})));
  }
  ASSERT_TRUE(bench.Run(CreateLinkedClone(bench.lib, "0.vmdk", "other.vmdk", {})));
  const Status refused = bench.Run(AttachLink(bench.lib, "other.vmdk", "31.vmdk", {}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kTooManyLinks);
  EXPECT_TRUE(bench.Run(AttachLink(bench.lib, "other.vmdk", "30.vmdk", {})));
}

TEST(AttachLink, ChangesNoLinkThatAClonePutElsewhereStandsOn) {
  Bench bench;
  MakeChain(bench);
  bench.Create("other.vmdk", {.size_bytes = 4 * kMebi});
  ASSERT_TRUE(bench.Run(bench.files.MakeDirectory(bench.files.root(), "sub", {})));
  ASSERT_TRUE(bench.Run(CreateLinkedClone(bench.lib, "b.vmdk", "sub/c.vmdk", {})));
  const Status refused =
      bench.Run(AttachLink(bench.lib, "b.vmdk", "other.vmdk", {.changes_content = true}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kUnsupported);
  EXPECT_NE(refused.error().message().find("sub/c.vmdk"), std::string::npos);
}

TEST(DetachLink, TakesOnlyALeafThatReadsNothingFromItsParent) {
  Bench bench;
  MakeChain(bench);
  const Status refused = bench.Run(DetachLink(bench.lib, "b.vmdk", nullptr));
  EXPECT_EQ(refused.error().code(), Code::kUnsupported);
  EXPECT_NE(refused.error().message().find("a.vmdk"), std::string::npos);
  Put(bench, "b.vmdk", 0, 5);
  const std::string hash = HashOf(bench, "b.vmdk");
  const uint32_t id = ParseDescriptor(bench.Load("b.vmdk"))->content_id;
  const Status detached = bench.Run(DetachLink(bench.lib, "b.vmdk", nullptr));
  ASSERT_TRUE(detached) << detached.error().message();
  const Descriptor leaf = *ParseDescriptor(bench.Load("b.vmdk"));
  EXPECT_FALSE(leaf.has_parent());
  EXPECT_TRUE(leaf.parent_file_name_hint.empty());
  EXPECT_EQ(leaf.content_id, id);
  EXPECT_EQ(HashOf(bench, "b.vmdk"), hash);
  EXPECT_TRUE(bench.Run(DeleteDisk(bench.lib, "a.vmdk")));
}

struct AttachCase {
  const char* name;
  Status (*run)(Bench& bench);
};

class AttachSweep : public ::testing::TestWithParam<AttachCase> {};

TEST_P(AttachSweep, KeepsTheContentWhereverItIsCut) {
  using Crash = fss::MemoryFileSystem::Crash;
  for (const Crash crash :
       {Crash::kLosesNothing, Crash::kLosesUnsyncedData, Crash::kLosesAllUnsynced}) {
    bool was_cut = true;
    for (uint64_t call = 1; was_cut; ++call) {
      Bench bench;
      MakeChain(bench, 64 * 1024);
      Put(bench, "b.vmdk", 0, 5);
      ASSERT_TRUE(bench.Run(CloneDisk(bench.lib, "a.vmdk", bench.lib, "copy.vmdk", {}, nullptr)));
      ASSERT_TRUE(bench.Run(bench.files.SyncAll()));
      const std::string hash = HashOf(bench, "b.vmdk");
      bench.files.CutAt(call);
      static_cast<void>(GetParam().run(bench));
      was_cut = bench.files.has_failed();
      bench.files.Recover(crash);
      EXPECT_EQ(HashOf(bench, "b.vmdk"), hash) << "call " << call;
      const Status again = GetParam().run(bench);
      EXPECT_TRUE(again || again.error().code() == Code::kInvalidArgument)
          << again.error().message() << " call " << call;
      EXPECT_EQ(HashOf(bench, "b.vmdk"), hash) << "call " << call;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, AttachSweep,
                         ::testing::Values(AttachCase{"attach",
                                                      [](Bench& bench) {
                                                        return bench.Run(AttachLink(
                                                            bench.lib, "b.vmdk", "copy.vmdk", {}));
                                                      }},
                                           AttachCase{"detach",
                                                      [](Bench& bench) {
                                                        return bench.Run(DetachLink(
                                                            bench.lib, "b.vmdk", nullptr));
                                                      }}),
                         [](const ::testing::TestParamInfo<AttachCase>& sweep) {
                           return std::string(sweep.param.name);
                         });

TEST(CloneDisk, JoinsAWholeChainInEveryFormat) {
  Bench bench;
  MakeChain(bench);
  const std::string hash = HashOf(bench, "b.vmdk");
  for (const char* format : {"thin", "eagerzeroedthick", "seSparse"}) {
    CloneOptions options;
    ASSERT_TRUE(ParseCloneFormat(format, options));
    const std::string path = std::string(format) + ".vmdk";
    const auto cloned =
        bench.Run(CloneDisk(bench.lib, "b.vmdk", bench.lib, path, options, nullptr));
    ASSERT_TRUE(cloned) << cloned.error().message();
    EXPECT_EQ(HashOf(bench, path), hash) << format;
    EXPECT_FALSE(ParseDescriptor(bench.Load(path))->has_parent());
  }
}

TEST(ExtendDisk, GrowsASparseDiskThatNobodyHasOpen) {
  Bench bench;
  bench.Create("a.vmdk", {.size_bytes = kMebi, .layout = DiskLayout::kSeSparse});
  Put(bench, "a.vmdk", 4096, 1);
  const uint32_t id = ParseDescriptor(bench.Load("a.vmdk"))->content_id;
  const Status extended =
      bench.Run(ExtendDisk(bench.lib, "a.vmdk", {.size_bytes = 4 * kMebi}, nullptr));
  ASSERT_TRUE(extended) << extended.error().message();
  EXPECT_EQ(bench.Run(bench.lib.GetInfo("a.vmdk"))->capacity_bytes, 4 * kMebi);
  EXPECT_NE(ParseDescriptor(bench.Load("a.vmdk"))->content_id, id);
  Put(bench, "a.vmdk", 3 * kMebi, 2);
  const auto chain = bench.Open("a.vmdk", false);
  std::vector<std::byte> bytes(4096);
  ASSERT_TRUE(ReadBytes(bench, *chain, 4096, bytes));
  EXPECT_TRUE(bytes == Pattern(1, 4096));
  ASSERT_TRUE(bench.Run(chain->Close()));
}

}  // namespace
}  // namespace disklib
