// The checker on whole volumes: fresh ones of many sizes, and ESXi's.
#include "vmfs/fsck/fsck.h"

#include <gtest/gtest.h>

#include <chrono>

#include "tests/support/bytes.h"
#include "tests/support/fsck_volume.h"
#include "tests/support/sample.h"

namespace vmfs {
namespace {

using base::Code;
using base::RunSync;
using testing_support::Describe;
using testing_support::ExpectError;
using testing_support::VolumeFiles;

constexpr uint64_t kGibibyte = uint64_t{1} << 30;

TEST(Fsck, FindsNothingOnFreshVolumesOfAnySize) {
  for (const uint64_t bytes : {kUnitBytes, 2 * kUnitBytes, 3 * kUnitBytes, 10 * kGibibyte,
                               200 * kGibibyte, 1024 * kGibibyte}) {
    VolumeFiles files;
    files.Add(ImageBytesFor(bytes));
    const MkfsReport made = files.Format("fresh");
    FsckOptions options;
    const auto begin = std::chrono::steady_clock::now();
    const auto report = RunSync(files.executor(), CheckDevices(files.devices(), options));
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_TRUE(report->findings.empty()) << bytes << "\n" << Describe(*report);
    EXPECT_TRUE(report->is_ours);
    EXPECT_FALSE(report->is_dirty);
    EXPECT_EQ(report->counters.blocks, bytes / kMebibyte);
    EXPECT_EQ(report->counters.blocks_used, made.metadata_bytes / kMebibyte);
    EXPECT_EQ(report->counters.descriptors_used, kSystemFdCount);
    EXPECT_EQ(report->counters.names, 8u);
    EXPECT_EQ(report->counters.directories, 1u);
    std::printf("%lu MiB: %.3f s\n", static_cast<unsigned long>(bytes / kMebibyte),
                elapsed.count());
  }
}

TEST(Fsck, FindsNothingOnAVolumeOfManyDevices) {
  VolumeFiles files;
  for (int i = 0; i < 4; ++i) files.Add(ImageBytesFor(kUnitBytes));
  files.Format("many");
  FsckOptions options;
  const auto report = RunSync(files.executor(), CheckDevices(files.devices(), options));
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_TRUE(report->findings.empty()) << Describe(*report);
}

TEST(Fsck, FindsNothingOnTheVolumeThatEsxiWrote) {
  REQUIRE_SAMPLE("esxi-vmfs6.bin");
  auto executor = base::UringExecutor::Create();
  ASSERT_TRUE(executor);
  base::FileDeviceOptions device_options;
  device_options.read_only = true;
  auto device = base::OpenFileDevice(**executor, testing_support::UnpackedSample("esxi-vmfs6.bin"),
                                     device_options);
  ASSERT_TRUE(device) << device.error().message();
  base::BlockDevice* const devices[] = {device->get()};
  FsckOptions options;
  const auto report = RunSync(**executor, CheckDevices(devices, options));
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_TRUE(report->findings.empty()) << Describe(*report);
  EXPECT_FALSE(report->is_ours);
  EXPECT_EQ(report->counters.directories, 2u);
  EXPECT_EQ(report->counters.files, 5u);
  EXPECT_EQ(report->counters.symlinks, 1u);
  EXPECT_EQ(report->counters.blocks_used, 768u);
  EXPECT_TRUE(RunSync(**executor, (*device)->Close()));
}

TEST(Fsck, SaysWhatIsNoVolume) {
  VolumeFiles files;
  files.Add(ImageBytesFor(kUnitBytes));
  FsckOptions options;
  ExpectError(RunSync(files.executor(), CheckDevices(files.devices(), options)),
              Code::kNotRecognized, "magic");
}

TEST(Fsck, ReportsProgressAndCanBeInterrupted) {
  VolumeFiles files;
  files.Add(ImageBytesFor(kUnitBytes));
  files.Format("interrupted");
  FsckOptions options;
  std::vector<std::string> phases;
  options.progress = [&](std::string_view phase, uint64_t done, uint64_t total) {
    EXPECT_LE(done, total);
    if (phases.empty() || phases.back() != phase) phases.emplace_back(phase);
  };
  ASSERT_TRUE(RunSync(files.executor(), CheckDevices(files.devices(), options)));
  EXPECT_EQ(phases.front(), "headers");
  EXPECT_EQ(phases.back(), "directories");
  options.is_canceled = [&] { return true; };
  ExpectError(RunSync(files.executor(), CheckDevices(files.devices(), options)),
              Code::kInterrupted, "interrupted");
}

}  // namespace
}  // namespace vmfs
