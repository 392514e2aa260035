// One conformance suite for everything that is a `base::BlockDevice`.
//
// A floor describes how to make its stack, lists `tests/base/device_conformance.cc` among the
// sources of its test program, and instantiates the suite:
//
//   std::unique_ptr<base::DeviceStack> MakeFlat() { return std::make_unique<FlatStack>(); }
//   INSTANTIATE_TEST_SUITE_P(Flat, DeviceConformance,
//                            testing::Values(base::StackFactory{"Flat", MakeFlat}),
//                            base::NameOfStack);
//
// Every device is used through `Checked`. Random tests take their seed from SEED and print it.
#pragma once

#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fs/base/block_device.h"
#include "fs/base/executor.h"

namespace base {

// A device under test with everything below it. Fresh contents, all zeros, 8 MiB or more.
class DeviceStack {
 public:
  virtual ~DeviceStack() = default;

  virtual Executor& executor() = 0;

  // Opens the device. Called again after a Close, and, where `shares_opens`, while open.
  virtual std::unique_ptr<BlockDevice> Open() = 0;

  // Whether several opens at once see one another's writes and exclude one another's
  // compare-and-writes.
  virtual bool shares_opens() const { return false; }
};

struct StackFactory {
  const char* name;  // letters and digits
  // Answers null, and its tests are skipped, where the host lacks what it needs.
  std::unique_ptr<DeviceStack> (*make)();

  friend void PrintTo(const StackFactory& factory, std::ostream* out) { *out << factory.name; }
};

inline std::string NameOfStack(const testing::TestParamInfo<StackFactory>& test) {
  return test.param.name;
}

class DeviceConformance : public testing::TestWithParam<StackFactory> {
 protected:
  void SetUp() override;
  void TearDown() override;

  Executor& executor() { return stack_->executor(); }

  BlockDevice& device() { return *device_; }

  std::unique_ptr<BlockDevice> OpenChecked();

  // Split into transfers the device takes.
  Status Write(uint64_t offset_bytes, std::span<std::byte> data, bool fua = false);
  Status Read(uint64_t offset_bytes, std::span<std::byte> data);
  std::vector<std::byte> ReadBack(uint64_t offset_bytes, size_t size_bytes);
  void ExpectBytes(uint64_t offset_bytes, std::span<const std::byte> expected);

  std::unique_ptr<DeviceStack> stack_;
  std::unique_ptr<BlockDevice> device_;

 private:
  template <typename Transfer>
  Status InTransfers(uint64_t offset_bytes, std::span<std::byte> data, const Transfer& transfer);
};

}  // namespace base
