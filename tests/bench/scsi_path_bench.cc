// What the SCSI path costs: nanoseconds per 4 KiB read and write through `psa::Device` over a
// loopback path, beside the same calls straight to an instant memory device.
//
// Usage: scsi_path_bench [ROUNDS]. Prints a table; best of five runs each.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "fs/base/sim_executor.h"
#include "tests/scsi/memory_device.h"
#include "vscsi/psa/device.h"
#include "vscsi/psa/loopback.h"

namespace {

constexpr uint64_t kDeviceBytes = 1 << 20;
constexpr size_t kBlockBytes = 4096;

base::Task<uint64_t> Transfer(base::BlockDevice& device, bool write, uint64_t rounds) {
  alignas(4096) static std::byte buffer[kBlockBytes];
  const base::IoVec piece{buffer, kBlockBytes};
  uint64_t failures = 0;
  for (uint64_t i = 0; i < rounds; ++i) {
    const base::IoRequest request{i * kBlockBytes % kDeviceBytes, {&piece, 1}};
    if (write) {
      const base::Status status = co_await device.Write(request);
      failures += !status;
    } else {
      const base::Status status = co_await device.Read(request);
      failures += !status;
    }
  }
  co_return failures;
}

double NanosecondsPerCall(base::Executor& executor, base::BlockDevice& device, bool write,
                          uint64_t rounds) {
  double best = 1e9;
  for (int run = 0; run < 5; ++run) {
    const auto start = std::chrono::steady_clock::now();
    const uint64_t failures = base::RunSync(executor, Transfer(device, write, rounds));
    CHECK(failures == 0);
    const std::chrono::duration<double, std::nano> elapsed =
        std::chrono::steady_clock::now() - start;
    best = std::min(best, elapsed.count() / static_cast<double>(rounds));
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  const uint64_t rounds = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1'000'000;
  base::SimExecutor executor(1);
  scsi_test::MemoryDevice direct(kDeviceBytes);
  psa::LoopbackAdapter adapter(0);
  psa::PathList paths;
  paths.push_back(adapter.Attach(std::make_unique<scsi_test::MemoryDevice>(kDeviceBytes), {}));
  auto device = base::RunSync(executor, psa::Device::Open(executor, paths, {}));
  CHECK(device.has_value());
  std::printf("%-12s %10s %10s %10s\n", "4 KiB", "direct ns", "path ns", "added ns");
  for (const bool write : {false, true}) {
    const double bare = NanosecondsPerCall(executor, direct, write, rounds);
    const double path = NanosecondsPerCall(executor, **device, write, rounds);
    std::printf("%-12s %10.0f %10.0f %10.0f\n", write ? "write" : "read", bare, path, path - bare);
  }
  CHECK(base::RunSync(executor, (*device)->Close()).has_value());
  return 0;
}
