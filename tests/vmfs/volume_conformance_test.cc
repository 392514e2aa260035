// The file-system conformance suite on VMFS volumes.

#include "fs/base/sim_executor.h"
#include "tests/fss/file_system_conformance.h"
#include "tests/support/vmfs_volume.h"

namespace fss {
namespace {

class VmfsUnderTest : public FileSystemUnderTest {
 public:
  VmfsUnderTest() : volume_(executor_, uint64_t{512} << 20, /*logging=*/false) {
    const base::Status made = volume_.MakeFileSystem();
    CHECK(made.has_value());
    const base::Status mounted = volume_.Mount();
    if (!mounted) ADD_FAILURE() << mounted.error().message();
    CHECK(mounted.has_value());
  }

  ~VmfsUnderTest() override = default;

  base::Executor& executor() override { return executor_; }

  FileSystem& file_system() override { return volume_.volume(); }

  void CheckUnmounted() override {
    volume_.LetGo();
    EXPECT_EQ(volume_.Check(), "");
  }

 private:
  base::SimExecutor executor_{1};
  vmfs::SimVolume volume_;
};

FileSystemFactory VmfsFactory() {
  FileSystemFactory factory;
  factory.name = "Vmfs";
  factory.make = [] { return std::make_unique<VmfsUnderTest>(); };
  factory.name_bytes_max = 127;
  factory.names_are_utf8 = true;
  factory.replaces_contents = true;
  factory.time_step_us = 1'000'000;
  return factory;
}

INSTANTIATE_TEST_SUITE_P(Vmfs, FileSystemConformance, testing::Values(VmfsFactory()), FactoryName);

}  // namespace
}  // namespace fss
