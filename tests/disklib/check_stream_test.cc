// streamOptimized extents under the checker: in both forms, intact and damaged.
#include <gtest/gtest.h>

#include "disklib/sparse/stream_writer.h"
#include "tests/disklib/check_support.h"
#include "tests/disklib/sparse_images.h"

namespace disklib {
namespace {

constexpr std::string_view kDisk = "stream.vmdk";
constexpr uint64_t kSectors = 131'072;

// A sink that cannot go back, as a pipe.
class PipeSink : public StreamSink {
 public:
  bool can_rewrite() const override { return false; }

  base::Task<base::Status> Append(std::span<const std::byte> bytes) override {
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    co_return base::Ok();
  }

  base::Task<base::Status> Rewrite(uint64_t, std::span<const std::byte>) override {
    co_return base::Error(base::Code::kUnsupported);
  }

  std::string text;
};

void Fill(CheckBench& bench, StreamSink& sink) {
  const NewStream what{.size_bytes = kSectors * 512, .file_name = kDisk};
  auto writer = bench.Run(StreamWriter::Start(bench.executor, sink, what));
  ASSERT_TRUE(writer) << writer.error().message();
  for (const uint64_t grain : {0u, 3u, 511u, 512u, 1'023u}) {
    const std::vector<std::byte> bytes = Pattern(grain + 1, kStreamGrainBytes);
    ASSERT_TRUE(bench.Run((*writer)->Append(grain * kStreamGrainBytes, bytes)));
  }
  ASSERT_TRUE(bench.Run((*writer)->Finish()));
}

std::string MakeWithTablesInFront(CheckBench& bench) {
  EXPECT_TRUE(bench.Run(bench.backend.Create(kDisk)));
  auto object = bench.Run(bench.backend.Open(kDisk, fss::OpenMode::kWrite));
  const std::unique_ptr<StreamSink> sink = MakeObjectSink(**object);
  Fill(bench, *sink);
  EXPECT_TRUE(bench.Run((*object)->Close()));
  return bench.Load(kDisk);
}

std::string MakeWithFooter(CheckBench& bench) {
  PipeSink sink;
  Fill(bench, sink);
  bench.Store(kDisk, sink.text);
  return sink.text;
}

struct Damage {
  std::string_view what;
  Invariant id;
  bool mends_itself;
  void (*make)(std::string& file);
};

// The first grain's record, where tables stand in front.
uint64_t FirstRecord(const std::string& file) {
  return Load64(file, 64) * 512;
}

constexpr Damage kFrontDamages[] = {
    {"a damaged grain", Invariant::kS1, false,
     [](std::string& f) { f[FirstRecord(f) + 100] ^= 0x55; }},
    {"an entry that leads elsewhere", Invariant::kS1, true,
     [](std::string& f) {
       const uint64_t table = Load32(f, Load64(f, 56) * 512) * uint64_t{512};
       Store32(f, table, Load32(f, table) + 1);
     }},
    {"zeros behind the end", Invariant::kS2, true,
     [](std::string& f) { f += std::string(9'728, '\0'); }},
    {"no end of the stream", Invariant::kS2, true,
     [](std::string& f) { f.resize(f.size() - 512); }},
    {"version 1", Invariant::kS2, true, [](std::string& f) { f[4] = 1; }},
};

constexpr Damage kFooterDamages[] = {
    {"a footer of another disk", Invariant::kS1, false,
     [](std::string& f) { f[f.size() - 1'024 + 12] ^= 1; }},
    {"version 1", Invariant::kS2, true,
     [](std::string& f) {
       f[4] = 1;
       f[f.size() - 1'024 + 4] = 1;
     }},
};

void CheckDamage(const Damage& damage, std::string (*make)(CheckBench& bench)) {
  CheckBench bench;
  std::string file = make(bench);
  const CheckReport intact = bench.Check(kDisk);
  EXPECT_TRUE(intact.is_clean()) << TextOf(intact);
  damage.make(file);
  bench.Store(kDisk, file);
  const CheckReport report = bench.Check(kDisk);
  EXPECT_EQ(NamesIn(report), Names{std::string(InfoOf(damage.id).name)})
      << damage.what << "\n" << TextOf(report);
  const DiskRepairReport repaired = bench.Repair(kDisk);
  EXPECT_EQ(repaired.after.is_clean(), damage.mends_itself)
      << damage.what << "\n" << TextOf(repaired.after);
}

TEST(CheckStream, FindsEachDamageWithTablesInFront) {
  for (const Damage& damage : kFrontDamages) CheckDamage(damage, &MakeWithTablesInFront);
}

TEST(CheckStream, FindsEachDamageWithAFooter) {
  for (const Damage& damage : kFooterDamages) CheckDamage(damage, &MakeWithFooter);
}

}  // namespace
}  // namespace disklib
