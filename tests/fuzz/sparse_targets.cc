#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "disklib/file_backend.h"
#include "disklib/sparse/cowd_format.h"
#include "disklib/sparse/embedded_descriptor.h"
#include "disklib/sparse/hosted_format.h"
#include "disklib/sparse/sparse_extent.h"
#include "disklib/sparse/stream_extent.h"
#include "disklib/sparse/stream_format.h"
#include "disklib/sparse/stream_writer.h"
#include "fs/base/check.h"
#include "fs/base/sim_executor.h"
#include "tests/fuzz/pieces.h"
#include "tests/support/memory_file_system.h"

namespace fuzz {
namespace {

std::string_view TextIn(Input input) {
  return {reinterpret_cast<const char*>(input.data()), input.size()};
}

constexpr uint64_t kStreamBytes = 1000 * disklib::kStreamGrainBytes;

// A stream of three grains.
std::string MakeStream() {
  base::SimExecutor executor(1, /*in_order=*/true);
  fss::MemoryFileSystem files;
  disklib::FileBackend backend(files);
  CHECK(base::RunSync(executor, backend.Create("s.vmdk")).has_value());
  auto object = *base::RunSync(executor, backend.Open("s.vmdk", fss::OpenMode::kWrite));
  const auto sink = disklib::MakeObjectSink(*object);
  const disklib::NewStream what{.size_bytes = kStreamBytes, .file_name = "s.vmdk"};
  auto writer = *base::RunSync(executor, disklib::StreamWriter::Start(executor, *sink, what));
  const std::vector<std::byte> grain(disklib::kStreamGrainBytes, std::byte{7});
  for (const uint64_t number : {uint64_t{0}, uint64_t{1}, uint64_t{600}}) {
    CHECK(base::RunSync(executor, writer->Append(number * grain.size(), grain)).has_value());
  }
  CHECK(base::RunSync(executor, writer->Finish()).has_value());
  CHECK(base::RunSync(executor, object->Close()).has_value());
  return *base::RunSync(executor, disklib::ReadObject(backend, "s.vmdk", 1 << 20));
}

constexpr uint64_t kSectorFileBytes = 4 << 20;

// A small file with two grains of data.
std::string MakeSectorFile(disklib::SparseKind kind) {
  base::SimExecutor executor(1, /*in_order=*/true);
  fss::MemoryFileSystem files;
  disklib::FileBackend backend(files);
  CHECK(base::RunSync(executor, backend.Create("x.vmdk")).has_value());
  auto object = *base::RunSync(executor, backend.Open("x.vmdk", fss::OpenMode::kWrite));
  const disklib::NewSparseExtent what{.kind = kind,
                                      .size_bytes = kSectorFileBytes,
                                      .grain_bytes = 4096,
                                      .descriptor = "# Disk DescriptorFile"};
  CHECK(base::RunSync(executor, disklib::FormatSparseExtent(*object, what)).has_value());
  const disklib::SparseOpen options{
      .kind = kind, .size_bytes = kSectorFileBytes, .can_write = true, .path = "x.vmdk"};
  auto extent =
      *base::RunSync(executor, disklib::OpenSparseExtent(executor, std::move(object), options));
  std::vector<std::byte> bytes(8192, std::byte{5});
  const base::IoVec piece{bytes.data(), bytes.size()};
  CHECK(base::RunSync(executor, extent->Write({0, std::span(&piece, 1)})).has_value());
  CHECK(base::RunSync(executor, extent->Close()).has_value());
  const std::string text =
      *base::RunSync(executor, disklib::ReadObject(backend, "x.vmdk", 64 << 20));
  return text.substr(0, 256 * 1024);
}

}  // namespace

// The headers of sparse extents: what is taken keeps every bound that readers rely on.
void RunSparseHeader(Input input) {
  const std::vector<std::byte> bytes = Padded(input, disklib::kCowdHeaderBytes);
  constexpr uint64_t kFileSectors = 100'000;
  const auto cowd = disklib::DecodeCowdHeader(bytes, kFileSectors);
  if (cowd) {
    CHECK(disklib::IsGrainSectors(cowd->grain_sectors) && cowd->data_sector() <= kFileSectors);
    CHECK(cowd->directory_entry_count ==
          disklib::CowdTableCount(cowd->capacity_sectors, cowd->grain_sectors));
  }
  const auto hosted = disklib::DecodeHostedHeader(bytes);
  if (!hosted || hosted->is_descriptor_carrier()) return;
  CHECK(disklib::IsGrainSectors(hosted->grain_sectors));
  if (disklib::CheckHostedDirectories(*hosted, kFileSectors)) {
    CHECK(hosted->table_count() <= disklib::kHostedTableCountMax);
    CHECK(hosted->directory_sector + hosted->directory_sectors() <= kFileSectors);
  }
  const auto item = disklib::DecodeStreamItem(*hosted, bytes, 1, kFileSectors);
  if (item && item->kind == disklib::StreamItem::Kind::kGrain) {
    CHECK(item->grain * hosted->grain_sectors < hosted->capacity_sectors);
  }
}

// The input lies over a part of a stream of three grains: it opens or not, and what can be read is
// bounded.
void RunStreamExtent(Input input) {
  static const std::string kImage = MakeStream();
  base::SimExecutor executor(1, /*in_order=*/true);
  fss::MemoryFileSystem files;
  disklib::FileBackend backend(files);
  CHECK(base::RunSync(executor, backend.ReplaceContents("s.vmdk", kImage)).has_value());
  auto object = *base::RunSync(executor, backend.Open("s.vmdk", fss::OpenMode::kWrite));
  // Two bytes say where the rest goes: header, tables or records.
  Pieces pieces(input);
  const uint64_t offset = pieces.Byte() * 512u + 2u * pieces.Byte();
  const std::string_view patch = TextIn(pieces.rest());
  CHECK(base::RunSync(executor, disklib::WriteWhole(*object, offset, patch)).has_value());
  auto opened = base::RunSync(
      executor, disklib::OpenStreamExtent(executor, std::move(object), kStreamBytes, "s.vmdk"));
  if (!opened) return;
  std::vector<std::byte> bytes(disklib::kStreamGrainBytes);
  const base::IoVec piece{bytes.data(), bytes.size()};
  for (const uint64_t number :
       {uint64_t{0}, uint64_t{1}, uint64_t{2}, uint64_t{600}, uint64_t{999}}) {
    (void)base::RunSync(executor, (*opened)->Read({number * bytes.size(), std::span(&piece, 1)}));
  }
  std::vector<base::MapRun> runs;
  (void)base::RunSync(executor, (*opened)->MapStatus(0, kStreamBytes, runs));
  CHECK(base::RunSync(executor, (*opened)->Close()).has_value());
}

// The first byte chooses vmfsSparse or hosted sparse, two more say where the rest lies over a small
// file with some grains: it opens for writing or not, and what is written to it is read again.
void RunSectorFile(Input input) {
  Pieces pieces(input);
  const bool is_hosted = pieces.Byte() % 2 == 1;
  const auto kind = is_hosted ? disklib::SparseKind::kHosted : disklib::SparseKind::kVmfsSparse;
  static const std::string kImages[] = {MakeSectorFile(disklib::SparseKind::kVmfsSparse),
                                        MakeSectorFile(disklib::SparseKind::kHosted)};
  base::SimExecutor executor(1, /*in_order=*/true);
  fss::MemoryFileSystem files;
  disklib::FileBackend backend(files);
  const std::string& image = kImages[is_hosted ? 1 : 0];
  CHECK(base::RunSync(executor, backend.ReplaceContents("x.vmdk", image)).has_value());
  auto object = *base::RunSync(executor, backend.Open("x.vmdk", fss::OpenMode::kWrite));
  const uint64_t offset = pieces.Byte() * 512u + 2u * pieces.Byte();
  const std::string_view patch = TextIn(pieces.rest());
  CHECK(base::RunSync(executor, disklib::WriteWhole(*object, offset, patch)).has_value());
  (void)base::RunSync(executor, disklib::ReadEmbeddedDescriptor(*object));
  const disklib::SparseOpen options{
      .kind = kind, .size_bytes = kSectorFileBytes, .can_write = true, .path = "x.vmdk"};
  auto opened =
      base::RunSync(executor, disklib::OpenSparseExtent(executor, std::move(object), options));
  if (!opened) return;
  const uint64_t grain_bytes = (*opened)->grain_map()->grain_bytes();
  std::vector<std::byte> bytes(grain_bytes, std::byte{9});
  const base::IoVec piece{bytes.data(), bytes.size()};
  const base::IoRequest request{grain_bytes, std::span(&piece, 1)};
  const bool is_inside = 2 * grain_bytes <= kSectorFileBytes;
  if (is_inside && base::RunSync(executor, (*opened)->Write(request))) {
    std::ranges::fill(bytes, std::byte{0});
    CHECK(base::RunSync(executor, (*opened)->Read(request)).has_value());
    CHECK(bytes.front() == std::byte{9} && bytes.back() == std::byte{9});
  }
  std::vector<base::MapRun> runs;
  (void)base::RunSync(executor, (*opened)->MapStatus(0, kSectorFileBytes, runs));
  (void)base::RunSync(executor, (*opened)->Close());
}

}  // namespace fuzz
