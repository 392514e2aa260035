// Volumes that Strata did not write, or not like this: each is read, or gets an answer that names
// what was found. Made from a volume of our own, changed to what ESXi or a newer program would
// have left (vmfs/FORMAT.md, "Volumes it did not write").

#include <array>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fs/base/log.h"
#include "tests/support/vmfs_volume.h"
#include "tests/support/volume_history.h"
#include "tests/support/volume_tree.h"
#include "vmfs/format/heartbeat_slot.h"
#include "vmfs/format/inode.h"
#include "vmfs/format/journal_block.h"
#include "vmfs/format/superblock.h"
#include "vmfs/info.h"
#include "vmfs/lvm_device.h"
#include "vmfs/raw_volume.h"

namespace vmfs {
namespace {

using base::Code;

constexpr uint64_t kVolumeBytes = uint64_t{1} << 30;
constexpr uint64_t kLargeBlock = 1;  // volume bytes from 512 MiB
constexpr uint64_t kLargeBlockBytes = kSmallBlocksPerCluster * kFileBlockBytes;
constexpr size_t kFileBytes = 3 * kMebibyte;

class UnusualVolume : public testing::Test {
 protected:
  UnusualVolume() : volume_(executor_, kVolumeBytes, /*logging=*/false) {
    base::SetLogLevel(base::LogLevel::kOff);
    volume_.options().guard = &guard_;
    CHECK(volume_.MakeFileSystem().has_value());
    CHECK(volume_.Mount().has_value());
    VolumeHistory history(executor_, volume_);
    history.Create("/file");
    history.Write("/file", 0, kFileBytes);
    const auto inode =
        base::RunSync(executor_, VolumeClient(volume_.volume()).Resolve("/file"));
    CHECK(inode.has_value());
    history.Unmount();
    CHECK(history.failure().empty());
    inode_address_ = InodeAddress(FdAddress(static_cast<uint32_t>(*inode)));
    content_.resize(kFileBytes);
    history.now().at("/file").bytes.Read(0, content_);
  }

  uint64_t InodeAddress(FdAddress fd) {
    const std::array<base::BlockDevice*, 1> devices{&volume_.disk()};
    const auto lvm = base::RunSync(executor_, OpenLvm(devices));
    const auto raw = base::RunSync(executor_, RawVolume::Open(**lvm));
    CHECK(base::RunSync(executor_, (*raw)->LoadSystemFiles()).has_value());
    return *(*raw)->InodeAddress(fd) + kMetadataBlockBytes;
  }

  void Poke(uint64_t volume_address, std::span<const std::byte> bytes) {
    volume_.disk().Poke(kLvmDataOffset + volume_address, bytes);
  }

  template <typename T>
  void Set(uint64_t volume_address, T value) {
    Poke(volume_address, std::as_bytes(std::span<const T>(&value, 1)));
  }

  // Without our mark the volume is another system's.
  void DropMark() { Poke(kSuperblockOffset + kMarkOffset, std::vector<std::byte>(256)); }

  void ChangeInode(const std::function<void(InodeMetadata&, MetadataSpan)>& change) {
    MetadataBytes block;
    volume_.disk().Peek(kLvmDataOffset + inode_address_, block);
    auto inode = base::LoadAs<InodeMetadata>(std::span<const std::byte>(block));
    change(inode, block);
    base::StoreAs(std::span<std::byte>(block), 0, inode);
    Poke(inode_address_, block);
  }

  // "" when it mounts; the volume is unmounted again.
  std::string TryMount(bool read_only) {
    volume_.options().read_only = read_only;
    const base::Status mounted = volume_.Mount();
    if (!mounted) return mounted.error().message();
    EXPECT_TRUE(volume_.Unmount());
    return "";
  }

  Code MountCode(bool read_only) {
    volume_.options().read_only = read_only;
    const base::Status mounted = volume_.Mount();
    if (!mounted) return mounted.error().code();
    EXPECT_TRUE(volume_.Unmount());
    return Code::kInternal;
  }

  // Bytes of "/file" on a read-only mount; as many as there are.
  std::vector<std::byte> ReadFile(uint64_t offset, size_t size_bytes) {
    volume_.options().read_only = true;
    CHECK(volume_.Mount().has_value());
    std::vector<std::byte> bytes(size_bytes);
    const auto count = base::RunSync(
        executor_, VolumeClient(volume_.volume()).Read("/file", offset, bytes));
    EXPECT_TRUE(count) << count.error().message();
    bytes.resize(count ? *count : 0);
    EXPECT_TRUE(volume_.Unmount());
    return bytes;
  }

  std::vector<std::byte> Content(uint64_t offset, size_t size_bytes) const {
    const auto begin = content_.begin() + static_cast<std::ptrdiff_t>(offset);
    return {begin, begin + static_cast<std::ptrdiff_t>(size_bytes)};
  }

  std::string Info() {
    const std::array<base::BlockDevice*, 1> devices{&volume_.disk()};
    const auto info = base::RunSync(
        executor_, ReadVolumeInfo(std::span<base::BlockDevice* const>(devices)));
    return info ? ToText(*info) : info.error().message();
  }

  base::SimExecutor executor_{5};
  DeadGuard guard_;
  SimVolume volume_;
  uint64_t inode_address_ = 0;
  std::vector<std::byte> content_;
};

void ExpectHas(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "no \"" << part << "\" in:\n" << text;
}

// A field of the superblock, and what is to happen.
struct SuperblockCase {
  const char* name;
  uint64_t offset;
  uint64_t value;
  size_t size_bytes;
  bool mounts_read_only;
  Code write_code;
  const char* answer;  // of the mount that may not be, and of `volume info`
};

class UnusualSuperblock : public UnusualVolume,
                          public testing::WithParamInterface<SuperblockCase> {};

TEST_P(UnusualSuperblock, GetsAClearAnswer) {
  const SuperblockCase& param = GetParam();
  Poke(kSuperblockOffset + param.offset,
       std::as_bytes(std::span<const uint64_t>(&param.value, 1)).first(param.size_bytes));
  EXPECT_EQ(MountCode(/*read_only=*/false), param.write_code);
  ExpectHas(TryMount(/*read_only=*/false), param.answer);
  ExpectHas(Info(), param.answer);
  if (param.mounts_read_only) {
    EXPECT_EQ(ReadFile(0, kFileBytes), content_);
    return;
  }
  ExpectHas(TryMount(/*read_only=*/true), param.answer);
}

constexpr SuperblockCase kSuperblockCases[] = {
    {"LocalVolume", 0x00, kSuperblockMagicLocal, 4, true, Code::kReadOnly, "VMFS-L"},
    {"UnknownKind160", 0x00, 0x2FABF160, 4, false, Code::kVersionUnsupported,
     "magic 0x2fabf160, a kind of VMFS whose layout is not known"},
    {"UnknownKind161", 0x00, 0x2FABF161, 4, false, Code::kVersionUnsupported,
     "magic 0x2fabf161, a kind of VMFS whose layout is not known"},
    {"NoSuperblock", 0x00, 0x12345678, 4, false, Code::kNotRecognized, "magic 0x12345678"},
    {"NewerMajor", 0x04, 25, 4, false, Code::kVersionUnsupported, "major version 25"},
    {"NewerMinor", 0x08, 90, 1, true, Code::kReadOnly, "minor version 90, newer than 82"},
    {"Checksums", 0x111, 1, 1, true, Code::kReadOnly, "metadata checksums of type 1"},
    {"UnknownFlags", 0x19, 0x80000006, 4, true, Code::kReadOnly,
     "unknown configuration flags 0x80000000"},
    {"LargerMetadata", 0x134, 8192, 4, false, Code::kVersionUnsupported,
     "metadata alignment 8192"},
    {"OddMetadata", 0x134, 4097, 4, false, Code::kVersionUnsupported, "metadata alignment 4097"},
    {"DiskBlocks4096", 0x9d, 4096, 4, false, Code::kCorrupt, "disk block size is 0x1000"},
    {"OtherLargeBlocks", 0x138, 10, 2, false, Code::kCorrupt, "small blocks per large block"},
};

INSTANTIATE_TEST_SUITE_P(All, UnusualSuperblock, testing::ValuesIn(kSuperblockCases),
                         [](const auto& one) { return std::string(one.param.name); });

TEST_F(UnusualVolume, OfAnotherSystemMountsReadOnly) {
  DropMark();
  EXPECT_EQ(MountCode(/*read_only=*/false), Code::kReadOnly);
  ExpectHas(TryMount(/*read_only=*/false), "not written by Strata; mount it read-only");
  EXPECT_EQ(ReadFile(0, kFileBytes), content_);
  ExpectHas(Info(), "another system: mounts read-only");
}

TEST_F(UnusualVolume, WithADamagedMarkIsReadOnlyAndSaysSo) {
  Set<uint8_t>(kSuperblockOffset + kMarkOffset + 0x80, 1);
  EXPECT_EQ(MountCode(/*read_only=*/false), Code::kChecksumMismatch);
  EXPECT_EQ(ReadFile(0, kFileBytes), content_);
  ExpectHas(Info(), "mark: CRC");
}

// A host of ESXi is using the volume, or died on it: its journal cannot be replayed.
class DirtyForeignVolume : public UnusualVolume {
 protected:
  DirtyForeignVolume() {
    HeartbeatSlot slot = MakeFreeHeartbeatSlot(HeartbeatAddress(120));
    slot.set_state(HeartbeatState::kInUse);
    slot.generation = uint64_t{9};
    slot.owner = base::Uuid{{1, 2, 3, 4}};
    slot.journal_volume_address = uint64_t{700} * kMebibyte;
    SetText(slot.host_name, "10.1.2.3");
    Poke(HeartbeatAddress(120), base::BytesOf(slot));
    MetadataBytes journal;
    EncodeEmptyJournalHeader(uint64_t{700} * kMebibyte, journal);
    base::StoreAs(std::span<std::byte>(journal), 0x04, base::Le32(0x00020000));
    Poke(uint64_t{700} * kMebibyte, journal);
  }
};

TEST_F(DirtyForeignVolume, IsReadWithAWarning) {
  DropMark();
  EXPECT_EQ(MountCode(/*read_only=*/false), Code::kReadOnly);
  EXPECT_EQ(ReadFile(0, kFileBytes), content_);
  ExpectHas(Info(), "(10.1.2.3), heartbeat slot 120");
}

// A volume of ours that another system has used since: what its journal holds is not known.
TEST_F(UnusualVolume, WithAJournalOfAnotherSystemIsRefused) {
  volume_.options().read_only = false;
  ASSERT_TRUE(volume_.Mount());
  volume_.Crash();
  uint64_t journal_address = 0;
  for (uint32_t index = 0; index < kHeartbeatSlotCount; ++index) {
    MetadataBytes block;
    volume_.disk().Peek(kLvmDataOffset + HeartbeatAddress(index), block);
    const auto slot = DecodeHeartbeatSlot(block, HeartbeatAddress(index));
    ASSERT_TRUE(slot);
    if (slot->state() == HeartbeatState::kInUse) journal_address = slot->journal_volume_address;
  }
  ASSERT_NE(journal_address, 0u);
  Set<uint64_t>(journal_address, 0x0002000046534A36);
  ExpectHas(Info(), "in use by");
  for (const bool read_only : {false, true}) {
    ExpectHas(TryMount(read_only), "written by another system");
  }
}

TEST_F(UnusualVolume, WithADamagedHeartbeatIsDescribed) {
  Set<uint32_t>(HeartbeatAddress(7), 0x12345678);
  ExpectHas(Info(), "1 heartbeat slots are damaged");
  EXPECT_EQ(ReadFile(0, kFileBytes), content_);
}

// --- files as ESXi writes them

TEST_F(UnusualVolume, ReadsBlocksToBeZeroedAsZeros) {
  for (const uint64_t bits : {uint64_t{0x01}, uint64_t{0x80}, uint64_t{0xff}}) {
    ChangeInode([bits](InodeMetadata&, MetadataSpan block) {
      const uint64_t raw = GetSlot(block, 1).raw() & ~(uint64_t{0xff} << 7);
      SetSlot(block, 1, Address(raw | bits << 7));
    });
    EXPECT_EQ(ReadFile(0, kMebibyte), Content(0, kMebibyte));
    EXPECT_EQ(ReadFile(kMebibyte, kMebibyte), std::vector<std::byte>(kMebibyte)) << bits;
    EXPECT_EQ(ReadFile(2 * kMebibyte, kMebibyte), Content(2 * kMebibyte, kMebibyte));
  }
}

TEST_F(UnusualVolume, ReadsCopyOnWriteBlocksAsData) {
  ChangeInode([](InodeMetadata& inode, MetadataSpan block) {
    SetSlot(block, 1, Address(GetSlot(block, 1).raw() | 0x20));
    inode.cow_count_low = 1;
  });
  EXPECT_EQ(ReadFile(0, kFileBytes), content_);
}

class LargeBlockFile : public UnusualVolume {
 protected:
  // Where the bytes of a pattern lie within the large block.
  static constexpr uint64_t kPlaces[] = {0, 300 * kMebibyte, 319 * kMebibyte + 4096};

  LargeBlockFile() {
    for (const uint64_t place : kPlaces) {
      Poke(kLargeBlock * kLargeBlockBytes + place, Content(place % kMebibyte, 8192));
    }
  }

  void ExpectPattern() {
    for (const uint64_t place : kPlaces) {
      EXPECT_EQ(ReadFile(place, 8192), Content(place % kMebibyte, 8192)) << place;
    }
    EXPECT_EQ(ReadFile(100 * kMebibyte, 8192), std::vector<std::byte>(8192));
  }
};

TEST_F(LargeBlockFile, WithTheAddressInEverySlotIsRead) {
  ChangeInode([](InodeMetadata& inode, MetadataSpan block) {
    for (uint32_t slot = 0; slot < kSlotCount; ++slot) {
      SetSlot(block, slot, Address::MakeLargeBlock(kLargeBlock));
    }
    inode.length_bytes = kSlotCount * kFileBlockBytes;
  });
  ExpectPattern();
}

TEST_F(LargeBlockFile, WithOneSlotForEachLargeBlockIsRead) {
  ChangeInode([](InodeMetadata& inode, MetadataSpan block) {
    for (uint32_t slot = 0; slot < kSlotCount; ++slot) SetSlot(block, slot, Address());
    SetSlot(block, 0, Address::MakeLargeBlock(kLargeBlock));
    inode.block_bytes = kLargeBlockBytes;
    inode.log2_block_bytes = 29;
    inode.length_bytes = kLargeBlockBytes;
  });
  ExpectPattern();
  EXPECT_EQ(ReadFile(kLargeBlockBytes - 4096, 8192).size(), 4096u);
}

TEST_F(LargeBlockFile, ThatIsToBeZeroedReadsAsZeros) {
  ChangeInode([](InodeMetadata& inode, MetadataSpan block) {
    SetSlot(block, 0, Address(Address::MakeLargeBlock(kLargeBlock).raw() | 1 << 7));
    inode.length_bytes = kFileBlockBytes;
  });
  EXPECT_EQ(ReadFile(0, 8192), std::vector<std::byte>(8192));
}

TEST_F(UnusualVolume, ListsRawDeviceMapsAndRefusesToReadThem) {
  ChangeInode([](InodeMetadata& inode, MetadataSpan block) {
    inode.set_type(InodeType::kRawDeviceMap);
    inode.SetMapKind(MapKind::kInline);
    inode.length_bytes = uint64_t{2} << 40;
    std::memset(block.data() + kInlineOffset, 0x11, sizeof(DiskId));
  });
  volume_.options().read_only = true;
  ASSERT_TRUE(volume_.Mount());
  VolumeClient client(volume_.volume());
  const auto inode = base::RunSync(executor_, client.Resolve("/file"));
  ASSERT_TRUE(inode) << inode.error().message();
  const auto attributes = base::RunSync(executor_, volume_.volume().GetAttributes(*inode));
  ASSERT_TRUE(attributes) << attributes.error().message();
  EXPECT_EQ(attributes->size_bytes, uint64_t{2} << 40);
  const auto file = base::RunSync(executor_, client.Open("/file", fss::OpenMode::kRead));
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code(), Code::kUnsupported);
  ExpectHas(file.error().message(), "raw device map");
  EXPECT_TRUE(volume_.Unmount());
}

}  // namespace
}  // namespace vmfs
