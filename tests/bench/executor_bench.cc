// 4 KiB random reads of one file: through FileDevice and coroutines, and by a bare io_uring loop.
//
// Usage: executor_bench [FOLDER [SECONDS]]. The folder is /dev/shm unless given, so that the cost
// of our own code shows. The two take turns, three times, so that a drifting machine hits both.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs/base/aligned_buffer.h"
#include "fs/base/file_device.h"
#include "fs/base/sync.h"

namespace base {
namespace {

constexpr uint64_t kFileBytes = 256 << 20;
constexpr uint64_t kReadBytes = 4096;
constexpr uint64_t kWriteBytes = 1 << 20;

struct Round {
  uint64_t end_us;
  uint64_t reads = 0;
  uint64_t errors = 0;
};

uint64_t DrawOffset(Random& random) {
  return random.Below(kFileBytes / kReadBytes) * kReadBytes;
}

Task<void> ReadUntil(Executor& executor, BlockDevice& device, Round& round) {
  AlignedBuffer buffer(kReadBytes);
  const IoVec piece = buffer.piece();
  IoRequest request;
  request.buffers = std::span(&piece, 1);
  while (executor.NowMicroseconds() < round.end_us) {
    request.offset_bytes = DrawOffset(executor.random());
    const Status status = co_await device.Read(request);
    ++(status.has_value() ? round.reads : round.errors);
  }
}

Task<void> ReadAtDepth(Executor& executor, BlockDevice& device, int depth, Round& round) {
  TaskGroup group(executor);
  for (int i = 0; i < depth; ++i) group.Add(ReadUntil(executor, device, round));
  co_await group.Join();
}

uint64_t MeasureDevice(UringExecutor& executor, BlockDevice& device, int depth, uint64_t us) {
  Round round{executor.NowMicroseconds() + us};
  RunSync(executor, ReadAtDepth(executor, device, depth, round));
  CHECK(round.errors == 0);
  return round.reads * 1'000'000 / us;
}

// What the hardware and the kernel give: nothing between the loop and the ring. In RAM with the
// flag that keeps the kernel from handing reads to its threads.
uint64_t MeasureBare(UringExecutor& clock, const std::string& path, bool direct, unsigned depth,
                     uint64_t us) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_DIRECT | (direct ? 0 : O_NONBLOCK));
  io_uring ring{};
  CHECK(descriptor >= 0);
  CHECK(io_uring_queue_init(64, &ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN) ==
        0);
  AlignedBuffer buffer(depth * kReadBytes);
  const auto start = [&](uint64_t slot) {
    io_uring_sqe* entry = io_uring_get_sqe(&ring);
    io_uring_prep_read(entry, descriptor, buffer.data() + slot * kReadBytes, kReadBytes,
                       DrawOffset(clock.random()));
    io_uring_sqe_set_data64(entry, slot);
  };
  uint64_t reads = 0;
  unsigned in_flight = depth;
  const uint64_t end_us = clock.NowMicroseconds() + us;
  for (unsigned slot = 0; slot < depth; ++slot) start(slot);
  while (in_flight > 0) {
    io_uring_submit_and_wait(&ring, 1);
    const bool ending = clock.NowMicroseconds() >= end_us;
    unsigned head = 0;
    unsigned count = 0;
    io_uring_cqe* entry = nullptr;
    io_uring_for_each_cqe(&ring, head, entry) {
      CHECK(entry->res == static_cast<int>(kReadBytes));
      if (ending) {
        --in_flight;
      } else {
        start(entry->user_data);
      }
      ++count;
    }
    io_uring_cq_advance(&ring, count);
    reads += count;
  }
  io_uring_queue_exit(&ring);
  close(descriptor);
  return reads * 1'000'000 / us;
}

void FillFile(UringExecutor& executor, FileDevice& device) {
  AlignedBuffer data(kWriteBytes);
  std::ranges::fill(data.span(), std::byte{0x5A});
  const IoVec piece = data.piece();
  IoRequest request;
  request.buffers = std::span(&piece, 1);
  for (uint64_t at = 0; at < kFileBytes; at += kWriteBytes) {
    request.offset_bytes = at;
    CHECK(RunSync(executor, device.Write(request)).has_value());
  }
  CHECK(RunSync(executor, device.Flush()).has_value());
}

uint64_t Median(std::vector<uint64_t> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

void Compare(UringExecutor& executor, FileDevice& device, int depth, uint64_t us) {
  std::vector<uint64_t> ours;
  std::vector<uint64_t> bare;
  for (int turn = 0; turn < 3; ++turn) {
    ours.push_back(MeasureDevice(executor, device, depth, us));
    bare.push_back(
        MeasureBare(executor, device.name(), device.is_direct(), static_cast<unsigned>(depth), us));
  }
  std::printf("%5d %14lu %14lu %10.2f\n", depth, Median(ours), Median(bare),
              static_cast<double>(Median(ours)) / static_cast<double>(Median(bare)));
}

}  // namespace
}  // namespace base

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : "/dev/shm";
  const double seconds = argc > 2 ? std::atof(argv[2]) : 0.5;
  const std::string path = folder + "/strata-bench-" + std::to_string(getpid());
  auto executor = base::UringExecutor::Create();
  base::FileDeviceOptions options;
  options.create_size_bytes = base::kFileBytes;
  auto device = base::OpenFileDevice(**executor, path, options);
  if (!device.has_value()) {
    std::fprintf(stderr, "%s\n", device.error().message().c_str());
    return 1;
  }
  base::FillFile(**executor, **device);
  std::printf("4 KiB random reads per second, %s\ndepth    file device      bare loop      ratio\n",
              (*device)->is_direct() ? "direct" : "through memory");
  for (const int depth : {1, 4, 32}) {
    base::Compare(**executor, **device, depth, static_cast<uint64_t>(seconds * 1e6));
  }
  const base::Status closed = base::RunSync(**executor, (*device)->Close());
  unlink(path.c_str());
  return closed.has_value() ? 0 : 1;
}
