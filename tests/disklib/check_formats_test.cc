// Sparse extents under the checker: each invariant has an image that breaks just it; automatic
// repairs keep every byte that anything refers to.
#include <gtest/gtest.h>

#include "disklib/sparse/sparse_extent.h"
#include "tests/disklib/check_support.h"
#include "tests/disklib/sparse_images.h"

namespace disklib {
namespace {

constexpr std::string_view kDisk = "disk.vmdk";
constexpr std::string_view kExtent = "disk-data.vmdk";

// Makes an intact disk of one format.
void MakeCowd(CheckBench& bench) {
  bench.Store(kExtent, CowdImage::Make());
  bench.Store(kDisk, SingleDescriptor("vmfsSparse", "VMFSSPARSE", kExtent, CowdImage::kSectors));
}

void MakeHosted(CheckBench& bench) {
  bench.Store(kExtent, HostedImage::Make());
  bench.Store(kDisk,
              SingleDescriptor("monolithicSparse", "SPARSE", kExtent, HostedImage::kSectors));
}

void WriteGrain(CheckBench& bench, Extent& extent, uint64_t grain) {
  std::vector<std::byte> bytes = Pattern(grain + 1, 4096);
  const auto written = WriteBytes(bench, extent, grain * 4096, bytes);
  ASSERT_TRUE(written) << written.error().message();
}

// By the program's own formatter and writer: data in both tables, zeros, and a grain let go.
void MakeSe(CheckBench& bench) {
  ASSERT_TRUE(bench.Run(bench.backend.Create(kExtent)));
  auto object = bench.Run(bench.backend.Open(kExtent, fss::OpenMode::kExclusiveDisk));
  ASSERT_TRUE(object);
  constexpr uint64_t kBytes = SeImage::kSectors * 512;
  ASSERT_TRUE(bench.Run(
      FormatSparseExtent(**object, {.kind = SparseKind::kSeSparse, .size_bytes = kBytes})));
  auto extent = bench.Run(OpenSparseExtent(bench.executor, *std::move(object),
                                           {.kind = SparseKind::kSeSparse,
                                            .size_bytes = kBytes,
                                            .can_write = true,
                                            .path = kExtent}));
  ASSERT_TRUE(extent) << extent.error().message();
  for (const uint64_t grain : {0u, 1u, 2u, 9u, 4'095u, 4'096u, 5'000u, 5'119u}) {
    WriteGrain(bench, **extent, grain);
  }
  ASSERT_TRUE(bench.Run((*extent)->WriteZeroes(2 * 4096, 4096, true)));
  ASSERT_TRUE(bench.Run((*extent)->Sync()));
  ASSERT_TRUE(bench.Run((*extent)->Close()));
  bench.Store(kDisk, SingleDescriptor("seSparse", "SESPARSE", kExtent, SeImage::kSectors));
}

struct Format {
  std::string_view name;
  void (*make)(CheckBench& bench);
  std::string (*read)(const std::string& file);
};

constexpr Format kCowd{"vmfsSparse", &MakeCowd, &CowdImage::Read};
constexpr Format kHosted{"hosted", &MakeHosted, &HostedImage::Read};
constexpr Format kSe{"seSparse", &MakeSe, &SeImage::Read};

enum class Mends : uint8_t { kNothing, kOnRequest, kItself };

struct Damage {
  const Format* format;
  std::string_view what;
  Invariant id;
  Mends mends;
  bool keeps_content;  // the repaired disk reads as the damaged one did
  void (*make)(std::string& file);
};

using F = std::string;

constexpr Damage kDamages[] = {
    {&kSe, "padding of the header", Invariant::kX1, Mends::kItself, true,
     [](F& f) { f[300] = 1; }},
    {&kSe, "padding of the volatile header", Invariant::kX1, Mends::kItself, true,
     [](F& f) { f[512 + 100] = 1; }},
    {&kSe, "reserved words", Invariant::kX1, Mends::kItself, true, [](F& f) { f[56] = 1; }},
    {&kSe, "another version", Invariant::kX1, Mends::kNothing, true, [](F& f) { f[8] = 2; }},
    {&kSe, "the volatile magic", Invariant::kX1, Mends::kNothing, true, [](F& f) { f[512] = 2; }},
    {&kSe, "regions over each other", Invariant::kX2, Mends::kNothing, true,
     [](F& f) { Store64(f, 22 * 8, Load64(f, 20 * 8)); }},
    {&kSe, "a region that is too small", Invariant::kX2, Mends::kNothing, true,
     [](F& f) { Store64(f, 21 * 8, 1); }},
    {&kSe, "a region beyond all numbers", Invariant::kX2, Mends::kNothing, true,
     [](F& f) { Store64(f, 24 * 8, ~uint64_t{0}); }},
    {&kSe, "a journal to replay", Invariant::kX3, Mends::kNothing, true,
     [](F& f) { f[512 + 24] = 1; }},
    {&kSe, "a count of tables that is too low", Invariant::kX4, Mends::kItself, true,
     [](F& f) { Store64(f, 512 + 8, 1); }},
    {&kSe, "a directory entry of no kind", Invariant::kX4, Mends::kOnRequest, false,
     [](F& f) { Store64(f, SeImage::DirectoryAt(f) + 8, uint64_t{5} << 60); }},
    {&kSe, "a directory entry outside", Invariant::kX4, Mends::kOnRequest, false,
     [](F& f) { Store64(f, SeImage::DirectoryAt(f), uint64_t{1} << 60 | 0x7fffffff); }},
    {&kSe, "a table twice", Invariant::kX4, Mends::kOnRequest, false,
     [](F& f) {
       const uint64_t at = SeImage::DirectoryAt(f);
       Store64(f, at + 8, Load64(f, at));
     }},
    {&kSe, "an entry of no type", Invariant::kX5, Mends::kOnRequest, false,
     [](F& f) { Store64(f, SeImage::EntryAt(f, 9), uint64_t{7} << 60); }},
    {&kSe, "a grain outside the area", Invariant::kX5, Mends::kOnRequest, false,
     [](F& f) { Store64(f, SeImage::EntryAt(f, 9), uint64_t{3} << 60 | 0xffffffffff); }},
    {&kSe, "a payload without a type", Invariant::kX5, Mends::kOnRequest, true,
     [](F& f) { Store64(f, SeImage::EntryAt(f, 77), 5); }},
    {&kSe, "a grain twice", Invariant::kX6, Mends::kOnRequest, true,
     [](F& f) { Store64(f, SeImage::EntryAt(f, 9), Load64(f, SeImage::EntryAt(f, 0))); }},
    {&kSe, "a grain in use, but free", Invariant::kX7, Mends::kItself, true,
     [](F& f) {
       const uint64_t index = SeImage::IndexOf(Load64(f, SeImage::EntryAt(f, 5'000)));
       f[SeImage::BitmapAt(f) + index / 8] &= static_cast<char>(~(1 << index % 8));
     }},
    {&kSe, "a grain nobody refers to", Invariant::kX7, Mends::kItself, true,
     [](F& f) { f[SeImage::BitmapAt(f) + 2] |= 0x10; }},
    {&kSe, "bits behind the end of the file", Invariant::kX7, Mends::kItself, true,
     [](F& f) { f[SeImage::BitmapAt(f) + 100'000] = 1; }},
    {&kSe, "a back map that leads elsewhere", Invariant::kX8, Mends::kItself, true,
     [](F& f) { Store64(f, SeImage::BackMapAt(f), 77); }},
    {&kSe, "an entry behind the end of the disk", Invariant::kX9, Mends::kItself, true,
     [](F& f) { Store64(f, SeImage::EntryAt(f, 5'120), uint64_t{2} << 60); }},
    {&kSe, "a table behind the end of the disk", Invariant::kX9, Mends::kItself, true,
     [](F& f) { Store64(f, SeImage::DirectoryAt(f) + 16, uint64_t{1} << 60); }},
    {&kSe, "another capacity", Invariant::kD5, Mends::kOnRequest, true,
     [](F& f) { Store64(f, 16, SeImage::kSectors + 8); }},

    {&kCowd, "the mark of damage", Invariant::kV1, Mends::kItself, true,
     [](F& f) { f[8] |= 4; }},
    {&kCowd, "the mark of an open file", Invariant::kV1, Mends::kItself, true,
     [](F& f) { f[1648] = 1; }},
    {&kCowd, "a wrong count of tables", Invariant::kV1, Mends::kNothing, true,
     [](F& f) { f[24] = 1; }},
    {&kCowd, "a version of another product", Invariant::kV1, Mends::kNothing, true,
     [](F& f) { f[4] = 3; }},
    {&kCowd, "a table behind the end", Invariant::kV2, Mends::kOnRequest, false,
     [](F& f) { Store32(f, CowdImage::kDirectoryAt + 4, 5'000); }},
    {&kCowd, "a table in the header", Invariant::kV2, Mends::kOnRequest, false,
     [](F& f) { Store32(f, CowdImage::kDirectoryAt, 1); }},
    {&kCowd, "tables over each other", Invariant::kV2, Mends::kOnRequest, false,
     [](F& f) { Store32(f, CowdImage::kDirectoryAt + 4, 6); }},
    {&kCowd, "a grain behind the end", Invariant::kV3, Mends::kOnRequest, false,
     [](F& f) { Store32(f, CowdImage::kTables[0] + 28, 500); }},
    {&kCowd, "a grain in a table", Invariant::kV3, Mends::kOnRequest, false,
     [](F& f) { Store32(f, CowdImage::kTables[0] + 28, 44); }},
    {&kCowd, "a grain twice", Invariant::kV3, Mends::kOnRequest, true,
     [](F& f) { Store32(f, CowdImage::kTables[0] + 28, 37); }},
    {&kCowd, "freeSector before the end", Invariant::kV4, Mends::kItself, true,
     [](F& f) { Store32(f, CowdImage::kFreeSectorAt, 42); }},
    {&kCowd, "a gap", Invariant::kV5, Mends::kNothing, true,
     [](F& f) { Store32(f, CowdImage::kTables[0] + 28, 0); }},
    {&kCowd, "an entry behind the end of the disk", Invariant::kV6, Mends::kItself, true,
     [](F& f) { Store32(f, CowdImage::kTables[1] + 16, 40); }},
    {&kCowd, "another capacity", Invariant::kD5, Mends::kOnRequest, true,
     [](F& f) { Store32(f, 12, CowdImage::kSectors + 1); }},

    {&kHosted, "newline bytes", Invariant::kH1, Mends::kNothing, true, [](F& f) { f[74] = '\n'; }},
    {&kHosted, "an unknown flag", Invariant::kH1, Mends::kNothing, true, [](F& f) { f[11] = 1; }},
    {&kHosted, "a grain size of none", Invariant::kH1, Mends::kNothing, true,
     [](F& f) { Store64(f, 20, 0); }},
    {&kHosted, "a directory behind the end", Invariant::kH2, Mends::kNothing, true,
     [](F& f) { Store64(f, 48, 1 << 20); }},
    {&kHosted, "a table behind the end", Invariant::kH2, Mends::kItself, false,
     [](F& f) { Store32(f, HostedImage::DirectoryAt(f, false), 0x7fffffff); }},
    {&kHosted, "a table that is missing", Invariant::kH2, Mends::kItself, false,
     [](F& f) { Store32(f, HostedImage::DirectoryAt(f, true) + 4, 0); }},
    {&kHosted, "tables over each other", Invariant::kH2, Mends::kItself, false,
     [](F& f) {
       const uint64_t at = HostedImage::DirectoryAt(f, false);
       Store32(f, at + 4, Load32(f, at) + 1);
     }},
    {&kHosted, "a grain behind the end", Invariant::kH3, Mends::kOnRequest, false,
     [](F& f) {
       for (const bool copy : {true, false}) {
         Store32(f, HostedImage::EntryAt(f, 5, copy), 1 << 24);
       }
     }},
    {&kHosted, "a grain in the tables", Invariant::kH3, Mends::kOnRequest, false,
     [](F& f) {
       for (const bool copy : {true, false}) Store32(f, HostedImage::EntryAt(f, 5, copy), 22);
     }},
    {&kHosted, "a zero code without its flag", Invariant::kH3, Mends::kOnRequest, false,
     [](F& f) {
       for (const bool copy : {true, false}) Store32(f, HostedImage::EntryAt(f, 5, copy), 1);
     }},
    {&kHosted, "a grain twice", Invariant::kH4, Mends::kOnRequest, true,
     [](F& f) {
       const uint32_t first = Load32(f, HostedImage::EntryAt(f, 0, false));
       for (const bool copy : {true, false}) Store32(f, HostedImage::EntryAt(f, 5, copy), first);
     }},
    {&kHosted, "copies that differ", Invariant::kH5, Mends::kOnRequest, true,
     [](F& f) { Store32(f, HostedImage::EntryAt(f, 5, true), 0); }},
    {&kHosted, "a copy that leads nowhere", Invariant::kH5, Mends::kOnRequest, true,
     [](F& f) { Store32(f, HostedImage::EntryAt(f, 5, true), 1 << 24); }},
    {&kHosted, "the mark of an open file", Invariant::kH6, Mends::kItself, true,
     [](F& f) { f[72] = 1; }},
    {&kHosted, "a grain nobody refers to", Invariant::kH7, Mends::kItself, true,
     [](F& f) { f += F(65'536, 'x'); }},
    {&kHosted, "another capacity", Invariant::kD5, Mends::kOnRequest, true,
     [](F& f) { Store64(f, 12, HostedImage::kSectors - 128 * 3); }},
};

class FormatDamage : public testing::TestWithParam<size_t> {
 protected:
  const Damage& damage() const { return kDamages[GetParam()]; }

  void Make(CheckBench& bench) {
    damage().format->make(bench);
    ASSERT_FALSE(HasFatalFailure());
    const CheckReport intact = bench.Check(kDisk);
    ASSERT_TRUE(intact.is_clean()) << TextOf(intact);
    const std::string old_file = bench.Load(kExtent);
    std::string file = old_file;
    damage().make(file);
    for (size_t at = 0; at < file.size(); at += 4'096) {
      const std::string_view page = std::string_view(file).substr(at, 4'096);
      if (at >= old_file.size() || page != std::string_view(old_file).substr(at, 4'096)) {
        bench.Poke(kExtent, at, page);
      }
    }
  }
};

TEST_P(FormatDamage, IsFoundAsItsInvariantAndNothingElse) {
  CheckBench bench;
  Make(bench);
  for (const uint64_t window : {uint64_t{1} << 29, uint64_t{512}}) {
    const CheckReport report = bench.Check(kDisk, {.window_units = window});
    EXPECT_EQ(NamesIn(report), Names{std::string(InfoOf(damage().id).name)})
        << damage().format->name << ": " << damage().what << "\n" << TextOf(report);
  }
}

TEST_P(FormatDamage, IsRepairedAsFarAsItsClassSays) {
  CheckBench bench;
  Make(bench);
  const std::string before = bench.Load(kExtent);
  DiskRepairReport repaired = bench.Repair(kDisk);
  const bool mends_itself = damage().mends == Mends::kItself;
  EXPECT_EQ(repaired.after.is_clean(), mends_itself)
      << damage().what << "\n" << TextOf(repaired.after);
  if (!mends_itself) {
    EXPECT_EQ(repaired.outcome, DiskRepairOutcome::kNotPossible);
    EXPECT_TRUE(bench.Load(kExtent) == before) << damage().what;
  }
  if (damage().mends == Mends::kNothing) return;
  if (damage().mends == Mends::kOnRequest) {
    repaired = bench.Repair(kDisk, {damage().id});
    EXPECT_TRUE(repaired.after.is_consistent()) << damage().what << TextOf(repaired.after);
    repaired = bench.Repair(kDisk);  // what nobody refers to any more
    if (damage().id != Invariant::kV2 && damage().id != Invariant::kV3) {
      EXPECT_TRUE(repaired.after.is_clean()) << damage().what << TextOf(repaired.after);
    }
  }
  if (!damage().keeps_content) return;
  const std::string after = bench.Load(kExtent);
  EXPECT_TRUE(damage().format->read(after) == damage().format->read(before)) << damage().what;
}

INSTANTIATE_TEST_SUITE_P(Check, FormatDamage, testing::Range(size_t{0}, std::size(kDamages)));

TEST(CheckFormats, TakesTheTableOfTheOtherCopy) {
  for (const uint64_t entry : {0u, 4u}) {
    CheckBench bench;
    MakeHosted(bench);
    std::string file = bench.Load(kExtent);
    const std::string content = HostedImage::Read(file);
    Store32(file, HostedImage::DirectoryAt(file, false) + entry, 0x7fffffff);
    bench.Poke(kExtent, 0, file);
    EXPECT_TRUE(bench.Repair(kDisk).after.is_clean());
    EXPECT_TRUE(HostedImage::Read(bench.Load(kExtent)) == content);
  }
}

TEST(CheckFormats, TakesWhatLeadsToDataWhenTheFileWasNotClosed) {
  CheckBench bench;
  MakeHosted(bench);
  std::string file = bench.Load(kExtent);
  const std::string content = HostedImage::Read(file);
  file[72] = 1;
  Store32(file, HostedImage::EntryAt(file, 5, false), 0);
  Store32(file, HostedImage::EntryAt(file, 512, false), 1 << 24);
  bench.Poke(kExtent, 0, file);
  EXPECT_EQ(NamesIn(bench.Check(kDisk)), (Names{"H5", "H6"}));
  EXPECT_TRUE(bench.Repair(kDisk).after.is_clean());
  EXPECT_TRUE(HostedImage::Read(bench.Load(kExtent)) == content);
}

}  // namespace
}  // namespace disklib
