// What the depth of a chain costs a reader, in process: one link against 32, warm and cold map.
//
// Usage: chain_bench FOLDER KIND [SECONDS]. FOLDER lies on a file system in memory (/dev/shm), is
// filled with a flat disk and 31 links of KIND over it, each with its share of the grains. Measures
// pairs of 4 KiB random reads, interleaved, and prints one JSON document.
// chain_bench FOLDER NAME COUNT stride: reads COUNT blocks of the disk NAME, a stride apart, 32 in
// flight, from a cold map, as `qemu-img bench` does; prints the seconds. Not run by ctest.

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "disklib/file_backend.h"
#include "disklib/lib.h"
#include "disklib/new_link.h"
#include "disklib/vdisk.h"
#include "fs/base/aligned_buffer.h"
#include "fs/base/log.h"
#include "fs/base/sync.h"
#include "fs/base/uring_executor.h"
#include "fs/fss/posix_driver.h"

namespace {

constexpr uint64_t kDiskBytes = uint64_t{1} << 30;
constexpr uint64_t kBlockBytes = 4096;
constexpr int kDepth = 32;
constexpr int kPairs = 10;
constexpr uint64_t kStrideBytes = (uint64_t{1} << 20) + kBlockBytes;  // visits every block once

template <typename T>
T Must(base::Result<T> result) {
  if (result) return *std::move(result);
  fmt::print(stderr, "chain_bench: {}\n", result.error().message());
  std::exit(1);
}

void Must(const base::Status& status) {
  if (status) return;
  fmt::print(stderr, "chain_bench: {}\n", status.error().message());
  std::exit(1);
}

struct Reader {
  disklib::VDisk& disk;
  uint64_t deadline_us = UINT64_MAX;
  uint64_t count_max = UINT64_MAX;
  bool is_random = true;
  uint64_t started_count = 0;
};

base::Task<void> Read(base::Executor& executor, Reader& reader, uint64_t& done) {
  base::AlignedBuffer buffer(kBlockBytes);
  const base::IoVec piece{buffer.data(), kBlockBytes};
  while (reader.started_count < reader.count_max &&
         executor.NowMicroseconds() < reader.deadline_us) {
    uint64_t offset_bytes = reader.started_count++ * kStrideBytes % kDiskBytes;
    if (reader.is_random) {
      offset_bytes = executor.random().Below(kDiskBytes / kBlockBytes) * kBlockBytes;
    }
    const base::IoRequest request{offset_bytes, std::span(&piece, 1)};
    const auto read = co_await reader.disk.Read(request);
    CHECK(read.has_value());
    ++done;
  }
}

base::Task<void> ReadTogether(base::Executor& executor, Reader& reader, int depth, uint64_t& done) {
  base::TaskGroup group(executor);
  for (int i = 0; i < depth; ++i) group.Add(Read(executor, reader, done));
  co_await group.Join();
}

class Bench {
 public:
  explicit Bench(const std::string& folder) : executor_(Must(base::UringExecutor::Create())) {
    fss::PosixFileSystem::Options options;
    options.folder_path = folder;
    files_ = Must(fss::PosixFileSystem::Create(*executor_, options));
    backend_ = std::make_unique<disklib::FileBackend>(*files_);
    lib_ = std::make_unique<disklib::Lib>(*executor_, *backend_, open_disks_);
    disks_ = std::make_unique<disklib::VDisks>(*lib_);
  }

  // link1.vmdk … link32.vmdk; every grain is in the base, and a 32nd of them in each link above.
  void Make(disklib::DiskLayout layout) {
    Must(Run(disklib::CreateLink(*lib_, "link1.vmdk", {.size_bytes = kDiskBytes}, nullptr)));
    Fill("link1.vmdk", kDiskBytes / kBlockBytes, 1 << 20);
    for (int i = 2; i <= kDepth; ++i) {
      const std::string parent = fmt::format("link{}.vmdk", i - 1);
      const std::string name = fmt::format("link{}.vmdk", i);
      const auto loaded = Must(Run(lib_->Load(parent, false)));
      disklib::NewLink link;
      link.size_bytes = kDiskBytes;
      link.layout = layout;
      link.parent_path = parent;
      link.parent_content_id = loaded.descriptor.content_id;
      Must(Run(disklib::CreateLink(*lib_, name, link, nullptr)));
      Fill(name, kDiskBytes / kBlockBytes / kDepth, kBlockBytes);
    }
  }

  std::string Compare(int queue_depth, double seconds) {
    const auto flat = Must(Run(disks_->Open("link1.vmdk", false)));
    const auto deep = Must(Run(disks_->Open(fmt::format("link{}.vmdk", kDepth), false)));
    Warm(*deep);
    Rate(*flat, queue_depth, seconds);
    Rate(*deep, queue_depth, seconds);
    std::string pairs;
    for (int i = 0; i < kPairs; ++i) {
      const double one = Rate(*flat, queue_depth, seconds);
      const double many = Rate(*deep, queue_depth, seconds);
      pairs += fmt::format("{}[{:.0f}, {:.0f}]", i == 0 ? "" : ", ", one, many);
    }
    map_bytes_ = lib_->windows().used_bytes();
    Must(Run(flat->Close()));
    Must(Run(deep->Close()));
    return fmt::format("[{}]", pairs);
  }

  // Of the last comparison.
  uint64_t map_bytes() const { return map_bytes_; }

  // Microseconds of the first read of a window after opening: every link is walked.
  double Cold() {
    const auto deep = Must(Run(disks_->Open(fmt::format("link{}.vmdk", kDepth), false)));
    const uint64_t start_us = executor_->NowMicroseconds();
    Warm(*deep);
    const double us = static_cast<double>(executor_->NowMicroseconds() - start_us);
    Must(Run(deep->Close()));
    return us / static_cast<double>(kDiskBytes / disklib::kWindowBytes);
  }

  // Seconds for that many blocks.
  double Stride(const std::string& name, uint64_t count) {
    const auto disk = Must(Run(disks_->Open(name, false)));
    Reader reader{.disk = *disk, .count_max = count, .is_random = false};
    uint64_t done = 0;
    const uint64_t start_us = executor_->NowMicroseconds();
    Run(ReadTogether(*executor_, reader, /*depth=*/32, done));
    const uint64_t end_us = executor_->NowMicroseconds();
    Must(Run(disk->Close()));
    return static_cast<double>(end_us - start_us) / 1e6;
  }

 private:
  template <typename T>
  T Run(base::Task<T> task) {
    return base::RunSync(*executor_, std::move(task));
  }

  void Fill(const std::string& name, uint64_t block_count, uint64_t piece_bytes) {
    const auto disk = Must(Run(disks_->Open(name, true)));
    base::AlignedBuffer buffer(piece_bytes);
    std::fill_n(buffer.data(), piece_bytes, std::byte{7});
    const base::IoVec piece{buffer.data(), piece_bytes};
    const uint64_t pieces = block_count * kBlockBytes / piece_bytes;
    const bool is_sequential = block_count * kBlockBytes == kDiskBytes;
    for (uint64_t i = 0; i < pieces; ++i) {
      const uint64_t place =
          is_sequential ? i : executor_->random().Below(kDiskBytes / piece_bytes);
      static_cast<void>(Must(Run(disk->Write({place * piece_bytes, std::span(&piece, 1)}))));
    }
    Must(Run(disk->Sync(true)));
    Must(Run(disk->Close()));
  }

  // One read in each window.
  void Warm(disklib::VDisk& disk) {
    base::AlignedBuffer buffer(kBlockBytes);
    const base::IoVec piece{buffer.data(), kBlockBytes};
    for (uint64_t at = 0; at < kDiskBytes; at += disklib::kWindowBytes) {
      static_cast<void>(Must(Run(disk.Read({at, std::span(&piece, 1)}))));
    }
  }

  double Rate(disklib::VDisk& disk, int queue_depth, double seconds) {
    const uint64_t start_us = executor_->NowMicroseconds();
    Reader reader{.disk = disk, .deadline_us = start_us + static_cast<uint64_t>(seconds * 1e6)};
    uint64_t done = 0;
    Run(ReadTogether(*executor_, reader, queue_depth, done));
    const uint64_t end_us = executor_->NowMicroseconds();
    return static_cast<double>(done) * 1e6 / static_cast<double>(end_us - start_us);
  }

  std::unique_ptr<base::UringExecutor> executor_;
  std::unique_ptr<fss::PosixFileSystem> files_;
  std::unique_ptr<disklib::FileBackend> backend_;
  disklib::OpenDisks open_disks_;
  std::unique_ptr<disklib::Lib> lib_;
  std::unique_ptr<disklib::VDisks> disks_;
  uint64_t map_bytes_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  base::SetLogLevel(base::LogLevel::kError);  // one of these chains is long on purpose
  if (argc == 5 && std::string_view(argv[4]) == "stride") {
    const double seconds = Bench(argv[1]).Stride(argv[2], std::strtoull(argv[3], nullptr, 10));
    fmt::print("{{\"seconds\": {:.4f}}}\n", seconds);
    return 0;
  }
  const auto layout = argc < 3 ? std::nullopt : disklib::ParseDiskLayout(argv[2]);
  if (!layout || argc > 4) {
    fmt::print(stderr, "usage: chain_bench FOLDER KIND [SECONDS] | FOLDER NAME COUNT stride\n");
    return 2;
  }
  const double seconds = argc > 3 ? std::strtod(argv[3], nullptr) : 0.5;
  Bench bench(argv[1]);
  bench.Make(*layout);
  const double cold_us = bench.Cold();
  const std::string one = bench.Compare(1, seconds);
  const std::string many = bench.Compare(32, seconds);
  fmt::print(
      "{{\"depth\": {}, \"cold_us\": {:.0f}, \"map_bytes\": {}, \"queue_1\": {}, "
      "\"queue_32\": {}}}\n",
      kDepth, cold_us, bench.map_bytes(), one, many);
  return 0;
}
