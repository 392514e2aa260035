#include "disklib/sparse/se_file.h"

#include <utility>

#include <fmt/format.h>

namespace disklib {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

namespace {

std::string_view TextOf(const SeSector& sector) {
  return {reinterpret_cast<const char*>(sector.data()), sector.size()};
}

Task<Result<SeHeader>> ReadHeader(Object& object) {
  SeSector sector;
  CO_TRY_STATUS(co_await ReadRange(object, 0, sector));
  co_return DecodeSeHeader(sector);
}

}  // namespace

// The first grain exists, in zeros: the file reaches behind every region, as readers expect, and
// the block it takes is the first that a write needs.
Task<Status> FormatSeSparse(Object& object, uint64_t size_bytes) {
  CO_TRY(const SeHeader header, PlanSeHeader(size_bytes));
  const SeSector constant = EncodeSeHeader(header);
  const SeSector changing = EncodeSeVolatileHeader({});
  CO_TRY_STATUS(co_await OverwriteWithZeroes(object, header.grains.first_sector * kSectorBytes,
                                             uint64_t{8} * kSectorBytes));
  CO_TRY_STATUS(co_await WriteWhole(object, header.volatile_header.first_sector * kSectorBytes,
                                    TextOf(changing)));
  // The magic comes last: what was cut off before is no seSparse file.
  CO_TRY_STATUS(co_await object.Sync(/*data_only=*/false));
  CO_TRY_STATUS(co_await WriteWhole(object, 0, TextOf(constant)));
  co_return co_await object.Sync(/*data_only=*/false);
}

Task<Result<std::unique_ptr<Extent>>> OpenSeSparse(base::Executor& executor,
                                                   std::unique_ptr<Object>& object,
                                                   SparseOpen options, SparseFaults faults) {
  const Result<SeHeader> header = co_await ReadHeader(*object);
  if (!header) co_return header.error().Within(fmt::format("open {}", options.path));
  if (options.size_bytes > header->capacity_sectors * kSectorBytes) {
    co_return Error(Code::kCorrupt,
                    fmt::format("open {}: the descriptor says {} bytes, the header {} sectors",
                                options.path, options.size_bytes, header->capacity_sectors));
  }
  SeSector sector;
  CO_TRY_STATUS(
      co_await ReadRange(*object, header->volatile_header.first_sector * kSectorBytes, sector));
  const Result<SeVolatileHeader> changing = DecodeSeVolatileHeader(sector);
  if (!changing) co_return changing.error().Within(fmt::format("open {}", options.path));
  std::unique_ptr<GrainFormat> format = MakeSeFormat(*header, *changing, options.size_bytes);
  const SparseFileOptions file_options{
      .can_write = options.can_write, .path = options.path, .faults = faults};
  co_return co_await SparseFile::Open(executor, object, format, file_options);
}

Task<Status> GrowSeSparse(Object& object, uint64_t size_bytes) {
  CO_TRY(SeHeader header, co_await ReadHeader(object));
  const uint64_t old_bytes = header.capacity_sectors * kSectorBytes;
  if (size_bytes < old_bytes || size_bytes % kSectorBytes != 0) {
    co_return Error(Code::kInvalidArgument, fmt::format("grow a sparse extent: from {} to {} bytes",
                                                        old_bytes, size_bytes));
  }
  CO_TRY_STATUS(CheckSeCapacity(header, size_bytes));
  if (size_bytes == old_bytes) co_return base::Ok();
  header.capacity_sectors = size_bytes / kSectorBytes;
  const SeSector sector = EncodeSeHeader(header);
  CO_TRY_STATUS(co_await WriteWhole(object, 0, TextOf(sector)));
  co_return co_await object.Sync(/*data_only=*/true);
}

}  // namespace disklib
