// Directory contents checked as values: built by hand, then broken one thing at a time.
#include "vmfs/fsck/directory_bytes.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "fs/base/on_disk.h"

namespace vmfs::fsck {
namespace {

struct Collector final : DirectorySink {
  void Problem(FindingSeverity, FindingCode code, std::string text) override {
    problems.push_back(std::string(NameOf(code)) + ": " + text);
  }
  void OwnRecords(const DirectoryRecord&, const DirectoryRecord&) override {}
  void Entry(const DirectoryRecord& record) override { names.emplace_back(record.name()); }
  std::vector<std::string> problems;
  std::vector<std::string> names;
};

// A directory with map, one record block and one link block: 0, 1, 2.
class DirectoryBytes : public testing::Test {
 protected:
  DirectoryBytes() {
    const auto dot = MakeRecord(InodeType::kDirectory, kRootFd, 1, 0, 0, ".");
    base::StoreAs(All(), 0, MakeDirectoryHeader(dot, dot));
    EncodeFirstMapBlock(true, Block(0));
    EncodeEmptyBlock(DirectoryBlockKind::kRecords, Block(1));
    EncodeEmptyBlock(DirectoryBlockKind::kLinks, Block(2));
    SetMapNibble(Block(0), 2, {DirectoryBlockKind::kLinks, true, false});
  }

  std::span<std::byte> All() { return bytes_; }
  MetadataSpan Block(uint32_t block) {
    return All().subspan(DirectoryBlockOffset(block)).first<kMetadataBlockBytes>();
  }
  MetadataSpan HashPiece(uint32_t bucket) {
    return All()
        .subspan(HashSlotPiece(bucket) * size_t{kMetadataBlockBytes})
        .first<kMetadataBlockBytes>();
  }
  void TakeSlot(uint32_t block, uint32_t slot) {
    auto header = base::LoadAs<DirectoryBlockHeader>(Block(block));
    header.Mark(slot, false);
    base::StoreAs(Block(block), 0, header);
  }
  void Put(uint32_t slot, std::string_view name, uint32_t hash) {
    TakeSlot(1, slot);
    base::StoreAs(Block(1), RecordOffsetInBlock(slot),
                  MakeRecord(InodeType::kFile, FdAddress::Make(0, 20 + slot), 1, hash,
                             RecordFileOffset(1, slot), name));
    auto header = base::LoadAs<DirectoryHeader>(All());
    header.entry_count = header.entry_count + 1;
    header.allocated_count = uint32_t{header.entry_count};
    base::StoreAs(All(), 0, header);
  }
  void Add(uint32_t slot, std::string_view name) {
    const uint64_t hash = HashName(name);
    Put(slot, name, RecordHash(hash));
    const uint32_t bucket = HashBucket(hash, false);
    SetHashSlot(HashPiece(bucket), bucket, {DirectoryBlockKind::kRecords, 1, slot});
  }
  // Puts the bucket of `name` behind a link group that leads to its record.
  void AddThroughGroup(uint32_t slot, std::string_view name) {
    Add(slot, name);
    const uint64_t hash = HashName(name);
    const uint32_t bucket = HashBucket(hash, false);
    LinkGroup group;
    group.bucket = static_cast<uint16_t>(bucket);
    group.link_count = kLinksPerGroup;
    group.free_count = kLinksPerGroup - 1;
    group.next_free = 1;
    group.links[0] = {Location{DirectoryBlockKind::kRecords, 1, slot}.Encode(), LinkHash(hash)};
    TakeSlot(2, 0);
    base::StoreAs(Block(2), LinkGroupOffsetInBlock(0), group);
    SetHashSlot(HashPiece(bucket), bucket, {DirectoryBlockKind::kLinks, 2, 0});
  }
  Collector Check() {
    Collector collector;
    CheckDirectoryBytes(bytes_, traits_, collector);
    return collector;
  }
  void ExpectProblem(const std::string& text) {
    const Collector collector = Check();
    std::string all;
    for (const std::string& problem : collector.problems) {
      if (problem.find(text) != std::string::npos) return;
      all += problem + "\n";
    }
    ADD_FAILURE() << "nothing says \"" << text << "\":\n" << all;
  }

  DirectoryTraits traits_;
  std::vector<std::byte> bytes_ = std::vector<std::byte>(kDirectoryHeaderBytes + 3 * 4096);
};

TEST_F(DirectoryBytes, FindsNothingInARightDirectory) {
  Add(0, "one");
  AddThroughGroup(1, "two");
  const Collector collector = Check();
  EXPECT_TRUE(collector.problems.empty()) << collector.problems.front();
  EXPECT_EQ(collector.names, (std::vector<std::string>{"one", "two"}));
}

TEST_F(DirectoryBytes, NamesARecordThatItsHashDoesNotReach) {
  Put(0, "one", RecordHash(HashName("one")));
  ExpectProblem("directory hash: \"one\" cannot be found");
}

TEST_F(DirectoryBytes, NamesABucketThatLeadsNowhere) {
  SetHashSlot(HashPiece(5), 5, {DirectoryBlockKind::kRecords, 1, 3});
  ExpectProblem("bucket 5: leads to block 1 slot 3, where nothing is");
  SetHashSlot(HashPiece(5), 5, {DirectoryBlockKind::kRecords, 99999, 3});
  ExpectProblem("bucket 5: leads to block 99999 slot 3");
}

TEST_F(DirectoryBytes, NamesABucketThatLeadsToAnotherHash) {
  Add(0, "one");
  SetHashSlot(HashPiece(5), 5, {DirectoryBlockKind::kRecords, 1, 0});
  ExpectProblem("bucket 5: leads to \"one\", which belongs to another hash");
}

TEST_F(DirectoryBytes, NamesAWrongHashInARecord) {
  Add(0, "one");
  base::StoreAs(Block(1), RecordOffsetInBlock(0) + 0x0c, base::Le32(7));
  ExpectProblem("\"one\": hash 0x7 in its record");
}

TEST_F(DirectoryBytes, NamesABrokenRecord) {
  Add(0, "one");
  base::StoreAs(Block(1), RecordOffsetInBlock(0) + 0x10, base::Le64(7));
  ExpectProblem("directory record: record at 0x11040: says it is at 0x7");
}

TEST_F(DirectoryBytes, NamesBadAndDoubledNames) {
  Add(0, "a/b");
  ExpectProblem("the name \"a/b\"");
  Add(1, "one");
  Put(2, "one", RecordHash(HashName("one")));
  ExpectProblem("duplicate name: the name \"one\" stands there twice");
}

TEST_F(DirectoryBytes, NamesAFreeRecordThatIsNotZero) {
  base::StoreAs(Block(1), RecordOffsetInBlock(4) + 0x20, base::Le32(7));
  ExpectProblem("block 1 slot 4: free, but not zero");
}

TEST_F(DirectoryBytes, NamesAMapThatDoesNotAgree) {
  SetMapNibble(Block(0), 1, {DirectoryBlockKind::kRecords, false, false});
  ExpectProblem("directory map: block 1: the map's nibble is 0x1, 14 of its slots are free");
  SetMapNibble(Block(0), 1, {DirectoryBlockKind::kLinks, true, false});
  ExpectProblem("directory: block 1: directory block: kind 1, expected 2");
  SetMapNibble(Block(0), 900, {DirectoryBlockKind::kRecords, true, false});
  ExpectProblem("the map has a block 900 behind the end");
}

// vmfs6-fuse lists no record behind such a block.
TEST_F(DirectoryBytes, NamesAUsedBlockBehindAnUnusedOneOfOurs) {
  SetMapNibble(Block(0), 1, {DirectoryBlockKind::kNone, false, true});
  ExpectProblem("directory map: block 2 is used behind the unused block 1");
  traits_.is_ours = false;
  EXPECT_TRUE(Check().problems.empty());
}

TEST_F(DirectoryBytes, NamesALinkGroupOfAnotherBucketAndALoop) {
  AddThroughGroup(0, "one");
  const uint32_t bucket = HashBucket(HashName("one"), false);
  base::StoreAs(Block(2), LinkGroupOffsetInBlock(0) + 78,
                base::Le32(Location{DirectoryBlockKind::kLinks, 2, 0}.Encode()));
  ExpectProblem("link group 2/0 was reached before");
  base::StoreAs(Block(2), LinkGroupOffsetInBlock(0), base::Le16(static_cast<uint16_t>(bucket + 1)));
  ExpectProblem("link group: of bucket");
}

TEST_F(DirectoryBytes, NamesAWrongLinkHashAndALinkGroupOfNoBucket) {
  AddThroughGroup(0, "one");
  base::StoreAs(Block(2), LinkGroupOffsetInBlock(0) + 6 + 4, base::Le16(1));
  ExpectProblem("which belongs to another hash");
  TakeSlot(2, 7);
  ExpectProblem("link group 2/7 belongs to no bucket");
}

TEST_F(DirectoryBytes, NamesWhatIsNoDirectory) {
  bytes_.resize(bytes_.size() - 1);
  ExpectProblem("bytes are no directory");
  bytes_.clear();
  ExpectProblem("0 bytes are no directory");
}

}  // namespace
}  // namespace vmfs::fsck
