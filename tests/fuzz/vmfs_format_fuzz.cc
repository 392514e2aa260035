// Every decoder of `vmfs/format` on arbitrary bytes. The tests run it on random and on damaged
// input; a fuzzer is clang++ -std=c++20 -fsanitize=fuzzer,address with vmfs/format and fs/base.
//
// The first byte chooses the decoder, the rest is its input.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "vmfs/format/directory.h"
#include "vmfs/format/heartbeat_slot.h"
#include "vmfs/format/inode.h"
#include "vmfs/format/journal_block.h"
#include "vmfs/format/lock_block.h"
#include "vmfs/format/lvm.h"
#include "vmfs/format/resource.h"
#include "vmfs/format/superblock.h"
#include "vmfs/fsck/directory_bytes.h"
#include "vmfs/mkfs/existing.h"

namespace vmfs {
namespace {

struct NoSink final : fsck::DirectorySink {
  void Problem(FindingSeverity, FindingCode, std::string) override {}
  void OwnRecords(const DirectoryRecord&, const DirectoryRecord&) override {}
  void Entry(const DirectoryRecord&) override {}
};

void DecodeHeaders(uint8_t which, std::span<const std::byte> bytes) {
  switch (which) {
    case 0: (void)DecodeLvmDeviceHeader(bytes); break;
    case 1: (void)DecodeLvmVolumeEntry(bytes); break;
    case 2: (void)DecodeLvmPeEntry(bytes); break;
    case 3: (void)DecodeSuperblock(bytes); break;
    case 4: (void)DecodeMark(bytes, base::Uuid{}); break;
    case 5: (void)DecodeHeartbeatSlot(bytes, HeartbeatAddress(0)); break;
    case 6: (void)DecodeLockBlock(bytes, 0x710000, LockType::kFdCluster); break;
    case 7: (void)DecodeInode(bytes, kVhFd); break;
    case 8: (void)DecodeJournalHeader(bytes, base::Uuid{}, 0); break;
    case 9: (void)ClassifyJournal(bytes); break;
    case 10: (void)DescribeExistingContent(bytes); break;
    default: break;
  }
}

void DecodeResources(uint8_t which, std::span<const std::byte> bytes) {
  for (const ResourceKind kind : {ResourceKind::kFd, ResourceKind::kLargeBlock,
                                  ResourceKind::kSmallBlock, ResourceKind::kPointerBlock}) {
    if (which == 11) (void)DecodeResourceHeader(bytes, kind);
    if (which != 12) continue;
    std::vector<std::byte> block(bytes.begin(), bytes.end());
    block.resize(kMetadataBlockBytes);
    const auto span = std::span<const std::byte>(block).first<kMetadataBlockBytes>();
    (void)DecodeClusterMetadata(span, StandardGeometry(kind, 700), 1);
    if (kind == ResourceKind::kFd) (void)CountFree(span, 1, 256);
  }
}

void DecodeDirectories(uint8_t which, std::span<const std::byte> bytes) {
  switch (which) {
    case 13: (void)DecodeDirectoryHeader(bytes); break;
    case 14: (void)DecodeRecord(bytes, 0x11040); break;
    case 15: (void)DecodeBlockHeader(bytes, DirectoryBlockKind::kRecords); break;
    case 16: (void)DecodeLinkGroup(bytes, 5); break;
    case 17: {
      NoSink sink;
      fsck::CheckDirectoryBytes(bytes, true, sink);
      break;
    }
    default: break;
  }
}

}  // namespace
}  // namespace vmfs

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::vector<uint8_t> copy(data + 1, data + size);
  const auto bytes = std::as_bytes(std::span<const uint8_t>(copy));
  vmfs::DecodeHeaders(data[0], bytes);
  vmfs::DecodeResources(data[0], bytes);
  vmfs::DecodeDirectories(data[0], bytes);
  if (data[0] == 18 && bytes.size() >= vmfs::kMetadataBlockBytes) {
    (void)vmfs::DecodeTransaction(bytes.first<vmfs::kMetadataBlockBytes>(), {}, 1, 0);
  }
  return 0;
}
