#include "disklib/sparse/stream_writer.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor.h"
#include "disklib/disk_size.h"
#include "fs/base/check.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Executor;
using base::Le32;
using base::Result;
using base::Status;
using base::Task;

// What is gathered before it goes to the sink.
constexpr size_t kPendingBytes = size_t{1} << 20;

// "Not known": the value other tools write for a guest without VMware's own tools.
constexpr std::string_view kToolsVersion = "2147483647";
// Open source tools of the guest's distribution.
constexpr std::string_view kToolsInstallType = "4";

class FileSink : public StreamSink {
 public:
  explicit FileSink(Object& object) : object_(object) {}

  bool can_rewrite() const override { return true; }

  Task<Status> Append(std::span<const std::byte> bytes) override {
    const uint64_t offset_bytes = size_bytes_;
    size_bytes_ += bytes.size();
    return Rewrite(offset_bytes, bytes);
  }

  Task<Status> Rewrite(uint64_t offset_bytes, std::span<const std::byte> bytes) override {
    return WriteWhole(object_, offset_bytes,
                      {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }

 private:
  Object& object_;
  uint64_t size_bytes_ = 0;
};

bool IsZero(std::span<const std::byte> bytes) {
  return bytes.empty() || (bytes[0] == std::byte{0} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

Descriptor MakeStreamDescriptor(const NewStream& what, base::Random& random) {
  const uint64_t sector_count = what.size_bytes / kSectorBytes;
  Descriptor descriptor;
  descriptor.content_id = what.content_id ? *what.content_id : DrawContentId(random);
  descriptor.create_type = "streamOptimized";
  descriptor.extents.push_back({.sector_count = sector_count,
                                .type = ExtentType::kSparse,
                                .file_name = std::string(what.file_name)});
  const Geometry geometry = GeometryFor(sector_count, what.adapter_type);
  descriptor.disk_database = {
      {"ddb.adapterType", std::string(what.adapter_type)},
      {"ddb.geometry.cylinders", fmt::format("{}", geometry.cylinders)},
      {"ddb.geometry.heads", fmt::format("{}", geometry.heads)},
      {"ddb.geometry.sectors", fmt::format("{}", geometry.sectors)},
      {"ddb.longContentID", DrawLongContentId(random, descriptor.content_id)},
      {"ddb.toolsInstallType", std::string(kToolsInstallType)},
      {"ddb.toolsVersion", std::string(kToolsVersion)},
      {"ddb.uuid", DrawDiskUuid(random)},
      {"ddb.virtualHWVersion", std::string(what.hardware_version)},
  };
  return descriptor;
}

HostedHeader MakeStreamHeader(const NewStream& what, bool tables_in_front) {
  const uint64_t grain_sectors = kStreamGrainBytes / kSectorBytes;
  const uint64_t capacity_sectors = what.size_bytes / kSectorBytes;
  HostedLayout layout = PlanHostedLayout(capacity_sectors, grain_sectors, /*is_redundant=*/false);
  if (!tables_in_front) {
    layout.directory_sector = kDirectoryAtEnd;
    layout.overhead_sectors =
        RoundUp(kEmbeddedDescriptorSector + kEmbeddedDescriptorSectors, grain_sectors);
  }
  return MakeHostedHeader({.capacity_sectors = capacity_sectors,
                           .grain_sectors = grain_sectors,
                           .version = kStreamVersion,
                           .flags = kStreamFlags,
                           .has_descriptor = true},
                          layout);
}

}  // namespace

std::unique_ptr<StreamSink> MakeObjectSink(Object& object) {
  return std::make_unique<FileSink>(object);
}

StreamWriter::StreamWriter(Executor& executor, StreamSink& sink, const NewStream& what)
    : executor_(executor),
      sink_(sink),
      deflate_level_(what.deflate_level),
      tables_in_front_(sink.can_rewrite()),
      size_bytes_(what.size_bytes),
      header_(MakeStreamHeader(what, tables_in_front_)),
      directory_(header_.table_count()),
      grain_(kStreamGrainBytes) {}

Task<Result<std::unique_ptr<StreamWriter>>> StreamWriter::Start(Executor& executor,
                                                                StreamSink& sink, NewStream what) {
  CHECK(what.deflate_level >= 1 && what.deflate_level <= 9);
  CO_TRY(const uint64_t size_bytes, CheckDiskSize(what.size_bytes));
  if (size_bytes != what.size_bytes) {
    co_return Error(
        Code::kInvalidArgument,
        fmt::format("stream: a capacity of {} bytes is no whole sectors", what.size_bytes));
  }
  CO_TRY(const std::string text, WriteDescriptor(MakeStreamDescriptor(what, executor.random())));
  std::unique_ptr<StreamWriter> writer(new StreamWriter(executor, sink, what));
  CO_TRY_STATUS(co_await writer->WriteFront(text));
  co_return std::move(writer);
}

Task<Status> StreamWriter::WriteFront(std::string_view descriptor) {
  Put(base::BytesOf(header_));
  Put(std::as_bytes(std::span<const char>(descriptor)));
  const uint64_t descriptor_end = kEmbeddedDescriptorSector + kEmbeddedDescriptorSectors;
  CO_TRY_STATUS(co_await PutZeroSectors(descriptor_end - next_sector_));
  if (tables_in_front_) {
    FillDirectory(header_.directory_sector + header_.directory_sectors());
    Put(std::as_bytes(std::span<const Le32>(directory_)));
  }
  CO_TRY_STATUS(co_await PutZeroSectors(header_.overhead_sectors - next_sector_));
  co_return base::Ok();
}

// All tables exist, one behind the other, whether they will have grains or not.
void StreamWriter::FillDirectory(uint64_t first_table_sector) {
  uint64_t sector = first_table_sector;
  for (Le32& entry : directory_) {
    entry = static_cast<uint32_t>(sector);
    sector += kHostedTableSectors;
  }
}

Task<Status> StreamWriter::Append(uint64_t offset_bytes, std::span<const std::byte> bytes) {
  CHECK(offset_bytes % kStreamGrainBytes == 0 && offset_bytes >= next_offset_bytes_);
  CHECK(offset_bytes <= size_bytes_ && bytes.size() <= size_bytes_ - offset_bytes);
  CHECK(bytes.size() % kStreamGrainBytes == 0 || offset_bytes + bytes.size() == size_bytes_);
  while (!bytes.empty()) {
    const auto piece = bytes.first(std::min<size_t>(kStreamGrainBytes, bytes.size()));
    if (!IsZero(piece)) {
      CO_TRY_STATUS(co_await AppendGrain(offset_bytes / kStreamGrainBytes, piece));
      co_await executor_.Yield();
    }
    offset_bytes += piece.size();
    bytes = bytes.subspan(piece.size());
  }
  next_offset_bytes_ = offset_bytes;
  co_return base::Ok();
}

Task<Status> StreamWriter::AppendGrain(uint64_t grain, std::span<const std::byte> bytes) {
  const uint64_t table = grain / kHostedTableEntryCount;
  if (table != table_index_) {
    CO_TRY_STATUS(co_await EndTable());
    table_index_ = table;
  }
  if (bytes.size() < kStreamGrainBytes) {  // the last grain of a disk is whole in the file
    const auto copied = std::copy(bytes.begin(), bytes.end(), grain_.begin());
    std::fill(copied, grain_.end(), std::byte{0});
    bytes = grain_;
  }
  Deflate(bytes, deflate_level_, compressed_);
  CO_TRY_STATUS(CheckRoom(StreamRecordSectors(compressed_.size())));
  const StreamRecord record{.value = grain * (kStreamGrainBytes / kSectorBytes),
                            .size_bytes = static_cast<uint32_t>(compressed_.size())};
  const auto head = base::BytesOf(record);
  record_.assign(head.begin(), head.end());
  record_.insert(record_.end(), compressed_.begin(), compressed_.end());
  table_[grain % kHostedTableEntryCount] = static_cast<uint32_t>(next_sector_);
  table_has_grains_ = true;
  Put(record_);
  CO_TRY_STATUS(co_await Drain(kPendingBytes));
  co_return base::Ok();
}

// Stores the finished table: in its place in front, or behind a marker.
Task<Status> StreamWriter::EndTable() {
  if (!table_has_grains_) co_return base::Ok();
  const auto bytes = std::as_bytes(std::span<const Le32>(table_));
  if (tables_in_front_) {
    CO_TRY_STATUS(co_await Drain(0));
    const uint64_t sector = directory_[table_index_];
    CO_TRY_STATUS(co_await sink_.Rewrite(sector * kSectorBytes, bytes));
  } else {
    CO_TRY_STATUS(CheckRoom(1 + kHostedTableSectors));
    PutMarker(kMarkerTable, kHostedTableSectors);
    directory_[table_index_] = static_cast<uint32_t>(next_sector_);
    Put(bytes);
  }
  table_.fill(0);
  table_has_grains_ = false;
  co_return base::Ok();
}

Task<Status> StreamWriter::Finish() {
  CO_TRY_STATUS(co_await EndTable());
  if (!tables_in_front_) {
    CO_TRY_STATUS(co_await WriteDirectoryAndFooter());
  }
  PutMarker(kMarkerEndOfStream, 0);
  CO_TRY_STATUS(co_await Drain(0));
  co_return base::Ok();
}

Task<Status> StreamWriter::WriteDirectoryAndFooter() {
  CO_TRY_STATUS(CheckRoom(header_.directory_sectors() + 4));
  PutMarker(kMarkerDirectory, header_.directory_sectors());
  HostedHeader footer = header_;
  footer.directory_sector = next_sector_;
  Put(std::as_bytes(std::span<const Le32>(directory_)));
  PutMarker(kMarkerFooter, 1);
  Put(base::BytesOf(footer));
  co_return base::Ok();
}

Status StreamWriter::CheckRoom(uint64_t sector_count) const {
  if (next_sector_ + sector_count <= kSectorAddressCount) return base::Ok();
  return Error(Code::kTooLarge,
               fmt::format("stream: {} compressed bytes so far: a streamOptimized file ends below "
                           "2 TiB; export the disk in another format",
                           stream_bytes()));
}

void StreamWriter::Put(std::span<const std::byte> bytes) {
  pending_.insert(pending_.end(), bytes.begin(), bytes.end());
  pending_.resize(RoundUp(pending_.size(), kSectorBytes));
  next_sector_ += DivideUp(bytes.size(), kSectorBytes);
}

void StreamWriter::PutMarker(uint32_t type, uint64_t sector_count) {
  Put(base::BytesOf(MakeStreamMarker(type, sector_count)));
}

Task<Status> StreamWriter::PutZeroSectors(uint64_t sector_count) {
  while (sector_count > 0) {
    const uint64_t piece_sectors = std::min(sector_count, kPendingBytes / kSectorBytes);
    pending_.resize(pending_.size() + piece_sectors * kSectorBytes);
    next_sector_ += piece_sectors;
    sector_count -= piece_sectors;
    CO_TRY_STATUS(co_await Drain(kPendingBytes));
  }
  co_return base::Ok();
}

// Hands what is gathered to the sink once it is more than `kept_bytes_max`.
Task<Status> StreamWriter::Drain(size_t kept_bytes_max) {
  if (pending_.empty() || pending_.size() <= kept_bytes_max) co_return base::Ok();
  CO_TRY_STATUS(co_await sink_.Append(pending_));
  pending_.clear();
  co_return base::Ok();
}

}  // namespace disklib
