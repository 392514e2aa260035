#include "disklib/exchange/proof_device.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fs/base/sim_executor.h"
#include "tests/disklib/support.h"

namespace disklib {
namespace {

// A device in memory whose reads are answered after a turn of the executor: in a random order.
class SlowDevice final : public base::BlockDevice {
 public:
  SlowDevice(base::Executor& executor, std::vector<std::byte> bytes)
      : executor_(executor), bytes_(std::move(bytes)) {}

  const base::Limits& limits() const override { return limits_; }

  uint64_t size_bytes() const override { return bytes_.size(); }

  const std::string& name() const override { return name_; }

  base::Task<base::Status> Read(base::IoRequest request) override {
    co_await executor_.Sleep(executor_.random().Below(50));
    if (request.offset_bytes == fails_at_) co_return base::Code::kIo;
    std::memcpy(request.buffers[0].data, bytes_.data() + request.offset_bytes,
                request.buffers[0].size_bytes);
    co_return base::Ok();
  }

  base::Task<base::Status> Write(base::IoRequest) override { co_return base::Code::kReadOnly; }

  base::Task<base::Status> Flush() override { co_return base::Ok(); }

  base::Task<base::Status> Unmap(uint64_t, uint64_t) override { co_return base::Code::kReadOnly; }

  base::Task<base::Status> WriteZeroes(uint64_t, uint64_t, bool) override {
    co_return base::Code::kReadOnly;
  }

  base::Task<base::Status> CompareAndWrite(uint64_t, std::span<const std::byte>,
                                           std::span<const std::byte>) override {
    co_return base::Code::kUnsupported;
  }

  // Blocks of 4 KiB, zeros told from data.
  base::Task<base::Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                     std::vector<base::MapRun>& runs) override {
    for (uint64_t at = offset_bytes; at < offset_bytes + length_bytes; at += 4096) {
      runs.push_back({at, 4096, IsZeroAt(at) ? base::MapState::kHole : base::MapState::kData});
    }
    co_return base::Ok();
  }

  base::Task<base::Status> Close() override { co_return base::Ok(); }

  bool IsZeroAt(uint64_t at) const { return bytes_[at] == std::byte{0}; }

  void FailAt(uint64_t offset_bytes) { fails_at_ = offset_bytes; }

  std::string Sha256() const {
    base::Digest digest(base::DigestKind::kSha256);
    digest.Add(bytes_);
    return digest.Finish();
  }

 private:
  base::Executor& executor_;
  std::vector<std::byte> bytes_;
  base::Limits limits_;
  std::string name_ = "slow";
  uint64_t fails_at_ = UINT64_MAX;
};

constexpr uint64_t kBlockBytes = 4096;
constexpr uint64_t kBlockCount = 200;

// Blocks of data and of zeros in a row that the seed decides.
std::vector<std::byte> Content(uint64_t seed) {
  std::vector<std::byte> bytes = Pattern(seed, kBlockCount * kBlockBytes);
  base::Random random(seed);
  for (uint64_t block = 0; block < kBlockCount; ++block) {
    const auto start = bytes.begin() + static_cast<std::ptrdiff_t>(block * kBlockBytes);
    if (random.OneIn(2)) std::fill(start, start + kBlockBytes, std::byte{0});
  }
  return bytes;
}

base::Task<void> ReadBlock(ProofDevice& proof, uint64_t block, int* failed_count) {
  std::vector<std::byte> buffer(kBlockBytes);
  const base::IoVec piece{buffer.data(), buffer.size()};
  const base::Status read =
      co_await proof.Read({.offset_bytes = block * kBlockBytes, .buffers = {&piece, 1}});
  if (!read) ++*failed_count;
}

// Reads what is data, sixteen blocks at a time, as a copy does.
base::Task<int> ReadAll(base::Executor& executor, ProofDevice& proof, SlowDevice& device) {
  std::vector<base::MapRun> runs;
  const base::Status mapped = co_await proof.MapStatus(0, device.size_bytes(), runs);
  if (!mapped) co_return -1;
  int failed_count = 0;
  base::TaskGroup readers(executor);
  for (uint64_t block = 0; block < kBlockCount; ++block) {
    if (device.IsZeroAt(block * kBlockBytes)) continue;
    co_await readers.WaitUntilAtMost(15);
    readers.Add(ReadBlock(proof, block, &failed_count));
  }
  co_await readers.Join();
  co_return failed_count;
}

TEST(Proof, IsTheHashOfTheRawImageInWhateverOrderReadsEnd) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    base::SimExecutor executor(seed);
    SlowDevice device(executor, Content(seed));
    ProofDevice proof(executor, device);
    EXPECT_EQ(base::RunSync(executor, ReadAll(executor, proof, device)), 0);
    const auto made = proof.Finish();
    ASSERT_TRUE(made.has_value()) << made.error().message();
    EXPECT_EQ(*made, device.Sha256());
  }
}

TEST(Proof, LeavesNobodyWaitingWhenAReadFails) {
  base::SimExecutor executor(1);
  std::vector<std::byte> bytes = Pattern(1, kBlockCount * kBlockBytes);
  SlowDevice device(executor, std::move(bytes));
  device.FailAt(7 * kBlockBytes);
  ProofDevice proof(executor, device);
  EXPECT_EQ(base::RunSync(executor, ReadAll(executor, proof, device)), 1);
  EXPECT_FALSE(proof.Finish().has_value());
}

TEST(Proof, IsRefusedWhenDataWasNotRead) {
  base::SimExecutor executor(1);
  SlowDevice device(executor, Pattern(1, kBlockCount * kBlockBytes));
  ProofDevice proof(executor, device);
  int failed_count = 0;
  base::RunSync(executor, ReadBlock(proof, 0, &failed_count));
  EXPECT_EQ(proof.Finish().error().code(), base::Code::kInternal);
}

}  // namespace
}  // namespace disklib
