// In-process speed of a mounted volume over the whole stack below it: psa path, SCSI, io_uring.
//
// Usage: volume_bench IMAGE [SECONDS]. Makes a volume in IMAGE (created, sparse), and prints
// operations per second for reads, writes, creates and unlinks. Measured by hand, not by ctest.

#include <array>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "fs/base/aligned_buffer.h"
#include "fs/base/file_device.h"
#include "fs/base/sync.h"
#include "fs/base/uring_executor.h"
#include "vmfs/lvm_device.h"
#include "vmfs/mkfs/mkfs.h"
#include "vmfs/volume/volume.h"
#include "vscsi/psa/device.h"
#include "vscsi/psa/loopback.h"

namespace {

constexpr uint64_t kVolumeBytes = uint64_t{4} << 30;
constexpr uint64_t kFileBytes = uint64_t{512} << 20;

template <typename T>
T Must(base::Result<T> result) {
  if (!result) {
    fmt::print(stderr, "volume_bench: {}\n", result.error().message());
    std::exit(1);
  }
  return *std::move(result);
}

void Must(const base::Status& status) {
  if (status) return;
  fmt::print(stderr, "volume_bench: {}\n", status.error().message());
  std::exit(1);
}

struct Worker {
  fss::File& file;
  bool write;
  bool sequential;
  uint64_t block_bytes;
  uint64_t deadline_us;
};

base::Task<void> Transfer(base::Executor& executor, const Worker* worker, uint64_t& next,
                          uint64_t& done) {
  base::AlignedBuffer buffer(worker->block_bytes);
  const base::IoVec piece{buffer.data(), worker->block_bytes};
  const uint64_t blocks = kFileBytes / worker->block_bytes;
  while (executor.NowMicroseconds() < worker->deadline_us) {
    const uint64_t block = worker->sequential ? next++ % blocks : executor.random().Below(blocks);
    const base::IoRequest request{block * worker->block_bytes, std::span(&piece, 1)};
    if (worker->write) {
      const auto result = co_await worker->file.Write(request);
      if (!result) fmt::print(stderr, "volume_bench: {}\n", result.error().message());
      CHECK(result.has_value());
    } else {
      const auto result = co_await worker->file.Read(request);
      if (!result) fmt::print(stderr, "volume_bench: {}\n", result.error().message());
      CHECK(result.has_value());
    }
    ++done;
  }
}

base::Task<void> RunWorkers(base::Executor& executor, const Worker* worker, int depth,
                            uint64_t& done) {
  base::TaskGroup group(executor);
  uint64_t next = 0;
  for (int i = 0; i < depth; ++i) group.Add(Transfer(executor, worker, next, done));
  co_await group.Join();
}

base::Task<base::Status> MakeFiles(fss::FileSystem& fs, fss::InodeNumber parent, int count,
                                   bool sync_each) {
  for (int i = 0; i < count; ++i) {
    const std::string name = fmt::format("file{}", i);
    const auto made = co_await fs.CreateFile(parent, name, {});
    if (!made) co_return made.error();
    if (sync_each) CO_TRY_STATUS(co_await fs.SyncAll());
  }
  co_return base::Ok();
}

base::Task<base::Status> RemoveFiles(fss::FileSystem& fs, fss::InodeNumber parent, int count) {
  for (int i = 0; i < count; ++i) {
    const std::string name = fmt::format("file{}", i);
    CO_TRY_STATUS(co_await fs.Unlink(parent, name));
  }
  co_return base::Ok();
}

class Bench {
 public:
  Bench(const std::string& path, uint64_t seconds)
      : executor_(Must(base::UringExecutor::Create())), adapter_(0), seconds_(seconds) {
    base::FileDeviceOptions options;
    options.create_size_bytes = vmfs::ImageBytesFor(kVolumeBytes);
    psa::PathList paths;
    paths.push_back(adapter_.Attach(Must(base::OpenFileDevice(*executor_, path, options)),
                                    scsi::TargetOptions()));
    device_ = Must(Run(psa::Device::Open(*executor_, paths, psa::DeviceOptions{})));
    const std::array<base::BlockDevice*, 1> devices{device_.get()};
    const std::span<base::BlockDevice* const> span(devices);
    vmfs::MkfsOptions mkfs;
    mkfs.label = "bench";
    (void)Must(Run(vmfs::MakeFileSystem(*executor_, span, mkfs)));
    lvm_ = Must(Run(vmfs::OpenLvm(span)));
    mount_.identity.owner = base::NewUuid(executor_->WallMicroseconds());
    volume_ = Must(Run(vmfs::Volume::Mount(*executor_, *lvm_, mount_)));
  }

  void Data() {
    const auto made = Must(Run(volume_->CreateFile(volume_->root(), "data", {})));
    auto file = Must(Run(volume_->Open(made.inode, fss::OpenMode::kWrite)));
    Measure("allocate + write 1 MiB sequential x8", *file, true, true, 1 << 20, 8);
    Must(Run(file->Allocate(fss::AllocateMode::kAllocate, 0, kFileBytes)));
    Measure("read 1 MiB sequential x8", *file, false, true, 1 << 20, 8);
    Measure("write 1 MiB sequential x8", *file, true, true, 1 << 20, 8);
    Measure("read 4 KiB random x1", *file, false, false, 4096, 1);
    Measure("read 4 KiB random x32", *file, false, false, 4096, 32);
    Measure("write 4 KiB random x1", *file, true, false, 4096, 1);
    Measure("write 4 KiB random x32", *file, true, false, 4096, 32);
    Must(Run(file->Close()));
  }

  void Names() {
    constexpr int kCount = 2000;
    const auto made = Must(Run(volume_->MakeDirectory(volume_->root(), "names", {})));
    Timed("create", kCount, [&] { Must(Run(MakeFiles(*volume_, made.inode, kCount, false))); });
    Timed("unlink", kCount, [&] { Must(Run(RemoveFiles(*volume_, made.inode, kCount))); });
    Timed("create + sync", 300, [&] { Must(Run(MakeFiles(*volume_, made.inode, 300, true))); });
  }

  void End() {
    Timed("unmount", 1, [&] { Must(Run(volume_->Unmount())); });
  }

 private:
  template <typename T>
  T Run(base::Task<T> task) {
    return base::RunSync(*executor_, std::move(task));
  }

  void Measure(const char* what, fss::File& file, bool write, bool sequential, uint64_t block_bytes,
               int depth) {
    const uint64_t start_us = executor_->NowMicroseconds();
    const Worker worker{file, write, sequential, block_bytes, start_us + seconds_ * 1'000'000};
    uint64_t done = 0;
    Run(RunWorkers(*executor_, &worker, depth, done));
    const double elapsed_s = static_cast<double>(executor_->NowMicroseconds() - start_us) / 1e6;
    fmt::print("{:40} {:10.0f} /s {:8.0f} MB/s\n", what, static_cast<double>(done) / elapsed_s,
               static_cast<double>(done * block_bytes) / elapsed_s / 1e6);
  }

  void Timed(const char* what, int count, const std::function<void()>& run) {
    const uint64_t start_us = executor_->NowMicroseconds();
    run();
    const double elapsed_s = static_cast<double>(executor_->NowMicroseconds() - start_us) / 1e6;
    fmt::print("{:40} {:10.0f} /s  ({:.1f} ms)\n", what, count / elapsed_s, elapsed_s * 1e3);
  }

  std::unique_ptr<base::UringExecutor> executor_;
  psa::LoopbackAdapter adapter_;
  std::unique_ptr<psa::Device> device_;
  std::unique_ptr<base::BlockDevice> lvm_;
  vmfs::MountOptions mount_;
  std::unique_ptr<vmfs::Volume> volume_;
  const uint64_t seconds_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: volume_bench IMAGE [SECONDS]\n");
    return 2;
  }
  const std::string path = argv[1];
  unlink(path.c_str());
  {
    Bench bench(path, argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
    bench.Data();
    bench.Names();
    bench.End();
  }
  unlink(path.c_str());
  return 0;
}
