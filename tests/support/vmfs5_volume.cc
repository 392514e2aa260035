#include "tests/support/vmfs5_volume.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "tests/support/sample.h"
#include "vmfs/lvm_device.h"

namespace vmfs {
namespace {

constexpr uint64_t kReadBytesMax = 256 << 10;
constexpr size_t kFoundMax = 500;

// Copies the parts of a sparse file that hold data.
void CopySample(const std::string& path, base::SimDisk& disk) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(file, 0);
  std::vector<std::byte> buffer(1 << 20);
  for (off_t at = ::lseek(file, 0, SEEK_DATA); at >= 0; at = ::lseek(file, at, SEEK_DATA)) {
    const ssize_t count = ::pread(file, buffer.data(), buffer.size(), at);
    if (count <= 0) break;
    disk.Poke(static_cast<uint64_t>(at), std::span(buffer).first(static_cast<size_t>(count)));
    at += count;
  }
  ::close(file);
}

class NameSink : public fss::DirectorySink {
 public:
  bool Add(const fss::DirectoryEntry& entry) override {
    if (entry.name != "." && entry.name != "..") names.emplace_back(entry.name);
    return names.size() < kFoundMax;
  }

  std::vector<std::string> names;
};

}  // namespace

Vmfs5Volume::Vmfs5Volume(uint64_t seed) : executor_(seed) {
  constexpr uint64_t kSampleBytes = 535'822'336;
  base::SimDisk::Options options;
  options.size_bytes = kSampleBytes;
  options.logging = false;
  disk_ = std::make_unique<base::SimDisk>(executor_, options);
  devices_.push_back(disk_.get());
  CopySample(testing_support::UnpackedSample("esxi-vmfs5.bin"), *disk_);
}

Vmfs5Volume::~Vmfs5Volume() {
  if (volume_) Unmount();
}

std::vector<std::byte> Vmfs5Volume::ReadDevice(uint64_t offset, size_t size_bytes) {
  std::vector<std::byte> bytes(size_bytes);
  disk_->Peek(offset, bytes);
  return bytes;
}

void Vmfs5Volume::WriteDevice(uint64_t offset, std::span<const std::byte> bytes) {
  disk_->Poke(offset, bytes);
}

void Vmfs5Volume::Write32(uint64_t volume_offset, uint32_t value) {
  const base::Le32 stored = value;
  WriteDevice(kLvmDataOffset + volume_offset, base::BytesOf(stored));
}

void Vmfs5Volume::Write64(uint64_t volume_offset, uint64_t value) {
  const base::Le64 stored = value;
  WriteDevice(kLvmDataOffset + volume_offset, base::BytesOf(stored));
}

uint64_t Vmfs5Volume::DescriptorAt(uint32_t item) {
  return 0x420000 + uint64_t{item} * 2048;
}

base::Status Vmfs5Volume::Mount(bool read_only) {
  TRY(lvm_, base::RunSync(executor_, OpenLvm(devices())));
  MountOptions options;
  options.read_only = read_only;
  TRY(volume_, base::RunSync(executor_, Volume::Mount(executor_, *lvm_, options)));
  return base::Ok();
}

void Vmfs5Volume::Unmount() {
  EXPECT_TRUE(base::RunSync(executor_, volume_->Unmount()));
  volume_.reset();
  lvm_.reset();
}

base::Result<fss::Attributes> Vmfs5Volume::Find(const std::string& path) {
  fss::Attributes found;
  found.inode = volume_->root();
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string name = path.substr(at, end - at);
    TRY(found, base::RunSync(executor_, volume_->Lookup(found.inode, name)));
    at = end + 1;
  }
  return found;
}

base::Result<std::string> Vmfs5Volume::ReadText(const std::string& path, uint64_t offset_bytes,
                                                uint64_t bytes_max) {
  TRY(const fss::Attributes attributes, Find(path));
  TRY(auto file,
      base::RunSync(executor_, volume_->Open(attributes.inode, fss::OpenMode::kRead)));
  std::string text(bytes_max, '?');
  const base::IoVec piece{reinterpret_cast<std::byte*>(text.data()), text.size()};
  const base::IoRequest request{offset_bytes, std::span(&piece, 1)};
  const base::Result<uint64_t> count = base::RunSync(executor_, file->Read(request));
  (void)base::RunSync(executor_, file->Close());
  if (!count) return count.error();
  text.resize(*count);
  return text;
}

void Vmfs5Volume::ReadBelow(fss::InodeNumber directory, const std::string& path,
                            std::vector<std::string>& found) {
  NameSink sink;
  (void)base::RunSync(executor_, volume_->ReadDirectory(directory, 0, sink));
  for (const std::string& name : sink.names) {
    const std::string below = path.empty() ? name : path + "/" + name;
    const auto attributes = base::RunSync(executor_, volume_->Lookup(directory, name));
    if (!attributes || found.size() >= kFoundMax) continue;
    found.push_back(below);
    (void)base::RunSync(executor_, volume_->ReadSymlink(attributes->inode));
    const bool is_deep = std::ranges::count(below, '/') >= 4;  // damage may make circles
    if (attributes->type == fss::FileType::kDirectory) {
      if (!is_deep) ReadBelow(attributes->inode, below, found);
      continue;
    }
    const uint64_t size = attributes->size_bytes;
    (void)ReadText(below, 0, kReadBytesMax);
    (void)ReadText(below, executor_.random().Below(size + 1), 5000);
    (void)ReadText(below, size - std::min<uint64_t>(size, 700), 1000);
  }
}

std::vector<std::string> Vmfs5Volume::ReadEverything() {
  std::vector<std::string> found;
  (void)base::RunSync(executor_, volume_->GetStatFs());
  ReadBelow(volume_->root(), "", found);
  return found;
}

}  // namespace vmfs
