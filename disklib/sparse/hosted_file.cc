#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "disklib/sparse/file_sectors.h"
#include "disklib/sparse/hosted_copies.h"
#include "disklib/sparse/hosted_format.h"
#include "disklib/sparse/sector_files.h"

namespace disklib {

using base::Code;
using base::Error;
using base::Le32;
using base::Result;
using base::Status;
using base::Task;

namespace {

constexpr std::string_view kName = "hosted sparse";

using Directory = std::vector<Le32>;

std::span<const std::byte> BytesOfEntries(const Directory& directory) {
  return std::as_bytes(std::span<const Le32>(directory));
}

// Writes a directory whose tables, in holes that read as zeros, follow it. Entries that are set
// already keep their tables. Answers the sector behind the last table.
Task<Result<uint64_t>> WriteSet(Object& object, Directory& directory, uint64_t first,
                                uint64_t count, uint64_t sector) {
  uint64_t table_sector = sector + DivideUp(count * sizeof(Le32), kSectorBytes);
  for (uint64_t i = first; i < count; ++i) {
    directory[i] = static_cast<uint32_t>(table_sector);
    table_sector += kHostedTableSectors;
  }
  CO_TRY_STATUS(co_await WriteSectors(object, sector, BytesOfEntries(directory)));
  co_return table_sector;
}

Directory EmptyDirectory(uint64_t table_count) {
  return Directory(RoundUp(table_count, kSectorBytes / sizeof(Le32)));
}

Task<Status> WriteHeader(Object& object, HostedHeader header) {
  CO_TRY_STATUS(co_await WriteSectors(object, 0, base::BytesOf(header)));
  co_return co_await object.Sync(/*data_only=*/false);
}

Task<Status> WriteDescriptor(Object& object, std::string_view text) {
  if (text.size() > kEmbeddedDescriptorSectors * kSectorBytes) {
    co_return Error(Code::kTooLarge,
                    fmt::format("{}: a descriptor of {} bytes, its room is {} sectors", kName,
                                text.size(), kEmbeddedDescriptorSectors));
  }
  co_return co_await WriteWhole(object, kEmbeddedDescriptorSector * kSectorBytes, text);
}

Result<uint64_t> GrainSectorsOf(const NewSparseExtent& what) {
  const uint64_t grain_sectors =
      what.grain_bytes == 0 ? kHostedDefaultGrainSectors : what.grain_bytes / kSectorBytes;
  if (what.grain_bytes % kSectorBytes == 0 && IsGrainSectors(grain_sectors)) return grain_sectors;
  return Error(Code::kInvalidArgument,
               fmt::format("{}: a grain of {} bytes: a power of two from 512 bytes to 1 MiB is "
                           "needed",
                           kName, what.grain_bytes));
}

Task<Result<HostedHeader>> ReadHeader(Object& object) {
  std::array<std::byte, kHostedHeaderBytes> sector;
  CO_TRY_STATUS(co_await ReadSectors(object, 0, sector));
  CO_TRY(const HostedHeader header, DecodeHostedHeader(sector));
  if (header.is_descriptor_carrier()) {
    co_return Error(Code::kUnsupported, "hosted sparse header: it carries a descriptor, no grains");
  }
  if (header.is_compressed()) {
    co_return Error(Code::kUnsupported, "hosted sparse header: a streamOptimized extent");
  }
  CO_TRY_STATUS(CheckHostedDirectories(header, SectorsOf(object)));
  co_return header;
}

Task<Result<HostedHeader>> ReadHeaderToOpen(Object& object, SparseOpen options) {
  CO_TRY(const HostedHeader header, co_await ReadHeader(object));
  CO_TRY_STATUS(CheckExtentSize(options, header.capacity_sectors * kSectorBytes));
  if (options.can_write && header.version > 2) {
    co_return Error(Code::kUnsupported, "hosted sparse header: version 3 is only read");
  }
  co_return header;
}

// The first aligned place for new grains: behind everything that either copy refers to.
uint64_t TailSector(const HostedHeader& header, uint64_t used_end) {
  const uint64_t overhead = header.overhead_sectors;
  const uint64_t descriptor_end = header.descriptor_sector + header.descriptor_sectors;
  const uint64_t end = std::max(used_end, descriptor_end);
  return end <= overhead ? overhead : overhead + RoundUp(end - overhead, header.grain_sectors);
}

// Entries of the last table behind the old end would show what they refer to once the extent is
// longer.
Task<Status> CheckBehindEnd(Object& object, HostedHeader header, uint32_t table_sector) {
  if (table_sector == 0) co_return base::Ok();
  const uint64_t grain_count = DivideUp(header.capacity_sectors, header.grain_sectors);
  const uint64_t used_count = (grain_count - 1) % kHostedTableEntryCount + 1;
  std::vector<Le32> entries(kHostedTableEntryCount);
  CO_TRY_STATUS(
      co_await ReadSectors(object, table_sector, std::as_writable_bytes(std::span(entries))));
  for (uint64_t i = used_count; i < entries.size(); ++i) {
    if (entries[i] == 0) continue;
    co_return Error(Code::kCorrupt, fmt::format("{}: grow: grain {} behind the end has a place",
                                                kName, grain_count - used_count + i));
  }
  co_return base::Ok();
}

// One of the sets, with room for more tables behind the ones it has, at a new place. Answers the
// sector behind it.
Task<Result<uint64_t>> CopySetLonger(Object& object, HostedHeader header, uint64_t old_sector,
                                     uint64_t table_count, uint64_t sector) {
  const uint64_t old_count = header.table_count();
  Directory directory = EmptyDirectory(table_count);
  const std::span<Le32> old_entries = std::span(directory).first(old_count);
  CO_TRY_STATUS(co_await ReadSectors(object, old_sector, std::as_writable_bytes(old_entries)));
  CO_TRY_STATUS(co_await CheckBehindEnd(object, header, directory[old_count - 1]));
  co_return co_await WriteSet(object, directory, old_count, table_count, sector);
}

// New directories behind everything; the header that leads to them is written by the caller, last.
Task<Status> MoveDirectories(Object& object, HostedHeader& header, uint64_t table_count) {
  HostedHeader grown = header;
  const uint64_t copies = header.is_redundant() ? 2 : 1;
  uint64_t sector = RoundUp(SectorsOf(object), header.grain_sectors);
  const uint64_t set_sectors = DivideUp(table_count * sizeof(Le32), kSectorBytes) +
                               (table_count - header.table_count()) * kHostedTableSectors;
  CO_TRY_STATUS(CheckSectorAddresses(kName, sector, copies * set_sectors));
  if (header.is_redundant()) {
    grown.redundant_directory_sector = sector;
    CO_TRY(sector, co_await CopySetLonger(object, header, header.redundant_directory_sector,
                                          table_count, sector));
  }
  grown.directory_sector = sector;
  CO_TRY(sector,
         co_await CopySetLonger(object, header, header.directory_sector, table_count, sector));
  CO_TRY_STATUS(co_await ExtendTo(object, RoundUp(sector, header.grain_sectors)));
  CO_TRY_STATUS(co_await object.Sync(/*data_only=*/false));
  header = grown;
  co_return base::Ok();
}

}  // namespace

Task<Status> FormatHostedSparse(Object& object, NewSparseExtent what) {
  CO_TRY_STATUS(CheckSectorFormatCapacity(kName, what.size_bytes));
  CO_TRY(const uint64_t grain_sectors, GrainSectorsOf(what));
  const uint64_t capacity_sectors = what.size_bytes / kSectorBytes;
  const HostedLayout layout = PlanHostedLayout(capacity_sectors, grain_sectors,
                                               /*is_redundant=*/true);
  if (layout.table_count > kHostedTableCountMax) {
    co_return Error(Code::kTooLarge,
                    fmt::format("{}: {} grain tables, at most {}: a larger grain is needed", kName,
                                layout.table_count, kHostedTableCountMax));
  }
  const HostedHeader header =
      MakeHostedHeader({.capacity_sectors = capacity_sectors,
                        .grain_sectors = grain_sectors,
                        .flags = kHostedFlagNewlineTest | kHostedFlagRedundant,
                        .has_descriptor = !what.descriptor.empty()},
                       layout);
  CO_TRY_STATUS(co_await WriteDescriptor(object, what.descriptor));
  for (const uint64_t sector : {layout.redundant_directory_sector, layout.directory_sector}) {
    Directory directory = EmptyDirectory(layout.table_count);
    CO_TRY_STATUS(co_await WriteSet(object, directory, 0, layout.table_count, sector));
  }
  CO_TRY_STATUS(co_await ExtendTo(object, layout.overhead_sectors));
  // The header comes last: what was cut off before is no hosted sparse file.
  CO_TRY_STATUS(co_await object.Sync(/*data_only=*/false));
  co_return co_await WriteHeader(object, header);
}

Task<Result<std::unique_ptr<Extent>>> OpenHostedSparse(base::Executor& executor,
                                                       std::unique_ptr<Object>& object,
                                                       SparseOpen options, SparseFaults faults) {
  const auto where = [&options] { return fmt::format("open {}", options.path); };
  const Result<HostedHeader> header = co_await ReadHeaderToOpen(*object, options);
  if (!header) co_return header.error().Within(where());
  const HostedOpen open{
      .header = *header, .size_bytes = options.size_bytes, .can_write = options.can_write};
  Result<HostedChoice> choice = co_await ChooseHostedCopies(executor, *object, open);
  if (!choice) co_return choice.error().Within(where());
  SparseFileOptions file_options{
      .can_write = options.can_write, .path = options.path, .faults = faults};
  if (options.can_write) file_options.tail_sector = TailSector(*header, choice->used_end);
  co_return co_await SparseFile::Open(executor, object, choice->format, file_options);
}

Task<Status> GrowHostedSparse(Object& object, uint64_t size_bytes) {
  CO_TRY(HostedHeader header, co_await ReadHeader(object));
  const uint64_t old_bytes = header.capacity_sectors * kSectorBytes;
  CO_TRY_STATUS(CheckGrowth(kName, old_bytes, size_bytes));
  if (size_bytes == old_bytes) co_return base::Ok();
  if (header.unclean_shutdown != 0) {
    co_return Error(Code::kCorrupt,
                    fmt::format("{}: grow: its last writer was cut: check the disk first", kName));
  }
  HostedHeader grown = header;
  grown.capacity_sectors = size_bytes / kSectorBytes;
  const uint64_t table_count = grown.table_count();
  // The directories move even where they have room: one way to grow, safe to cut.
  CO_TRY_STATUS(co_await MoveDirectories(object, header, table_count));
  header.capacity_sectors = grown.capacity_sectors;
  co_return co_await WriteHeader(object, header);
}

}  // namespace disklib
