// vmfsSparse and hosted sparse files: made, written, grown, cut and damaged, in memory.
#include "disklib/sparse/sector_files.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include <gtest/gtest.h>

#include "disklib/sparse/cowd_format.h"
#include "disklib/sparse/embedded_descriptor.h"
#include "disklib/sparse/hosted_format.h"
#include "tests/disklib/support.h"

namespace disklib {
namespace {

using base::Code;
using base::Le32;
using Bytes = std::vector<std::byte>;

struct Kind {
  const char* name;
  SparseKind kind;
  uint64_t grain_bytes;
  bool all_tables;
};

constexpr Kind kKinds[] = {
    {"vmfsSparse", SparseKind::kVmfsSparse, 4096, false},
    {"vmfsSparseGrain512", SparseKind::kVmfsSparse, 512, false},
    {"vmfsSparseAllTables", SparseKind::kVmfsSparse, 4096, true},
    {"vmfsSparseGrain1M", SparseKind::kVmfsSparse, kMebi, false},
    {"hosted", SparseKind::kHosted, 65536, false},
    {"hostedGrain8K", SparseKind::kHosted, 8192, false},
};

constexpr uint64_t kSize = 37 * kMebi + 3 * kSectorBytes;

class SectorFiles : public testing::TestWithParam<Kind> {
 protected:
  void Format(uint64_t size_bytes, std::string_view descriptor = {}) {
    ASSERT_TRUE(bench_->Run(bench_->backend.Create("x.vmdk")));
    auto object = OpenObject();
    const NewSparseExtent what{.kind = GetParam().kind,
                               .size_bytes = size_bytes,
                               .grain_bytes = GetParam().grain_bytes,
                               .all_tables = GetParam().all_tables,
                               .descriptor = descriptor};
    const auto made = bench_->Run(FormatSparseExtent(*object, what));
    ASSERT_TRUE(made) << made.error().message();
    ASSERT_TRUE(bench_->Run(object->Close()));
  }

  std::unique_ptr<Object> OpenObject() {
    return *bench_->Run(bench_->backend.Open("x.vmdk", fss::OpenMode::kWrite));
  }

  base::Result<std::unique_ptr<Extent>> Open(uint64_t size_bytes, bool can_write = true) {
    const SparseOpen options{.kind = GetParam().kind,
                             .size_bytes = size_bytes,
                             .can_write = can_write,
                             .path = "x.vmdk"};
    return bench_->Run(OpenSparseExtent(bench_->executor, OpenObject(), options));
  }

  base::Status Grow(uint64_t size_bytes) {
    auto object = OpenObject();
    const base::Status grown = bench_->Run(GrowSparseExtent(*object, GetParam().kind, size_bytes));
    EXPECT_TRUE(bench_->Run(object->Close()));
    return grown;
  }

  void Patch(uint64_t offset_bytes, std::span<const std::byte> bytes) {
    auto object = OpenObject();
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    ASSERT_TRUE(bench_->Run(WriteWhole(*object, offset_bytes, text)));
    ASSERT_TRUE(bench_->Run(object->Close()));
  }

  template <typename T>
  T Peek(uint64_t offset_bytes) {
    const std::string text = bench_->Load("x.vmdk");
    T value;
    std::memcpy(&value, text.data() + offset_bytes, sizeof(value));
    return value;
  }

  void ExpectReads(Extent& extent, const Bytes& model) {
    Bytes bytes(model.size());
    const auto read = ReadBytes(*bench_, extent, 0, bytes);
    ASSERT_TRUE(read) << read.error().message();
    for (size_t i = 0; i < model.size(); i += kSectorBytes) {
      const size_t count = std::min<size_t>(kSectorBytes, model.size() - i);
      ASSERT_EQ(std::memcmp(&bytes[i], &model[i], count), 0) << "byte " << i;
    }
  }

  std::unique_ptr<Bench> bench_ = std::make_unique<Bench>();
};

INSTANTIATE_TEST_SUITE_P(Kinds, SectorFiles, testing::ValuesIn(kKinds),
                         [](const auto& of) { return of.param.name; });

// Writes as the chain does: in place where there is data, else whole grains.
void WriteRandomly(Bench& bench, Extent& extent, base::Random& random, Bytes& model) {
  const uint64_t grain = extent.grain_map()->grain_bytes();
  const uint64_t grain_count = (model.size() + grain - 1) / grain;
  const uint64_t first = random.Below(grain_count);
  const uint64_t count_max = std::clamp<uint64_t>(kMebi / grain, 1, 9);
  const uint64_t count = 1 + random.Below(std::min(grain_count - first, count_max));
  const uint64_t begin = first * grain;
  const uint64_t end = std::min<uint64_t>(begin + count * grain, model.size());
  const uint64_t verb = random.Below(6);
  if (verb == 0) {
    ASSERT_TRUE(bench.Run(extent.WriteZeroes(begin, end - begin, random.OneIn(2))));
    std::fill(model.begin() + static_cast<ptrdiff_t>(begin),
              model.begin() + static_cast<ptrdiff_t>(end), std::byte{0});
  } else if (verb == 1) {
    ASSERT_TRUE(bench.Run(extent.Release(begin, end - begin)));
    std::fill(model.begin() + static_cast<ptrdiff_t>(begin),
              model.begin() + static_cast<ptrdiff_t>(end), std::byte{0});
  } else {
    Bytes bytes = Pattern(random.Next(), end - begin);
    const auto written = WriteBytes(bench, extent, begin, bytes);
    ASSERT_TRUE(written) << written.error().message();
    ASSERT_EQ(*written, bytes.size());
    std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<ptrdiff_t>(begin));
  }
}

TEST_P(SectorFiles, AgreeWithAModelAcrossReopensAndGrowth) {
  uint64_t size_bytes = 9 * kMebi + 3 * kSectorBytes;
  Format(size_bytes);
  base::Random random(GetParam().grain_bytes + 3);
  Bytes model(size_bytes);
  for (int round = 0; round < 6; ++round) {
    SCOPED_TRACE(round);
    auto extent = Open(size_bytes);
    ASSERT_TRUE(extent) << extent.error().message();
    for (int i = 0; i < 25; ++i) {
      WriteRandomly(*bench_, **extent, random, model);
      if (HasFatalFailure()) return;
      if (random.OneIn(7)) {
        ASSERT_TRUE(bench_->Run((*extent)->Sync()));
      }
    }
    ExpectReads(**extent, model);
    ASSERT_TRUE(bench_->Run((*extent)->Close()));
    auto again = Open(size_bytes, /*can_write=*/false);
    ASSERT_TRUE(again) << again.error().message();
    ExpectReads(**again, model);
    ASSERT_TRUE(bench_->Run((*again)->Close()));
    if (round % 2 == 1) continue;
    size_bytes += (round == 0 ? 40 : 1) * kMebi + kSectorBytes;
    ASSERT_TRUE(Grow(size_bytes));
    ASSERT_TRUE(Grow(size_bytes)) << "the same size succeeds";
    model.resize(size_bytes);
  }
  EXPECT_EQ(Grow(size_bytes - kMebi).error().code(), Code::kInvalidArgument);
}

TEST_P(SectorFiles, RefuseMoreThanTheirAddressesHold) {
  ASSERT_TRUE(bench_->Run(bench_->backend.Create("x.vmdk")));
  auto object = OpenObject();
  const uint64_t size_bytes = kSectorFormatBytesMax + kSectorBytes;
  const auto made =
      bench_->Run(FormatSparseExtent(*object, {.kind = GetParam().kind, .size_bytes = size_bytes}));
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code(), Code::kTooLarge);
  EXPECT_NE(made.error().message().find("seSparse"), std::string::npos);
  EXPECT_NE(made.error().message().find("2032 GiB"), std::string::npos);
  ASSERT_TRUE(
      bench_->Run(FormatSparseExtent(*object, {.kind = GetParam().kind, .size_bytes = kMebi})));
  const auto grown = bench_->Run(GrowSparseExtent(*object, GetParam().kind, size_bytes));
  ASSERT_FALSE(grown);
  EXPECT_EQ(grown.error().code(), Code::kTooLarge);
  EXPECT_TRUE(bench_->Run(object->Close()));
}

TEST_P(SectorFiles, RefuseGrainsThatAreNoPowerOfTwo) {
  ASSERT_TRUE(bench_->Run(bench_->backend.Create("x.vmdk")));
  auto object = OpenObject();
  for (const uint64_t grain_bytes : {uint64_t{513}, uint64_t{1536}, 2 * kMebi}) {
    const NewSparseExtent what{
        .kind = GetParam().kind, .size_bytes = kMebi, .grain_bytes = grain_bytes};
    const auto made = bench_->Run(FormatSparseExtent(*object, what));
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code(), Code::kInvalidArgument);
  }
  EXPECT_TRUE(bench_->Run(object->Close()));
}

// A file that reaches close to the last address runs full; nothing wraps to its start.
TEST_P(SectorFiles, RunFullAtTheLastAddress) {
  Format(kSize);
  auto object = OpenObject();
  uint64_t used_end = kSectorAddressCount - 40;
  if (GetParam().kind == SparseKind::kHosted) {
    // The last grain of the disk is the last of the file.
    const uint64_t grain_sectors = GetParam().grain_bytes / kSectorBytes;
    const auto header = Peek<HostedHeader>(0);
    const Le32 last(static_cast<uint32_t>(kSectorAddressCount - grain_sectors));
    for (const uint64_t sector :
         {uint64_t{header.redundant_directory_sector}, uint64_t{header.directory_sector}}) {
      const auto table = Peek<Le32>(sector * kSectorBytes);
      Patch(table * kSectorBytes + 5 * 4, base::BytesOf(last));
    }
    used_end = kSectorAddressCount;
  } else {
    const Le32 free_sector(static_cast<uint32_t>(used_end));
    Patch(28, base::BytesOf(free_sector));
  }
  const std::byte end{1};
  ASSERT_TRUE(bench_->Run(
      WriteWhole(*object, used_end * kSectorBytes - 1, {reinterpret_cast<const char*>(&end), 1})));
  ASSERT_TRUE(bench_->Run(object->Close()));
  auto extent = Open(kSize);
  ASSERT_TRUE(extent) << extent.error().message();
  Bytes bytes(GetParam().grain_bytes, std::byte{3});
  std::optional<base::Error> error;
  for (int i = 8; i < 30 && !error; ++i) {
    const auto written =
        WriteBytes(*bench_, **extent, static_cast<uint64_t>(i) * bytes.size(), bytes);
    if (!written) error = written.error();
  }
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->code(), Code::kNoSpace) << error->message();
  EXPECT_TRUE(bench_->Run((*extent)->Close()));
  auto again = Open(kSize);
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_TRUE(bench_->Run((*again)->Close()));
}

// --- vmfsSparse

class VmfsSparse : public SectorFiles {};

INSTANTIATE_TEST_SUITE_P(Grain4K, VmfsSparse, testing::Values(kKinds[0]),
                         [](const auto& of) { return of.param.name; });

// Two grains written to an empty extent of 100 MiB: where everything comes to lie.
TEST_P(VmfsSparse, HasTheBytesOfTheFormat) {
  Format(100 * kMebi);
  EXPECT_EQ(bench_->Load("x.vmdk").size(), 5 * kSectorBytes);
  auto extent = Open(100 * kMebi);
  ASSERT_TRUE(extent);
  Bytes bytes(4096, std::byte{0x11});
  ASSERT_TRUE(WriteBytes(*bench_, **extent, 4096, bytes));
  ASSERT_TRUE(WriteBytes(*bench_, **extent, 17 * kMebi, bytes));
  ASSERT_TRUE(bench_->Run((*extent)->Sync()));
  EXPECT_EQ((Peek<Le32>(1648)), 1u) << "a writer is there";
  ASSERT_TRUE(bench_->Run((*extent)->Close()));
  EXPECT_EQ((Peek<Le32>(1648)), 0u);
  const auto header = Peek<CowdHeader>(0);
  // Directory at 4; grain at 5; its table behind it; the same again.
  EXPECT_EQ(header.directory_sector, 4u);
  const uint32_t first_table = Peek<Le32>(2048);
  const uint32_t second_table = Peek<Le32>(2048 + 4);
  EXPECT_EQ(first_table, 13u);
  EXPECT_EQ(second_table, 13u + 32 + 8);
  EXPECT_EQ((Peek<Le32>(first_table * 512 + 4)), 5u);
  EXPECT_EQ((Peek<Le32>(second_table * 512 + 256 * 4)), 45u);
  EXPECT_EQ(header.free_sector, 85u);
}

// A writer that does not keep freeSector has appended: nothing of it is written over.
TEST_P(VmfsSparse, IsWrittenBehindWhatOthersAppended) {
  Format(100 * kMebi);
  auto extent = Open(100 * kMebi);
  Bytes bytes(4096, std::byte{0x11});
  ASSERT_TRUE(WriteBytes(*bench_, **extent, 0, bytes));
  ASSERT_TRUE(bench_->Run((*extent)->Close()));
  const uint32_t table = Peek<Le32>(2048);
  const Bytes foreign(4096, std::byte{0x77});
  Patch(2000 * 512, foreign);
  Patch(table * 512 + 9 * 4, base::BytesOf(Le32(2000)));
  extent = Open(100 * kMebi);
  ASSERT_TRUE(extent);
  Bytes more(64 * 4096, std::byte{0x22});
  ASSERT_TRUE(WriteBytes(*bench_, **extent, 20 * 4096, more));
  Bytes found(4096);
  ASSERT_TRUE(ReadBytes(*bench_, **extent, 9 * 4096, found));
  EXPECT_EQ(found, foreign);
  ASSERT_TRUE(bench_->Run((*extent)->Close()));
  EXPECT_GE((Peek<Le32>(28)), 2008u + 64 * 8);
}

TEST_P(VmfsSparse, NamesEntriesThatCannotBe) {
  Format(100 * kMebi);
  auto extent = Open(100 * kMebi);
  Bytes bytes(4096, std::byte{0x11});
  ASSERT_TRUE(WriteBytes(*bench_, **extent, 0, bytes));
  ASSERT_TRUE(bench_->Run((*extent)->Close()));
  const uint32_t table = Peek<Le32>(2048);
  for (const uint32_t broken : {1u, 4u, 0xfffffff0u}) {
    SCOPED_TRACE(broken);
    Patch(table * 512 + 7 * 4, base::BytesOf(Le32(broken)));
    auto to_read = Open(100 * kMebi, /*can_write=*/false);
    ASSERT_TRUE(to_read);
    EXPECT_EQ(ReadBytes(*bench_, **to_read, 0, bytes).error().code(), Code::kCorrupt);
    EXPECT_TRUE(bench_->Run((*to_read)->Close()));
    auto to_write = Open(100 * kMebi);
    ASSERT_FALSE(to_write);
    EXPECT_EQ(to_write.error().code(), Code::kCorrupt);
  }
}

// Every table is there from the start, and stays so when the extent grows: no writer finds a
// directory entry of 0.
TEST(VmfsSparseAllTables, HasEveryTableAlsoAfterGrowth) {
  Bench bench;
  ASSERT_TRUE(bench.Run(bench.backend.Create("x.vmdk")));
  auto object = *bench.Run(bench.backend.Open("x.vmdk", fss::OpenMode::kWrite));
  ASSERT_TRUE(bench.Run(FormatSparseExtent(
      *object, {.kind = SparseKind::kVmfsSparse, .size_bytes = 100 * kMebi, .all_tables = true})));
  for (const uint64_t size_bytes : {100 * kMebi, 200 * kMebi, 3000 * kMebi}) {
    ASSERT_TRUE(bench.Run(GrowSparseExtent(*object, SparseKind::kVmfsSparse, size_bytes)));
    const std::string text = bench.Load("x.vmdk");
    const auto bytes = std::as_bytes(std::span<const char>(text));
    const auto header = DecodeCowdHeader(bytes, text.size() / 512);
    ASSERT_TRUE(header) << header.error().message();
    for (uint32_t i = 0; i < header->directory_entry_count; ++i) {
      const uint32_t table = base::LoadAs<Le32>(bytes, header->directory_sector * 512 + i * 4);
      EXPECT_NE(table, 0u) << i;
      EXPECT_TRUE(CheckCowdTable(*header, i, table, text.size() / 512));
    }
  }
  EXPECT_TRUE(bench.Run(object->Close()));
}

// --- hosted sparse

class HostedSparse : public SectorFiles {
 protected:
  uint32_t TableOf(uint64_t directory_sector, uint64_t index) {
    return Peek<Le32>(directory_sector * kSectorBytes + index * 4);
  }

  void WriteGrain(uint64_t grain, std::byte value) {
    auto extent = Open(kSize);
    ASSERT_TRUE(extent) << extent.error().message();
    Bytes bytes(65536, value);
    ASSERT_TRUE(WriteBytes(*bench_, **extent, grain * 65536, bytes));
    ASSERT_TRUE(bench_->Run((*extent)->Close()));
  }

  std::byte FirstByteOf(uint64_t grain) {
    auto extent = Open(kSize, /*can_write=*/false);
    EXPECT_TRUE(extent) << extent.error().message();
    Bytes bytes(512);
    EXPECT_TRUE(ReadBytes(*bench_, **extent, grain * 65536, bytes));
    EXPECT_TRUE(bench_->Run((*extent)->Close()));
    return bytes[0];
  }
};

INSTANTIATE_TEST_SUITE_P(Grain64K, HostedSparse, testing::Values(kKinds[4]),
                         [](const auto& of) { return of.param.name; });

TEST_P(HostedSparse, WritesBothSetsAndTheMark) {
  Format(kSize);
  auto extent = Open(kSize);
  ASSERT_TRUE(extent);
  Bytes bytes(65536, std::byte{0x11});
  ASSERT_TRUE(WriteBytes(*bench_, **extent, 3 * 65536, bytes));
  ASSERT_TRUE(bench_->Run((*extent)->Sync()));
  EXPECT_EQ(Peek<uint8_t>(72), 1) << "a writer is there";
  ASSERT_TRUE(bench_->Run((*extent)->Close()));
  EXPECT_EQ(Peek<uint8_t>(72), 0);
  const auto header = Peek<HostedHeader>(0);
  for (const uint64_t sector :
       {uint64_t{header.redundant_directory_sector}, uint64_t{header.directory_sector}}) {
    EXPECT_EQ((Peek<Le32>(TableOf(sector, 0) * 512 + 3 * 4)), header.overhead_sectors);
  }
}

TEST_P(HostedSparse, TakesTheSoundSetAfterACutAndMendsTheOther) {
  for (const bool damages_redundant : {false, true}) {
    SCOPED_TRACE(damages_redundant);
    bench_ = std::make_unique<Bench>();
    Format(kSize);
    WriteGrain(3, std::byte{0x11});
    const auto header = Peek<HostedHeader>(0);
    const uint64_t damaged =
        damages_redundant ? header.redundant_directory_sector : header.directory_sector;
    const uint64_t entry = TableOf(damaged, 0) * 512 + 3 * 4;
    Patch(entry, base::BytesOf(Le32(0xffffff00)));
    EXPECT_EQ(Open(kSize).has_value(), false) << "clean and damaged: not written";
    const std::byte unclean{1};
    Patch(72, {&unclean, 1});
    EXPECT_EQ(FirstByteOf(3), std::byte{0x11});
    WriteGrain(9, std::byte{0x22});
    EXPECT_EQ((Peek<Le32>(entry)), header.overhead_sectors) << "mended";
    EXPECT_EQ(Peek<uint8_t>(72), 0);
    EXPECT_EQ(FirstByteOf(3), std::byte{0x11});
    EXPECT_EQ(FirstByteOf(9), std::byte{0x22});
  }
}

TEST_P(HostedSparse, MakesTablesThatAnotherWriterLeftOut) {
  Format(kSize);
  const auto header = Peek<HostedHeader>(0);
  const Bytes none(8);
  Patch(header.redundant_directory_sector * 512, none);
  Patch(header.directory_sector * 512, none);
  WriteGrain(3, std::byte{0x11});
  WriteGrain(513, std::byte{0x22});
  EXPECT_EQ(FirstByteOf(3), std::byte{0x11});
  EXPECT_EQ(FirstByteOf(513), std::byte{0x22});
  const uint32_t redundant = TableOf(header.redundant_directory_sector, 0);
  const uint32_t primary = TableOf(header.directory_sector, 0);
  EXPECT_GE(redundant, header.overhead_sectors);
  EXPECT_GE(primary, header.overhead_sectors);
  EXPECT_NE(primary, redundant);
  Patch(header.directory_sector * 512, none);
  EXPECT_FALSE(Open(kSize)) << "only one of the sets has the table";
}

TEST_P(HostedSparse, UsesTheZeroCodeOnlyByTheFlag) {
  Format(kSize);
  WriteGrain(3, std::byte{0x11});
  const auto header = Peek<HostedHeader>(0);
  for (const uint64_t sector :
       {uint64_t{header.redundant_directory_sector}, uint64_t{header.directory_sector}}) {
    Patch(TableOf(sector, 0) * 512 + 4 * 4, base::BytesOf(Le32(1)));
  }
  EXPECT_FALSE(Open(kSize)) << "a table entry 1 without the flag";
  Patch(4, base::BytesOf(Le32(2)));
  Patch(8, base::BytesOf(Le32(7)));
  auto extent = Open(kSize);
  ASSERT_TRUE(extent) << extent.error().message();
  EXPECT_TRUE((*extent)->grain_map()->has_zero_state());
  ASSERT_TRUE(bench_->Run((*extent)->WriteZeroes(3 * 65536, 65536, true)));
  ASSERT_TRUE(bench_->Run((*extent)->Close()));
  EXPECT_EQ((Peek<Le32>(TableOf(header.directory_sector, 0) * 512 + 3 * 4)), 1u);
}

TEST_P(HostedSparse, ReadsVersionThreeAndDoesNotWriteIt) {
  Format(kSize);
  WriteGrain(3, std::byte{0x11});
  Patch(4, base::BytesOf(Le32(3)));
  EXPECT_EQ(FirstByteOf(3), std::byte{0x11});
  auto extent = Open(kSize);
  ASSERT_FALSE(extent);
  EXPECT_EQ(extent.error().code(), Code::kUnsupported);
}

TEST_P(HostedSparse, ReadsThroughTheOtherDirectoryWhenOneCannotBe) {
  Format(kSize);
  WriteGrain(3, std::byte{0x11});
  const auto header = Peek<HostedHeader>(0);
  Patch(header.directory_sector * 512, base::BytesOf(Le32(0xffffff00)));
  EXPECT_EQ(FirstByteOf(3), std::byte{0x11});
  EXPECT_FALSE(Open(kSize));
}

// --- embedded descriptors

class EmbeddedDescriptor : public HostedSparse {};

INSTANTIATE_TEST_SUITE_P(Grain64K, EmbeddedDescriptor, testing::Values(kKinds[4]),
                         [](const auto& of) { return of.param.name; });

TEST_P(EmbeddedDescriptor, IsReadAndReplacedAtItsPlace) {
  Format(kSize, "first");
  auto object = OpenObject();
  EXPECT_EQ(*bench_->Run(ReadEmbeddedDescriptor(*object)), "first");
  const std::string longer(6000, 'b');
  for (const std::string& text : {std::string("other"), longer, std::string("short again")}) {
    const auto replaced = bench_->Run(ReplaceEmbeddedDescriptor(*object, text));
    ASSERT_TRUE(replaced) << replaced.error().message();
    EXPECT_EQ(*bench_->Run(ReadEmbeddedDescriptor(*object)), text);
    EXPECT_EQ(bench_->Load("x.vmdk").substr(512, text.size() + 1), text + '\0');
    EXPECT_EQ(Peek<HostedHeader>(0).descriptor_sector, 1u);
  }
  const std::string too_long(20 * 512 + 1, 'c');
  EXPECT_EQ(bench_->Run(ReplaceEmbeddedDescriptor(*object, too_long)).error().code(),
            Code::kTooLarge);
  EXPECT_TRUE(bench_->Run(object->Close()));
}

TEST_P(EmbeddedDescriptor, IsTheOldOrTheNewOneAfterEveryCut) {
  const std::string old_text(3000, 'o');
  const std::string new_text(4000, 'n');
  bool is_done = false;
  for (uint64_t call = 1; !is_done; ++call) {
    for (const auto crash : {fss::MemoryFileSystem::Crash::kLosesNothing,
                             fss::MemoryFileSystem::Crash::kLosesUnsyncedData}) {
      SCOPED_TRACE(call);
      bench_ = std::make_unique<Bench>();
      Format(kSize, old_text);
      ASSERT_TRUE(bench_->Run(bench_->backend.SyncNames()));
      auto object = OpenObject();
      bench_->files.CutAt(call);
      const auto replaced = bench_->Run(ReplaceEmbeddedDescriptor(*object, new_text));
      is_done = !bench_->files.has_failed();
      static_cast<void>(bench_->Run(object->Close()));
      object.reset();
      bench_->files.Recover(crash);
      object = OpenObject();
      const std::string found = *bench_->Run(ReadEmbeddedDescriptor(*object));
      EXPECT_TRUE(found == new_text || (found == old_text && !replaced));
      ASSERT_TRUE(bench_->Run(ReplaceEmbeddedDescriptor(*object, "last")));
      EXPECT_EQ(bench_->Load("x.vmdk").substr(512, 5), std::string("last\0", 5));
      EXPECT_TRUE(bench_->Run(object->Close()));
    }
  }
}

TEST_P(EmbeddedDescriptor, IsFoundInAFileWithoutGrains) {
  Format(kSize, "names other files");
  Patch(12, Bytes(8));
  auto object = OpenObject();
  EXPECT_EQ(*bench_->Run(ReadEmbeddedDescriptor(*object)), "names other files");
  EXPECT_TRUE(bench_->Run(object->Close()));
  EXPECT_EQ(Open(0, false).error().code(), Code::kUnsupported);
}

TEST_P(EmbeddedDescriptor, IsNotFoundWhereThereIsNone) {
  Format(kSize);
  auto object = OpenObject();
  EXPECT_EQ(bench_->Run(ReadEmbeddedDescriptor(*object)).error().code(), Code::kNotFound);
  EXPECT_TRUE(bench_->Run(object->Close()));
}

}  // namespace
}  // namespace disklib
