#include "tests/disklib/sparse_images.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "disklib/sparse/cowd_format.h"
#include "disklib/sparse/hosted_format.h"

namespace disklib {
namespace {

// A grain of bytes that tell which one it is.
std::string GrainBytes(uint64_t grain, size_t size_bytes) {
  return std::string(size_bytes, static_cast<char>('A' + grain % 50));
}

}  // namespace

std::string SingleDescriptor(std::string_view create_type, std::string_view type,
                             std::string_view file_name, uint64_t sectors) {
  return fmt::format(
      "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=0a0b0c0d\nparentCID=ffffffff\n"
      "createType=\"{}\"\n\nRW {} {} \"{}\"\n",
      create_type, sectors, type, file_name);
}

std::string CowdImage::Make() {
  CowdHeader header = MakeCowdHeader(kSectors, 1, /*all_tables=*/false);
  std::string file(79 * 512, '\0');
  Store32(file, kDirectoryAt, static_cast<uint32_t>(kTables[0] / 512));
  Store32(file, kDirectoryAt + 4, static_cast<uint32_t>(kTables[1] / 512));
  // Five grains behind each table.
  const uint64_t grains[2][5] = {{0, 1, 7, 100, 4'095}, {4'096, 4'097, 4'098, 4'099, 4'099}};
  for (size_t table = 0; table < 2; ++table) {
    for (size_t i = 0; i < (table == 0 ? 5u : 4u); ++i) {
      const uint64_t grain = grains[table][i];
      const uint64_t sector = kTables[table] / 512 + kCowdTableSectors + i;
      Store32(file, kTables[table] + grain % 4096 * 4, static_cast<uint32_t>(sector));
      file.replace(sector * 512, 512, GrainBytes(grain, 512));
    }
  }
  file.resize(78 * 512);
  header.free_sector = 78;
  base::StoreAs(std::as_writable_bytes(std::span(file)), 0, header);
  return file;
}

std::string CowdImage::Read(const std::string& file) {
  std::string disk;
  for (uint64_t grain = 0; grain < kSectors; ++grain) {
    const uint64_t table = Load32(file, kDirectoryAt + grain / 4096 * 4) * uint64_t{512};
    if (table == 0) continue;
    const uint64_t at = Load32(file, table + grain % 4096 * 4) * uint64_t{512};
    if (at != 0) disk += fmt::format("{}:", grain) + file.substr(at, 512);
  }
  return disk;
}

std::string HostedImage::Make() {
  const HostedLayout layout = PlanHostedLayout(kSectors, 128, /*is_redundant=*/true);
  const HostedHeader header = MakeHostedHeader(
      {.capacity_sectors = kSectors, .flags = kHostedFlagNewlineTest | kHostedFlagRedundant},
      layout);
  const uint64_t grains[] = {0, 1, 5, 511, 512, 1'023};
  std::string file((layout.overhead_sectors + std::size(grains) * 128) * 512, '\0');
  base::StoreAs(std::as_writable_bytes(std::span(file)), 0, header);
  const uint64_t directory_sectors = DivideUp(layout.table_count * 4, 512);
  for (const uint64_t set : {layout.redundant_directory_sector, layout.directory_sector}) {
    for (uint64_t table = 0; table < layout.table_count; ++table) {
      const uint64_t sector = set + directory_sectors + table * kHostedTableSectors;
      Store32(file, set * 512 + table * 4, static_cast<uint32_t>(sector));
    }
  }
  for (size_t i = 0; i < std::size(grains); ++i) {
    const auto sector = static_cast<uint32_t>(layout.overhead_sectors + i * 128);
    for (const bool is_redundant : {true, false}) {
      Store32(file, EntryAt(file, grains[i], is_redundant), sector);
    }
    file.replace(sector * uint64_t{512}, 65'536, GrainBytes(grains[i], 65'536));
  }
  return file;
}

uint64_t HostedImage::DirectoryAt(const std::string& file, bool is_redundant) {
  return Load64(file, is_redundant ? 48 : 56) * 512;
}

uint64_t HostedImage::EntryAt(const std::string& file, uint64_t grain, bool is_redundant) {
  const uint64_t entry = DirectoryAt(file, is_redundant) + grain / 512 * 4;
  return Load32(file, entry) * uint64_t{512} + grain % 512 * 4;
}

std::string HostedImage::Read(const std::string& file) {
  std::string disk;
  for (uint64_t grain = 0; grain < kSectors / 128; ++grain) {
    const uint64_t at = Load32(file, EntryAt(file, grain, false)) * uint64_t{512};
    if (at != 0) disk += fmt::format("{}:", grain) + file.substr(at, 65'536);
  }
  return disk;
}

uint64_t SeImage::EntryAt(const std::string& file, uint64_t grain) {
  const uint64_t table = Load64(file, DirectoryAt(file) + grain / 4096 * 8) & 0xffffffff;
  return TablesAt(file) + table * 32'768 + grain % 4096 * 8;
}

std::string SeImage::Read(const std::string& file) {
  std::string disk;
  for (uint64_t grain = 0; grain < kSectors / 8; ++grain) {
    if (Load64(file, DirectoryAt(file) + grain / 4096 * 8) == 0) continue;
    const uint64_t entry = Load64(file, EntryAt(file, grain));
    if (entry >> 60 != 3) continue;
    const uint64_t at = GrainsAt(file) + IndexOf(entry) * 4096;
    disk += fmt::format("{}:", grain) + file.substr(at, 4096);
  }
  return disk;
}

}  // namespace disklib
