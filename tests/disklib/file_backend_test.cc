// Contents replaced through the back end "file": in place where the file system can, beside it
// where it cannot, several at once only in place.

#include <gtest/gtest.h>

#include <array>

#include "disklib/file_backend.h"
#include "fs/base/sim_executor.h"
#include "tests/support/memory_file_system.h"

namespace disklib {
namespace {

using base::Code;

class Replacing : public testing::Test {
 protected:
  ~Replacing() override { EXPECT_EQ(file_system_.lookups_held(), 0u); }

  template <typename T>
  T Run(base::Task<T> task) {
    return base::RunSync(executor_, std::move(task));
  }

  std::string Content(std::string_view path) { return *Run(ReadObject(backend_, path, 100'000)); }

  uint64_t IdOf(std::string_view path) { return Run(backend_.GetInfo(path))->id; }

  void Replace(std::string_view path, std::string_view contents) {
    const auto replaced = Run(backend_.ReplaceContents(path, contents));
    ASSERT_TRUE(replaced.has_value()) << replaced.error().message();
    EXPECT_EQ(replaced->size_bytes, contents.size());
    EXPECT_EQ(replaced->id, IdOf(path));
    EXPECT_EQ(Content(path), contents);
  }

  base::SimExecutor executor_{1};
  fss::MemoryFileSystem file_system_;
  FileBackend backend_{file_system_};
};

TEST_F(Replacing, KeepsTheObjectWhereTheFileSystemReplacesInPlace) {
  file_system_.set_replaces_contents(true);
  Replace("a", "made");
  const uint64_t id = IdOf("a");
  Replace("a", "replaced");
  EXPECT_EQ(IdOf("a"), id);
}

TEST_F(Replacing, PutsANewObjectInPlaceOfTheOldOneElsewhere) {
  Replace("a", "made");
  const uint64_t id = IdOf("a");
  Replace("a", "replaced");
  EXPECT_NE(IdOf("a"), id);
}

TEST_F(Replacing, PutsANewObjectInPlaceOfOneThatIsTooLarge) {
  file_system_.set_replaces_contents(true);
  Replace("a", "made");
  Replace("a", std::string(fss::kReplacementBytesMax + 1, 'x'));
}

TEST_F(Replacing, SeveralChangeTogetherOrNotAtAll) {
  Replace("a", "one");
  Replace("b", "two");
  const std::array<ObjectReplacement, 2> both{{{"a", "new one"}, {"b", "new two"}}};
  EXPECT_EQ(Run(backend_.ReplaceTogether(both)).error().code(), Code::kUnsupported);
  EXPECT_EQ(Content("a"), "one");
  file_system_.set_replaces_contents(true);
  ASSERT_TRUE(Run(backend_.ReplaceTogether(both)).has_value());
  EXPECT_EQ(Content("a"), "new one");
  EXPECT_EQ(Content("b"), "new two");
  const std::array<ObjectReplacement, 2> missing{{{"a", "newer"}, {"c", "newer"}}};
  EXPECT_EQ(Run(backend_.ReplaceTogether(missing)).error().code(), Code::kNotFound);
  EXPECT_EQ(Content("a"), "new one");
}

}  // namespace
}  // namespace disklib
