// `SectorFormat`: what the tables of hosted sparse and vmfsSparse have in common. Pure.
//
// Directory and tables are arrays of 32-bit sector addresses; a table is named by the sector it
// starts at. Place: between `GrainFormat` and the two formats. Thread rule: as GrainFormat.
#pragma once

#include <cstdint>
#include <span>

#include "disklib/sparse/grain_format.h"
#include "fs/base/on_disk.h"
#include "fs/base/result.h"

namespace disklib {

class SectorFormat : public GrainFormat {
 public:
  using GrainFormat::GrainFormat;

  uint64_t TableSector(uint32_t table) const final { return table; }

  base::Status DecodeDirectory(std::span<const std::byte> bytes, uint64_t first_index,
                               std::span<uint32_t> tables) const final {
    for (size_t i = 0; i < tables.size(); ++i) {
      tables[i] = base::LoadAs<base::Le32>(bytes, i * sizeof(base::Le32));
      TRY_STATUS(CheckTable(first_index + i, tables[i]));
    }
    return base::Ok();
  }

  void EncodeDirectory(std::span<const uint32_t> tables, std::span<std::byte> bytes) const final {
    for (size_t i = 0; i < tables.size(); ++i) {
      base::StoreAs(bytes, i * sizeof(base::Le32), base::Le32(tables[i]));
    }
  }

  void EncodeEntries(std::span<const uint64_t> entries, std::span<std::byte> bytes) const final {
    for (size_t i = 0; i < entries.size(); ++i) {
      base::StoreAs(bytes, i * sizeof(base::Le32), base::Le32(static_cast<uint32_t>(entries[i])));
    }
  }

 protected:
  // Whether the directory's entry `index` may say that its table starts at `sector`. Error
  // kCorrupt.
  virtual base::Status CheckTable(uint64_t index, uint32_t sector) const = 0;
};

}  // namespace disklib
