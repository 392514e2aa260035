// What the tests of sparse extents share: an object in a file system in memory, and a file that
// counts what is written to it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "disklib/sparse/se_file.h"
#include "disklib/sparse/sparse_extent.h"
#include "fs/base/random.h"
#include "fs/base/sim_executor.h"
#include "fs/fss/forwarding.h"
#include "tests/support/memory_file_system.h"

namespace disklib {

inline constexpr uint64_t kMebi = uint64_t{1} << 20;
inline constexpr uint64_t kGrain = 4096;

// Bytes that tell their seed; none of them zero.
inline std::vector<std::byte> PatternOf(uint64_t seed, size_t size_bytes) {
  base::Random random(seed);
  std::vector<std::byte> bytes(size_bytes);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.Below(255) + 1);
  return bytes;
}

// What passed through a file.
struct FileFigures {
  uint64_t write_count = 0;
  uint64_t sectors_written = 0;  // every sector that a write touches
  uint64_t sync_count = 0;
};

class CountingFile final : public fss::ForwardingFile {
 public:
  CountingFile(std::unique_ptr<fss::File> below, FileFigures& figures)
      : ForwardingFile(std::move(below)), figures_(figures) {}

  base::Task<base::Result<uint64_t>> Write(base::IoRequest request) override {
    const uint64_t end_bytes = request.offset_bytes + request.size_bytes();
    ++figures_.write_count;
    figures_.sectors_written += (end_bytes + 511) / 512 - request.offset_bytes / 512;
    return ForwardingFile::Write(request);
  }

  base::Task<base::Status> Sync(bool data_only) override {
    ++figures_.sync_count;
    return ForwardingFile::Sync(data_only);
  }

 private:
  FileFigures& figures_;
};

template <typename T>
T Await(base::SimExecutor& executor, base::Task<T> task) {
  return base::RunSync(executor, std::move(task));
}

inline base::Status WriteAt(base::SimExecutor& executor, Extent& extent, uint64_t offset_bytes,
                            std::vector<std::byte>& bytes) {
  const base::IoVec piece{bytes.data(), bytes.size()};
  const base::IoRequest request{.offset_bytes = offset_bytes, .buffers = {&piece, 1}};
  const auto written = Await(executor, extent.Write(request));
  if (!written) return written.error();
  if (*written != bytes.size()) return base::Error(base::Code::kNoSpace, "short");
  return base::Ok();
}

inline std::vector<std::byte> ReadAt(base::SimExecutor& executor, Extent& extent,
                                     uint64_t offset_bytes, size_t size_bytes) {
  std::vector<std::byte> bytes(size_bytes, std::byte{0xee});
  const base::IoVec piece{bytes.data(), bytes.size()};
  const base::IoRequest request{.offset_bytes = offset_bytes, .buffers = {&piece, 1}};
  const auto read = Await(executor, extent.Read(request));
  EXPECT_TRUE(read) << read.error().message();
  return bytes;
}

// One sparse file in a file system in memory, closed and opened again at will.
class SparseBench {
 public:
  explicit SparseBench(uint64_t size_bytes, uint64_t blocks_max = UINT64_MAX, uint64_t seed = 1)
      : executor(seed, /*in_order=*/true), files("sparse", blocks_max), size_bytes_(size_bytes) {
    const auto made = Await(executor, files.CreateFile(files.root(), "delta", {}));
    inode_ = made->inode;
    const auto object = OpenFile();
    const base::Status formatted = Await(executor, FormatSeSparse(*object, size_bytes));
    EXPECT_TRUE(formatted) << formatted.error().message();
    EXPECT_TRUE(Await(executor, object->Close()));
  }

  std::unique_ptr<fss::File> OpenFile() {
    auto opened = Await(executor, files.Open(inode_, fss::OpenMode::kWrite));
    return std::make_unique<CountingFile>(*std::move(opened), figures);
  }

  base::Result<std::unique_ptr<Extent>> TryOpen(bool can_write = true, SparseFaults faults = {}) {
    std::unique_ptr<Object> object = OpenFile();
    const SparseOpen options{.kind = SparseKind::kSeSparse,
                             .size_bytes = size_bytes_,
                             .can_write = can_write,
                             .path = "delta"};
    auto opened = Await(executor, OpenSeSparse(executor, object, options, faults));
    if (object != nullptr) {
      EXPECT_TRUE(Await(executor, object->Close()));
    }
    return opened;
  }

  void Open(bool can_write = true) {
    auto opened = TryOpen(can_write);
    ASSERT_TRUE(opened) << opened.error().message();
    extent = *std::move(opened);
  }

  void Close() {
    const base::Status closed = Await(executor, extent->Close());
    EXPECT_TRUE(closed) << closed.error().message();
    extent.reset();
  }

  void Reopen() {
    Close();
    Open();
  }

  // The bytes of the file.
  std::vector<std::byte> Raw(uint64_t offset_bytes, size_t size_bytes) {
    const auto object = OpenFile();
    std::vector<std::byte> bytes(size_bytes);
    EXPECT_TRUE(Await(executor, ReadRange(*object, offset_bytes, bytes)));
    EXPECT_TRUE(Await(executor, object->Close()));
    return bytes;
  }

  void Poke(uint64_t offset_bytes, std::string_view bytes) {
    const auto object = OpenFile();
    EXPECT_TRUE(Await(executor, WriteWhole(*object, offset_bytes, bytes)));
    EXPECT_TRUE(Await(executor, object->Close()));
  }

  void Grow(uint64_t size_bytes) {
    const auto object = OpenFile();
    const base::Status grown = Await(executor, GrowSeSparse(*object, size_bytes));
    EXPECT_TRUE(grown) << grown.error().message();
    EXPECT_TRUE(Await(executor, object->Close()));
    size_bytes_ = size_bytes;
  }

  uint64_t file_bytes() { return Await(executor, files.GetAttributes(inode_))->size_bytes; }

  uint64_t allocated_bytes() {
    return Await(executor, files.GetAttributes(inode_))->allocated_bytes;
  }

  base::SimExecutor executor;
  fss::MemoryFileSystem files;
  FileFigures figures;
  std::unique_ptr<Extent> extent;

 private:
  uint64_t size_bytes_;
  fss::InodeNumber inode_ = 0;
};

}  // namespace disklib
