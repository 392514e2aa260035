#include "vmfs/directory/directory.h"

#include <algorithm>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "tests/support/test_directory.h"

namespace vmfs {
namespace {

// Expects a sound directory that holds exactly `names`, each with the target of its position.
void ExpectNames(TestDirectory& directory, const std::vector<std::string>& names) {
  const DirectoryVerdict verdict = directory.Verify();
  ASSERT_TRUE(verdict.faults.empty()) << verdict.Text();
  ASSERT_EQ(verdict.entries.size(), names.size());
  for (const std::string& name : names) ASSERT_TRUE(verdict.entries.contains(name)) << name;
}

std::vector<std::byte> Copy(std::span<const std::byte> bytes) {
  return {bytes.begin(), bytes.end()};
}

TEST(Directory, IsEmptyWhenNew) {
  TestDirectory fresh;
  EXPECT_EQ(*base::RunSync(fresh.executor, fresh.directory.EntryCount()), 0u);
  EXPECT_TRUE(*base::RunSync(fresh.executor, fresh.directory.IsEmpty()));
  EXPECT_EQ(base::RunSync(fresh.executor, fresh.directory.Self())->address, FdAddress::Make(0, 9));
  EXPECT_EQ(base::RunSync(fresh.executor, fresh.directory.Parent())->address, kRootFd);
  EXPECT_EQ(fresh.Find("x").error().code(), base::Code::kNotFound);
  ExpectNames(fresh, {});
}

TEST(Directory, FindsWhatWasInserted) {
  TestDirectory directory;
  ASSERT_TRUE(directory.Insert("one", FileTarget(1)).has_value());
  ASSERT_TRUE(directory.Insert(std::string(127, 'x'), FileTarget(2)).has_value());
  EXPECT_EQ(*directory.Find("one"), FileTarget(1));
  EXPECT_EQ(*directory.Find(std::string(127, 'x')), FileTarget(2));
  EXPECT_EQ(*base::RunSync(directory.executor, directory.directory.EntryCount()), 2u);
  EXPECT_FALSE(*base::RunSync(directory.executor, directory.directory.IsEmpty()));
}

TEST(Directory, RefusesANameThatExists) {
  TestDirectory directory;
  ASSERT_TRUE(directory.Insert("one", FileTarget(1)).has_value());
  const auto before = Copy(directory.file.bytes());
  EXPECT_EQ(directory.Insert("one", FileTarget(2)).error().code(), base::Code::kExists);
  EXPECT_EQ(Copy(directory.file.bytes()), before);
}

TEST(Directory, ReplacesWhatANameStandsFor) {
  TestDirectory directory;
  ASSERT_TRUE(directory.Insert("one", FileTarget(1)).has_value());
  ASSERT_TRUE(directory.Replace("one", FileTarget(2)).has_value());
  EXPECT_EQ(*directory.Find("one"), FileTarget(2));
  EXPECT_LE(directory.modified_count, Directory::kReplaceBlocksMax);
  EXPECT_EQ(directory.Replace("two", FileTarget(2)).error().code(), base::Code::kNotFound);
  ExpectNames(directory, {"one"});
}

TEST(Directory, IsAsNewWhenItsNamesAreGone) {
  TestDirectory directory;
  const auto before = Copy(directory.file.bytes());
  ASSERT_TRUE(directory.Insert("one", FileTarget(1)).has_value());
  ASSERT_TRUE(directory.Remove("one").has_value());
  EXPECT_EQ(Copy(directory.file.bytes()), before);
  EXPECT_EQ(directory.Remove("one").error().code(), base::Code::kNotFound);
}

TEST(Directory, ProtectsSystemNamesInTheRootOnly) {
  TestDirectory root(RootDirectory());
  EXPECT_EQ(root.Insert(".dfd.sf", FileTarget(1)).error().code(), base::Code::kNotPermitted);
  EXPECT_EQ(root.Remove(".fbb.sf").error().code(), base::Code::kNotPermitted);
  EXPECT_EQ(root.Replace(".fbb.sf", FileTarget(1)).error().code(), base::Code::kNotPermitted);
  TestDirectory other;
  EXPECT_TRUE(other.Insert(".fbb.sf", FileTarget(1)).has_value());
  EXPECT_EQ(*other.Find(".fbb.sf"), FileTarget(1));
}

TEST(Directory, RefusesNamesThatCannotBeStored) {
  TestDirectory directory;
  EXPECT_EQ(directory.Find(std::string(128, 'x')).error().code(), base::Code::kNameTooLong);
  EXPECT_EQ(directory.Insert("\xFF", FileTarget(1)).error().code(), base::Code::kNameInvalid);
  EXPECT_EQ(directory.Remove("..").error().code(), base::Code::kInvalidArgument);
}

TEST(Directory, ChangesItsParent) {
  TestDirectory directory;
  const auto change = base::RunSync(directory.executor, directory.directory.PrepareSetParent());
  ASSERT_TRUE(change.has_value());
  directory.directory.Apply(directory.transaction, *change, FdAddress::Make(3, 4), 17);
  const auto parent = base::RunSync(directory.executor, directory.directory.Parent());
  EXPECT_EQ(*parent, (DirectoryTarget{InodeType::kDirectory, FdAddress::Make(3, 4), 17}));
}

TEST(Directory, ChainsFortyNamesOfOneBucketInFourGroups) {
  const auto names = CollidingNames(1, 480'000)[0];
  ASSERT_GE(names.size(), 40u);
  TestDirectory directory;
  for (size_t i = 0; i < 40; ++i) {
    ASSERT_TRUE(directory.Insert(names[i], FileTarget(static_cast<uint32_t>(i))).has_value());
    EXPECT_LE(directory.modified_count, Directory::kInsertBlocksMax);
    ExpectNames(directory, {names.begin(), names.begin() + static_cast<ptrdiff_t>(i) + 1});
  }
  EXPECT_EQ(directory.Verify().link_group_count, 4u);
  std::vector<size_t> order(40);
  for (size_t i = 0; i < 40; ++i) order[i] = i * 7 % 40;
  for (size_t done = 0; done < 40; ++done) {
    for (size_t i = done; i < 40; ++i) {
      ASSERT_EQ(*directory.Find(names[order[i]]), FileTarget(static_cast<uint32_t>(order[i])));
    }
    ASSERT_TRUE(directory.Remove(names[order[done]]).has_value());
    EXPECT_LE(directory.modified_count, Directory::kRemoveBlocksMax);
    const DirectoryVerdict verdict = directory.Verify();
    ASSERT_TRUE(verdict.faults.empty()) << verdict.Text();
    ASSERT_EQ(verdict.entries.size(), 39 - done);
  }
  EXPECT_EQ(directory.Verify().link_group_count, 0u);
}

TEST(Directory, TellsApartNamesWithTheSameBucketAndLinkHash) {
  std::map<std::pair<uint32_t, uint16_t>, std::string> seen;
  std::string first, second;
  for (uint32_t i = 0; second.empty(); ++i) {
    std::string name = "t" + std::to_string(i);
    const NameKey key = KeyOfName(name, false);
    const auto [position, is_new] = seen.try_emplace({key.bucket, key.link_hash}, name);
    if (is_new) continue;
    first = position->second;
    second = name;
  }
  TestDirectory directory;
  ASSERT_TRUE(directory.Insert(first, FileTarget(1)).has_value());
  EXPECT_EQ(directory.Find(second).error().code(), base::Code::kNotFound);
  ASSERT_TRUE(directory.Insert(second, FileTarget(2)).has_value());
  EXPECT_EQ(*directory.Find(first), FileTarget(1));
  EXPECT_EQ(*directory.Find(second), FileTarget(2));
  ASSERT_TRUE(directory.Remove(first).has_value());
  EXPECT_EQ(*directory.Find(second), FileTarget(2));
  ExpectNames(directory, {second});
}

TEST(Directory, RenamesWithinOneBucketAtEveryLengthOfItsChain) {
  const auto names = CollidingNames(1, 300'000)[0];
  ASSERT_GE(names.size(), 28u);
  for (size_t count = 1; count < 28; ++count) {
    TestDirectory directory;
    for (size_t i = 0; i < count; ++i) {
      ASSERT_TRUE(directory.Insert(names[i], FileTarget(1)).has_value());
    }
    const size_t victim = count * 5 % count;
    ASSERT_TRUE(directory.Rename(names[victim], names[count], FileTarget(1)).has_value());
    EXPECT_LE(directory.modified_count, Directory::kInsertBlocksMax + Directory::kRemoveBlocksMax);
    std::vector<std::string> expected(names.begin(),
                                      names.begin() + static_cast<ptrdiff_t>(count) + 1);
    expected.erase(expected.begin() + static_cast<ptrdiff_t>(victim));
    ExpectNames(directory, expected);
  }
}

TEST(Directory, RenamesOverANameOfTheSameDirectory) {
  TestDirectory directory;
  ASSERT_TRUE(directory.Insert("from", FileTarget(1)).has_value());
  ASSERT_TRUE(directory.Insert("to", FileTarget(2)).has_value());
  auto& inner = directory.directory;
  const auto replacement = base::RunSync(directory.executor, inner.PrepareReplace("to"));
  const auto removal = base::RunSync(directory.executor, inner.PrepareRemove("from"));
  ASSERT_TRUE(replacement.has_value() && removal.has_value());
  EXPECT_EQ(replacement->target(), FileTarget(2));
  EXPECT_EQ(removal->target(), FileTarget(1));
  inner.Apply(directory.transaction, *replacement, removal->target());
  inner.Apply(directory.transaction, *removal);
  EXPECT_EQ(*directory.Find("to"), FileTarget(1));
  EXPECT_EQ(directory.Find("from").error().code(), base::Code::kNotFound);
}

TEST(Directory, ModifiesNothingWhilePreparing) {
  TestDirectory directory;
  for (uint32_t i = 0; i < 14; ++i) {
    ASSERT_TRUE(directory.Insert(std::to_string(i), FileTarget(i)).has_value());
  }
  const auto before = Copy(directory.file.bytes());
  {
    const auto insert =
        base::RunSync(directory.executor, directory.directory.PrepareInsert("more"));
    const auto removal = base::RunSync(directory.executor, directory.directory.PrepareRemove("3"));
    ASSERT_TRUE(insert.has_value() && removal.has_value());
  }
  EXPECT_EQ(directory.file.EndOperation(), 0u);
  EXPECT_EQ(Copy(directory.file.bytes()), before);
}

TEST(Directory, ModifiesNothingWhenAReadFails) {
  const auto names = CollidingNames(1, 100'000)[0];
  TestDirectory directory;
  for (size_t i = 0; i + 1 < names.size(); ++i) {
    ASSERT_TRUE(directory.Insert(names[i], FileTarget(1)).has_value());
  }
  const auto before = Copy(directory.file.bytes());
  for (const bool removes : {false, true}) {
    uint64_t failures = 0;
    for (;; ++failures) {
      directory.file.FailReadAfter(failures);
      const base::Status status =
          removes ? directory.Remove(names[2]) : directory.Insert(names.back(), FileTarget(1));
      directory.file.StopFailing();
      if (status.has_value()) break;
      ASSERT_EQ(status.error().code(), base::Code::kIo);
      ASSERT_EQ(directory.modified_count, 0u);
      ASSERT_EQ(Copy(directory.file.bytes()), before);
    }
    EXPECT_GT(failures, 3u);
    ASSERT_TRUE(
        (removes ? directory.Insert(names[2], FileTarget(1)) : directory.Remove(names.back()))
            .has_value());
    EXPECT_TRUE(directory.Verify().faults.empty()) << directory.Verify().Text();
    if (!removes) {
      ASSERT_EQ(Copy(directory.file.bytes()), before);
    }
  }
}

TEST(Directory, ModifiesNothingWhenTheVolumeIsFull) {
  TestDirectory directory(OrdinaryDirectory(), 18);
  for (uint32_t i = 0; i < 14; ++i) {
    ASSERT_TRUE(directory.Insert(std::to_string(i), FileTarget(i)).has_value());
  }
  const auto before = Copy(directory.file.bytes());
  EXPECT_EQ(directory.Insert("more", FileTarget(1)).error().code(), base::Code::kNoSpace);
  EXPECT_EQ(Copy(directory.file.bytes()), before);
  ASSERT_TRUE(directory.Remove("3").has_value());
  EXPECT_TRUE(directory.Insert("more", FileTarget(1)).has_value());
}

TEST(Directory, SurvivesAFileThatMovesWhenItGrows) {
  TestDirectory directory;
  directory.file.set_moves_when_growing(true);
  std::vector<std::string> names;
  for (const auto& bucket : CollidingNames(4, 100'000)) {
    for (const std::string& name : bucket) {
      ASSERT_TRUE(directory.Insert(name + "x", FileTarget(1)).has_value());
      ASSERT_TRUE(directory.Rename(name + "x", name, FileTarget(1)).has_value());
      names.push_back(name);
    }
  }
  ExpectNames(directory, names);
}

TEST(Directory, UsesBlocksThatTheFileGotBeyondWhatWasAsked) {
  auto bytes = NewDirectoryBytes(OrdinaryDirectory());
  bytes.resize(bytes.size() + 3 * size_t{kMetadataBlockBytes});
  const size_t piece_count = bytes.size() / kMetadataBlockBytes;
  TestDirectory directory(bytes, false, piece_count);
  for (uint32_t i = 0; i < 4 * kRecordsPerBlock; ++i) {
    // These names share no bucket, so that records alone take blocks.
    ASSERT_TRUE(directory.Insert("name" + std::to_string(i), FileTarget(i)).has_value()) << i;
  }
  EXPECT_EQ(directory.Insert("more", FileTarget(1)).error().code(), base::Code::kNoSpace);
  const DirectoryVerdict verdict = directory.Verify();
  EXPECT_TRUE(verdict.faults.empty()) << verdict.Text();
}

TEST(Directory, GivesTwoUnusedBlocksToARecordAndALinkGroup) {
  const auto names = CollidingNames(1, 100'000)[0];
  auto bytes = NewDirectoryBytes(OrdinaryDirectory());
  bytes.resize(bytes.size() + 2 * size_t{kMetadataBlockBytes});
  TestDirectory directory(bytes, false, bytes.size() / kMetadataBlockBytes);
  ASSERT_TRUE(directory.Insert(names[0], FileTarget(1)).has_value());
  for (uint32_t i = 1; i < kRecordsPerBlock; ++i) {
    ASSERT_TRUE(directory.Insert("other" + std::to_string(i), FileTarget(i)).has_value());
  }
  ASSERT_TRUE(directory.Insert(names[1], FileTarget(2)).has_value());
  const DirectoryVerdict verdict = directory.Verify();
  EXPECT_TRUE(verdict.faults.empty()) << verdict.Text();
  EXPECT_EQ(verdict.record_block_count, 2u);
  EXPECT_EQ(verdict.link_block_count, 1u);
}

TEST(DirectoryList, GoesOnWhereItStopped) {
  TestDirectory directory;
  std::set<std::string> expected = {".", ".."};
  for (uint32_t i = 0; i < 100; ++i) {
    expected.insert(std::to_string(i));
    ASSERT_TRUE(directory.Insert(std::to_string(i), FileTarget(i)).has_value());
  }
  for (const size_t step : {1, 2, 13, 14, 15, 200}) {
    std::multiset<std::string> seen;
    uint64_t cursor = 0;
    for (;;) {
      CollectingSink sink(step);
      ASSERT_TRUE(directory.List(cursor, sink).has_value());
      if (sink.entries.empty()) break;
      for (const OwnedEntry& entry : sink.entries) seen.insert(entry.name);
      cursor = sink.entries.back().next_cursor;
    }
    EXPECT_EQ(std::set(seen.begin(), seen.end()), expected);
    EXPECT_EQ(seen.size(), expected.size()) << "step " << step;
  }
}

TEST(DirectoryList, AnswersNothingForACursorBehindTheEnd) {
  TestDirectory directory;
  for (const uint64_t cursor : {uint64_t{28}, uint64_t{1} << 40, UINT64_MAX}) {
    CollectingSink sink;
    ASSERT_TRUE(directory.List(cursor, sink).has_value());
    EXPECT_TRUE(sink.entries.empty());
  }
}

TEST(DirectoryList, ShowsWhatStandsExactlyOnceWhileOthersComeAndGo) {
  base::Random random(7);
  TestDirectory directory;
  std::set<std::string> standing;
  std::vector<std::string> passing;
  for (uint32_t i = 0; i < 600; ++i) {
    const std::string name = (i % 2 == 0 ? "stands" : "passes") + std::to_string(i);
    ASSERT_TRUE(directory.Insert(name, FileTarget(i)).has_value());
    if (i % 2 == 0) {
      standing.insert(name);
    } else {
      passing.push_back(name);
    }
  }
  std::multiset<std::string> seen;
  uint64_t cursor = 0;
  for (uint32_t round = 0;; ++round) {
    CollectingSink sink(5);
    ASSERT_TRUE(directory.List(cursor, sink).has_value());
    if (sink.entries.empty()) break;
    for (const OwnedEntry& entry : sink.entries) seen.insert(entry.name);
    cursor = sink.entries.back().next_cursor;
    std::string& name = passing[random.Below(passing.size())];
    ASSERT_TRUE(directory.Remove(name).has_value());
    name = "new" + std::to_string(round);
    ASSERT_TRUE(directory.Insert(name, FileTarget(round)).has_value());
  }
  for (const std::string& name : standing) EXPECT_EQ(seen.count(name), 1u) << name;
}

}  // namespace
}  // namespace vmfs
