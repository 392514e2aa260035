// Replays every input that is kept for a fuzz target, found crashes among them, and some random
// changes of each: what every build runs of the fuzzing, whatever its compiler.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fs/base/log.h"
#include "fs/base/random.h"
#include "tests/fuzz/targets.h"

namespace fuzz {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

std::vector<std::filesystem::path> CorpusOf(const Target& target) {
  std::vector<std::filesystem::path> paths;
  const std::filesystem::path folder = std::filesystem::path(STRATA_FUZZ_CORPUS) / target.name;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::vector<char> BytesOf(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// A few bytes changed, sometimes to values that counts and offsets break at; sometimes cut short.
std::vector<char> Changed(std::vector<char> bytes, base::Random& random) {
  constexpr char kEdges[] = {'\0', '\1', '\x7f', '\x80', '\xff'};
  for (uint64_t i = 0; !bytes.empty() && i <= random.Below(4); ++i) {
    const uint64_t value = random.OneIn(2) ? random.Below(256) : 0;
    bytes[random.Below(bytes.size())] =
        value != 0 ? static_cast<char>(value) : kEdges[random.Below(std::size(kEdges))];
  }
  if (random.OneIn(8)) bytes.resize(random.Below(bytes.size() + 1));
  return bytes;
}

class FuzzCorpus : public testing::TestWithParam<Target> {
 protected:
  void SetUp() override { base::SetLogLevel(base::LogLevel::kOff); }
};

TEST_P(FuzzCorpus, IsTakenWithoutACrash) {
  const Target& target = GetParam();
  const std::vector<std::filesystem::path> paths = CorpusOf(target);
  ASSERT_FALSE(paths.empty()) << "no corpus for " << target.name;
  const uint64_t seed = FromEnvironment("SEED", 1);
  const uint64_t rounds = FromEnvironment("ROUNDS", 4);
  base::Random random(seed);
  for (const std::filesystem::path& path : paths) {
    SCOPED_TRACE(path.filename().string() + ": SEED=" + std::to_string(seed));
    const std::vector<char> bytes = BytesOf(path);
    EXPECT_LE(bytes.size(), target.input_bytes_max);
    target.run(std::as_bytes(std::span<const char>(bytes)));
    for (uint64_t i = 0; i < rounds; ++i) {
      const std::vector<char> changed = Changed(bytes, random);
      target.run(std::as_bytes(std::span<const char>(changed)));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, FuzzCorpus,
                         testing::ValuesIn(AllTargets().begin(), AllTargets().end()),
                         [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace fuzz
