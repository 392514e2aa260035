// Random operations on a directory and on a std::map; both must agree, and the bytes must be sound.
#include <cstdlib>
#include <map>

#include <gtest/gtest.h>

#include "tests/support/test_directory.h"

namespace vmfs {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

class DirectoryModel {
 public:
  DirectoryModel(uint64_t seed, bool is_root)
      : random_(seed),
        system_count_(is_root ? 8 : 0),
        directory_(is_root ? RootDirectory() : OrdinaryDirectory(), 600) {
    for (const auto& bucket : CollidingNames(8, 150'000, is_root)) {
      pool_.insert(pool_.end(), bucket.begin(), bucket.end());
    }
    for (uint32_t i = 0; i < 1500; ++i) pool_.push_back("plain" + std::to_string(i));
  }

  void Run(uint64_t operation_count) {
    for (uint64_t i = 0; i < operation_count && !testing::Test::HasFailure(); ++i) {
      // Fills and empties in turn, so that chains and blocks grow and shrink.
      const bool grows = i / 1500 % 2 == 0;
      Step(grows);
      if (i % 997 == 0) Compare();
    }
    while (!model_.empty() && !testing::Test::HasFailure()) {
      const std::string name = model_.begin()->first;
      Remove(name);
    }
    Compare();
    const DirectoryVerdict verdict = directory_.Verify();
    EXPECT_EQ(verdict.link_group_count, 0u);
    EXPECT_EQ(verdict.entries.size(), system_count_);
  }

 private:
  const std::string& AnyName() { return pool_[random_.Below(pool_.size())]; }

  DirectoryTarget AnyTarget() { return FileTarget(static_cast<uint32_t>(random_.Below(1 << 20))); }

  void Step(bool grows) {
    switch (random_.Below(10)) {
      case 0: return Find(AnyName());
      case 1: return Replace(AnyName());
      case 2:
      case 3: return Rename(AnyName(), AnyName());
      case 4:
      case 5: return grows ? Insert(AnyName()) : Remove(AnyName());
      case 6: return Remove(AnyName());
      default: return grows ? Insert(AnyName()) : Remove(AnyName());
    }
  }

  void ExpectCode(const base::Status& status, std::optional<base::Code> code) {
    EXPECT_EQ(status.has_value(), !code.has_value());
    if (status || !code) return;
    EXPECT_EQ(status.error().code(), *code) << status.error().message();
  }

  void Find(const std::string& name) {
    const auto found = directory_.Find(name);
    ASSERT_EQ(found.has_value(), model_.contains(name)) << name;
    if (!found) return;
    EXPECT_EQ(*found, model_[name]);
  }

  void Insert(const std::string& name) {
    const DirectoryTarget target = AnyTarget();
    const bool is_new = model_.try_emplace(name, target).second;
    ExpectCode(directory_.Insert(name, target),
               is_new ? std::nullopt : std::optional(base::Code::kExists));
    EXPECT_LE(directory_.modified_count, Directory::kInsertBlocksMax);
  }

  void Remove(const std::string& name) {
    const bool was_there = model_.erase(name) > 0;
    ExpectCode(directory_.Remove(name),
               was_there ? std::nullopt : std::optional(base::Code::kNotFound));
    EXPECT_LE(directory_.modified_count, Directory::kRemoveBlocksMax);
  }

  void Replace(const std::string& name) {
    const DirectoryTarget target = AnyTarget();
    const auto place = model_.find(name);
    ExpectCode(directory_.Replace(name, target),
               place != model_.end() ? std::nullopt : std::optional(base::Code::kNotFound));
    if (place != model_.end()) place->second = target;
  }

  void Rename(const std::string& from, const std::string& to) {
    if (!model_.contains(from) || model_.contains(to)) return;
    const DirectoryTarget target = model_[from];
    ExpectCode(directory_.Rename(from, to, target), std::nullopt);
    model_.erase(from);
    model_[to] = target;
  }

  void Compare() {
    const DirectoryVerdict verdict = directory_.Verify();
    ASSERT_TRUE(verdict.faults.empty()) << verdict.Text();
    ASSERT_EQ(verdict.entries.size(), model_.size() + system_count_);
    CollectingSink sink;
    ASSERT_TRUE(directory_.List(0, sink).has_value());
    ASSERT_EQ(sink.entries.size(), model_.size() + system_count_ + 2);
    for (const auto& [name, target] : model_) {
      const auto found = verdict.entries.find(name);
      ASSERT_NE(found, verdict.entries.end()) << name;
      ASSERT_EQ(found->second, target) << name;
    }
  }

  base::Random random_;
  const size_t system_count_;
  TestDirectory directory_;
  std::vector<std::string> pool_;
  std::map<std::string, DirectoryTarget> model_;
};

class DirectoryModelTest : public testing::TestWithParam<bool> {};

TEST_P(DirectoryModelTest, AgreesWithAMap) {
  const uint64_t seed = FromEnvironment("SEED", 1);
  const uint64_t rounds = FromEnvironment("ROUNDS", 20'000);
  SCOPED_TRACE("SEED=" + std::to_string(seed) + " ROUNDS=" + std::to_string(rounds) +
               " vmfs_directory_test --gtest_filter=*DirectoryModelTest*");
  DirectoryModel model(seed, GetParam());
  model.Run(rounds);
}

INSTANTIATE_TEST_SUITE_P(RootAndOthers, DirectoryModelTest, testing::Bool(),
                         [](const auto& parameter) {
                           return parameter.param ? std::string("Root") : std::string("Ordinary");
                         });

TEST(DirectoryCapacity, TakesOverAHundredThousandNamesAndGivesAllSpaceBack) {
  TestDirectory directory(OrdinaryDirectory(), kPiecesOfFullDirectory);
  uint32_t count = 0;
  base::Status status;
  while ((status = directory.Insert(std::to_string(count), FileTarget(count))).has_value()) {
    ++count;
  }
  EXPECT_EQ(status.error().code(), base::Code::kNoSpace);
  EXPECT_GT(count, 107'000u);
  EXPECT_EQ(directory.file.size_bytes(), kPiecesOfFullDirectory * kMetadataBlockBytes);
  DirectoryVerdict verdict = directory.Verify();
  ASSERT_TRUE(verdict.faults.empty()) << verdict.Text().substr(0, 1000);
  EXPECT_EQ(verdict.entries.size(), count);
  for (uint32_t i = 0; i < count; ++i) {
    ASSERT_TRUE(directory.Remove(std::to_string(i)).has_value()) << i;
  }
  verdict = directory.Verify();
  ASSERT_TRUE(verdict.faults.empty()) << verdict.Text().substr(0, 1000);
  EXPECT_TRUE(verdict.entries.empty());
  EXPECT_EQ(verdict.link_group_count, 0u);
  EXPECT_TRUE(directory.Insert("again", FileTarget(1)).has_value());
}

}  // namespace
}  // namespace vmfs
