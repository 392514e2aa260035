#include "tests/support/volume_tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "vmfs/volume/volume.h"

namespace vmfs {
namespace {

constexpr uint64_t kChunkBytes = 1 << 16;

class NameCollector : public fss::DirectorySink {
 public:
  bool Add(const fss::DirectoryEntry& entry) override {
    if (entry.name != "." && entry.name != "..") names.emplace_back(entry.name);
    return true;
  }

  std::vector<std::string> names;
};

// The first difference in the data runs of `of`, which may be holes in the other one.
uint64_t FirstDifferenceInRuns(const base::SparseStore& of, const base::SparseStore& other,
                               uint64_t size_bytes) {
  std::vector<base::MapRun> runs;
  of.Map(0, size_bytes, runs);
  std::array<std::byte, kChunkBytes> left;
  std::array<std::byte, kChunkBytes> right;
  for (const base::MapRun& run : runs) {
    if (run.state != base::MapState::kData) continue;
    for (uint64_t at = 0; at < run.length_bytes; at += kChunkBytes) {
      const size_t length = std::min(kChunkBytes, run.length_bytes - at);
      of.Read(run.offset_bytes + at, std::span(left).first(length));
      other.Read(run.offset_bytes + at, std::span(right).first(length));
      const auto differ = std::mismatch(left.begin(), left.begin() + length, right.begin());
      if (differ.first != left.begin() + length) {
        return run.offset_bytes + at + static_cast<uint64_t>(differ.first - left.begin());
      }
    }
  }
  return size_bytes;
}

std::string DescribeNode(const std::string& path, const TreeNode& expected,
                         const TreeNode& found) {
  if (expected.type != found.type) return path + ": is of another type";
  if (expected.target != found.target) return path + ": points to " + found.target;
  if (expected.type != fss::FileType::kRegular) return {};
  if (expected.size_bytes != found.size_bytes) {
    return fmt::format("{}: has {} bytes, expected {}", path, found.size_bytes,
                       expected.size_bytes);
  }
  const uint64_t at = FirstDifference(expected.bytes, found.bytes, expected.size_bytes);
  if (at == expected.size_bytes) return {};
  std::array<std::byte, 1> want;
  std::array<std::byte, 1> have;
  expected.bytes.Read(at, want);
  found.bytes.Read(at, have);
  return fmt::format("{}: byte {} of {} is {:#x}, expected {:#x}", path, at, expected.size_bytes,
                     static_cast<unsigned>(have[0]), static_cast<unsigned>(want[0]));
}

}  // namespace

void TreeNode::Write(uint64_t offset_bytes, std::span<const std::byte> source) {
  bytes.Write(offset_bytes, source);
  size_bytes = std::max(size_bytes, offset_bytes + source.size());
}

void TreeNode::Resize(uint64_t new_size_bytes) {
  if (new_size_bytes < size_bytes) bytes.Zero(new_size_bytes, size_bytes - new_size_bytes);
  size_bytes = new_size_bytes;
}

void TreeNode::Zero(uint64_t offset_bytes, uint64_t length_bytes) {
  const uint64_t end = std::min(size_bytes, offset_bytes + length_bytes);
  if (offset_bytes < end) bytes.Zero(offset_bytes, end - offset_bytes);
}

std::string_view ParentOf(std::string_view path) { return path.substr(0, path.rfind('/')); }

std::string_view NameOfPath(std::string_view path) { return path.substr(path.rfind('/') + 1); }

bool HasChildren(const Tree& tree, std::string_view path) {
  const std::string prefix = std::string(path) + "/";
  const auto at = tree.lower_bound(prefix);
  return at != tree.end() && at->first.starts_with(prefix);
}

void MoveInTree(Tree& tree, const std::string& from, const std::string& to) {
  Tree moved;
  const std::string prefix = from + "/";
  for (auto at = tree.lower_bound(from); at != tree.end() && at->first.starts_with(from);) {
    const bool is_it = at->first == from || at->first.starts_with(prefix);
    if (is_it) {
      moved[to + at->first.substr(from.size())] = std::move(at->second);
      at = tree.erase(at);
    } else {
      ++at;
    }
  }
  for (auto& [path, node] : moved) tree[path] = std::move(node);
}

uint64_t FirstDifference(const base::SparseStore& a, const base::SparseStore& b,
                         uint64_t size_bytes) {
  return std::min(FirstDifferenceInRuns(a, b, size_bytes), FirstDifferenceInRuns(b, a, size_bytes));
}

std::string DescribeDifference(const Tree& expected, const Tree& found) {
  for (const auto& [path, node] : expected) {
    const auto at = found.find(path);
    if (at == found.end()) return path + ": is missing";
    std::string text = DescribeNode(path, node, at->second);
    if (!text.empty()) return text;
  }
  for (const auto& [path, node] : found) {
    if (!expected.contains(path)) return path + ": should not be there";
  }
  return {};
}

base::Task<base::Result<fss::InodeNumber>> VolumeClient::Resolve(std::string_view path) {
  fss::InodeNumber inode = volume_.root();
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::string_view name = path.substr(0, path.find('/'));
    CO_TRY(const fss::Attributes attributes, co_await volume_.Lookup(inode, name));
    volume_.Forget(attributes.inode, 1);
    inode = attributes.inode;
    path.remove_prefix(name.size());
  }
  co_return inode;
}

base::Task<base::Status> VolumeClient::Create(std::string_view path) {
  CO_TRY(const fss::InodeNumber parent, co_await Resolve(ParentOf(path)));
  const fss::NewInode attributes;
  CO_TRY(const fss::Attributes made,
         co_await volume_.CreateFile(parent, NameOfPath(path), attributes));
  volume_.Forget(made.inode, 1);
  co_return base::Ok();
}

base::Task<base::Status> VolumeClient::MakeDirectory(std::string_view path) {
  CO_TRY(const fss::InodeNumber parent, co_await Resolve(ParentOf(path)));
  fss::NewInode attributes;
  attributes.mode = 0755;
  CO_TRY(const fss::Attributes made,
         co_await volume_.MakeDirectory(parent, NameOfPath(path), attributes));
  volume_.Forget(made.inode, 1);
  co_return base::Ok();
}

base::Task<base::Status> VolumeClient::MakeSymlink(std::string_view path,
                                                   std::string_view target) {
  CO_TRY(const fss::InodeNumber parent, co_await Resolve(ParentOf(path)));
  const fss::NewInode attributes;
  CO_TRY(const fss::Attributes made,
         co_await volume_.MakeSymlink(parent, NameOfPath(path), target, attributes));
  volume_.Forget(made.inode, 1);
  co_return base::Ok();
}

base::Task<base::Status> VolumeClient::Unlink(std::string_view path) {
  CO_TRY(const fss::InodeNumber parent, co_await Resolve(ParentOf(path)));
  co_return co_await volume_.Unlink(parent, NameOfPath(path));
}

base::Task<base::Status> VolumeClient::RemoveDirectory(std::string_view path) {
  CO_TRY(const fss::InodeNumber parent, co_await Resolve(ParentOf(path)));
  co_return co_await volume_.RemoveDirectory(parent, NameOfPath(path));
}

base::Task<base::Status> VolumeClient::Rename(std::string_view from, std::string_view to) {
  CO_TRY(const fss::InodeNumber from_parent, co_await Resolve(ParentOf(from)));
  CO_TRY(const fss::InodeNumber to_parent, co_await Resolve(ParentOf(to)));
  co_return co_await volume_.Rename(from_parent, NameOfPath(from), to_parent, NameOfPath(to),
                                    /*no_replace=*/false);
}

base::Task<base::Status> VolumeClient::Truncate(std::string_view path, uint64_t size_bytes) {
  CO_TRY(const fss::InodeNumber inode, co_await Resolve(path));
  fss::AttributeChange change;
  change.size_bytes = size_bytes;
  CO_TRY(const fss::Attributes now, co_await volume_.SetAttributes(inode, change));
  (void)now;
  co_return base::Ok();
}

base::Task<base::Result<std::unique_ptr<fss::File>>> VolumeClient::Open(std::string_view path,
                                                                        fss::OpenMode mode) {
  CO_TRY(const fss::InodeNumber inode, co_await Resolve(path));
  co_return co_await volume_.Open(inode, mode);
}

base::Task<base::Status> VolumeClient::Replace(
    std::span<const std::pair<std::string, std::string>> files) {
  std::vector<fss::Replacement> replacements;
  for (const auto& [path, text] : files) {
    CO_TRY(const fss::InodeNumber inode, co_await Resolve(path));
    replacements.push_back({inode, text});
  }
  co_return co_await volume_.ReplaceContents(replacements);
}

base::Task<base::Status> VolumeClient::Allocate(std::string_view path, fss::AllocateMode mode,
                                                uint64_t offset_bytes, uint64_t length_bytes) {
  CO_TRY(const std::unique_ptr<fss::File> file, co_await Open(path, fss::OpenMode::kWrite));
  base::Status status = co_await file->Allocate(mode, offset_bytes, length_bytes);
  const base::Status closed = co_await file->Close();
  if (status) status = closed;
  co_return status;
}

base::Task<base::Result<uint64_t>> VolumeClient::Write(std::string_view path,
                                                       uint64_t offset_bytes,
                                                       std::span<const std::byte> source) {
  CO_TRY(const std::unique_ptr<fss::File> file, co_await Open(path, fss::OpenMode::kWrite));
  // The volume only reads from the buffers of a write.
  const base::IoVec piece{const_cast<std::byte*>(source.data()), source.size()};
  const base::IoRequest request{offset_bytes, std::span(&piece, 1)};
  const base::Result<uint64_t> done = co_await file->Write(request);
  const base::Status closed = co_await file->Close();
  if (done && !closed) co_return closed.error();
  co_return done;
}

base::Task<base::Result<uint64_t>> VolumeClient::Read(std::string_view path, uint64_t offset_bytes,
                                                      std::span<std::byte> target) {
  CO_TRY(const std::unique_ptr<fss::File> file, co_await Open(path, fss::OpenMode::kRead));
  const base::IoVec piece{target.data(), target.size()};
  const base::IoRequest request{offset_bytes, std::span(&piece, 1)};
  const base::Result<uint64_t> done = co_await file->Read(request);
  CO_TRY_STATUS(co_await file->Close());
  co_return done;
}

base::Task<base::Result<uint64_t>> VolumeClient::Seek(std::string_view path, fss::SeekKind kind,
                                                      uint64_t offset_bytes) {
  CO_TRY(const std::unique_ptr<fss::File> file, co_await Open(path, fss::OpenMode::kRead));
  const base::Result<uint64_t> found = co_await file->Seek(kind, offset_bytes);
  CO_TRY_STATUS(co_await file->Close());
  co_return found;
}

base::Task<base::Status> VolumeClient::Sync(std::string_view path) {
  CO_TRY(const std::unique_ptr<fss::File> file, co_await Open(path, fss::OpenMode::kRead));
  base::Status status = co_await file->Sync(/*data_only=*/false);
  const base::Status closed = co_await file->Close();
  if (status) status = closed;
  co_return status;
}

base::Task<base::Status> VolumeClient::ReadContents(fss::File& file, TreeNode& node) {
  node.size_bytes = file.size_bytes();
  std::vector<std::byte> buffer(uint64_t{1} << 20);
  uint64_t at = 0;
  while (at < node.size_bytes) {
    const base::Result<uint64_t> data = co_await file.Seek(fss::SeekKind::kData, at);
    if (!data && data.error().code() == base::Code::kNoData) break;
    if (!data) co_return data.error();
    CO_TRY(const uint64_t end, co_await file.Seek(fss::SeekKind::kHole, *data));
    if (end <= *data) co_return base::Error(base::Code::kInternal, "seek: a hole within data");
    for (at = *data; at < end;) {
      const base::IoVec piece{buffer.data(), std::min<uint64_t>(buffer.size(), end - at)};
      const base::IoRequest request{at, std::span(&piece, 1)};
      CO_TRY(const uint64_t done, co_await file.Read(request));
      if (done != piece.size_bytes) co_return base::Error(base::Code::kInternal, "read: short");
      node.bytes.Write(at, std::span(buffer).first(done));
      at += done;
    }
  }
  co_return base::Ok();
}

base::Task<base::Status> VolumeClient::ReadNode(std::string_view path,
                                                const fss::Attributes* attributes, Tree& tree) {
  TreeNode& node = tree[std::string(path)];
  node.type = attributes->type;
  if (node.type == fss::FileType::kSymlink) {
    CO_TRY(node.target, co_await volume_.ReadSymlink(attributes->inode));
  }
  if (node.type != fss::FileType::kRegular) co_return base::Ok();
  CO_TRY(const std::unique_ptr<fss::File> file,
         co_await volume_.Open(attributes->inode, fss::OpenMode::kRead));
  base::Status status = co_await ReadContents(*file, node);
  const base::Status closed = co_await file->Close();
  if (status) status = closed;
  co_return status;
}

base::Task<base::Status> VolumeClient::ReadTree(std::string_view top, Tree& tree) {
  std::vector<std::string> directories{std::string(top)};
  while (!directories.empty()) {
    const std::string directory = std::move(directories.back());
    directories.pop_back();
    CO_TRY(const fss::InodeNumber inode, co_await Resolve(directory));
    NameCollector names;
    CO_TRY_STATUS(co_await volume_.ReadDirectory(inode, 0, names));
    for (const std::string& name : names.names) {
      if (Volume::IsSystemName(inode, name)) continue;
      CO_TRY(const fss::Attributes attributes, co_await volume_.Lookup(inode, name));
      volume_.Forget(attributes.inode, 1);
      const std::string path = directory + "/" + name;
      if (tree.contains(path)) co_return base::Error(base::Code::kInternal, path + ": twice");
      CO_TRY_STATUS(co_await ReadNode(path, &attributes, tree));
      if (attributes.type == fss::FileType::kDirectory) directories.push_back(path);
    }
  }
  co_return base::Ok();
}

}  // namespace vmfs
