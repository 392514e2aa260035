// The wiring of virtual disks: requests, images beside files, opening locks, what the kernel hears.
#include "fs/daemon/disk_service.h"

#include <memory>
#include <set>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "fs/base/sim_executor.h"
#include "fs/daemon/path_walk.h"
#include "tests/support/memory_file_system.h"

namespace stratad {
namespace {

constexpr uint64_t kMebibyte = uint64_t{1} << 20;

class Listener final : public ChangeListener {
 public:
  void NameChanged(fss::InodeNumber, std::string_view name) override { names.emplace(name); }

  void ContentChanged(fss::InodeNumber inode) override { inodes.insert(inode); }

  std::set<std::string> names;
  std::set<fss::InodeNumber> inodes;
};

Json Request(const std::string& action, const std::string& disk) {
  Json request = Json::object();
  request["action"] = action;
  request["disk"] = disk;
  return request;
}

Json CreateRequest(const std::string& disk) {
  Json request = Request("create", disk);
  request["size_bytes"] = 4 * kMebibyte;
  return request;
}

class DiskServiceTest : public testing::Test {
 protected:
  void TearDown() override {
    EXPECT_TRUE(Run(service_->Close()).has_value());
    EXPECT_EQ(volume_.lookups_held(), 0u);
  }

  template <typename T>
  T Run(base::Task<T> task) {
    return base::RunSync(executor_, std::move(task));
  }

  base::Result<Json> Handle(Json request) {
    return Run(service_->Handle(request, *service_, nullptr));
  }

  base::Code CodeOf(Json request) {
    const base::Result<Json> answer = Handle(std::move(request));
    EXPECT_FALSE(answer.has_value()) << ToLine(*answer);
    return answer ? base::Code::kInternal : answer.error().code();
  }

  // The inode of a name in a root directory; not kept.
  fss::InodeNumber Find(fss::FileSystem& tree, std::string_view name) {
    const base::Result<fss::Attributes> found = Run(tree.Lookup(tree.root(), name));
    EXPECT_TRUE(found.has_value()) << name;
    if (!found) return 0;
    lookups_.emplace_back(&tree, found->inode);
    return found->inode;
  }

  base::Result<std::unique_ptr<fss::File>> Open(fss::FileSystem& tree, std::string_view name,
                                                fss::OpenMode mode) {
    return Run(tree.Open(Find(tree, name), mode));
  }

  void Close(base::Result<std::unique_ptr<fss::File>>& file) {
    EXPECT_TRUE(Run((*file)->Close()).has_value());
    file->reset();
  }

  void ForgetAll() {
    for (const auto& [tree, inode] : lookups_) tree->Forget(inode, 1);
    lookups_.clear();
  }

  base::SimExecutor executor_{1, /*in_order=*/true};
  fss::MemoryFileSystem volume_;
  Listener listener_;
  std::unique_ptr<DiskService> service_ =
      std::make_unique<DiskService>(executor_, volume_, listener_, /*volumes=*/nullptr,
                                    fss::NewInode());
  std::vector<std::pair<fss::FileSystem*, fss::InodeNumber>> lookups_;
};

TEST_F(DiskServiceTest, RefusesRequestsWithoutSense) {
  EXPECT_EQ(CodeOf(Json::object()), base::Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(Json::array()), base::Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(Request("explode", "a.vmdk")), base::Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(Request("info", "")), base::Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(Request("info", "///")), base::Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(Request("rename", "a.vmdk")), base::Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(Request("create", "a.vmdk")), base::Code::kInvalidArgument) << "no size";
  for (const char* key : {"format", "layout", "adapter"}) {
    Json request = CreateRequest("a.vmdk");
    request[key] = "nonsense";
    EXPECT_EQ(CodeOf(request), base::Code::kInvalidArgument) << key;
  }
  EXPECT_EQ(CodeOf(CreateRequest("../a.vmdk")), base::Code::kNotPermitted);
  EXPECT_TRUE(service_->running().empty());
}

TEST_F(DiskServiceTest, CreatesDescribesExtendsRenamesAndDeletes) {
  Json create = CreateRequest("/a.vmdk");
  create["format"] = "zeroedthick";
  create["layout"] = "monolithicFlat";
  create["adapter"] = "ide";
  ASSERT_TRUE(Handle(create).has_value());
  EXPECT_EQ(CodeOf(create), base::Code::kExists);
  Json extend = Request("extend", "a.vmdk");
  extend["size_bytes"] = 8 * kMebibyte;
  ASSERT_TRUE(Handle(extend).has_value());
  Json rename = Request("rename", "a.vmdk");
  rename["to"] = "b.vmdk";
  ASSERT_TRUE(Handle(rename).has_value());
  const base::Result<Json> info = Handle(Request("info", "b.vmdk"));
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(NumberOf(*info, "capacity_bytes"), 8 * kMebibyte);
  EXPECT_EQ(StringOf(*info, "create_type"), "monolithicFlat");
  EXPECT_EQ(StringOf(*info, "adapter_type"), "ide");
  ASSERT_TRUE(Handle(Request("delete", "b.vmdk")).has_value());
  EXPECT_EQ(CodeOf(Request("info", "b.vmdk")), base::Code::kNotFound);
}

TEST_F(DiskServiceTest, TellsTheKernelWhatChangedBehindItsBack) {
  ASSERT_TRUE(Handle(CreateRequest("a.vmdk")).has_value());
  EXPECT_TRUE(listener_.names.contains("a.vmdk"));
  EXPECT_TRUE(listener_.names.contains("a-flat.vmdk"));
  listener_.names.clear();
  ASSERT_TRUE(Handle(Request("delete", "a.vmdk")).has_value());
  EXPECT_TRUE(listener_.names.contains("a.vmdk"));
  EXPECT_TRUE(listener_.names.contains("a-flat.vmdk"));
}

TEST_F(DiskServiceTest, KeepsTheFilesOfADiskThatIsOpenForWriting) {
  ASSERT_TRUE(Handle(CreateRequest("a.vmdk")).has_value());
  auto disk = Open(service_->tree(), "a.vmdk", fss::OpenMode::kWrite);
  ASSERT_TRUE(disk.has_value()) << disk.error().message();
  EXPECT_EQ((*disk)->size_bytes(), 4 * kMebibyte);
  fss::FileSystem& files = service_->files();
  for (const char* name : {"a.vmdk", "a-flat.vmdk"}) {
    const auto refused = Open(files, name, fss::OpenMode::kWrite);
    ASSERT_FALSE(refused.has_value()) << name;
    EXPECT_EQ(refused.error().code(), base::Code::kBusy);
    EXPECT_NE(refused.error().message().find("disk a.vmdk is open for writing (devices/vdisks)"),
              std::string::npos)
        << refused.error().message();
    EXPECT_EQ(Run(files.Unlink(files.root(), name)).error().code(), base::Code::kBusy);
    fss::AttributeChange shorter;
    shorter.size_bytes = 0;
    EXPECT_EQ(Run(files.SetAttributes(Find(files, name), shorter)).error().code(),
              base::Code::kBusy);
    EXPECT_EQ(Run(files.Rename(files.root(), name, files.root(), "x", false)).error().code(),
              base::Code::kBusy);
  }
  EXPECT_EQ(CodeOf(Request("delete", "a.vmdk")), base::Code::kBusy);
  EXPECT_EQ(ToLine(service_->DescribeOpenDisks()),
            R"([{"disk":"a.vmdk","user":"devices/vdisks","writes":true}])");
  const auto reader = Open(files, "a-flat.vmdk", fss::OpenMode::kRead);
  ASSERT_FALSE(reader.has_value()) << "a copy of a live disk is none";
  EXPECT_EQ(reader.error().code(), base::Code::kBusy);
  Close(disk);
  auto plain = Open(files, "a-flat.vmdk", fss::OpenMode::kWrite);
  ASSERT_TRUE(plain.has_value()) << "free again: " << plain.error().message();
  const auto busy = Open(service_->tree(), "a.vmdk", fss::OpenMode::kWrite);
  ASSERT_FALSE(busy.has_value());
  EXPECT_EQ(busy.error().code(), base::Code::kBusy);
  Close(plain);
  ForgetAll();
}

// Closes a file after a while, as a kernel does that reports a close late.
base::Task<void> CloseLater(base::Executor& executor, fss::File* file) {
  co_await executor.Sleep(5'000);
  const base::Status closed = co_await file->Close();
  EXPECT_TRUE(closed.has_value());
}

TEST_F(DiskServiceTest, WaitsForACloseThatIsOnItsWay) {
  ASSERT_TRUE(Handle(CreateRequest("a.vmdk")).has_value());
  auto disk = Open(service_->tree(), "a.vmdk", fss::OpenMode::kWrite);
  ASSERT_TRUE(disk.has_value());
  executor_.Spawn(CloseLater(executor_, disk->get()));
  auto plain = Open(service_->files(), "a-flat.vmdk", fss::OpenMode::kWrite);
  EXPECT_TRUE(plain.has_value()) << "the disk was closed 5 ms later";
  disk->reset();
  Close(plain);
  auto again = Open(service_->tree(), "a.vmdk", fss::OpenMode::kWrite);
  ASSERT_TRUE(again.has_value());
  executor_.Spawn(CloseLater(executor_, again->get()));
  EXPECT_TRUE(Handle(Request("delete", "a.vmdk")).has_value());
  again->reset();
  ForgetAll();
}

TEST_F(DiskServiceTest, ImagesKeepTheirNumbersAndGrowByTruncation) {
  ASSERT_TRUE(Handle(CreateRequest("a.vmdk")).has_value());
  fss::FileSystem& tree = service_->tree();
  const fss::InodeNumber inode = Find(tree, "a.vmdk");
  EXPECT_LE(inode, UINT32_MAX);
  fss::AttributeChange change;
  change.size_bytes = 6 * kMebibyte;
  const auto grown = Run(tree.SetAttributes(inode, change));
  ASSERT_TRUE(grown.has_value()) << grown.error().message();
  EXPECT_EQ(grown->size_bytes, 6 * kMebibyte);
  change.size_bytes = kMebibyte;
  EXPECT_EQ(Run(tree.SetAttributes(inode, change)).error().code(), base::Code::kInvalidArgument);
  change = {};
  change.mode = 0777;
  EXPECT_EQ(Run(tree.SetAttributes(inode, change)).error().code(), base::Code::kNotPermitted);
  ForgetAll();
  EXPECT_EQ(Find(tree, "a.vmdk"), inode) << "forgotten and found again";
  EXPECT_EQ(Run(tree.Lookup(tree.root(), "a-flat.vmdk")).error().code(), base::Code::kNotFound);
  EXPECT_EQ(Run(tree.Unlink(tree.root(), "a.vmdk")).error().code(), base::Code::kNotPermitted);
  ForgetAll();
}

TEST_F(DiskServiceTest, ListsFoldersAndDisksAndNothingElse) {
  const auto folder = Run(volume_.MakeDirectory(volume_.root(), "vm", fss::NewInode()));
  ASSERT_TRUE(folder.has_value());
  volume_.Forget(folder->inode, 1);
  ASSERT_TRUE(Handle(CreateRequest("top.vmdk")).has_value());
  ASSERT_TRUE(Handle(CreateRequest("vm/b.vmdk")).has_value());
  ASSERT_TRUE(Handle(CreateRequest("vm/a.vmdk")).has_value());
  const auto names_in = [this](fss::InodeNumber inode) {
    std::vector<ListedEntry> entries;
    EXPECT_TRUE(Run(ListDirectory(service_->tree(), inode, entries)).has_value());
    std::set<std::string> names;
    for (const ListedEntry& entry : entries) names.insert(entry.name);
    return names;
  };
  EXPECT_EQ(names_in(service_->tree().root()), (std::set<std::string>{"top.vmdk", "vm"}));
  EXPECT_EQ(names_in(Find(service_->tree(), "vm")), (std::set<std::string>{"a.vmdk", "b.vmdk"}));
  ForgetAll();
}

// Says stop at the first step.
class Impatient final : public disklib::Progress {
 public:
  bool Advance(uint64_t, uint64_t) override { return false; }
};

TEST_F(DiskServiceTest, AStoppedOperationLeavesNothingBehind) {
  Json request = CreateRequest("a.vmdk");
  request["format"] = "eagerzeroedthick";
  Impatient impatient;
  const base::Result<Json> answer = Run(service_->Handle(request, *service_, &impatient));
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code(), base::Code::kInterrupted);
  std::vector<ListedEntry> entries;
  ASSERT_TRUE(Run(ListDirectory(volume_, volume_.root(), entries)).has_value());
  EXPECT_TRUE(entries.empty());
}

TEST_F(DiskServiceTest, TakesNoRequestWhileItCloses) {
  ASSERT_TRUE(Run(service_->Close()).has_value());
  EXPECT_EQ(CodeOf(CreateRequest("a.vmdk")), base::Code::kInterrupted);
}

}  // namespace
}  // namespace stratad
