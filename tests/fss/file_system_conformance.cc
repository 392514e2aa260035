#include "tests/fss/file_system_conformance.h"

#include <algorithm>
#include <utility>

namespace fss {
namespace {

// Collects up to a number of entries, then says that it is full.
class Collector : public DirectorySink {
 public:
  explicit Collector(size_t entries_max) : entries_max_(entries_max) {}

  bool Add(const DirectoryEntry& entry) override {
    if (taken_count_ == entries_max_) return false;
    ++taken_count_;
    cursor_ = entry.next_cursor;
    if (entry.name != "." && entry.name != "..") names_.emplace_back(entry.name);
    return true;
  }

  size_t taken_count() const { return taken_count_; }

  uint64_t cursor() const { return cursor_; }

  const std::vector<std::string>& names() const { return names_; }

 private:
  size_t entries_max_;
  size_t taken_count_ = 0;
  uint64_t cursor_ = 0;
  std::vector<std::string> names_;
};

}  // namespace

void FileSystemConformance::SetUp() {
  under_test_ = GetParam().make();
  ASSERT_NE(under_test_, nullptr);
  own_names_ = Names(root(), 1000);
}

void FileSystemConformance::TearDown() {
  if (!under_test_) return;
  for (InodeNumber inode : lookups_) fs().Forget(inode, 1);
  const base::Status unmounted = Run(fs().Unmount());
  EXPECT_TRUE(unmounted.has_value()) << unmounted.error().message();
  under_test_->CheckUnmounted();
}

InodeNumber FileSystemConformance::Count(InodeNumber inode) {
  lookups_.push_back(inode);
  return inode;
}

InodeNumber FileSystemConformance::MakeFile(InodeNumber parent, std::string_view name) {
  const base::Result<Attributes> made = Run(fs().CreateFile(parent, name, NewInode{}));
  EXPECT_TRUE(made.has_value()) << name << ": " << made.error().message();
  return made ? Count(made->inode) : 0;
}

InodeNumber FileSystemConformance::MakeFolder(InodeNumber parent, std::string_view name) {
  NewInode attributes;
  attributes.mode = 0755;
  const base::Result<Attributes> made = Run(fs().MakeDirectory(parent, name, attributes));
  EXPECT_TRUE(made.has_value()) << name << ": " << made.error().message();
  return made ? Count(made->inode) : 0;
}

InodeNumber FileSystemConformance::MakeLink(InodeNumber parent, std::string_view name,
                                            std::string_view target) {
  NewInode attributes;
  attributes.mode = 0777;
  const base::Result<Attributes> made = Run(fs().MakeSymlink(parent, name, target, attributes));
  EXPECT_TRUE(made.has_value()) << name << ": " << made.error().message();
  return made ? Count(made->inode) : 0;
}

InodeNumber FileSystemConformance::MakeFileWith(InodeNumber parent, std::string_view name,
                                                std::string_view content) {
  const InodeNumber inode = MakeFile(parent, name);
  std::unique_ptr<File> file = OpenFile(inode);
  if (!file) return inode;
  EXPECT_TRUE(WriteAt(*file, 0, content).has_value());
  CloseFile(std::move(file));
  return inode;
}

base::Result<Attributes> FileSystemConformance::Find(InodeNumber parent, std::string_view name) {
  base::Result<Attributes> found = Run(fs().Lookup(parent, name));
  if (found) Count(found->inode);
  return found;
}

Attributes FileSystemConformance::Get(InodeNumber inode) {
  const base::Result<Attributes> attributes = Run(fs().GetAttributes(inode));
  EXPECT_TRUE(attributes.has_value()) << attributes.error().message();
  return attributes ? *attributes : Attributes{};
}

base::Code FileSystemConformance::FindCode(InodeNumber parent, std::string_view name) {
  return CodeOf(Find(parent, name));
}

std::unique_ptr<File> FileSystemConformance::OpenFile(InodeNumber inode, OpenMode mode) {
  base::Result<std::unique_ptr<File>> opened = Run(fs().Open(inode, mode));
  EXPECT_TRUE(opened.has_value()) << opened.error().message();
  return opened ? std::move(*opened) : nullptr;
}

void FileSystemConformance::CloseFile(std::unique_ptr<File> file) {
  const base::Status closed = Run(file->Close());
  EXPECT_TRUE(closed.has_value()) << closed.error().message();
}

base::Result<uint64_t> FileSystemConformance::WriteAt(File& file, uint64_t offset_bytes,
                                                      std::string_view bytes) {
  std::string copy(bytes);
  const base::IoVec piece{reinterpret_cast<std::byte*>(copy.data()), copy.size()};
  base::IoRequest request;
  request.offset_bytes = offset_bytes;
  request.buffers = {&piece, 1};
  return Run(file.Write(request));
}

std::string FileSystemConformance::ReadAt(File& file, uint64_t offset_bytes, size_t length_bytes) {
  std::string bytes(length_bytes, '?');
  const base::IoVec piece{reinterpret_cast<std::byte*>(bytes.data()), bytes.size()};
  base::IoRequest request;
  request.offset_bytes = offset_bytes;
  request.buffers = {&piece, 1};
  const base::Result<uint64_t> count = Run(file.Read(request));
  EXPECT_TRUE(count.has_value()) << count.error().message();
  bytes.resize(count ? *count : 0);
  return bytes;
}

std::string FileSystemConformance::Content(InodeNumber inode) {
  std::unique_ptr<File> file = OpenFile(inode, OpenMode::kRead);
  if (!file) return {};
  std::string bytes = ReadAt(*file, 0, file->size_bytes());
  CloseFile(std::move(file));
  return bytes;
}

std::vector<std::string> FileSystemConformance::Names(InodeNumber directory,
                                                      size_t entries_per_call) {
  std::vector<std::string> names;
  uint64_t cursor = 0;
  while (true) {
    Collector collector(entries_per_call);
    const base::Status read = Run(fs().ReadDirectory(directory, cursor, collector));
    EXPECT_TRUE(read.has_value()) << read.error().message();
    if (!read || collector.taken_count() == 0) break;
    names.insert(names.end(), collector.names().begin(), collector.names().end());
    cursor = collector.cursor();
  }
  if (directory == root()) {
    std::erase_if(names, [this](const std::string& name) {
      return std::find(own_names_.begin(), own_names_.end(), name) != own_names_.end();
    });
  }
  std::sort(names.begin(), names.end());
  return names;
}

base::Status FileSystemConformance::RenameTo(InodeNumber from, std::string_view from_name,
                                             InodeNumber to, std::string_view to_name,
                                             bool no_replace) {
  return Run(fs().Rename(from, from_name, to, to_name, no_replace));
}

}  // namespace fss
