// streamOptimized: every legal form is read, and what we write is one of them.
#include <algorithm>
#include <cstring>
#include <functional>

#include <gtest/gtest.h>

#include "disklib/descriptor.h"
#include "disklib/sparse/deflate.h"
#include "disklib/sparse/stream_extent.h"
#include "disklib/sparse/stream_writer.h"
#include "tests/disklib/support.h"

namespace disklib {
namespace {

using base::Code;
using Bytes = std::vector<std::byte>;

constexpr uint64_t kGrain = kStreamGrainBytes;

// A stream put together piece by piece, in whatever order and form.
class StreamImage {
 public:
  struct Form {
    uint64_t capacity_sectors = 0;
    uint32_t version = 3;
    bool directory_in_front = false;
    bool has_footer = true;
    bool has_end = true;
    uint64_t junk_sectors = 0;
    bool has_directory = true;
  };

  explicit StreamImage(Form form) : form_(form) {
    HostedLayout layout = PlanHostedLayout(form.capacity_sectors, 128, false);
    header_ = MakeHostedHeader(
        {.capacity_sectors = form.capacity_sectors, .version = form.version, .flags = kStreamFlags},
        layout);
    if (!form.directory_in_front) header_.directory_sector = kDirectoryAtEnd;
    bytes_.resize(header_.overhead_sectors * kSectorBytes);
    entries_.resize(header_.table_count() * kHostedTableEntryCount);
  }

  void AddGrain(uint64_t grain, const Bytes& content) {
    entries_[grain] = static_cast<uint32_t>(sector());
    Bytes compressed;
    Deflate(content, 6, compressed);
    const StreamRecord record{.value = grain * 128,
                              .size_bytes = static_cast<uint32_t>(compressed.size())};
    Append(base::BytesOf(record));
    bytes_.insert(bytes_.end(), compressed.begin(), compressed.end());
    Pad();
  }

  void AddMarker(uint32_t type, uint64_t payload_sectors) {
    Append(base::BytesOf(MakeStreamMarker(type, payload_sectors)));
    bytes_.resize(bytes_.size() + payload_sectors * kSectorBytes, std::byte{0x5a});
  }

  // Adds what the form says behind the grains and answers the file.
  Bytes Finish() {
    if (form_.directory_in_front) {
      PutTables(PlanHostedLayout(form_.capacity_sectors, 128, false).directory_sector);
    } else if (form_.has_directory) {
      AppendTables();
    }
    if (form_.has_end) Append(base::BytesOf(MakeStreamMarker(kMarkerEndOfStream, 0)));
    base::StoreAs(std::span(bytes_), 0, header_);
    bytes_.resize(bytes_.size() + form_.junk_sectors * kSectorBytes);
    return bytes_;
  }

  uint64_t sector() const { return bytes_.size() / kSectorBytes; }

 private:
  void Append(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }

  void Pad() { bytes_.resize((bytes_.size() + 511) / 512 * 512); }

  void PutTables(uint64_t directory_sector) {
    uint64_t table = directory_sector + header_.directory_sectors();
    for (uint64_t i = 0; i < header_.table_count(); ++i, table += kHostedTableSectors) {
      base::StoreAs(std::span(bytes_), directory_sector * kSectorBytes + i * 4,
                    base::Le32(static_cast<uint32_t>(table)));
      std::memcpy(bytes_.data() + table * kSectorBytes, &entries_[i * kHostedTableEntryCount],
                  kHostedTableBytes);
    }
  }

  void AppendTables() {
    std::vector<base::Le32> directory(header_.directory_sectors() * 128);
    for (uint64_t i = 0; i < header_.table_count(); ++i) {
      Append(base::BytesOf(MakeStreamMarker(kMarkerTable, kHostedTableSectors)));
      directory[i] = static_cast<uint32_t>(sector());
      Append(std::as_bytes(
          std::span(entries_).subspan(i * kHostedTableEntryCount, kHostedTableEntryCount)));
    }
    Append(base::BytesOf(MakeStreamMarker(kMarkerDirectory, header_.directory_sectors())));
    const uint64_t directory_sector = sector();
    Append(std::as_bytes(std::span<const base::Le32>(directory)));
    if (!form_.has_footer) {
      header_.directory_sector = directory_sector;
      return;
    }
    Append(base::BytesOf(MakeStreamMarker(kMarkerFooter, 1)));
    HostedHeader footer = header_;
    footer.directory_sector = directory_sector;
    Append(base::BytesOf(footer));
  }

  Form form_;
  HostedHeader header_;
  Bytes bytes_;
  std::vector<base::Le32> entries_;
};

// A disk of 35 MiB and 3 sectors, so that it has two tables and an incomplete last grain.
constexpr uint64_t kCapacity = 35 * kMebi + 3 * kSectorBytes;

struct Content {
  std::map<uint64_t, Bytes> grains;

  Bytes Range(uint64_t offset_bytes, uint64_t length_bytes) const {
    Bytes bytes(length_bytes);
    for (uint64_t i = 0; i < length_bytes; ++i) {
      const auto grain = grains.find((offset_bytes + i) / kGrain);
      if (grain != grains.end()) bytes[i] = grain->second[(offset_bytes + i) % kGrain];
    }
    return bytes;
  }
};

Content SomeContent() {
  Content content;
  for (const uint64_t grain : {0, 1, 2, 7, 300, 511, 512, 513, 559, 560}) {
    content.grains[grain] = Pattern(grain + 1, kGrain);
    std::fill_n(content.grains[grain].begin() + 100, kGrain / 2, std::byte{7});
  }
  return content;
}

Bytes ImageOf(const Content& content, StreamImage::Form form, bool in_reverse = false) {
  StreamImage image(form);
  std::vector<uint64_t> order;
  for (const auto& [grain, bytes] : content.grains) order.push_back(grain);
  if (in_reverse) std::reverse(order.begin(), order.end());
  image.AddMarker(4, 2);  // of a type nobody documents
  for (const uint64_t grain : order) {
    image.AddGrain(grain, content.grains.at(grain));
    if (grain == 7) image.AddMarker(9, 0);
  }
  return image.Finish();
}

class Stream : public testing::Test {
 protected:
  void StoreBytes(const Bytes& bytes) {
    bench_.Store("s.vmdk", {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }

  base::Result<std::unique_ptr<Extent>> Open(uint64_t size_bytes = kCapacity) {
    auto object = bench_.Run(bench_.backend.Open("s.vmdk", fss::OpenMode::kRead));
    return bench_.Run(OpenStreamExtent(bench_.executor, *std::move(object), size_bytes, "s.vmdk"));
  }

  // The extent agrees with the model, in pieces of odd sizes, in its map and in its seeks.
  void ExpectContent(const Content& content) {
    auto extent = Open();
    ASSERT_TRUE(extent) << extent.error().message();
    base::Random random(5);
    for (uint64_t offset = 0; offset < kCapacity;) {
      const uint64_t length = std::min<uint64_t>(kCapacity - offset, 1 + random.Below(300'000));
      Bytes bytes(length, std::byte{0xee});
      const auto read = ReadBytes(bench_, **extent, offset, bytes);
      ASSERT_TRUE(read) << read.error().message();
      ASSERT_EQ(bytes, content.Range(offset, length)) << "offset " << offset;
      offset += length;
    }
    std::vector<fds::GrainRun> runs;
    ASSERT_TRUE(bench_.Run((*extent)->grain_map()->Lookup(0, kCapacity, runs)));
    uint64_t next = 0;
    for (const fds::GrainRun& run : runs) {
      EXPECT_EQ(run.offset_bytes, next);
      next += run.length_bytes;
      EXPECT_EQ(run.state == fds::GrainState::kData,
                content.grains.contains(run.offset_bytes / kGrain));
    }
    EXPECT_EQ(next, kCapacity);
    EXPECT_EQ(*bench_.Run((*extent)->Seek(fss::SeekKind::kHole, 0)), 3 * kGrain);
    EXPECT_EQ(*bench_.Run((*extent)->Seek(fss::SeekKind::kData, 8 * kGrain)), 300 * kGrain);
    EXPECT_TRUE(bench_.Run((*extent)->Close()));
  }

  void ExpectRefused(Code code, const std::string& text) {
    auto extent = Open();
    ASSERT_FALSE(extent);
    EXPECT_EQ(extent.error().code(), code) << extent.error().message();
    EXPECT_NE(extent.error().message().find(text), std::string::npos) << extent.error().message();
  }

  Bench bench_;
};

TEST_F(Stream, IsReadInEveryLegalForm) {
  const Content content = SomeContent();
  const uint64_t sectors = kCapacity / kSectorBytes;
  const StreamImage::Form forms[] = {
      {.capacity_sectors = sectors},
      {.capacity_sectors = sectors, .version = 1},
      {.capacity_sectors = sectors, .has_end = false},
      {.capacity_sectors = sectors, .junk_sectors = 28},
      {.capacity_sectors = sectors, .has_footer = false},
      {.capacity_sectors = sectors, .has_footer = false, .has_end = false},
      {.capacity_sectors = sectors, .directory_in_front = true},
      {.capacity_sectors = sectors, .directory_in_front = true, .has_end = false},
      {.capacity_sectors = sectors, .directory_in_front = true, .junk_sectors = 28},
      {.capacity_sectors = sectors, .junk_sectors = 5000},
      {.capacity_sectors = sectors, .has_directory = false},
  };
  for (const StreamImage::Form& form : forms) {
    SCOPED_TRACE(&form - forms);
    StoreBytes(ImageOf(content, form));
    ExpectContent(content);
    StoreBytes(ImageOf(content, form, /*in_reverse=*/true));
    ExpectContent(content);
  }
}

// Where the first table is in the form with everything in front.
constexpr uint64_t kFrontTable = 22 * kSectorBytes;

TEST_F(Stream, GoesToTheRecordsWhenATableCannotBe) {
  const Content content = SomeContent();
  Bytes image =
      ImageOf(content, {.capacity_sectors = kCapacity / kSectorBytes, .directory_in_front = true});
  for (const uint32_t broken : {0xfffffff0u, 5u, 129u, 131u}) {
    SCOPED_TRACE(broken);
    base::StoreAs(std::span(image), kFrontTable + 7 * 4, base::Le32(broken));
    StoreBytes(image);
    // A wrong place that is a place shows when its grain is read; the map is right from then on.
    auto extent = Open();
    ASSERT_TRUE(extent) << extent.error().message();
    Bytes bytes(kGrain);
    const auto read = ReadBytes(bench_, **extent, 7 * kGrain, bytes);
    ASSERT_TRUE(read) << read.error().message();
    EXPECT_EQ(bytes, content.grains.at(7));
    EXPECT_TRUE(bench_.Run((*extent)->Close()));
  }
  Bytes bad_directory = image;
  base::StoreAs(std::span(bad_directory), 21 * kSectorBytes, base::Le32(0xffffff00));
  StoreBytes(bad_directory);
  ExpectContent(content);
}

TEST_F(Stream, NeverReadsZerosForWhatIsLost) {
  const Content content = SomeContent();
  const uint64_t sectors = kCapacity / kSectorBytes;
  const Bytes footered = ImageOf(content, {.capacity_sectors = sectors});
  for (const size_t cut : {footered.size() - 1536, footered.size() / 2}) {
    StoreBytes(Bytes(footered.begin(), footered.begin() + static_cast<ptrdiff_t>(cut / 512 * 512)));
    ExpectRefused(Code::kCorrupt, "stream");
  }
  // Tables in front and no end: the part of the file that is there is read, the rest is an error.
  const Bytes front =
      ImageOf(content, {.capacity_sectors = sectors, .directory_in_front = true, .has_end = false});
  StoreBytes(Bytes(front.begin(), front.end() - 512 * 100));
  auto extent = Open();
  ASSERT_TRUE(extent);
  Bytes bytes(kGrain);
  const auto read = ReadBytes(bench_, **extent, 513 * kGrain, bytes);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), Code::kCorrupt);
  EXPECT_TRUE(bench_.Run((*extent)->Close()));
}

TEST_F(Stream, NamesTheGrainWhoseBytesAreDamaged) {
  Content content = SomeContent();
  Bytes image = ImageOf(content, {.capacity_sectors = kCapacity / kSectorBytes});
  image[132 * kSectorBytes] ^= std::byte{0x40};  // within the first record's compressed bytes
  StoreBytes(image);
  auto extent = Open();
  ASSERT_TRUE(extent) << extent.error().message();
  Bytes bytes(kGrain);
  const auto damaged = ReadBytes(bench_, **extent, 0, bytes);
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().code(), Code::kCorrupt);
  EXPECT_NE(damaged.error().message().find("grain 0"), std::string::npos);
  EXPECT_TRUE(ReadBytes(bench_, **extent, kGrain, bytes));
  EXPECT_EQ(bytes, content.grains.at(1));
  EXPECT_TRUE(bench_.Run((*extent)->Close()));
}

TEST_F(Stream, RefusesASizeThatIsNotTheDescriptors) {
  StoreBytes(ImageOf(SomeContent(), {.capacity_sectors = kCapacity / kSectorBytes}));
  EXPECT_FALSE(Open(kCapacity + kSectorBytes));
  EXPECT_FALSE(Open(kCapacity - kGrain));
}

TEST_F(Stream, IsWrittenOnce) {
  StoreBytes(ImageOf(SomeContent(), {.capacity_sectors = kCapacity / kSectorBytes}));
  auto extent = Open();
  ASSERT_TRUE(extent);
  Bytes bytes(512);
  EXPECT_EQ(WriteBytes(bench_, **extent, 0, bytes).error().code(), Code::kReadOnly);
  EXPECT_EQ(bench_.Run((*extent)->WriteZeroes(0, 512, true)).error().code(), Code::kReadOnly);
  EXPECT_EQ(bench_.Run((*extent)->Release(0, kGrain)).error().code(), Code::kUnsupported);
  EXPECT_TRUE(bench_.Run((*extent)->Close()));
}

// Takes bytes like a pipe does: no way back.
class PipeSink : public StreamSink {
 public:
  bool can_rewrite() const override { return false; }

  base::Task<base::Status> Append(std::span<const std::byte> bytes) override {
    stream.insert(stream.end(), bytes.begin(), bytes.end());
    co_return base::Ok();
  }

  base::Task<base::Status> Rewrite(uint64_t, std::span<const std::byte>) override {
    co_return base::Error(Code::kUnsupported);
  }

  Bytes stream;
};

void WriteContent(Bench& bench, StreamSink& sink, const Content& content) {
  const NewStream what{.size_bytes = kCapacity, .file_name = "s.vmdk"};
  auto writer = bench.Run(StreamWriter::Start(bench.executor, sink, what));
  ASSERT_TRUE(writer) << writer.error().message();
  for (uint64_t offset = 0; offset < kCapacity; offset += 3 * kGrain) {
    const Bytes bytes = content.Range(offset, std::min(3 * kGrain, kCapacity - offset));
    const auto appended = bench.Run((*writer)->Append(offset, bytes));
    ASSERT_TRUE(appended) << appended.error().message();
  }
  ASSERT_TRUE(bench.Run((*writer)->Finish()));
}

class StreamWriting : public Stream {
 protected:
  Bytes WriteToFile(const Content& content) {
    EXPECT_TRUE(bench_.Run(bench_.backend.Create("s.vmdk")));
    auto object = bench_.Run(bench_.backend.Open("s.vmdk", fss::OpenMode::kWrite));
    const auto sink = MakeObjectSink(**object);
    WriteContent(bench_, *sink, content);
    EXPECT_TRUE(bench_.Run((*object)->Close()));
    const std::string text = bench_.Load("s.vmdk");
    Bytes bytes(text.size());
    std::memcpy(bytes.data(), text.data(), text.size());
    return bytes;
  }
};

// What importers look at: version, flags, no redundant directory, tables in front, the end.
TEST_F(StreamWriting, IntoAFileHasTheShapeThatImportersTake) {
  Content content = SomeContent();
  const Bytes file = WriteToFile(content);
  const auto header = DecodeHostedHeader(file);
  ASSERT_TRUE(header) << header.error().message();
  EXPECT_EQ(header->version, 3u);
  EXPECT_EQ(header->flags, 0x30001u);
  EXPECT_EQ(header->grain_sectors, 128u);
  EXPECT_EQ(header->directory_sector, 21u);
  EXPECT_EQ(header->redundant_directory_sector, 0u);
  EXPECT_EQ(header->overhead_sectors, 128u);
  EXPECT_EQ(file.size() % kSectorBytes, 0u);
  const auto is_zero = [](std::byte byte) { return byte == std::byte{0}; };
  EXPECT_TRUE(std::all_of(file.end() - 512, file.end(), is_zero)) << "end of stream";
  EXPECT_FALSE(std::all_of(file.end() - 1024, file.end() - 512, is_zero)) << "nothing behind it";
  ExpectContent(content);
  const std::string text(reinterpret_cast<const char*>(file.data()) + 512, 20 * 512);
  const auto descriptor = ParseDescriptor(text);
  ASSERT_TRUE(descriptor) << descriptor.error().message();
  EXPECT_EQ(descriptor->create_type, "streamOptimized");
  EXPECT_EQ(descriptor->capacity_sectors(), kCapacity / kSectorBytes);
  EXPECT_EQ(*descriptor->FindDatabase("ddb.adapterType"), "lsilogic");
  EXPECT_EQ(*descriptor->FindDatabase("ddb.toolsVersion"), "2147483647");
  EXPECT_EQ(*descriptor->FindDatabase("ddb.toolsInstallType"), "4");
  EXPECT_EQ(*descriptor->FindDatabase("ddb.virtualHWVersion"), "14");
}

TEST_F(StreamWriting, IntoAPipeEndsWithTablesFooterAndEnd) {
  Content content = SomeContent();
  PipeSink sink;
  WriteContent(bench_, sink, content);
  const auto header = DecodeHostedHeader(sink.stream);
  ASSERT_TRUE(header);
  EXPECT_EQ(header->directory_sector, kDirectoryAtEnd);
  const auto footer = DecodeHostedHeader(std::span(sink.stream).last(1024));
  ASSERT_TRUE(footer) << "a footer stands 1024 bytes before the end";
  EXPECT_TRUE(CheckStreamFooter(*header, *footer));
  StoreBytes(sink.stream);
  ExpectContent(content);
  // The records alone say the same.
  base::StoreAs(std::span(sink.stream), sink.stream.size() - 1024, base::Le32(0));
  StoreBytes(sink.stream);
  ExpectContent(content);
}

TEST_F(StreamWriting, LeavesOutZeros) {
  const Bytes file = WriteToFile(Content{});
  EXPECT_EQ(file.size(), 129 * kSectorBytes);
  EXPECT_EQ(DecodeHostedHeader(file)->table_count(), 2u);
}

TEST_F(StreamWriting, AnswersEveryFailureOfTheSink) {
  Content content;
  content.grains = {{0, Pattern(1, kGrain)}, {513, Pattern(2, kGrain)}};
  for (uint64_t n = 1;; ++n) {
    Bench bench;
    ASSERT_TRUE(bench.Run(bench.backend.Create("s.vmdk")));
    auto object = bench.Run(bench.backend.Open("s.vmdk", fss::OpenMode::kWrite));
    const auto sink = MakeObjectSink(**object);
    bench.files.FailAt(n, Code::kNoSpace);
    const NewStream what{.size_bytes = kCapacity, .file_name = "s.vmdk"};
    auto writer = bench.Run(StreamWriter::Start(bench.executor, *sink, what));
    base::Status status = writer ? base::Ok() : base::Status(writer.error());
    for (const auto& [grain, bytes] : content.grains) {
      if (status) status = bench.Run((*writer)->Append(grain * kGrain, bytes));
    }
    if (status) status = bench.Run((*writer)->Finish());
    const bool has_failed = bench.files.has_failed();
    bench.files.StopFailing();
    EXPECT_TRUE(bench.Run((*object)->Close()));
    EXPECT_EQ(status.has_value(), !has_failed);
    if (!has_failed) break;
    EXPECT_EQ(status.error().code(), Code::kNoSpace);
  }
}

TEST(Deflate, AnswersOnlyWholeStreams) {
  const Bytes bytes = Pattern(3, 5000);
  Bytes compressed;
  Deflate(bytes, 9, compressed);
  Bytes expanded(5000);
  ASSERT_TRUE(Inflate(compressed, expanded));
  EXPECT_EQ(expanded, bytes);
  Bytes small(4999);
  EXPECT_FALSE(Inflate(compressed, small));
  EXPECT_FALSE(Inflate(std::span(compressed).first(compressed.size() - 1), expanded));
  compressed.back() ^= std::byte{1};
  EXPECT_FALSE(Inflate(compressed, expanded));
}

}  // namespace
}  // namespace disklib
