// A bare copy loop on io_uring: the most that a clone of a file can reach on this machine.
//
// Usage: copy_bench SOURCE TARGET. Copies the data of SOURCE in pieces of 1 MiB, sixteen in flight,
// past the page cache where both sides allow that, through huge pages; holes stay holes; one sync
// at the end. Prints the seconds as JSON. `disks.py` puts `strata disk clone` beside it.

#include <cstdlib>
#include <memory>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/base/block_device.h"
#include "fs/base/sync.h"
#include "fs/base/uring_executor.h"

namespace {

constexpr uint64_t kPieceBytes = uint64_t{1} << 20;
constexpr int kInFlight = 16;

[[noreturn]] void Fail(const std::string& what) {
  fmt::print(stderr, "copy_bench: {}\n", what);
  std::exit(1);
}

int OpenFile(const char* path, int flags) {
  int descriptor = open(path, flags | O_DIRECT | O_CLOEXEC, 0600);
  if (descriptor < 0) descriptor = open(path, flags | O_CLOEXEC, 0600);
  if (descriptor < 0) Fail(fmt::format("open {}", path));
  return descriptor;
}

// The memory of all pieces, which a disk takes in few segments.
std::byte* HugePages() {
  const size_t size_bytes = kPieceBytes * kInFlight;
  void* const memory = std::aligned_alloc(size_t{2} << 20, size_bytes);
  if (memory == nullptr) Fail("memory");
  madvise(memory, size_bytes, MADV_HUGEPAGE);
  return static_cast<std::byte*>(memory);
}

struct Copy {
  int source;
  int target;
  off_t size_bytes;
  off_t at_bytes = 0;

  // The next piece that holds data; empty at the end.
  base::IoVec Next(std::byte* buffer, uint64_t& offset_bytes) {
    const off_t data_bytes = lseek(source, at_bytes, SEEK_DATA);
    if (data_bytes < 0) return {};
    // Whole pieces, so that direct transfers are aligned.
    offset_bytes = static_cast<uint64_t>(data_bytes) / kPieceBytes * kPieceBytes;
    at_bytes = static_cast<off_t>(offset_bytes + kPieceBytes);
    return {buffer, kPieceBytes};
  }
};

base::Task<void> CopyPieces(base::UringExecutor& executor, Copy& copy, std::byte* buffer) {
  uint64_t offset_bytes = 0;
  for (base::IoVec piece = copy.Next(buffer, offset_bytes); piece.size_bytes > 0;
       piece = copy.Next(buffer, offset_bytes)) {
    const int read_bytes = co_await executor.Readv(copy.source, {&piece, 1}, offset_bytes);
    if (read_bytes <= 0) Fail("read");
    piece.size_bytes = static_cast<size_t>(read_bytes);
    const int written_bytes = co_await executor.Writev(copy.target, {&piece, 1}, offset_bytes);
    if (written_bytes != read_bytes) Fail("write");
  }
}

base::Task<void> CopyAll(base::UringExecutor& executor, Copy& copy) {
  const std::unique_ptr<std::byte, decltype(&std::free)> memory(HugePages(), &std::free);
  base::TaskGroup group(executor);
  for (uint64_t i = 0; i < kInFlight; ++i) {
    group.Add(CopyPieces(executor, copy, memory.get() + i * kPieceBytes));
  }
  co_await group.Join();
  const int synced = co_await executor.Fsync(copy.target, /*data_only=*/false);
  if (synced < 0) Fail("sync");
}

}  // namespace

int main(int argument_count, char** arguments) {
  if (argument_count != 3) Fail("usage: copy_bench SOURCE TARGET");
  auto executor = base::UringExecutor::Create();
  if (!executor) Fail(executor.error().message());

  struct stat status {};

  if (stat(arguments[1], &status) != 0) Fail("stat");
  Copy copy{.source = OpenFile(arguments[1], O_RDONLY),
            .target = OpenFile(arguments[2], O_WRONLY | O_CREAT | O_TRUNC),
            .size_bytes = status.st_size};
  if (ftruncate(copy.target, copy.size_bytes) != 0) Fail("resize");
  const uint64_t started_us = (*executor)->NowMicroseconds();
  base::RunSync(**executor, CopyAll(**executor, copy));
  const uint64_t took_us = (*executor)->NowMicroseconds() - started_us;
  fmt::print("{{\"seconds\": {:.3f}}}\n", static_cast<double>(took_us) / 1e6);
  return 0;
}
