// Disks of one file, with the descriptor inside: operations that rewrite it, cut at every change
// and failed at every call. Afterwards the disk opens under one name, holds what it held, and
// running the operation again ends it.
#include <functional>

#include "disklib/descriptor_store.h"
#include "fs/fss/forwarding.h"
#include "tests/disklib/snapshot_support.h"
#include "tests/support/crash_files.h"

namespace disklib {
namespace {

using base::Code;
using base::Status;

constexpr uint64_t kDiskBytes = 128 * 1024;
constexpr uint64_t kGrownBytes = 33 * kMebi;  // needs a second table

struct Case {
  const char* name;
  std::function<Status(SnapshotStand&)> run;
  std::string path_after;
};

std::vector<Case> Cases() {
  return {
      {"rename",
       [](SnapshotStand& stand) { return stand.Run(RenameDisk(stand.lib(), "a.vmdk", "b.vmdk")); },
       "b.vmdk"},
      {"extend",
       [](SnapshotStand& stand) {
         const ExtendOptions options{.size_bytes = kGrownBytes, .user = "test"};
         return stand.Run(ExtendDisk(stand.lib(), "a.vmdk", options, nullptr));
       },
       "a.vmdk"},
  };
}

// A disk whose descriptor takes three sectors. Answers what it holds.
Content Prepare(fss::FileSystem& files) {
  base::SimExecutor executor(1, /*in_order=*/true);
  FileBackend backend(files);
  SnapshotStand stand(executor, backend);
  stand.Create("a.vmdk", kDiskBytes, DiskLayout::kMonolithicSparse);
  std::string text = stand.Run(ReadDescriptorAt(backend, "a.vmdk"))->text;
  for (int line = 0; line < 20; ++line) text += "# a line that another program left here\n";
  EXPECT_TRUE(stand.Run(ReplaceDescriptor(backend, "a.vmdk", text)));
  stand.Write("a.vmdk", 8192, Pattern(1, 16 * 1024));
  return stand.ContentOf("a.vmdk");
}

// What is wrong with the disk at `path`; empty: it begins with what it held.
std::string CheckDisk(SnapshotStand& stand, std::string_view path, const Content& content) {
  const auto chain = stand.Run(stand.lib().Open(path, {.writable = false, .user = "test"}));
  if (!chain) return std::string(path) + ": " + chain.error().message();
  const uint64_t size_bytes = (*chain)->size_bytes();
  Content found(kDiskBytes);
  const base::IoVec piece{found.data(), found.size()};
  const auto read = stand.Run((*chain)->Read({.offset_bytes = 0, .buffers = {&piece, 1}}));
  const Status closed = stand.Run((*chain)->Close());
  if (!read || !closed) return std::string(path) + " cannot be read";
  if (size_bytes != kDiskBytes && size_bytes != kGrownBytes) return "another size";
  return found == content ? "" : std::string(path) + " holds something else";
}

std::string CheckAndRunAgain(fss::FileSystem& files, const Case& test, const Content& content) {
  base::SimExecutor executor(1, /*in_order=*/true);
  FileBackend backend(files);
  SnapshotStand stand(executor, backend);
  const bool is_moved = stand.Files().contains("b.vmdk");
  if (is_moved == stand.Files().contains("a.vmdk")) return "not under one name";
  const std::string wrong = CheckDisk(stand, is_moved ? "b.vmdk" : "a.vmdk", content);
  if (!wrong.empty()) return wrong;
  const Status again = test.run(stand);
  // Nothing is left to do where it had ended.
  if (!again && again.error().code() != Code::kNotFound) return "again: " + again.error().message();
  if (stand.Files().size() != 1) return "files were left behind";
  const auto read = stand.Run(ReadDescriptorAt(backend, test.path_after));
  if (!read) return "descriptor: " + read.error().message();
  if (read->text.find("strata.renaming") != std::string::npos) return "a mark was left behind";
  return CheckDisk(stand, test.path_after, content);
}

// A fault that the sweep must notice: the header goes on leading to the old place while the text
// there is overwritten.
class HeaderKeeper final : public fss::ForwardingFile {
 public:
  using ForwardingFile::ForwardingFile;

  base::Task<base::Result<uint64_t>> Write(base::IoRequest request) override {
    if (request.offset_bytes == 0) return Skip(request.size_bytes());
    return ForwardingFile::Write(request);
  }

 private:
  static base::Task<base::Result<uint64_t>> Skip(uint64_t length_bytes) { co_return length_bytes; }
};

class PlantedBackend final : public FileBackend {
 public:
  PlantedBackend(fss::FileSystem& files, bool keeps_header)
      : FileBackend(files), keeps_header_(keeps_header) {}

  base::Task<base::Result<std::unique_ptr<Object>>> Open(std::string_view path,
                                                         fss::OpenMode mode) override {
    CO_TRY(std::unique_ptr<Object> object, co_await FileBackend::Open(path, mode));
    if (keeps_header_) co_return std::make_unique<HeaderKeeper>(std::move(object));
    co_return object;
  }

 private:
  bool keeps_header_;
};

class EmbeddedSweep : public testing::TestWithParam<size_t> {};

std::string SweepCuts(const Case& test, bool keeps_header) {
  fss::CrashFiles files;
  const Content content = Prepare(files);
  files.Settle();
  {
    base::SimExecutor executor(1, /*in_order=*/true);
    PlantedBackend backend(files, keeps_header);
    SnapshotStand stand(executor, backend);
    const Status done = test.run(stand);
    if (!done) return "run: " + done.error().message();
  }
  base::CrashSweepOptions options;
  options.all_subsets_max = 4;
  options.samples = 8;
  const auto result = fss::SweepCrashFiles(
      files, options, [&](base::SimExecutor&, fss::MemoryFileSystem& left, const base::CrashCase&) {
        return CheckAndRunAgain(left, test, content);
      });
  EXPECT_TRUE(keeps_header || result.cases > 20u);
  return result.failure;
}

TEST_P(EmbeddedSweep, SurvivesEveryCut) {
  const Case test = Cases()[GetParam()];
  EXPECT_EQ(SweepCuts(test, false), "") << test.name;
}

TEST_P(EmbeddedSweep, SurvivesOneFailureAtEveryCall) {
  const Case test = Cases()[GetParam()];
  const auto round = [&](uint64_t call_number, bool* was_reached) {
    fss::MemoryFileSystem files;
    const Content content = Prepare(files);
    files.FailAt(call_number);
    {
      base::SimExecutor executor(1, /*in_order=*/true);
      FileBackend backend(files);
      SnapshotStand stand(executor, backend);
      const Status done = test.run(stand);
      static_cast<void>(done);
    }
    *was_reached = files.has_failed();
    files.StopFailing();
    return CheckAndRunAgain(files, test, content);
  };
  const fss::FailureSweepResult result = fss::SweepFailures(round, 1);
  EXPECT_TRUE(result.ok()) << test.name << ": " << result.failure;
}

INSTANTIATE_TEST_SUITE_P(All, EmbeddedSweep, testing::Range(size_t{0}, Cases().size()),
                         [](const testing::TestParamInfo<size_t>& tested) {
                           return std::string(Cases()[tested.param].name);
                         });

TEST(EmbeddedSweepItself, NoticesATextThatIsOverwrittenWhileTheHeaderLeadsToIt) {
  EXPECT_NE(SweepCuts(Cases().front(), true), "");
}

}  // namespace
}  // namespace disklib
