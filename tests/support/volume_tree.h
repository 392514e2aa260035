// `Tree`: what a mounted volume shows, as plain values; `VolumeClient`: operations by path.
//
// A tree maps paths ("/a/b") to nodes with their contents. Tests keep one as the model of what a
// volume must hold, read another one from the volume, and compare. Thread rule: the volume's
// executor. Paths and buffers outlive the calls they are passed to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fs/fss/file_system.h"
#include "tests/support/sparse_store.h"

namespace vmfs {

struct TreeNode {
  fss::FileType type = fss::FileType::kRegular;
  uint64_t id = 0;  // of the model's own; the same thing under another name keeps it
  uint64_t size_bytes = 0;
  base::SparseStore bytes;
  std::string target;  // of a symlink

  void Write(uint64_t offset_bytes, std::span<const std::byte> source);
  void Resize(uint64_t new_size_bytes);
  // Zeroes what lies within the file.
  void Zero(uint64_t offset_bytes, uint64_t length_bytes);
};

using Tree = std::map<std::string, TreeNode, std::less<>>;

// The part of the path before the last '/', and the name behind it.
std::string_view ParentOf(std::string_view path);
std::string_view NameOfPath(std::string_view path);

// Whether anything stands below `path`.
bool HasChildren(const Tree& tree, std::string_view path);

// Moves a node, and what stands below it, over whatever stands at the new path.
void MoveInTree(Tree& tree, const std::string& from, const std::string& to);

// The first byte at which two contents of `size_bytes` differ; `size_bytes` when none does.
uint64_t FirstDifference(const base::SparseStore& a, const base::SparseStore& b,
                         uint64_t size_bytes);

// In words; empty when the trees are equal.
std::string DescribeDifference(const Tree& expected, const Tree& found);

class VolumeClient {
 public:
  explicit VolumeClient(fss::FileSystem& volume) : volume_(volume) {}

  base::Task<base::Result<fss::InodeNumber>> Resolve(std::string_view path);
  base::Task<base::Status> Create(std::string_view path);
  base::Task<base::Status> MakeDirectory(std::string_view path);
  base::Task<base::Status> MakeSymlink(std::string_view path, std::string_view target);
  base::Task<base::Status> Unlink(std::string_view path);
  base::Task<base::Status> RemoveDirectory(std::string_view path);
  base::Task<base::Status> Rename(std::string_view from, std::string_view to);
  base::Task<base::Status> Truncate(std::string_view path, uint64_t size_bytes);
  // The whole content of each file, path and text, in one step.
  base::Task<base::Status> Replace(std::span<const std::pair<std::string, std::string>> files);
  base::Task<base::Status> Allocate(std::string_view path, fss::AllocateMode mode,
                                    uint64_t offset_bytes, uint64_t length_bytes);
  base::Task<base::Result<uint64_t>> Write(std::string_view path, uint64_t offset_bytes,
                                           std::span<const std::byte> source);
  base::Task<base::Result<uint64_t>> Read(std::string_view path, uint64_t offset_bytes,
                                          std::span<std::byte> target);
  base::Task<base::Result<uint64_t>> Seek(std::string_view path, fss::SeekKind kind,
                                          uint64_t offset_bytes);
  base::Task<base::Status> Sync(std::string_view path);
  base::Task<base::Status> SyncAll() { return volume_.SyncAll(); }

  base::Task<base::Result<std::unique_ptr<fss::File>>> Open(std::string_view path,
                                                            fss::OpenMode mode);

  // Everything below `top` ("" for all), except the volume's own files.
  base::Task<base::Status> ReadTree(std::string_view top, Tree& tree);

  // The contents of an open file, data by data.
  static base::Task<base::Status> ReadContents(fss::File& file, TreeNode& node);

 private:
  base::Task<base::Status> ReadNode(std::string_view path, const fss::Attributes* attributes,
                                    Tree& tree);

  fss::FileSystem& volume_;
};

}  // namespace vmfs
