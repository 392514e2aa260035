#include <cstring>
#include <string>
#include <vector>

#include "fs/base/check.h"
#include "tests/fuzz/pieces.h"
#include "tests/support/damaged_directory.h"
#include "vmfs/format/directory.h"
#include "vmfs/format/name_hash.h"
#include "vmfs/fsck/directory_bytes.h"

namespace fuzz {
namespace {

// Counts what a check hands out: never more than the directory's bytes can hold.
class CountingSink final : public vmfs::fsck::DirectorySink {
 public:
  void Problem(vmfs::FindingSeverity, vmfs::FindingCode, std::string text) override {
    CHECK(!text.empty());
  }

  void OwnRecords(const vmfs::DirectoryRecord&, const vmfs::DirectoryRecord&) override {}

  void Entry(const vmfs::DirectoryRecord& record) override {
    CHECK(!record.name().empty());
    ++entry_count;
  }

  size_t entry_count = 0;
};

// The populated directory, with patches over it: 3 bytes of offset, 1 byte of value. The first byte
// of the input cuts pieces off the end, or adds empty ones.
std::vector<std::byte> PatchedDirectory(Input input) {
  constexpr size_t kPiecesChangedMax = 4;
  Pieces pieces(input);
  std::vector<std::byte> bytes = vmfs::MakePopulatedDirectory().bytes;
  const size_t piece_count = bytes.size() / vmfs::kMetadataBlockBytes - kPiecesChangedMax;
  bytes.resize((piece_count + pieces.Byte() % (2 * kPiecesChangedMax)) *
               vmfs::kMetadataBlockBytes);
  while (!pieces.empty()) {
    const uint32_t patch = pieces.Word();
    bytes[(patch & 0xFFFFFF) % bytes.size()] = static_cast<std::byte>(patch >> 24);
  }
  return bytes;
}

}  // namespace

void RunDirectoryHeader(Input input) {
  const auto header = vmfs::DecodeDirectoryHeader(input);
  if (header) CHECK(header->map_block_count <= vmfs::kMapBlocksMax);
}

// One 4 KiB block as records, as link groups and as allocation map.
void RunDirectoryBlock(Input input) {
  using Kind = vmfs::DirectoryBlockKind;
  const std::vector<std::byte> bytes = Padded(input, vmfs::kMetadataBlockBytes);
  const auto block = std::span<const std::byte>(bytes).first<vmfs::kMetadataBlockBytes>();
  for (const Kind kind : {Kind::kRecords, Kind::kLinks, Kind::kMap}) {
    const auto header = vmfs::DecodeBlockHeader(block, kind);
    if (!header || kind == Kind::kMap) continue;
    const uint32_t free = header->FirstFree();
    CHECK(free <= header->slot_count);
    for (uint32_t slot = 0; slot < header->slot_count; ++slot) (void)header->is_free(slot);
    if (header->free_count == 0 || free == header->slot_count) continue;
    vmfs::DirectoryBlockHeader marked = *header;
    marked.Mark(free, /*is_free_now=*/false);
  }
  for (uint32_t slot = 0; slot < vmfs::kRecordsPerBlock; ++slot) {
    const auto at = bytes.begin() + vmfs::RecordOffsetInBlock(slot);
    const auto record =
        vmfs::DecodeRecord({at, at + sizeof(vmfs::DirectoryRecord)},
                           base::LoadAs<vmfs::DirectoryRecord>(std::span(bytes),
                                                               vmfs::RecordOffsetInBlock(slot))
                               .file_offset);
    if (record) CHECK(!record->name().empty() && record->name().size() < 256);
  }
  for (uint32_t slot = 0; slot < vmfs::kLinkGroupsPerBlock; ++slot) {
    const auto raw = base::LoadAs<vmfs::LinkGroup>(block, vmfs::LinkGroupOffsetInBlock(slot));
    const auto group = vmfs::DecodeLinkGroup(base::BytesOf(raw), raw.bucket);
    if (group) CHECK(group->free_count <= vmfs::kLinksPerGroup);
  }
  for (uint32_t i = 0; i < vmfs::kBlocksPerMapBlock; i += 61) (void)vmfs::GetMapNibble(block, i);
}

void RunDirectoryCheck(Input input) {
  const std::vector<std::byte> bytes = PatchedDirectory(input);
  for (const bool is_root : {false, true}) {
    CountingSink sink;
    vmfs::fsck::CheckDirectoryBytes(bytes, {is_root, /*is_ours=*/true}, sink);
    CHECK(sink.entry_count <= bytes.size() / sizeof(vmfs::DirectoryRecord));
  }
}

void RunDirectory(Input input) {
  const std::vector<std::byte> bytes = PatchedDirectory(input);
  // Every name of a chain that was damaged into a ring may be walked to its bound, but no further.
  constexpr size_t kReadsMax = 2'000'000;
  CHECK(vmfs::ExerciseDamagedDirectory(bytes) < kReadsMax);
}

}  // namespace fuzz
