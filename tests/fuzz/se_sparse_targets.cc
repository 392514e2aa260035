#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/object_backend.h"
#include "disklib/sparse/se_file.h"
#include "disklib/sparse/se_format.h"
#include "fs/base/check.h"
#include "fs/base/sim_executor.h"
#include "tests/fuzz/pieces.h"
#include "tests/support/memory_file_system.h"

namespace fuzz {
namespace {

using disklib::kSectorBytes;

std::string_view TextOf(Input input) {
  return {reinterpret_cast<const char*>(input.data()), input.size()};
}

// A formatted file of 100 MiB, with the input over the volatile header, the directory and the first
// two tables. Its constant header stays: the other target breaks that.
std::unique_ptr<disklib::Object> MakeFile(base::SimExecutor& executor, fss::MemoryFileSystem& files,
                                          Input input) {
  const auto made = base::RunSync(executor, files.CreateFile(files.root(), "a", {}));
  auto opened = base::RunSync(executor, files.Open(made->inode, fss::OpenMode::kWrite));
  std::unique_ptr<disklib::Object> object = *std::move(opened);
  const auto put = [&](uint64_t sector, Input bytes) {
    const auto done =
        base::RunSync(executor, disklib::WriteWhole(*object, sector * kSectorBytes, TextOf(bytes)));
    CHECK(done.has_value());
  };
  constexpr uint64_t kCapacityBytes = uint64_t{100} << 20;
  CHECK(base::RunSync(executor, disklib::FormatSeSparse(*object, kCapacityBytes)).has_value());
  Pieces pieces(input);
  put(1, pieces.Next(32));
  put(4096, pieces.Next(64));
  put(6144, pieces.Next(kSectorBytes));
  put(6144 + 64, pieces.Next(kSectorBytes));
  return object;
}

}  // namespace

// What is taken as a header says the same when it is written.
void RunSeHeader(Input input) {
  const auto header = disklib::DecodeSeHeader(input);
  if (header) {
    const disklib::SeSector sector = disklib::EncodeSeHeader(*header);
    CHECK(std::memcmp(sector.data(), input.data(), sector.size()) == 0);
    (void)disklib::CheckSeCapacity(*header, header->capacity_sectors * kSectorBytes * 4);
  }
  const auto changing = disklib::DecodeSeVolatileHeader(input);
  if (!changing) return;
  const disklib::SeSector sector = disklib::EncodeSeVolatileHeader(*changing);
  CHECK(std::memcmp(sector.data(), input.data(), sector.size()) == 0);
}

// A grain that is written is found again, whatever the tables said.
void RunSeFile(Input input) {
  constexpr uint64_t kSizeBytes = uint64_t{100} << 20;
  base::SimExecutor executor(1, /*in_order=*/true);
  fss::MemoryFileSystem files;
  std::unique_ptr<disklib::Object> object = MakeFile(executor, files, input);
  const disklib::SparseOpen options{.size_bytes = kSizeBytes, .can_write = true, .path = "a"};
  auto extent = base::RunSync(executor, disklib::OpenSeSparse(executor, object, options, {}));
  if (!extent) {
    CHECK(base::RunSync(executor, object->Close()).has_value());
    return;
  }
  std::vector<fds::GrainRun> runs;
  (void)base::RunSync(executor, (*extent)->grain_map()->Lookup(0, kSizeBytes, runs));
  std::vector<std::byte> bytes(4096, std::byte{0x5a});
  for (const uint64_t offset : {uint64_t{0}, uint64_t{17} << 20, kSizeBytes - 4096}) {
    const base::IoVec piece{bytes.data(), bytes.size()};
    const base::IoRequest request{.offset_bytes = offset, .buffers = std::span(&piece, 1)};
    const auto written = base::RunSync(executor, (*extent)->Write(request));
    if (!written) continue;
    std::ranges::fill(bytes, std::byte{0});
    CHECK(base::RunSync(executor, (*extent)->Read(request)).has_value());
    CHECK(std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0x5a}; }));
  }
  (void)base::RunSync(executor, (*extent)->Release(0, uint64_t{1} << 20));
  (void)base::RunSync(executor, (*extent)->Sync());
  (void)base::RunSync(executor, (*extent)->Close());
}

}  // namespace fuzz
