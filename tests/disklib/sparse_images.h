// Sparse extents for tests of the checker: whole files as bytes, with the places that tests damage,
// and readers that know nothing of the program's own. A reader answers the grains that hold data,
// each behind its number.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "disklib/descriptor.h"
#include "fs/base/on_disk.h"

namespace disklib {

template <typename T>
T LoadInt(const std::string& file, uint64_t offset_bytes) {
  return base::LoadAs<T>(std::as_bytes(std::span(file)), offset_bytes);
}

inline uint64_t Load64(const std::string& file, uint64_t offset_bytes) {
  return LoadInt<base::Le64>(file, offset_bytes);
}

inline uint32_t Load32(const std::string& file, uint64_t offset_bytes) {
  return LoadInt<base::Le32>(file, offset_bytes);
}

inline void Store64(std::string& file, uint64_t offset_bytes, uint64_t value) {
  base::StoreAs(std::as_writable_bytes(std::span(file)), offset_bytes, base::Le64(value));
}

inline void Store32(std::string& file, uint64_t offset_bytes, uint32_t value) {
  base::StoreAs(std::as_writable_bytes(std::span(file)), offset_bytes, base::Le32(value));
}

// A descriptor of one extent without a parent.
std::string SingleDescriptor(std::string_view create_type, std::string_view type,
                             std::string_view file_name, uint64_t sectors);

// vmfsSparse: 4,050 sectors, grains of one sector, two tables, ten grains.
struct CowdImage {
  static constexpr uint64_t kSectors = 4'100;
  static constexpr uint64_t kDirectoryAt = 4 * 512;
  static constexpr uint64_t kTables[2] = {5 * 512, 42 * 512};
  static constexpr uint64_t kFreeSectorAt = 28;
  static std::string Make();
  static std::string Read(const std::string& file);
};

// Hosted sparse: 64 MiB, grains of 64 KiB, two tables in two copies, six grains.
struct HostedImage {
  static constexpr uint64_t kSectors = 131'072;
  static std::string Make();
  static std::string Read(const std::string& file);
  // Where the entry of a grain stands, in the first copy or the second.
  static uint64_t EntryAt(const std::string& file, uint64_t grain, bool is_redundant);
  static uint64_t DirectoryAt(const std::string& file, bool is_redundant);
};

// seSparse of 20 MiB, made by the program: two tables. Only places and a reader are here.
struct SeImage {
  static constexpr uint64_t kSectors = 40'960;
  static uint64_t Region(const std::string& file, size_t word) {
    return Load64(file, word * 8) * 512;
  }
  static uint64_t DirectoryAt(const std::string& file) { return Region(file, 16); }
  static uint64_t TablesAt(const std::string& file) { return Region(file, 18); }
  static uint64_t BitmapAt(const std::string& file) { return Region(file, 20); }
  static uint64_t BackMapAt(const std::string& file) { return Region(file, 22); }
  static uint64_t GrainsAt(const std::string& file) { return Region(file, 24); }
  // Where the entry of a grain of the disk stands.
  static uint64_t EntryAt(const std::string& file, uint64_t grain);
  static uint64_t IndexOf(uint64_t entry) {
    return (entry >> 48 & 0xfff) | (entry & 0xffffffffffff) << 12;
  }
  static std::string Read(const std::string& file);
};

}  // namespace disklib
