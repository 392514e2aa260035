// Random CDBs against the target, by the invariants of `tests/fuzz/scsi_targets.cc`.
// Replay: SEED=… ROUNDS=… scsi_test --gtest_filter=RandomCommands.*
#include <cstdlib>
#include <vector>

#include <gtest/gtest.h>

#include "fs/base/random.h"
#include "tests/fuzz/targets.h"
#include "vscsi/scsi/types.h"

namespace scsi {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

constexpr Opcode kOpcodes[] = {
    Opcode::kRead6,
    Opcode::kWrite6,
    Opcode::kRead10,
    Opcode::kWrite10,
    Opcode::kRead12,
    Opcode::kWrite12,
    Opcode::kRead16,
    Opcode::kWrite16,
    Opcode::kWriteSame16,
    Opcode::kWriteSame10,
    Opcode::kUnmap,
    Opcode::kCompareAndWrite,
    Opcode::kVerify16,
    Opcode::kWriteAndVerify16,
    Opcode::kServiceActionIn16,
    Opcode::kInquiry,
    Opcode::kModeSense6,
    Opcode::kModeSense10,
    Opcode::kReportLuns,
    Opcode::kRequestSense,
    Opcode::kSynchronizeCache16,
};

// Half of the commands are plausible: a known opcode and mostly zero high bytes, so that checks
// behind the first ones are reached too.
std::vector<uint8_t> RandomInput(base::Random& random) {
  std::vector<uint8_t> input(36 + random.Below(300));
  for (uint8_t& byte : input) byte = static_cast<uint8_t>(random.Next());
  input[32] = random.OneIn(10) ? static_cast<uint8_t>(random.Below(40)) : uint8_t{16};
  if (random.OneIn(2)) return input;
  input[0] = static_cast<uint8_t>(kOpcodes[random.Below(std::size(kOpcodes))]);
  for (size_t i = 1; i < 16; ++i) {
    if (!random.OneIn(4)) input[i] = 0;
  }
  if (input[0] == 0x9E) input[1] = random.OneIn(2) ? 0x10 : 0x12;
  if (random.OneIn(2)) input[34] = static_cast<uint8_t>(2 * random.Below(32)), input[35] = 0;
  return input;
}

TEST(RandomCommands, AreAllAnsweredInsideTheDevice) {
  const uint64_t seed = FromEnvironment("SEED", 20240229);
  const uint64_t rounds = FromEnvironment("ROUNDS", 20000);
  SCOPED_TRACE("replay: SEED=" + std::to_string(seed));
  std::printf("seed %llu rounds %llu\n", static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(rounds));
  base::Random random(seed);
  for (uint64_t i = 0; i < rounds; ++i) {
    const std::vector<uint8_t> input = RandomInput(random);
    fuzz::RunScsiCdb(std::as_bytes(std::span<const uint8_t>(input)));
  }
}

}  // namespace
}  // namespace scsi
