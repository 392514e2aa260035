// What the tests of snapshots share: a VM folder on any file system, and contents to compare.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "disklib/new_link.h"
#include "disklib/snapshot.h"
#include "tests/disklib/support.h"

namespace disklib {

using Content = std::vector<std::byte>;

// Takes snapshots and looks at disks through one back end.
class SnapshotStand {
 public:
  SnapshotStand(base::SimExecutor& executor, ObjectBackend& backend)
      : executor_(executor), backend_(backend), lib_(executor, backend, open_disks_) {}

  Lib& lib() { return lib_; }

  template <typename T>
  T Run(base::Task<T> task) {
    return base::RunSync(executor_, std::move(task));
  }

  // The whole content of the chain at `path`, or what is wrong with it.
  base::Result<Content> TryContentOf(std::string_view path) {
    auto chain = Run(lib_.Open(path, {.writable = false, .user = "test"}));
    if (!chain) return chain.error();
    Content bytes((*chain)->size_bytes());
    const base::IoVec piece{bytes.data(), bytes.size()};
    const base::Status read = Run((*chain)->Read({.offset_bytes = 0, .buffers = {&piece, 1}}));
    const base::Status closed = Run((*chain)->Close());
    if (!read) return read.error();
    if (!closed) return closed.error();
    return bytes;
  }

  Content ContentOf(std::string_view path) {
    auto content = TryContentOf(path);
    EXPECT_TRUE(content) << content.error().message();
    return content ? *std::move(content) : Content();
  }

  // Writes, or with `bytes` empty makes zeros, and flushes, through the leaf at `path`.
  base::Status Change(std::string_view path, uint64_t offset_bytes, Content bytes,
                      uint64_t zero_bytes = 0) {
    auto chain = Run(lib_.Open(path, {.writable = true, .user = "test"}));
    if (!chain) return chain.error();
    const base::IoVec piece{bytes.data(), bytes.size()};
    base::Status done =
        bytes.empty()
            ? Run((*chain)->WriteZeroes(offset_bytes, zero_bytes, /*may_unmap=*/true))
            : Run((*chain)->Write({.offset_bytes = offset_bytes, .buffers = {&piece, 1}}));
    if (done) done = Run((*chain)->Flush());
    const base::Status closed = Run((*chain)->Close());
    return done ? closed : done;
  }

  void Write(std::string_view path, uint64_t offset_bytes, Content bytes) {
    const base::Status done = Change(path, offset_bytes, std::move(bytes));
    ASSERT_TRUE(done) << done.error().message();
  }

  void Zero(std::string_view path, uint64_t offset_bytes, uint64_t length_bytes) {
    const base::Status done = Change(path, offset_bytes, {}, length_bytes);
    ASSERT_TRUE(done) << done.error().message();
  }

  SnapshotTree Tree(std::string_view path = "vm.vmdk") {
    auto tree = Run(ListSnapshots(lib_, path));
    EXPECT_TRUE(tree) << tree.error().message();
    return tree ? *std::move(tree) : SnapshotTree();
  }

  // Where the first disk stands.
  std::string Leaf(std::string_view path = "vm.vmdk") {
    const SnapshotTree tree = Tree(path);
    return tree.disks.empty() ? std::string() : tree.disks.front().path;
  }

  SnapshotInfo Take(std::string_view name, std::string_view path = "vm.vmdk",
                    DiskLayout layout = DiskLayout::kSeSparse) {
    auto made = Run(CreateSnapshot(lib_, path, {.name = name, .layout = layout}, nullptr));
    EXPECT_TRUE(made) << made.error().message();
    return made ? *std::move(made) : SnapshotInfo();
  }

  void Revert(std::string_view name, std::string_view path = "vm.vmdk") {
    const auto reverted = Run(RevertToSnapshot(lib_, path, name, {}, nullptr));
    EXPECT_TRUE(reverted) << reverted.error().message();
  }

  CommitSummary Delete(std::string_view name, CommitOptions options = {},
                       std::string_view path = "vm.vmdk") {
    auto deleted = Run(DeleteSnapshot(lib_, path, name, options, nullptr));
    EXPECT_TRUE(deleted) << deleted.error().message();
    return deleted ? *std::move(deleted) : CommitSummary();
  }

  void Create(std::string_view path, uint64_t size_bytes, DiskLayout layout = DiskLayout::kVmfs) {
    const NewDisk disk{.size_bytes = size_bytes, .layout = layout};
    const base::Status created = Run(CreateDisk(lib_, path, disk, nullptr));
    ASSERT_TRUE(created) << created.error().message();
  }

  void Store(std::string_view path, std::string_view text) {
    const auto stored = Run(backend_.ReplaceContents(path, text));
    ASSERT_TRUE(stored) << stored.error().message();
  }

  std::string Load(std::string_view path) {
    const auto text = Run(ReadObject(backend_, path, 1 << 30));
    EXPECT_TRUE(text) << text.error().message();
    return text ? *text : std::string();
  }

  // The files of the root folder.
  std::set<std::string> Files() {
    ListingSink sink;
    EXPECT_TRUE(Run(backend_.List("", sink)));
    return {sink.names.begin(), sink.names.end()};
  }

  // A VM with two disks.
  void MakeVm(uint64_t size_bytes) {
    Create("vm.vmdk", size_bytes);
    Create("vm_1.vmdk", size_bytes);
    Store("vm.vmx",
          "#!/usr/bin/vmware\n.encoding = \"UTF-8\"\nscsi0:0.fileName = \"vm.vmdk\"\n"
          "scsi0:1.fileName = \"vm_1.vmdk\"\nmemSize = \"64\"\n");
  }

 private:
  base::SimExecutor& executor_;
  ObjectBackend& backend_;
  OpenDisks open_disks_;
  Lib lib_;
};

// The same on a file system in memory of its own.
struct SnapshotBench {
  explicit SnapshotBench(uint64_t blocks_max = UINT64_MAX) : files("memory", blocks_max) {}

  base::SimExecutor executor{1, /*in_order=*/true};
  fss::MemoryFileSystem files;
  FileBackend backend{files};
  SnapshotStand stand{executor, backend};
};

}  // namespace disklib
