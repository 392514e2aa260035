#include "vmfs/directory/new_directory.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "fs/base/check.h"
#include "fs/base/on_disk.h"
#include "vmfs/directory/slots.h"

namespace vmfs {
namespace {

struct SystemFile {
  std::string_view name;
  FdAddress address;
};

// In the order of their records, which is that of their descriptors.
constexpr std::array kSystemFiles = {SystemFile{".fbb.sf", kFbbFd}, SystemFile{".fdc.sf", kFdcFd},
                                     SystemFile{".pbc.sf", kPbcFd}, SystemFile{".sbc.sf", kSbcFd},
                                     SystemFile{".vh.sf", kVhFd},   SystemFile{".pb2.sf", kPb2Fd},
                                     SystemFile{".sdd.sf", kSddFd}, SystemFile{".jbc.sf", kJbcFd}};
constexpr uint32_t kSystemGeneration = 1;
constexpr uint32_t kRecordBlock = 1;
constexpr uint32_t kMapPiece = kDirectoryHeaderPieces;
constexpr uint32_t kRecordPiece = kDirectoryHeaderPieces + kRecordBlock;

uint32_t BucketOf(const SystemFile& file) {
  const auto bucket = SystemNameBucket(file.name);
  CHECK(bucket.has_value());
  return *bucket;
}

DirectoryHeader MakeHeader(const NewDirectory& directory) {
  const bool is_system = directory.kind == NewDirectoryKind::kSddSystem;
  DirectoryRecord self{}, parent{};
  self.type_value = static_cast<uint32_t>(is_system ? InodeType::kSystem : InodeType::kDirectory);
  self.fd = directory.self.raw();
  self.generation = directory.self_generation;
  parent.type_value = static_cast<uint32_t>(InodeType::kDirectory);
  parent.fd = directory.parent.raw();
  parent.generation = directory.parent_generation;
  DirectoryHeader header = MakeDirectoryHeader(self, parent);
  if (directory.kind == NewDirectoryKind::kRoot) {
    header.entry_count = header.entry_count + static_cast<uint32_t>(kSystemFiles.size());
    header.allocated_count = header.entry_count;
  }
  return header;
}

// The system files' records, in the first slots of an empty record block.
void FillSystemRecords(MetadataSpan block) {
  for (const SystemFile& file : kSystemFiles) {
    const uint32_t slot = TakeSlot(block);
    base::StoreAs(block, RecordOffsetInBlock(slot),
                  MakeRecord(InodeType::kSystem, file.address, kSystemGeneration, 0,
                             RecordFileOffset(kRecordBlock, slot), file.name));
  }
}

// The part of the root's hash table that lies in header piece `index`.
void FillSystemBuckets(uint32_t index, MetadataSpan piece) {
  for (uint32_t slot = 0; slot < kSystemFiles.size(); ++slot) {
    const uint32_t bucket = BucketOf(kSystemFiles[slot]);
    if (HashSlotPiece(bucket) != index) continue;
    SetHashSlot(piece, bucket, {DirectoryBlockKind::kRecords, kRecordBlock, slot});
  }
}

}  // namespace

bool NewDirectoryPieceIsZero(NewDirectoryKind kind, uint32_t index) {
  if (index == 0 || index == kMapPiece || index == kRecordPiece) return false;
  if (kind != NewDirectoryKind::kRoot) return true;
  return std::none_of(kSystemFiles.begin(), kSystemFiles.end(), [index](const SystemFile& file) {
    return HashSlotPiece(BucketOf(file)) == index;
  });
}

void FillNewDirectoryPiece(const NewDirectory& directory, uint32_t index, MetadataSpan piece) {
  CHECK(index < NewDirectoryPieceCount(directory.kind));
  std::fill(piece.begin(), piece.end(), std::byte{0});
  const bool is_root = directory.kind == NewDirectoryKind::kRoot;
  if (index == 0) base::StoreAs(piece, 0, MakeHeader(directory));
  if (is_root && index < kDirectoryHeaderPieces) FillSystemBuckets(index, piece);
  if (index == kMapPiece) {
    EncodeFirstMapBlock(directory.kind != NewDirectoryKind::kSddSystem, piece);
  }
  if (index == kRecordPiece) EncodeEmptyBlock(DirectoryBlockKind::kRecords, piece);
  if (is_root && index == kRecordPiece) FillSystemRecords(piece);
}

void BuildNewDirectory(const NewDirectory& directory, std::span<std::byte> bytes) {
  const uint32_t count = NewDirectoryPieceCount(directory.kind);
  CHECK(bytes.size() == size_t{count} * kMetadataBlockBytes);
  for (uint32_t index = 0; index < count; ++index) {
    const auto piece = bytes.subspan(size_t{index} * kMetadataBlockBytes);
    FillNewDirectoryPiece(directory, index, piece.first<kMetadataBlockBytes>());
  }
}

}  // namespace vmfs
