// What a crash may leave of a file system in memory, and that a sweep sees all of it.
#include "tests/support/crash_files.h"

#include <set>
#include <string>

#include <gtest/gtest.h>

#include "fs/base/sim_executor.h"

namespace fss {
namespace {

using base::SimExecutor;
using base::Status;
using base::Task;

Task<Status> Store(FileSystem& files, InodeNumber inode, std::string_view text, bool synced) {
  CO_TRY(const std::unique_ptr<File> file, co_await files.Open(inode, OpenMode::kWrite));
  const base::IoVec piece{reinterpret_cast<std::byte*>(const_cast<char*>(text.data())),
                          text.size()};
  const base::IoRequest request{.offset_bytes = 0, .buffers = {&piece, 1}};
  CO_TRY(const uint64_t written_bytes, co_await file->Write(request));
  if (written_bytes != text.size()) co_return base::Code::kNoSpace;
  if (synced) CO_TRY_STATUS(co_await file->Sync(true));
  co_return co_await file->Close();
}

// The content of a name in the root folder; "-" when there is no such name.
Task<base::Result<std::string>> Load(FileSystem& files, std::string_view name) {
  const base::Result<Attributes> found = co_await files.Lookup(files.root(), name);
  if (!found) co_return std::string("-");
  files.Forget(found->inode, 1);
  std::string text(found->size_bytes, '\0');
  CO_TRY(const std::unique_ptr<File> file, co_await files.Open(found->inode, OpenMode::kRead));
  const base::IoVec piece{reinterpret_cast<std::byte*>(text.data()), text.size()};
  const base::IoRequest request{.offset_bytes = 0, .buffers = {&piece, 1}};
  CO_TRY(const uint64_t read_bytes, co_await file->Read(request));
  text.resize(read_bytes);
  CO_TRY_STATUS(co_await file->Close());
  co_return text;
}

class CrashFilesTest : public testing::Test {
 protected:
  InodeNumber Make(std::string_view name) {
    const auto made = base::RunSync(executor_, files_.CreateFile(files_.root(), name, {}));
    files_.Forget(made->inode, 1);
    return made->inode;
  }

  void Put(InodeNumber inode, std::string_view text, bool synced) {
    ASSERT_TRUE(base::RunSync(executor_, Store(files_, inode, text, synced)));
  }

  // Everything that a crash somewhere leaves of the named files, joined by a blank.
  std::set<std::string> States(std::vector<std::string> names, size_t first_prefix = 0) {
    std::set<std::string> states;
    base::CrashSweepOptions options;
    options.first_prefix = first_prefix;
    options.torn_samples = 64;
    const auto result =
        SweepCrashFiles(files_, options,
                        [&](SimExecutor& executor, MemoryFileSystem& left, const base::CrashCase&) {
                          std::string state;
                          for (const std::string& name : names) {
                            state += *base::RunSync(executor, Load(left, name)) + " ";
                          }
                          state.pop_back();
                          states.insert(state);
                          return std::string();
                        });
    EXPECT_TRUE(result.ok()) << result.failure;
    return states;
  }

  SimExecutor executor_{1};
  CrashFiles files_;
};

TEST_F(CrashFilesTest, LosesOrKeepsWhatWasNotSynced) {
  const InodeNumber a = Make("a");
  Put(a, "old", true);
  files_.Settle();
  Put(a, "new", false);
  EXPECT_EQ(States({"a"}), (std::set<std::string>{"old", "new"}));
}

TEST_F(CrashFilesTest, KeepsWhatWasSyncedOnceTheSyncWasAnswered) {
  const InodeNumber a = Make("a");
  Put(a, "old", true);
  files_.Settle();
  Put(a, "new", true);
  EXPECT_EQ(States({"a"}), (std::set<std::string>{"old", "new"}));
  files_.Settle();
  Put(a, "end", true);
  EXPECT_EQ(States({"a"}, files_.log().size()), (std::set<std::string>{"end"}));
}

TEST_F(CrashFilesTest, SyncsOneFileAndNotTheOthers) {
  const InodeNumber a = Make("a");
  const InodeNumber b = Make("b");
  Put(a, "0", false);
  Put(b, "0", false);
  files_.Settle();
  Put(b, "1", false);
  Put(a, "1", true);
  EXPECT_EQ(States({"a", "b"}, files_.log().size()), (std::set<std::string>{"1 0", "1 1"}));
}

TEST_F(CrashFilesTest, TearsWritesBetweenSectors) {
  const InodeNumber a = Make("a");
  const std::string before = std::string(512, '0') + std::string(512, '0');
  const std::string after = std::string(512, '1') + std::string(512, '1');
  Put(a, before, true);
  files_.Settle();
  Put(a, after, false);
  EXPECT_EQ(States({"a"}),
            (std::set<std::string>{before, after, after.substr(512) + before.substr(512),
                                   before.substr(512) + after.substr(512)}));
}

TEST_F(CrashFilesTest, KeepsABeginningOfTheNames) {
  files_.Settle();
  Put(Make("a"), "1", false);
  Put(Make("b"), "2", true);
  EXPECT_EQ(States({"a", "b"}, files_.log().size()),
            (std::set<std::string>{"- -", " -", "1 -", " 2", "1 2"}))
      << "a synced file whose name is lost is gone; b never stands without a";
  ASSERT_TRUE(base::RunSync(executor_, files_.SyncAll()));
  files_.Settle();
  const auto renamed =
      base::RunSync(executor_, files_.Rename(files_.root(), "b", files_.root(), "a", false));
  ASSERT_TRUE(renamed);
  EXPECT_EQ(States({"a", "b"}), (std::set<std::string>{"1 2", "2 -"}));
}

TEST_F(CrashFilesTest, ReplacesContentsTogether) {
  files_.live().set_replaces_contents(true);
  const InodeNumber a = Make("a");
  const InodeNumber b = Make("b");
  files_.Settle();
  const std::vector<Replacement> both = {{a, "x"}, {b, "y"}};
  ASSERT_TRUE(base::RunSync(executor_, files_.ReplaceContents(both)));
  EXPECT_EQ(States({"a", "b"}), (std::set<std::string>{" ", "x y"}));
}

TEST_F(CrashFilesTest, NoticesSyncsThatDoNothing) {
  const InodeNumber a = Make("a");
  Put(a, "old", true);
  files_.Settle();
  files_.set_ignore_syncs(true);
  Put(a, "new", true);
  EXPECT_TRUE(States({"a"}, files_.log().size()).contains("old"));
}

TEST(SweepFailures, CallsOneRoundForEveryCallAndNamesTheOneThatFails) {
  const auto round = [](uint64_t call_number, bool* was_reached) {
    SimExecutor executor(1);
    MemoryFileSystem files;
    files.FailAt(call_number);
    const auto made = base::RunSync(executor, files.CreateFile(files.root(), "a", {}));
    const Status synced = base::RunSync(executor, files.SyncAll());
    *was_reached = files.has_failed();
    return std::string(made && !synced ? "made without a sync" : "");
  };
  const FailureSweepResult result = SweepFailures(round);
  EXPECT_EQ(result.rounds, 2u);
  EXPECT_EQ(result.failure, "with call 2 failed: made without a sync");
}

}  // namespace
}  // namespace fss
