#include "disklib/sparse/sector_files.h"

#include <algorithm>
#include <array>
#include <vector>

#include <fmt/format.h>

#include "disklib/sparse/file_sectors.h"
#include "disklib/sparse/grain_tables.h"

namespace disklib {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

namespace {

// The end of one copy's tables and of what their entries refer to. `tables` reads that copy.
Task<Result<uint64_t>> FindEndOfCopy(GrainTables& tables, GrainFormat& format) {
  const GrainLayout& layout = format.layout();
  uint64_t end_sector = 0;
  std::vector<uint64_t> entries;
  for (uint64_t index = 0; index < tables.table_count(); ++index) {
    if (!tables.HasTable(index)) continue;
    const uint64_t table_sector = format.TableSector(tables.NumberOf(index));
    end_sector = std::max(end_sector, table_sector + layout.table_bytes() / kSectorBytes);
    CO_TRY_STATUS(co_await tables.Peek(index, entries));
    for (const uint64_t entry : entries) {
      if (IsData(entry)) end_sector = std::max(end_sector, entry + layout.grain_sectors);
    }
  }
  co_return end_sector;
}

}  // namespace

Task<Result<uint64_t>> FindUsedEnd(base::Executor& executor, Object& object, GrainFormat& format) {
  GrainTables tables(executor, object, format);
  CO_TRY_STATUS(co_await tables.LoadDirectory());
  const GrainLayout& layout = format.layout();
  CO_TRY(uint64_t end_sector, co_await FindEndOfCopy(tables, format));
  for (uint32_t copy = 0; copy < layout.copy_count; ++copy) {
    const uint64_t directory_end =
        layout.directory_sectors[copy] + layout.directory_bytes() / kSectorBytes;
    end_sector = std::max(end_sector, directory_end);
  }
  co_return end_sector;
}

Status CheckExtentSize(const SparseOpen& options, uint64_t capacity_bytes) {
  if (options.size_bytes <= capacity_bytes) return base::Ok();
  return Error(Code::kCorrupt,
               fmt::format("the extent has {} bytes, its line in the descriptor says {}",
                           capacity_bytes, options.size_bytes));
}

Status CheckGrowth(std::string_view format, uint64_t old_bytes, uint64_t size_bytes) {
  if (size_bytes < old_bytes) {
    return Error(Code::kInvalidArgument,
                 fmt::format("{}: grow from {} to {} bytes", format, old_bytes, size_bytes));
  }
  return size_bytes == old_bytes ? base::Ok() : CheckSectorFormatCapacity(format, size_bytes);
}

Task<Status> ExtendTo(Object& object, uint64_t end_sector) {
  if (object.size_bytes() >= end_sector * kSectorBytes) co_return base::Ok();
  const std::array<std::byte, kSectorBytes> zeros{};
  co_return co_await WriteSectors(object, end_sector - 1, zeros);
}

}  // namespace disklib
