// `TestDirectory`: a directory in memory with calls that run to their end, for tests.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fs/base/sim_executor.h"
#include "tests/support/directory_verifier.h"
#include "tests/support/memory_directory_file.h"
#include "vmfs/directory/directory.h"
#include "vmfs/directory/new_directory.h"

namespace vmfs {

inline constexpr uint64_t kPiecesOfFullDirectory = kDirectoryHeaderPieces + kBlocksPerMapBlock;

inline std::vector<std::byte> NewDirectoryBytes(const NewDirectory& directory) {
  std::vector<std::byte> bytes(size_t{NewDirectoryPieceCount(directory.kind)} *
                               kMetadataBlockBytes);
  BuildNewDirectory(directory, bytes);
  return bytes;
}

inline NewDirectory OrdinaryDirectory() {
  return {.self = FdAddress::Make(0, 9),
          .parent = kRootFd,
          .self_generation = 1,
          .parent_generation = 1};
}

inline NewDirectory RootDirectory() {
  return {.kind = NewDirectoryKind::kRoot,
          .self = kRootFd,
          .parent = kRootFd,
          .self_generation = 1,
          .parent_generation = 1};
}

// A file with a descriptor made from `number`.
inline DirectoryTarget FileTarget(uint32_t number) {
  return {InodeType::kFile, FdAddress::Make(number >> 8 & 0xffff, number & 0xff), number + 1};
}

// Names that share buckets, found by trying: of `tried` names, those in the `bucket_count` buckets
// that hold most of them, bucket by bucket. 16,001 tries give one name a bucket on average.
std::vector<std::vector<std::string>> CollidingNames(size_t bucket_count, uint32_t tried,
                                                     bool is_root = false);

struct OwnedEntry {
  std::string name;
  DirectoryTarget target;
  uint64_t next_cursor = 0;
};

// Keeps entries until it has `count_max`.
class CollectingSink : public DirectoryListSink {
 public:
  explicit CollectingSink(size_t count_max = SIZE_MAX) : count_max_(count_max) {}

  bool Add(const ListedEntry& entry) override {
    if (entries.size() == count_max_) return false;
    entries.push_back({std::string(entry.name), entry.target, entry.next_cursor});
    return true;
  }

  std::vector<OwnedEntry> entries;

 private:
  size_t count_max_;
};

class TestDirectory {
 public:
  explicit TestDirectory(const NewDirectory& kind = OrdinaryDirectory(),
                         uint64_t piece_count_max = 4096)
      : TestDirectory(NewDirectoryBytes(kind), kind.kind == NewDirectoryKind::kRoot,
                      piece_count_max) {}

  TestDirectory(std::span<const std::byte> content, bool is_root, uint64_t piece_count_max)
      : is_root_(is_root), file(executor, content, piece_count_max), directory(file, is_root) {}

  base::Result<DirectoryTarget> Find(const std::string& name) {
    return base::RunSync(executor, directory.Find(name));
  }

  base::Status Insert(const std::string& name, DirectoryTarget target) {
    const auto status = base::RunSync(executor, directory.Insert(transaction, name, target));
    modified_count = file.EndOperation();
    return status;
  }

  base::Status Remove(const std::string& name) {
    const auto status = base::RunSync(executor, directory.Remove(transaction, name));
    modified_count = file.EndOperation();
    return status;
  }

  base::Status Replace(const std::string& name, DirectoryTarget target) {
    const auto status = base::RunSync(executor, directory.Replace(transaction, name, target));
    modified_count = file.EndOperation();
    return status;
  }

  // What a rename within the directory does; `to` may not exist.
  base::Status Rename(const std::string& from, const std::string& to, DirectoryTarget target);

  base::Status List(uint64_t cursor, DirectoryListSink& sink) {
    return base::RunSync(executor, directory.List(cursor, sink));
  }

  DirectoryVerdict Verify() { return VerifyDirectory(file.bytes(), is_root_); }

  const bool is_root_;  // before what is built from it
  base::SimExecutor executor{1};
  MemoryDirectoryFile file;
  Directory directory;
  Transaction transaction;
  size_t modified_count = 0;  // pieces that the last change modified
};

}  // namespace vmfs
