#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include "fs/base/check.h"
#include "fs/base/sim_executor.h"
#include "tests/fuzz/pieces.h"
#include "tests/support/template_volume.h"
#include "tests/support/volume_tree.h"
#include "vmfs/format/inode.h"
#include "vmfs/lvm_device.h"
#include "vmfs/raw_volume.h"

namespace fuzz {
namespace {

constexpr size_t kReadBytes = 8192;
constexpr uint64_t kRawReadBytesMax = 256 * 1024;
constexpr size_t kInodeFixedBytes = 512;
constexpr size_t kPointerBytes = 1024;

// Reads the begin, some middle and the end of a file, and asks where its data is.
base::Task<void> UseFile(vmfs::VolumeClient client, std::string_view path) {
  std::vector<std::byte> bytes(kReadBytes);
  auto file = co_await client.Open(path, fss::OpenMode::kRead);
  if (!file) co_return;
  const uint64_t size_bytes = (*file)->size_bytes();
  for (const uint64_t offset :
       {uint64_t{0}, uint64_t{1} << 20, size_bytes / 2, size_bytes - size_bytes % kReadBytes}) {
    const base::IoVec piece{bytes.data(), bytes.size()};
    const base::IoRequest request{offset, std::span(&piece, 1)};
    const auto count = co_await (*file)->Read(request);
    if (count) CHECK(*count <= kReadBytes);
    (void)co_await (*file)->Seek(fss::SeekKind::kData, offset);
    (void)co_await (*file)->Seek(fss::SeekKind::kHole, offset);
    std::vector<base::MapRun> runs;
    (void)co_await (*file)->MapStatus(offset, kReadBytes, runs);
  }
  (void)co_await (*file)->Close();
}

class NoVisitor final : public vmfs::MapVisitor {
 public:
  bool PointerBlock(vmfs::Address address, uint32_t) override {
    (void)address.ToString();
    return ++pointer_count_ < 64;
  }

  void Data(uint64_t index, vmfs::Address) override { CHECK(index >= last_), last_ = index; }

 private:
  int pointer_count_ = 0;
  uint64_t last_ = 0;
};

// The same descriptor as the checker and `strata dump` read it.
void WalkRaw(base::SimExecutor& executor, base::SimDisk& disk) {
  const std::array<base::BlockDevice*, 1> devices{&disk};
  const auto lvm = base::RunSync(executor, vmfs::OpenLvm(devices));
  CHECK(lvm.has_value());
  const auto raw = base::RunSync(executor, vmfs::RawVolume::Open(**lvm));
  CHECK(raw.has_value() && base::RunSync(executor, (*raw)->LoadSystemFiles()).has_value());
  vmfs::MetadataBytes block;
  disk.Peek(vmfs::TemplateVolume::Get().sparse_inode_offset(), block);
  const auto fd = base::LoadAs<base::Le32>(std::span<const std::byte>(block));
  const auto inode = vmfs::DecodeInode(block, vmfs::FdAddress(fd));
  if (!inode) return;
  NoVisitor visitor;
  (void)base::RunSync(executor, (*raw)->WalkMap(&*inode, &block, visitor));
  const auto bytes =
      base::RunSync(executor, (*raw)->ReadFile(&*inode, &block, kRawReadBytesMax));
  if (bytes) CHECK(bytes->size() <= kRawReadBytesMax);
}

base::Task<void> UseAll(vmfs::VolumeClient client) {
  vmfs::Tree tree;
  (void)co_await client.ReadTree("/d", tree);
  for (const char* path : vmfs::TemplateVolume::Paths()) co_await UseFile(client, path);
}

vmfs::DeadGuard& Guard() {
  static vmfs::DeadGuard guard;
  return guard;
}

}  // namespace

// A descriptor: its fixed part, slots or inline data, the begin of two pointer blocks. It stands at
// the place of "/sparse" on a good volume, under that file's address.
void RunDescriptor(Input input) {
  const vmfs::TemplateVolume& made = vmfs::TemplateVolume::Get();
  base::SimExecutor executor(1);
  auto disk = vmfs::TemplateVolume::Get().Copy(executor);
  Pieces pieces(input);
  std::vector<std::byte> block(vmfs::kMetadataBlockBytes);
  disk->Peek(made.sparse_inode_offset(), block);
  const auto kept = base::LoadAs<base::Le32>(std::span<const std::byte>(block));
  pieces.Fill(std::span<std::byte>(block).first(kInodeFixedBytes));
  base::StoreAs(std::span<std::byte>(block), 0, kept);
  for (const uint64_t offset : {made.pointer_block_offset(0), made.pointer_block_offset(1)}) {
    const Input pointers = pieces.Next(kPointerBytes);
    if (!pointers.empty()) disk->Poke(offset, pointers);
  }
  pieces.Fill(std::span<std::byte>(block).subspan(vmfs::kSlotsOffset));
  disk->Poke(made.sparse_inode_offset(), block);
  WalkRaw(executor, *disk);
  vmfs::SimVolume volume(executor, std::move(disk));
  volume.options().read_only = true;
  volume.options().guard = &Guard();
  CHECK(volume.Mount().has_value());
  base::RunSync(executor, UseFile(vmfs::VolumeClient(volume.volume()), "/sparse"));
  (void)volume.Unmount();
}

// A volume with patches over its metadata: 2 bytes choose the block, 2 the place in it, 1 how many
// bytes follow (up to 16). It is mounted as the first byte says, listed, read and checked.
void RunVolume(Input input) {
  Pieces pieces(input);
  base::SimExecutor executor(1);
  auto disk = vmfs::TemplateVolume::Get().Copy(executor);
  const uint8_t shape = pieces.Byte();
  const std::vector<uint64_t>& blocks = vmfs::TemplateVolume::Get().metadata_blocks();
  while (!pieces.empty()) {
    const uint32_t where = pieces.Word();
    const uint64_t block = blocks[(where & 0xffff) % blocks.size()];
    const Input bytes = pieces.Next(1 + pieces.Byte() % 16);
    const uint64_t at = (where >> 16) % (vmfs::kMetadataBlockBytes - bytes.size());
    if (!bytes.empty()) disk->Poke(block + at, bytes);
  }
  vmfs::SimVolume volume(executor, std::move(disk));
  volume.options().read_only = (shape & 1) == 0;
  volume.options().guard = &Guard();
  if ((shape & 2) != 0) (void)volume.Report();
  if (!volume.Mount()) return;
  base::RunSync(executor, UseAll(vmfs::VolumeClient(volume.volume())));
  (void)volume.Unmount();
}

}  // namespace fuzz
