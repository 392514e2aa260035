#include "tests/base/device_conformance.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "fs/base/aligned_buffer.h"
#include "fs/base/checked.h"
#include "fs/base/random.h"
#include "fs/base/sync.h"
#include "tests/support/crash_sweep.h"

namespace base {

void DeviceConformance::SetUp() {
  stack_ = GetParam().make();
  if (!stack_) GTEST_SKIP() << "not to be had on this host";
  device_ = OpenChecked();
}

void DeviceConformance::TearDown() {
  if (!device_) return;
  const Status status = RunSync(executor(), device_->Close());
  EXPECT_TRUE(status.has_value());
}

std::unique_ptr<BlockDevice> DeviceConformance::OpenChecked() {
  auto device = stack_->Open();
  CHECK(device != nullptr);
  return Checked(std::move(device));
}

// One transfer after the other, each as large as the device takes.
template <typename Transfer>
Status DeviceConformance::InTransfers(uint64_t offset_bytes, std::span<std::byte> data,
                                      const Transfer& transfer) {
  const Limits& limits = device().limits();
  const size_t longest = RoundDown(limits.transfer_bytes_max, limits.block_size_bytes);
  while (!data.empty()) {
    const IoVec piece{data.data(), std::min(longest, data.size())};
    IoRequest request;
    request.offset_bytes = offset_bytes;
    request.buffers = std::span(&piece, 1);
    TRY_STATUS(RunSync(executor(), transfer(request)));
    data = data.subspan(piece.size_bytes);
    offset_bytes += piece.size_bytes;
  }
  return Ok();
}

Status DeviceConformance::Write(uint64_t offset_bytes, std::span<std::byte> data, bool fua) {
  return InTransfers(offset_bytes, data, [this, fua](IoRequest request) {
    request.fua = fua;
    return device().Write(request);
  });
}

Status DeviceConformance::Read(uint64_t offset_bytes, std::span<std::byte> data) {
  return InTransfers(offset_bytes, data,
                     [this](IoRequest request) { return device().Read(request); });
}

std::vector<std::byte> DeviceConformance::ReadBack(uint64_t offset_bytes, size_t size_bytes) {
  AlignedBuffer buffer(size_bytes);
  const Status status = Read(offset_bytes, buffer.span());
  EXPECT_TRUE(status.has_value()) << status.error().message();
  return {buffer.data(), buffer.data() + size_bytes};
}

void DeviceConformance::ExpectBytes(uint64_t offset_bytes, std::span<const std::byte> expected) {
  const std::vector<std::byte> found = ReadBack(offset_bytes, expected.size());
  const auto differ = std::ranges::mismatch(found, expected);
  EXPECT_EQ(differ.in1, found.end())
      << "first difference at " << offset_bytes + static_cast<uint64_t>(differ.in1 - found.begin());
}

namespace {

constexpr uint64_t kMiB = 1 << 20;

void Fill(std::span<std::byte> bytes, Random& random) {
  while (!bytes.empty()) {
    const uint64_t word = random.Next();
    const size_t count = std::min(bytes.size(), sizeof(word));
    std::memcpy(bytes.data(), &word, count);
    bytes = bytes.subspan(count);
  }
}

AlignedBuffer Filled(size_t size_bytes, uint64_t seed) {
  AlignedBuffer buffer(size_bytes);
  Random random(seed);
  Fill(buffer.span(), random);
  return buffer;
}

// Cuts memory into pieces of random sizes that suit the device.
std::vector<IoVec> CutAtRandom(std::span<std::byte> memory, uint32_t alignment, Random& random) {
  std::vector<IoVec> pieces;
  while (!memory.empty()) {
    const size_t units = memory.size() / alignment;
    size_t size = (1 + random.Below(units)) * alignment;
    if (pieces.size() == 15) size = memory.size();
    pieces.push_back({memory.data(), size});
    memory = memory.subspan(size);
  }
  return pieces;
}

// Random operations on the device and on plain memory.
class ModelRun {
 public:
  ModelRun(Executor& executor, BlockDevice& device, uint64_t seed)
      : executor_(executor), device_(device), random_(seed), model_(2 * kMiB) {}

  // Answers what went wrong, empty when nothing did.
  std::string Step() {
    const uint64_t block = device_.limits().block_size_bytes;
    const uint64_t blocks = model_.size() / block;
    const uint64_t longest = std::min<uint64_t>(random_.OneIn(4) ? 512 * 1024 : 16 * 1024,
                                                device_.limits().transfer_bytes_max);
    const uint64_t offset = random_.Below(blocks) * block;
    const uint64_t length =
        std::min((1 + random_.Below(longest / block)) * block, model_.size() - offset);
    switch (random_.Below(6)) {
      case 0:
      case 1: return Report("write", offset, length, Write(offset, length));
      case 2: return Report("write zeros", offset, length, Zero(offset, length));
      case 3: return Report("unmap", offset, length, Unmap(offset, length));
      case 4: return Report("flush", 0, 0, RunSync(executor_, device_.Flush()));
      default: return Read(offset, length);
    }
  }

 private:
  std::string Report(const char* verb, uint64_t offset, uint64_t length, const Status& status) {
    if (status.has_value()) return "";
    return fmt::format("{} at {}, {} bytes: {}", verb, offset, length, status.error().message());
  }

  Status Write(uint64_t offset, uint64_t length) {
    const uint32_t alignment = device_.limits().memory_alignment_bytes;
    const uint64_t skew = random_.Below(512 / alignment + 1) * alignment;
    AlignedBuffer buffer(length + skew);
    const auto memory = buffer.span().subspan(skew);
    Fill(memory, random_);
    std::memcpy(model_.data() + offset, memory.data(), length);
    const std::vector<IoVec> pieces = CutAtRandom(memory, alignment, random_);
    IoRequest request;
    request.offset_bytes = offset;
    request.buffers = pieces;
    request.fua = random_.OneIn(8);
    return RunSync(executor_, device_.Write(request));
  }

  Status Zero(uint64_t offset, uint64_t length) {
    std::memset(model_.data() + offset, 0, length);
    return RunSync(executor_, device_.WriteZeroes(offset, length, random_.OneIn(2)));
  }

  Status Unmap(uint64_t offset, uint64_t length) {
    if (!device_.limits().can_unmap) return Ok();
    std::memset(model_.data() + offset, 0, length);
    return RunSync(executor_, device_.Unmap(offset, length));
  }

  std::string Read(uint64_t offset, uint64_t length) {
    const uint32_t alignment = device_.limits().memory_alignment_bytes;
    AlignedBuffer buffer(length + alignment);
    const auto memory = buffer.span().subspan(alignment);
    const std::vector<IoVec> pieces = CutAtRandom(memory, alignment, random_);
    IoRequest request;
    request.offset_bytes = offset;
    request.buffers = pieces;
    const Status status = RunSync(executor_, device_.Read(request));
    if (!status.has_value()) return Report("read", offset, length, status);
    if (std::memcmp(memory.data(), model_.data() + offset, length) == 0) return "";
    return fmt::format("read at {}, {} bytes: other bytes than written", offset, length);
  }

  Executor& executor_;
  BlockDevice& device_;
  Random random_;
  std::vector<std::byte> model_;
};

}  // namespace

TEST_P(DeviceConformance, BehavesLikePlainMemory) {
  const uint64_t seed = SeedFromEnvironment(20);
  ModelRun run(executor(), device(), seed);
  for (uint64_t step = 0; step < RoundsFromEnvironment(400); ++step) {
    const std::string wrong = run.Step();
    ASSERT_EQ(wrong, "") << "step " << step << "; replay with SEED=" << seed;
  }
}

TEST_P(DeviceConformance, FreshDeviceReadsAsZeros) {
  ExpectBytes(0, std::vector<std::byte>(kMiB));
  ExpectBytes(device().size_bytes() - 65536, std::vector<std::byte>(65536));
}

TEST_P(DeviceConformance, ContentsOutliveClose) {
  AlignedBuffer data = Filled(65536, 1);
  ASSERT_TRUE(Write(kMiB, data.span()).has_value());
  ASSERT_TRUE(RunSync(executor(), device().Flush()).has_value());
  ASSERT_TRUE(RunSync(executor(), device().Close()).has_value());
  device_.reset();
  device_ = OpenChecked();
  ExpectBytes(kMiB, data.span());
}

TEST_P(DeviceConformance, TakesTheLargestTransferItNames) {
  const uint32_t block = device().limits().block_size_bytes;
  const uint64_t size = RoundDown(device().limits().transfer_bytes_max, block);
  AlignedBuffer data = Filled(size, 2);
  ASSERT_TRUE(Write(block, data.span(), /*fua=*/true).has_value());
  ExpectBytes(block, data.span());
}

TEST_P(DeviceConformance, TheLastBlockIsUsableAndTheNextIsNot) {
  const uint64_t block = device().limits().block_size_bytes;
  const uint64_t size = device().size_bytes();
  AlignedBuffer data = Filled(2 * block, 3);
  EXPECT_TRUE(Write(size - block, data.span().first(block)).has_value());
  ExpectBytes(size - block, data.span().first(block));
  for (const uint64_t offset : {size - block, size, RoundDown(~uint64_t{0}, block) - block}) {
    EXPECT_EQ(Write(offset, data.span()).error().code(), Code::kOutOfRange) << offset;
    EXPECT_EQ(Read(offset, data.span()).error().code(), Code::kOutOfRange) << offset;
    const Status zeroed = RunSync(executor(), device().WriteZeroes(offset, 2 * block, true));
    EXPECT_EQ(zeroed.error().code(), Code::kOutOfRange) << offset;
    std::vector<MapRun> runs;
    const Status mapped = RunSync(executor(), device().MapStatus(offset, 2 * block, runs));
    EXPECT_EQ(mapped.error().code(), Code::kOutOfRange) << offset;
  }
}

TEST_P(DeviceConformance, RefusesHalfBlocks) {
  const uint64_t block = device().limits().block_size_bytes;
  ASSERT_TRUE(RunSync(executor(), device().Close()).has_value());
  device_ = stack_->Open();  // not checked: a caller of ours would never do this
  AlignedBuffer data = Filled(block, 4);
  EXPECT_EQ(Write(block / 2, data.span()).error().code(), Code::kMisaligned);
  EXPECT_EQ(Write(0, data.span().first(block / 2)).error().code(), Code::kMisaligned);
  EXPECT_EQ(Read(block / 2, data.span()).error().code(), Code::kMisaligned);
  EXPECT_EQ(RunSync(executor(), device().WriteZeroes(1, block, true)).error().code(),
            Code::kMisaligned);
}

TEST_P(DeviceConformance, UnmappedRangesReadAsZerosAndTheirNeighboursStay) {
  const Limits limits = device().limits();
  if (!limits.can_unmap) GTEST_SKIP() << "no unmap";
  AlignedBuffer data = Filled(kMiB, 5);
  ASSERT_TRUE(Write(0, data.span()).has_value());
  const uint64_t block = limits.block_size_bytes;
  const uint64_t begin = 64 * 1024 + block;
  const uint64_t length = 512 * 1024 + block;
  ASSERT_TRUE(RunSync(executor(), device().Unmap(begin, length)).has_value());
  std::memset(data.data() + begin, 0, length);
  ExpectBytes(0, data.span());
  ASSERT_TRUE(RunSync(executor(), device().Unmap(begin, 0)).has_value());
  ExpectBytes(0, data.span());
}

TEST_P(DeviceConformance, WholeUnmappedGranulesAreHoles) {
  const Limits limits = device().limits();
  if (!limits.can_unmap || !limits.can_map_status) GTEST_SKIP() << "no unmap or no map";
  const uint64_t granule = std::max<uint64_t>(limits.unmap_granularity_bytes, 65536);
  AlignedBuffer data = Filled(4 * granule, 6);
  ASSERT_TRUE(Write(0, data.span()).has_value());
  ASSERT_TRUE(RunSync(executor(), device().Unmap(granule, granule)).has_value());
  ASSERT_TRUE(RunSync(executor(), device().Flush()).has_value());
  std::vector<MapRun> runs;
  ASSERT_TRUE(RunSync(executor(), device().MapStatus(0, 3 * granule, runs)).has_value());
  ASSERT_EQ(runs.size(), 3u);
  EXPECT_EQ(runs[0].state, MapState::kData);
  EXPECT_EQ(runs[1], (MapRun{granule, granule, MapState::kHole}));
  EXPECT_EQ(runs[2].state, MapState::kData);
}

TEST_P(DeviceConformance, ZeroedRangesReadAsZerosHoweverTheyAreMade) {
  for (const bool may_unmap : {false, true}) {
    AlignedBuffer data = Filled(kMiB, 7);
    ASSERT_TRUE(Write(kMiB, data.span()).has_value());
    const uint64_t block = device().limits().block_size_bytes;
    const Status status =
        RunSync(executor(), device().WriteZeroes(kMiB + block, 300 * 1024, may_unmap));
    ASSERT_TRUE(status.has_value()) << status.error().message();
    std::memset(data.data() + block, 0, 300 * 1024);
    ExpectBytes(kMiB, data.span());
  }
}

TEST_P(DeviceConformance, ZeroesMoreThanOneTransferHolds) {
  AlignedBuffer data = Filled(65536, 8);
  ASSERT_TRUE(Write(3 * kMiB, data.span()).has_value());
  const uint64_t length = device().size_bytes() - 512;
  const uint64_t aligned = RoundDown(length, device().limits().block_size_bytes);
  ASSERT_TRUE(RunSync(executor(), device().WriteZeroes(0, aligned, true)).has_value());
  ExpectBytes(3 * kMiB, std::vector<std::byte>(65536));
}

TEST_P(DeviceConformance, MapNeverCallsDataAHole) {
  AlignedBuffer data = Filled(8192, 9);
  for (const uint64_t offset : {uint64_t{0}, 3 * kMiB, device().size_bytes() - 8192}) {
    ASSERT_TRUE(Write(offset, data.span()).has_value());
  }
  std::vector<MapRun> runs;
  ASSERT_TRUE(RunSync(executor(), device().MapStatus(0, device().size_bytes(), runs)).has_value());
  for (const MapRun& run : runs) {
    if (run.state == MapState::kData) continue;
    for (uint64_t at = run.offset_bytes; at < run.offset_bytes + run.length_bytes;) {
      const uint64_t size = std::min(kMiB, run.offset_bytes + run.length_bytes - at);
      ExpectBytes(at, std::vector<std::byte>(size));
      at += std::min(size * 64, run.offset_bytes + run.length_bytes - at);
    }
  }
  std::vector<MapRun> part;
  ASSERT_TRUE(RunSync(executor(), device().MapStatus(3 * kMiB, 8192, part)).has_value());
  EXPECT_EQ(part, (std::vector<MapRun>{{3 * kMiB, 8192, MapState::kData}}));
}

TEST_P(DeviceConformance, CompareAndWriteReplacesOnlyWhatItExpects) {
  if (!device().limits().can_compare_and_write) GTEST_SKIP() << "no compare and write";
  const uint64_t block = device().limits().block_size_bytes;
  const uint64_t physical = device().limits().physical_block_bytes;
  for (const uint64_t size : {block, physical}) {
    for (const uint64_t offset : {2 * kMiB, 2 * kMiB + 2 * physical - size}) {
      AlignedBuffer before = Filled(4 * physical, 10);
      AlignedBuffer after = Filled(size, 11);
      ASSERT_TRUE(Write(2 * kMiB - physical, before.span()).has_value());
      const auto old = before.span().subspan(offset - 2 * kMiB + physical, size);
      const Status wrong = RunSync(executor(), device().CompareAndWrite(offset, after.span(), old));
      EXPECT_EQ(wrong.error().code(), Code::kMiscompare);
      ExpectBytes(2 * kMiB - physical, before.span());
      const Status right = RunSync(executor(), device().CompareAndWrite(offset, old, after.span()));
      ASSERT_TRUE(right.has_value()) << right.error().message();
      std::memcpy(old.data(), after.data(), size);
      ExpectBytes(2 * kMiB - physical, before.span());
    }
  }
}

namespace {

// Adds one to a number on disk by compare-and-write, `count` times.
Task<void> AddByCompareAndWrite(BlockDevice& device, uint64_t offset, int count, int& failures) {
  const uint64_t block = device.limits().block_size_bytes;
  AlignedBuffer before(block);
  AlignedBuffer after(block);
  const IoVec piece = before.piece();
  IoRequest request;
  request.offset_bytes = offset;
  request.buffers = std::span(&piece, 1);
  while (count > 0) {
    const Status read = co_await device.Read(request);
    if (!read.has_value()) ++failures;
    std::memcpy(after.data(), before.data(), block);
    uint64_t number = 0;
    std::memcpy(&number, after.data(), sizeof(number));
    ++number;
    std::memcpy(after.data(), &number, sizeof(number));
    const Status status = co_await device.CompareAndWrite(offset, before.span(), after.span());
    if (status.has_value()) --count;
    if (!status.has_value() && status.error().code() != Code::kMiscompare) {
      ++failures;
      co_return;
    }
  }
}

Task<void> AddSideBySide(Executor& executor, BlockDevice& first, BlockDevice& second, uint64_t at,
                         int& failures) {
  TaskGroup group(executor);
  for (int i = 0; i < 4; ++i) {
    group.Add(AddByCompareAndWrite(first, at, 10, failures));
    group.Add(AddByCompareAndWrite(second, at, 10, failures));
  }
  co_await group.Join();
}

Task<void> WriteOne(BlockDevice& device, uint64_t offset, std::span<std::byte> data,
                    int& failures) {
  const IoVec piece{data.data(), data.size()};
  IoRequest request;
  request.offset_bytes = offset;
  request.buffers = std::span(&piece, 1);
  const Status status = co_await device.Write(request);
  if (!status.has_value()) ++failures;
}

// Writes `data` as many neighbouring requests of a few blocks, all at once.
Task<void> WriteNeighbours(Executor& executor, BlockDevice& device, uint64_t offset,
                           std::span<std::byte> data, int& failures) {
  const uint64_t block = device.limits().block_size_bytes;
  TaskGroup group(executor);
  for (uint64_t blocks = 1; !data.empty(); blocks = blocks % 11 + 1) {
    const size_t size = std::min<size_t>(blocks * block, data.size());
    group.Add(WriteOne(device, offset, data.first(size), failures));
    data = data.subspan(size);
    offset += size;
  }
  co_await group.Join();
}

Task<void> CloseDuringWrites(Executor& executor, BlockDevice& device, std::span<std::byte> data,
                             int& failures) {
  TaskGroup group(executor);
  group.Add(WriteNeighbours(executor, device, 0, data, failures));
  const Status status = co_await device.Close();
  if (!status.has_value()) ++failures;
  co_await group.Join();
}

}  // namespace

TEST_P(DeviceConformance, CompareAndWriteLosesNoUpdateWithinOneOpen) {
  if (!device().limits().can_compare_and_write) GTEST_SKIP() << "no compare and write";
  int failures = 0;
  RunSync(executor(), AddSideBySide(executor(), device(), device(), 4096, failures));
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(ReadBack(4096, device().limits().block_size_bytes)[0], std::byte{80});
}

TEST_P(DeviceConformance, CompareAndWriteLosesNoUpdateBetweenTwoOpens) {
  if (!device().limits().can_compare_and_write || !stack_->shares_opens()) {
    GTEST_SKIP() << "no compare and write, or no second open";
  }
  const auto second = OpenChecked();
  int failures = 0;
  RunSync(executor(), AddSideBySide(executor(), device(), *second, 4096, failures));
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(ReadBack(4096, device().limits().block_size_bytes)[0], std::byte{80});
  EXPECT_TRUE(RunSync(executor(), second->Close()).has_value());
}

TEST_P(DeviceConformance, NeighboursWrittenAtOnceDoNotDisturbEachOther) {
  const uint32_t alignment = device().limits().memory_alignment_bytes;
  for (int round = 0; round < 4; ++round) {
    AlignedBuffer buffer = Filled(300 * 4096 + alignment, 12 + static_cast<uint64_t>(round));
    const auto data = buffer.span().subspan(alignment);
    int failures = 0;
    RunSync(executor(), WriteNeighbours(executor(), device(), 4096, data, failures));
    EXPECT_EQ(failures, 0);
    ExpectBytes(4096, data);
  }
}

TEST_P(DeviceConformance, CloseWaitsForWhatIsInFlight) {
  AlignedBuffer data = Filled(kMiB, 13);
  int failures = 0;
  RunSync(executor(), CloseDuringWrites(executor(), device(), data.span(), failures));
  EXPECT_EQ(failures, 0);
  device_.reset();
  device_ = OpenChecked();
  ExpectBytes(0, data.span());
}

}  // namespace base
