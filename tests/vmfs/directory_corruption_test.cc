// Directories with damaged bytes: every call answers with an error or a result, after bounded work.
#include <cstdlib>

#include <gtest/gtest.h>

#include "fs/base/on_disk.h"
#include "tests/support/damaged_directory.h"

namespace vmfs {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

// The populated directory; tests change its bytes and look at what is answered.
class DirectoryCorruption : public testing::Test {
 protected:
  static constexpr uint32_t kRecordBlock = 1;

  std::span<std::byte> Block(uint32_t number) {
    return directory.file.bytes().subspan(DirectoryBlockOffset(number), kMetadataBlockBytes);
  }

  MetadataSpan Piece(uint64_t index) {
    return directory.file.bytes().subspan(index * kMetadataBlockBytes).first<kMetadataBlockBytes>();
  }

  uint32_t ChainBucket() const { return KeyOfName(populated.present[0], false).bucket; }

  Location ChainHead() { return GetHashSlot(Piece(HashSlotPiece(ChainBucket())), ChainBucket()); }

  void SetChainHead(Location location) {
    SetHashSlot(Piece(HashSlotPiece(ChainBucket())), ChainBucket(), location);
  }

  LinkGroup Group(Location location) {
    return base::LoadAs<LinkGroup>(Block(location.block), LinkGroupOffsetInBlock(location.slot));
  }

  void SetGroup(Location location, const LinkGroup& group) {
    base::StoreAs(Block(location.block), LinkGroupOffsetInBlock(location.slot), group);
  }

  template <typename T>
  void Set(uint32_t block, size_t offset, T value) {
    base::StoreAs(Block(block), offset, base::Le<T>(value));
  }

  void ExpectCorrupt(const base::Status& status, const std::string& text) {
    ASSERT_FALSE(status.has_value()) << "expected an error about " << text;
    EXPECT_EQ(status.error().code(), base::Code::kCorrupt) << status.error().message();
    EXPECT_NE(status.error().message().find(text), std::string::npos) << status.error().message();
    EXPECT_EQ(directory.modified_count, 0u);
  }

  void ExpectFindCorrupt(const std::string& name, const std::string& text) {
    const auto found = directory.Find(name);
    ExpectCorrupt(found ? base::Ok() : base::Status(found.error()), text);
  }

  const PopulatedDirectory& populated = MakePopulatedDirectory();
  TestDirectory directory{populated.bytes, false, 64};
  const std::string& in_chain = populated.present[0];
  const std::string& not_in_chain = populated.absent[0];  // but of its bucket
};

TEST_F(DirectoryCorruption, StartsFromASoundDirectory) {
  EXPECT_TRUE(directory.Verify().faults.empty()) << directory.Verify().Text();
  ASSERT_EQ(ChainHead().kind, DirectoryBlockKind::kLinks);
  ASSERT_NE(Group(ChainHead()).next_group, 0u);
}

TEST_F(DirectoryCorruption, RefusesALocationBehindTheEnd) {
  SetChainHead({DirectoryBlockKind::kLinks, 5000, 0});
  ExpectFindCorrupt(in_chain, "block 5000");
}

TEST_F(DirectoryCorruption, RefusesASlotBehindTheBlock) {
  SetChainHead({DirectoryBlockKind::kLinks, ChainHead().block, 48});
  ExpectFindCorrupt(in_chain, "slot 48");
}

TEST_F(DirectoryCorruption, RefusesALocationInTheMap) {
  SetChainHead({DirectoryBlockKind::kRecords, 0, 3});
  ExpectFindCorrupt(in_chain, "block 0");
}

TEST_F(DirectoryCorruption, RefusesALocationOfNoKind) {
  SetChainHead({DirectoryBlockKind::kMap, 1, 0});
  ExpectFindCorrupt(in_chain, "not a link group");
}

TEST_F(DirectoryCorruption, RefusesALocationOfTheWrongKind) {
  SetChainHead({DirectoryBlockKind::kLinks, kRecordBlock, 0});
  ExpectFindCorrupt(in_chain, "kind");
}

TEST_F(DirectoryCorruption, RefusesAFreeGroup) {
  SetChainHead({DirectoryBlockKind::kLinks, ChainHead().block, 47});
  ExpectFindCorrupt(in_chain, "free");
}

TEST_F(DirectoryCorruption, RefusesAGroupThatLeadsToItself) {
  LinkGroup group = Group(ChainHead());
  group.next_group = ChainHead().Encode();
  SetGroup(ChainHead(), group);
  ExpectFindCorrupt(not_in_chain, "a cycle");
  ExpectCorrupt(directory.Insert(not_in_chain, FileTarget(1)), "a cycle");
  ExpectCorrupt(directory.Remove(in_chain), "a cycle");
}

TEST_F(DirectoryCorruption, RefusesACycleBehindTheHead) {
  const Location second = Location::Decode(Group(ChainHead()).next_group);
  LinkGroup group = Group(second);
  group.next_group = second.Encode();
  SetGroup(second, group);
  ExpectFindCorrupt(not_in_chain, "a cycle");
}

TEST_F(DirectoryCorruption, RefusesAGroupOfAnotherBucket) {
  LinkGroup group = Group(ChainHead());
  group.bucket = static_cast<uint16_t>(ChainBucket() ^ 1);
  SetGroup(ChainHead(), group);
  ExpectFindCorrupt(in_chain, "bucket");
}

TEST_F(DirectoryCorruption, RefusesALinkThatIsNoRecord) {
  LinkGroup group = Group(ChainHead());
  group.links[0].location = ChainHead().Encode();
  SetGroup(ChainHead(), group);
  ExpectFindCorrupt(in_chain, "expected a record");
}

TEST_F(DirectoryCorruption, RefusesARecordThatStandsElsewhere) {
  Set<uint64_t>(kRecordBlock, RecordOffsetInBlock(0) + 0x10, 0x12345);
  ExpectFindCorrupt(in_chain, "0x12345");
  CollectingSink sink;
  ExpectCorrupt(directory.List(0, sink), "0x12345");
  EXPECT_EQ(sink.entries.size(), 2u);
}

TEST_F(DirectoryCorruption, RefusesARecordOfNoDescriptor) {
  Set<uint32_t>(kRecordBlock, RecordOffsetInBlock(0) + 4, 5);
  ExpectFindCorrupt(in_chain, "descriptor");
}

TEST_F(DirectoryCorruption, RefusesNamesThatWouldConfusePaths) {
  for (const std::string name : {"a/b", ".", "..", ""}) {
    for (size_t i = 0; i < 64; ++i) {
      const char byte = i < name.size() ? name[i] : '\0';
      Block(kRecordBlock)[RecordOffsetInBlock(0) + 0x18 + i] = static_cast<std::byte>(byte);
    }
    CollectingSink sink;
    ExpectCorrupt(directory.List(0, sink), "name");
  }
}

TEST_F(DirectoryCorruption, RefusesABitmapThatContradictsItsCount) {
  Set<uint16_t>(kRecordBlock, 6, 13);
  ExpectFindCorrupt(in_chain, "bitmap");
}

TEST_F(DirectoryCorruption, RefusesFreeBitsBehindTheLastSlot) {
  Set<uint16_t>(kRecordBlock, 6, 1);
  Block(kRecordBlock)[8 + 5] = std::byte{1};
  ExpectFindCorrupt(in_chain, "bitmap");
}

TEST_F(DirectoryCorruption, RefusesAMapThatPromisesSlotsOfAFullBlock) {
  SetMapNibble(Piece(kDirectoryHeaderPieces), kRecordBlock,
               {.kind = DirectoryBlockKind::kRecords, .has_free = true});
  ExpectCorrupt(directory.Insert("new", FileTarget(1)), "it is full");
}

TEST_F(DirectoryCorruption, RefusesAMapThatCallsAUsedBlockUnused) {
  const auto map = Piece(kDirectoryHeaderPieces);
  const uint32_t last = static_cast<uint32_t>(directory.file.size_bytes() / kMetadataBlockBytes -
                                              kDirectoryHeaderPieces - 1);
  for (uint32_t number = 1; number < last; ++number) {
    MapNibble nibble = GetMapNibble(map, number);
    nibble.has_free = false;
    SetMapNibble(map, number, nibble);
  }
  SetMapNibble(map, last, {.never_written = true});
  ExpectCorrupt(directory.Insert("new", FileTarget(1)), "is unused, but");
}

TEST_F(DirectoryCorruption, RefusesAnotherVersion) {
  base::StoreAs(Piece(0), 0, Le32(0x00F50002));
  ExpectFindCorrupt(in_chain, "version");
}

TEST_F(DirectoryCorruption, ChangesNothingThatIsKeptWithChecksums) {
  base::StoreAs(Piece(0), offsetof(DirectoryHeader, checksum), Le64(1));
  EXPECT_TRUE(directory.Find(in_chain).has_value());
  EXPECT_EQ(directory.Insert("new", FileTarget(1)).error().code(), base::Code::kUnsupported);
  EXPECT_EQ(directory.Remove(in_chain).error().code(), base::Code::kUnsupported);
}

TEST(DirectoryCorruptionSizes, AnswersForFilesTooShortForADirectory) {
  const std::vector<std::byte>& bytes = MakePopulatedDirectory().bytes;
  for (size_t pieces = 0; pieces <= bytes.size() / kMetadataBlockBytes; ++pieces) {
    ExerciseDamagedDirectory(std::span(bytes).first(pieces * kMetadataBlockBytes));
  }
}

// One random change: most fall on the blocks, some on the header and on used buckets.
void Damage(base::Random& random, std::vector<std::byte>& bytes) {
  const PopulatedDirectory& populated = MakePopulatedDirectory();
  size_t offset = 0;
  switch (random.Below(6)) {
    case 0: offset = random.Below(sizeof(DirectoryHeader)); break;
    case 1: {
      const auto& name = populated.present[random.Below(populated.present.size())];
      offset = kHashTableOffset + 4 * KeyOfName(name, false).bucket + random.Below(4);
      break;
    }
    case 2:  // of the map, what covers the blocks that exist
      offset = kDirectoryHeaderBytes + random.Below(64 + 8);
      break;
    case 3:  // a block's header
      offset = kDirectoryHeaderBytes + random.Below(10) +
               kMetadataBlockBytes *
                   random.Below((bytes.size() - kDirectoryHeaderBytes) / kMetadataBlockBytes);
      break;
    default: offset = kDirectoryHeaderBytes + random.Below(bytes.size() - kDirectoryHeaderBytes);
  }
  if (random.OneIn(2)) {
    bytes[offset] ^= static_cast<std::byte>(1 << random.Below(8));
  } else {
    bytes[offset] = static_cast<std::byte>(random.Below(random.OneIn(2) ? 256 : 16));
  }
}

TEST(DirectoryCorruptionRandom, AlwaysAnswersAfterBoundedWork) {
  const uint64_t seed = FromEnvironment("SEED", 1);
  const uint64_t rounds = FromEnvironment("ROUNDS", 400);
  base::Random random(seed);
  for (uint64_t round = 0; round < rounds; ++round) {
    SCOPED_TRACE("SEED=" + std::to_string(seed) + " ROUNDS=" + std::to_string(round + 1) +
                 " vmfs_directory_test --gtest_filter=DirectoryCorruptionRandom.*");
    std::vector<std::byte> bytes = MakePopulatedDirectory().bytes;
    for (uint64_t damages = 1 + random.Below(8); damages > 0; --damages) Damage(random, bytes);
    ASSERT_LT(ExerciseDamagedDirectory(bytes), 20'000u);
  }
}

}  // namespace
}  // namespace vmfs
