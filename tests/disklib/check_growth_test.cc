// C3: a link that is smaller than its parent, as when the parent was extended alone, grows when the
// repair is asked for, and shows what it hid; cut at any point, the repair converges.
#include <gtest/gtest.h>

#include "disklib/descriptor.h"
#include "disklib/new_link.h"
#include "tests/disklib/check_support.h"
#include "tests/support/crash_files.h"

namespace disklib {
namespace {

constexpr uint64_t kSmallBytes = 4 * kMebi;
constexpr uint64_t kLargeBytes = 6 * kMebi;

constexpr DiskLayout kLayouts[] = {DiskLayout::kSeSparse, DiskLayout::kVmfsSparse};

using Bytes = std::vector<std::byte>;

Bytes Filled(uint64_t length_bytes, int value) {
  return Bytes(length_bytes, static_cast<std::byte>(value));
}

template <typename T>
T Done(base::SimExecutor& executor, base::Task<T> task) {
  return base::RunSync(executor, std::move(task));
}

base::Status WriteDisk(base::SimExecutor& executor, Lib& lib, std::string_view path,
                       uint64_t offset_bytes, Bytes bytes) {
  TRY(const auto chain, Done(executor, lib.Open(path, {.writable = true, .user = "test"})));
  const base::IoVec piece{bytes.data(), bytes.size()};
  const auto written =
      Done(executor, chain->Write({.offset_bytes = offset_bytes, .buffers = {&piece, 1}}));
  if (!written) return written.error();
  return Done(executor, chain->Close());
}

base::Result<Bytes> ReadDisk(base::SimExecutor& executor, Lib& lib, std::string_view path) {
  TRY(const auto chain, Done(executor, lib.Open(path, {.user = "test"})));
  Bytes bytes(chain->size_bytes());
  const base::IoVec piece{bytes.data(), bytes.size()};
  const auto read = Done(executor, chain->Read({.offset_bytes = 0, .buffers = {&piece, 1}}));
  const base::Status closed = Done(executor, chain->Close());
  if (!read) return read.error();
  if (!closed) return closed.error();
  return bytes;
}

// A base of 6 MiB full of ones, and a child of 4 MiB with twos in its second half.
base::Status MakeShortChild(base::SimExecutor& executor, Lib& lib, DiskLayout layout) {
  TRY_STATUS(Done(executor, CreateDisk(lib, "base.vmdk", {.size_bytes = kLargeBytes}, nullptr)));
  TRY_STATUS(WriteDisk(executor, lib, "base.vmdk", 0, Filled(kLargeBytes, 1)));
  TRY(const LoadedDescriptor base, Done(executor, lib.Load("base.vmdk", true)));
  const NewLink child{.size_bytes = kSmallBytes,
                      .layout = layout,
                      .parent_path = "base.vmdk",
                      .parent_content_id = base.descriptor.content_id};
  TRY_STATUS(Done(executor, CreateLink(lib, "leaf.vmdk", child, nullptr)));
  return WriteDisk(executor, lib, "leaf.vmdk", kSmallBytes / 2, Filled(kSmallBytes / 2, 2));
}

Bytes ExpectedAfterRepair() {
  Bytes bytes = Filled(kLargeBytes, 1);
  std::fill(bytes.begin() + kSmallBytes / 2, bytes.begin() + kSmallBytes, std::byte{2});
  return bytes;
}

std::string RepairAndCompare(base::SimExecutor& executor, fss::FileSystem& files) {
  FileBackend backend(files);
  OpenDisks open_disks;
  Lib lib(executor, backend, open_disks);
  DiskRepairOptions options;
  options.fix = {Invariant::kC3};
  const auto repaired = Done(executor, RepairDisk(lib, "leaf.vmdk", options, nullptr));
  if (!repaired) return repaired.error().message();
  if (!repaired->after.is_clean()) return TextOf(repaired->after);
  const auto bytes = ReadDisk(executor, lib, "leaf.vmdk");
  if (!bytes) return bytes.error().message();
  return *bytes == ExpectedAfterRepair() ? "" : "the disk reads otherwise";
}

TEST(CheckGrowth, AShortChildGrowsToItsParentWhenThatIsAskedFor) {
  for (const DiskLayout layout : kLayouts) {
    CheckBench bench;
    const base::Status made = MakeShortChild(bench.executor, bench.lib, layout);
    ASSERT_TRUE(made) << made.error().message();
    EXPECT_EQ(NamesIn(bench.Check("leaf.vmdk")), Names{"C3"});
    EXPECT_EQ(bench.Repair("leaf.vmdk").outcome, DiskRepairOutcome::kNotPossible);
    EXPECT_EQ(RepairAndCompare(bench.executor, bench.files), "");
  }
}

TEST(CheckGrowth, AMiddleLinkGrowsAndThenWhatStandsOnIt) {
  CheckBench bench;
  ASSERT_TRUE(MakeShortChild(bench.executor, bench.lib, DiskLayout::kSeSparse));
  const auto middle = bench.Run(bench.lib.Load("leaf.vmdk", true));
  ASSERT_TRUE(middle);
  const NewLink top{.size_bytes = kSmallBytes,
                    .layout = DiskLayout::kVmfsSparse,
                    .parent_path = "leaf.vmdk",
                    .parent_content_id = middle->descriptor.content_id};
  ASSERT_TRUE(bench.Run(CreateLink(bench.lib, "top.vmdk", top, nullptr)));
  const DiskRepairReport repaired = bench.Repair("top.vmdk", {Invariant::kC3});
  EXPECT_TRUE(repaired.after.is_clean()) << TextOf(repaired.after);
  const auto bytes = ReadDisk(bench.executor, bench.lib, "top.vmdk");
  ASSERT_TRUE(bytes);
  EXPECT_TRUE(*bytes == ExpectedAfterRepair());
}

TEST(CheckGrowth, ARepairThatWasCutConverges) {
  for (const DiskLayout layout : kLayouts) {
    base::SimExecutor executor{1, /*in_order=*/true};
    fss::CrashFiles files;
    FileBackend backend(files);
    OpenDisks open_disks;
    Lib lib(executor, backend, open_disks);
    ASSERT_TRUE(MakeShortChild(executor, lib, layout));
    files.Settle();
    ASSERT_EQ(RepairAndCompare(executor, files), "");
    const auto result =
        fss::SweepCrashFiles(files, {},
                             [](base::SimExecutor& after, fss::MemoryFileSystem& left,
                                const base::CrashCase&) { return RepairAndCompare(after, left); });
    EXPECT_TRUE(result.ok()) << result.failure;
    EXPECT_GT(result.cases, 4u);
  }
}

}  // namespace
}  // namespace disklib
