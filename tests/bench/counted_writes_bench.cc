// What a delta writes for what a guest writes: 256 random 4 KiB blocks in 256 MiB, counted.
//
// Usage: counted_writes_bench KIND FLUSH_EVERY FOLDER [volume]. Counts the delta's write calls in
// 512-byte units, from the first write of the guest to the end of the last flush (FLUSH_EVERY 256:
// one). The disk lies in FOLDER, or on a new VMFS volume in an image there; then what the volume's
// device is given beyond the delta's own, its journal and metadata, and the zeroing of blocks are
// counted apart. Figures are per byte of the guest, as one line of JSON. Not run by ctest.

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "disklib/file_backend.h"
#include "disklib/lib.h"
#include "disklib/new_link.h"
#include "disklib/open_disks.h"
#include "fs/base/aligned_buffer.h"
#include "fs/base/device_filter.h"
#include "fs/base/file_device.h"
#include "fs/base/random.h"
#include "fs/base/uring_executor.h"
#include "fs/fss/forwarding.h"
#include "fs/fss/posix_driver.h"
#include "vmfs/lvm_device.h"
#include "vmfs/mkfs/mkfs.h"
#include "vmfs/volume/volume.h"

namespace {

constexpr uint64_t kVolumeBytes = uint64_t{4} << 30;
constexpr uint64_t kDiskBytes = uint64_t{256} << 20;
constexpr uint64_t kBlockBytes = 4096;
constexpr uint64_t kBlockCount = 256;
constexpr uint64_t kUnitBytes = 512;

void Must(const base::Status& status) {
  if (status) return;
  fmt::print(stderr, "counted_writes_bench: {}\n", status.error().message());
  std::exit(1);
}

template <typename T>
T Must(base::Result<T> result) {
  if (!result) Must(base::Status(result.error()));
  return *std::move(result);
}

// Whole units that a range touches.
uint64_t UnitBytes(uint64_t offset_bytes, uint64_t length_bytes) {
  const uint64_t end_bytes = offset_bytes + length_bytes;
  return (end_bytes + kUnitBytes - 1) / kUnitBytes * kUnitBytes -
         offset_bytes / kUnitBytes * kUnitBytes;
}

struct Counts {
  uint64_t bytes = 0;
  uint64_t calls = 0;
  uint64_t syncs = 0;
  uint64_t zeroed_bytes = 0;

  void Add(const base::IoRequest& request) {
    bytes += UnitBytes(request.offset_bytes, request.size_bytes());
    ++calls;
  }
};

class CountedFile : public fss::ForwardingFile {
 public:
  CountedFile(std::unique_ptr<fss::File> below, Counts& counts)
      : ForwardingFile(std::move(below)), counts_(counts) {}

  base::Task<base::Result<uint64_t>> Write(base::IoRequest request) override {
    counts_.Add(request);
    return ForwardingFile::Write(request);
  }

  base::Task<base::Status> Sync(bool data_only) override {
    ++counts_.syncs;
    return ForwardingFile::Sync(data_only);
  }

 private:
  Counts& counts_;
};

// Counts what is written to every file that is opened.
class CountedFiles : public fss::ForwardingFileSystem {
 public:
  using ForwardingFileSystem::ForwardingFileSystem;

  base::Task<base::Result<std::unique_ptr<fss::File>>> Open(fss::InodeNumber inode,
                                                            fss::OpenMode mode) override {
    CO_TRY(std::unique_ptr<fss::File> file, co_await below().Open(inode, mode));
    co_return std::make_unique<CountedFile>(std::move(file), counts);
  }

  Counts counts;
};

class CountedDevice : public base::DeviceFilter {
 public:
  explicit CountedDevice(std::unique_ptr<base::BlockDevice> child)
      : DeviceFilter(std::move(child)) {}

  base::Task<base::Status> Write(base::IoRequest request) override {
    counts.Add(request);
    return child().Write(request);
  }

  base::Task<base::Status> Flush() override {
    ++counts.syncs;
    return child().Flush();
  }

  base::Task<base::Status> WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes,
                                       bool may_unmap) override {
    counts.zeroed_bytes += length_bytes;
    return child().WriteZeroes(offset_bytes, length_bytes, may_unmap);
  }

  Counts counts;
};

// The file system the disk lies on: a folder of the host, or a new volume in an image there.
class Place {
 public:
  Place(const std::string& folder, bool on_volume)
      : executor_(Must(base::UringExecutor::Create())) {
    if (on_volume) {
      MountVolume(folder + "/volume.img");
    } else {
      fss::PosixFileSystem::Options options;
      options.folder_path = folder;
      below_ = Must(fss::PosixFileSystem::Create(*executor_, options));
    }
    files_ = std::make_unique<CountedFiles>(*below_);
  }

  ~Place() {
    if (device_ != nullptr) Must(Run(below_->Unmount()));
  }

  base::Executor& executor() { return *executor_; }

  CountedFiles& files() { return *files_; }

  Counts delta() const { return files_->counts; }

  Counts device() const { return device_ == nullptr ? Counts() : device_->counts; }

  template <typename T>
  T Run(base::Task<T> task) {
    return base::RunSync(*executor_, std::move(task));
  }

 private:
  void MountVolume(const std::string& image_path) {
    base::FileDeviceOptions options;
    options.create_size_bytes = vmfs::ImageBytesFor(kVolumeBytes);
    device_ = std::make_unique<CountedDevice>(
        Must(base::OpenFileDevice(*executor_, image_path, options)));
    const std::array<base::BlockDevice*, 1> devices{device_.get()};
    const std::span<base::BlockDevice* const> span(devices);
    vmfs::MkfsOptions mkfs;
    mkfs.label = "bench";
    static_cast<void>(Must(Run(vmfs::MakeFileSystem(*executor_, span, mkfs))));
    lvm_ = Must(Run(vmfs::OpenLvm(span)));
    mount_.identity.owner = base::NewUuid(executor_->WallMicroseconds());
    below_ = Must(Run(vmfs::Volume::Mount(*executor_, *lvm_, mount_)));
  }

  std::unique_ptr<base::UringExecutor> executor_;
  std::unique_ptr<CountedDevice> device_;
  std::unique_ptr<base::BlockDevice> lvm_;
  vmfs::MountOptions mount_;
  std::unique_ptr<fss::FileSystem> below_;
  std::unique_ptr<CountedFiles> files_;
};

// A base, and the delta over it that is written.
std::unique_ptr<disklib::Chain> MakeDelta(Place& place, disklib::Lib& lib,
                                          disklib::DiskLayout layout) {
  disklib::NewLink base;
  base.size_bytes = kDiskBytes;
  Must(place.Run(disklib::CreateLink(lib, "base.vmdk", base, nullptr)));
  disklib::NewLink child = base;
  child.layout = layout;
  child.parent_path = "base.vmdk";
  child.parent_content_id = disklib::kFreshContentId;
  Must(place.Run(disklib::CreateLink(lib, "child.vmdk", child, nullptr)));
  return Must(place.Run(lib.Open("child.vmdk", {.writable = true, .user = "bench"})));
}

base::Task<base::Status> WriteBlocks(base::Executor& executor, disklib::Chain& chain,
                                     uint64_t flush_every) {
  base::AlignedBuffer buffer(kBlockBytes);
  std::fill_n(buffer.data(), kBlockBytes, std::byte{0x5a});
  const base::IoVec piece{buffer.data(), kBlockBytes};
  std::set<uint64_t> blocks;
  while (blocks.size() < kBlockCount) {
    const uint64_t block = executor.random().Below(kDiskBytes / kBlockBytes);
    if (!blocks.insert(block).second) continue;
    base::IoRequest request;
    request.offset_bytes = block * kBlockBytes;
    request.buffers = {&piece, 1};
    CO_TRY_STATUS(co_await chain.Write(request));
    if (blocks.size() % flush_every == 0) CO_TRY_STATUS(co_await chain.Flush());
  }
  co_return base::Ok();
}

double PerGuestByte(uint64_t bytes) {
  return static_cast<double>(bytes) / static_cast<double>(kBlockCount * kBlockBytes);
}

}  // namespace

int main(int argument_count, char** arguments) {
  const bool on_volume = argument_count == 5 && std::string_view(arguments[4]) == "volume";
  if (argument_count != 4 && !on_volume) {
    fmt::print(stderr, "usage: counted_writes_bench KIND FLUSH_EVERY FOLDER [volume]\n");
    return 2;
  }
  const std::optional<disklib::DiskLayout> layout = disklib::ParseDiskLayout(arguments[1]);
  const uint64_t flush_every = std::strtoull(arguments[2], nullptr, 10);
  if (!layout || flush_every == 0) return 2;
  Place place(arguments[3], on_volume);
  disklib::FileBackend backend(place.files());
  disklib::OpenDisks open_disks;
  disklib::Lib lib(place.executor(), backend, open_disks);
  const auto chain = MakeDelta(place, lib, *layout);
  const Counts delta_before = place.delta();
  const Counts device_before = place.device();
  Must(place.Run(WriteBlocks(place.executor(), *chain, flush_every)));
  const Counts delta = place.delta();
  const Counts device = place.device();
  const uint64_t delta_bytes = delta.bytes - delta_before.bytes;
  const uint64_t device_bytes = device.bytes - device_before.bytes;
  fmt::print(
      "{{\"kind\": \"{}\", \"flush_every\": {}, \"delta\": {:.4f}, \"volume\": {:.4f}, "
      "\"zeroed\": {:.4f}, \"calls\": {}, \"syncs\": {}}}\n",
      arguments[1], flush_every, PerGuestByte(delta_bytes),
      on_volume ? PerGuestByte(device_bytes - std::min(device_bytes, delta_bytes)) : 0.0,
      PerGuestByte(device.zeroed_bytes - device_before.zeroed_bytes),
      delta.calls - delta_before.calls, delta.syncs - delta_before.syncs);
  Must(place.Run(chain->Close()));
  return 0;
}
