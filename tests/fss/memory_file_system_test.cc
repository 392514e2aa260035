#include "tests/support/memory_file_system.h"

#include <memory>

#include <gtest/gtest.h>

#include "fs/base/sim_executor.h"
#include "tests/fss/file_system_conformance.h"

namespace fss {
namespace {

class MemoryUnderTest final : public FileSystemUnderTest {
 public:
  MemoryUnderTest() { file_system_.set_replaces_contents(true); }

  base::Executor& executor() override { return executor_; }

  FileSystem& file_system() override { return file_system_; }

  void CheckUnmounted() override { EXPECT_EQ(file_system_.lookups_held(), 0u); }

 private:
  base::SimExecutor executor_{1};
  MemoryFileSystem file_system_;
};

FileSystemFactory MemoryFactory() {
  FileSystemFactory factory;
  factory.name = "Memory";
  factory.make = [] { return std::make_unique<MemoryUnderTest>(); };
  factory.name_bytes_max = MemoryFileSystem::kNameBytesMax;
  factory.replaces_contents = true;
  factory.hole_bytes = MemoryFileSystem::kBlockBytes;
  return factory;
}

INSTANTIATE_TEST_SUITE_P(Model, FileSystemConformance, testing::Values(MemoryFactory()),
                         FactoryName);

}  // namespace
}  // namespace fss
