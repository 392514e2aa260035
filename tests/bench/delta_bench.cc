// In-process speed of first writes into a fresh delta: 4 KiB each, 32 in flight, over a flat base.
//
// Usage: delta_bench FOLDER KIND COUNT FLUSH_EVERY. KIND is seSparse or vmfsSparse; FLUSH_EVERY 0
// flushes never. Makes base and child in FOLDER, writes COUNT blocks a stride apart, so that each
// is the first in its grain, and prints one line of JSON. `deltas.py` puts a peer beside it.
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "disklib/file_backend.h"
#include "disklib/lib.h"
#include "disklib/new_link.h"
#include "disklib/open_disks.h"
#include "fs/base/aligned_buffer.h"
#include "fs/base/sync.h"
#include "fs/base/uring_executor.h"
#include "fs/fss/posix_driver.h"

namespace {

constexpr uint64_t kDiskBytes = uint64_t{4} << 30;
constexpr uint64_t kBlockBytes = 4096;
constexpr uint64_t kStrideBytes = (uint64_t{1} << 20) + kBlockBytes;  // visits every block once
constexpr int kDepth = 32;

void Must(const base::Status& status) {
  if (status) return;
  fmt::print(stderr, "delta_bench: {}\n", status.error().message());
  std::exit(1);
}

template <typename T>
T Must(base::Result<T> result) {
  if (!result) Must(base::Status(result.error()));
  return *std::move(result);
}

// What the writers share.
struct Load {
  disklib::Chain& chain;
  base::Executor& executor;
  uint64_t count;
  uint64_t flush_every;
  uint64_t next = 0;
  uint64_t done = 0;
};

base::Task<void> WriteBlocks(Load& load) {
  base::AlignedBuffer buffer(kBlockBytes);
  std::fill_n(buffer.data(), kBlockBytes, std::byte{0x5a});
  const base::IoVec piece{buffer.data(), kBlockBytes};
  while (load.next < load.count) {
    const uint64_t number = load.next++;
    base::IoRequest request;
    request.offset_bytes = number * kStrideBytes % kDiskBytes;
    request.buffers = {&piece, 1};
    const base::Status written = co_await load.chain.Write(request);
    Must(written);
    ++load.done;
    if (load.flush_every == 0 || load.done % load.flush_every != 0) continue;
    const base::Status flushed = co_await load.chain.Flush();
    Must(flushed);
  }
}

base::Task<void> WriteAll(Load& load) {
  base::TaskGroup group(load.executor);
  for (int i = 0; i < kDepth; ++i) group.Add(WriteBlocks(load));
  co_await group.Join();
}

}  // namespace

int main(int argument_count, char** arguments) {
  if (argument_count != 5) {
    fmt::print(stderr, "usage: delta_bench FOLDER seSparse|vmfsSparse COUNT FLUSH_EVERY\n");
    return 2;
  }
  const std::optional<disklib::DiskLayout> layout = disklib::ParseDiskLayout(arguments[2]);
  if (!layout) return 2;
  const std::unique_ptr<base::UringExecutor> executor = Must(base::UringExecutor::Create());
  fss::PosixFileSystem::Options options;
  options.folder_path = arguments[1];
  const auto files = Must(fss::PosixFileSystem::Create(*executor, options));
  disklib::FileBackend backend(*files);
  disklib::OpenDisks open_disks;
  disklib::Lib lib(*executor, backend, open_disks);
  const auto run = [&executor](auto task) { return base::RunSync(*executor, std::move(task)); };

  disklib::NewLink base;
  base.size_bytes = kDiskBytes;
  Must(run(disklib::CreateLink(lib, "base.vmdk", base, nullptr)));
  disklib::NewLink child = base;
  child.layout = *layout;
  child.parent_path = "base.vmdk";
  child.parent_content_id = disklib::kFreshContentId;
  Must(run(disklib::CreateLink(lib, "child.vmdk", child, nullptr)));
  const auto chain = Must(run(lib.Open("child.vmdk", {.writable = true, .user = "bench"})));

  Load load{*chain, *executor, std::strtoull(arguments[3], nullptr, 10),
            std::strtoull(arguments[4], nullptr, 10)};
  const uint64_t started_us = executor->NowMicroseconds();
  run(WriteAll(load));
  const uint64_t took_us = executor->NowMicroseconds() - started_us;
  fmt::print("{{\"kind\": \"{}\", \"writes\": {}, \"flush_every\": {}, \"seconds\": {:.4f}}}\n",
             arguments[2], load.done, load.flush_every, static_cast<double>(took_us) / 1e6);
  Must(run(chain->Close()));
  return 0;
}
