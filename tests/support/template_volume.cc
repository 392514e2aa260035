#include "tests/support/template_volume.h"

#include <algorithm>
#include <set>

#include "fs/base/check.h"
#include "tests/support/volume_history.h"
#include "vmfs/format/inode.h"
#include "vmfs/lvm_device.h"
#include "vmfs/raw_volume.h"

namespace vmfs {
namespace {

constexpr uint64_t kVolumeBytes = uint64_t{256} << 20;
// Writes larger than this are file data.
constexpr uint64_t kMetadataWriteBytesMax = 300'000;

}  // namespace

TemplateVolume& TemplateVolume::Get() {
  static TemplateVolume volume;
  return volume;
}

const std::vector<const char*>& TemplateVolume::Paths() {
  static const std::vector<const char*> paths = {"/inline", "/small", "/large",
                                                 "/sparse", "/d/x",   "/d/link"};
  return paths;
}

TemplateVolume::TemplateVolume() : volume_(executor_, kVolumeBytes, /*logging=*/true) {
  CHECK(volume_.MakeFileSystem().has_value());
  CHECK(volume_.Mount().has_value());
  VolumeHistory history(executor_, volume_);
  history.Create("/inline");
  history.Write("/inline", 0, 500);
  history.Create("/small");
  history.Write("/small", 0, 30'000);
  history.Create("/large");
  history.Write("/large", 0, 2 * kMebibyte);
  history.Create("/sparse");
  history.Write("/sparse", 9000 * kMebibyte, 600);
  history.MakeDirectory("/d");
  history.Create("/d/x");
  history.MakeSymlink("/d/link", "x");
  // Enough names for a second record block and for chains of links.
  for (int i = 0; i < 40; ++i) history.Create("/d/file" + std::to_string(i));
  VolumeClient client(volume_.volume());
  const auto sparse = base::RunSync(executor_, client.Resolve("/sparse"));
  CHECK(sparse.has_value());
  history.Unmount();
  CHECK(history.failure().empty());
  FindMaps(FdAddress(static_cast<uint32_t>(*sparse)));
  FindMetadata();
  volume_.disk().Settle();
}

void TemplateVolume::FindMetadata() {
  std::set<uint64_t> found;
  for (const base::SimDisk::LogEntry& entry : volume_.disk().log()) {
    const bool is_write = entry.change != base::SimDisk::Change::kFlush &&
                          entry.change != base::SimDisk::Change::kZero;
    if (!is_write || entry.length_bytes > kMetadataWriteBytesMax) continue;
    for (uint64_t at = 0; at < entry.length_bytes; at += kMetadataBlockBytes) {
      found.insert((entry.offset_bytes + at) / kMetadataBlockBytes * kMetadataBlockBytes);
      if (entry.data.size() >= at + kMetadataBlockBytes) {
        KeepOldBlock(entry.offset_bytes + at, std::span(entry.data).subspan(at));
      }
    }
  }
  blocks_.assign(found.begin(), found.end());
  CHECK(!blocks_.empty());
}

// A version of a block that is not the last one.
void TemplateVolume::KeepOldBlock(uint64_t offset, std::span<const std::byte> bytes) {
  OldBlock old{offset, {}};
  MetadataBytes last;
  std::copy_n(bytes.begin(), old.bytes.size(), old.bytes.begin());
  volume_.disk().Peek(offset, last);
  if (old.bytes != last) old_blocks_.push_back(old);
}

void TemplateVolume::FindMaps(FdAddress sparse) {
  const std::array<base::BlockDevice*, 1> devices{&volume_.disk()};
  const auto lvm = base::RunSync(executor_, OpenLvm(devices));
  CHECK(lvm.has_value());
  const auto raw = base::RunSync(executor_, RawVolume::Open(**lvm));
  CHECK(raw.has_value() && base::RunSync(executor_, (*raw)->LoadSystemFiles()).has_value());
  const auto address = (*raw)->InodeAddress(sparse);
  MetadataBytes block;
  CHECK(address && base::RunSync(executor_, (*raw)->ReadInodeBlock(sparse, block)).has_value());
  sparse_inode_offset_ = kLvmDataOffset + *address + kMetadataBlockBytes;
  for (uint32_t slot = 0; slot < std::size(pointer_block_offsets_); ++slot) {
    const auto place = (*raw)->DataAddress(GetSlot(block, slot));
    CHECK(place.has_value());
    pointer_block_offsets_[slot] = kLvmDataOffset + *place;
  }
}

std::unique_ptr<base::SimDisk> TemplateVolume::Copy(base::SimExecutor& executor) {
  return volume_.disk().CrashImage(executor, 0, {});
}

}  // namespace vmfs
