#include "disklib/extent.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "fs/base/check.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::IoRequest;
using base::IoVec;
using base::MapRun;
using base::MapState;
using base::Result;
using base::Status;
using base::Task;

constexpr uint64_t kZeroPieceBytes = 64 * 1024;
constexpr size_t kZeroPieceCountMax = 16;  // 1 MiB a request

// Zeros to write from. Never written to: IoVec has one type for both directions.
std::byte* ZeroPiece() {
  alignas(4096) static std::array<std::byte, kZeroPieceBytes> zeros{};
  return zeros.data();
}

Task<Result<uint64_t>> Refuse(Code code, const char* message) {
  co_return Error(code, message);
}

Task<Status> RefuseStatus(Code code, const char* message) {
  co_return Error(code, message);
}

class FlatExtent : public Extent {
 public:
  FlatExtent(std::unique_ptr<Object> object, FlatExtentOptions options)
      : object_(std::move(object)), options_(options) {}

  uint64_t size_bytes() const override { return options_.size_bytes; }

  void GrowTo(uint64_t size_bytes) override {
    CHECK(size_bytes >= options_.size_bytes);
    options_.size_bytes = size_bytes;
  }

  FlatRange flat_range() const override {
    if (!options_.can_read) return {};
    return {.object = object_.get(),
            .offset_bytes = options_.offset_bytes,
            .can_write = options_.can_write};
  }

  Task<Result<uint64_t>> Read(IoRequest request) override {
    if (!options_.can_read) return Refuse(Code::kNotPermitted, "read: the extent is NOACCESS");
    request.offset_bytes += options_.offset_bytes;
    return object_->Read(request);
  }

  Task<Result<uint64_t>> Write(IoRequest request) override {
    if (!options_.can_write) return Refuse(Code::kReadOnly, "write: the extent is read-only");
    request.offset_bytes += options_.offset_bytes;
    return object_->Write(request);
  }

  Task<Status> WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes, bool may_unmap) override {
    if (!options_.can_write) {
      return RefuseStatus(Code::kReadOnly, "write zeroes: the extent is read-only");
    }
    return may_unmap && options_.is_thin
               ? Punch(offset_bytes, length_bytes)
               : ZeroRange(*object_, offset_bytes + options_.offset_bytes, length_bytes);
  }

  Task<Result<uint64_t>> Seek(fss::SeekKind kind, uint64_t offset_bytes) override {
    const uint64_t from = offset_bytes + options_.offset_bytes;
    const Result<uint64_t> found = co_await object_->Seek(kind, from);
    if (!found && found.error().code() == Code::kNoData) co_return options_.size_bytes;
    if (!found) co_return found.error();
    co_return std::min(*found - options_.offset_bytes, options_.size_bytes);
  }

  Task<Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                         std::vector<MapRun>& runs) override {
    const size_t first = runs.size();
    CO_TRY_STATUS(
        co_await object_->MapStatus(offset_bytes + options_.offset_bytes, length_bytes, runs));
    for (size_t i = first; i < runs.size(); ++i) runs[i].offset_bytes -= options_.offset_bytes;
    co_return base::Ok();
  }

  Task<Status> Sync() override { return object_->Sync(/*data_only=*/true); }

  Task<Status> Close() override { return object_->Close(); }

 private:
  Task<Status> Punch(uint64_t offset_bytes, uint64_t length_bytes) {
    const uint64_t from = offset_bytes + options_.offset_bytes;
    const Status punched =
        co_await object_->Allocate(fss::AllocateMode::kPunchHole, from, length_bytes);
    if (punched || punched.error().code() != Code::kUnsupported) co_return punched;
    CO_TRY_STATUS(co_await OverwriteWithZeroes(*object_, from, length_bytes));
    co_return base::Ok();
  }

  std::unique_ptr<Object> object_;
  FlatExtentOptions options_;
};

class ZeroExtent : public Extent {
 public:
  explicit ZeroExtent(uint64_t size_bytes) : size_bytes_(size_bytes) {}

  uint64_t size_bytes() const override { return size_bytes_; }

  void GrowTo(uint64_t size_bytes) override {
    CHECK(size_bytes >= size_bytes_);
    size_bytes_ = size_bytes;
  }

  bool is_zero() const override { return true; }

  Task<Result<uint64_t>> Read(IoRequest request) override {
    for (const IoVec& piece : request.buffers) std::memset(piece.data, 0, piece.size_bytes);
    co_return request.size_bytes();
  }

  Task<Result<uint64_t>> Write(IoRequest) override {
    return Refuse(Code::kReadOnly, "write: the extent is ZERO");
  }

  // It reads as zeros already.
  Task<Status> WriteZeroes(uint64_t, uint64_t, bool) override { co_return base::Ok(); }

  Task<Result<uint64_t>> Seek(fss::SeekKind kind, uint64_t offset_bytes) override {
    co_return kind == fss::SeekKind::kHole ? offset_bytes : size_bytes_;
  }

  Task<Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                         std::vector<MapRun>& runs) override {
    runs.push_back({offset_bytes, length_bytes, MapState::kZero});
    co_return base::Ok();
  }

  Task<Status> Sync() override { co_return base::Ok(); }

  Task<Status> Close() override { co_return base::Ok(); }

 private:
  uint64_t size_bytes_;
};

}  // namespace

Task<Status> Extent::Release(uint64_t, uint64_t) {
  return RefuseStatus(Code::kUnsupported, "release: the extent has no grains to give back");
}

std::unique_ptr<Extent> MakeFlatExtent(std::unique_ptr<Object> object, FlatExtentOptions options) {
  return std::make_unique<FlatExtent>(std::move(object), options);
}

std::unique_ptr<Extent> MakeZeroExtent(uint64_t size_bytes) {
  return std::make_unique<ZeroExtent>(size_bytes);
}

Task<Status> OverwriteWithZeroes(Object& object, uint64_t offset_bytes, uint64_t length_bytes) {
  const uint64_t end_bytes = offset_bytes + length_bytes;
  std::array<IoVec, kZeroPieceCountMax> pieces;
  while (offset_bytes < end_bytes) {
    size_t piece_count = 0;
    uint64_t filled_bytes = 0;
    while (piece_count < pieces.size() && offset_bytes + filled_bytes < end_bytes) {
      const uint64_t piece_bytes =
          std::min(kZeroPieceBytes, end_bytes - offset_bytes - filled_bytes);
      pieces[piece_count] = IoVec{ZeroPiece(), piece_bytes};
      ++piece_count;
      filled_bytes += piece_bytes;
    }
    const IoRequest request{.offset_bytes = offset_bytes,
                            .buffers = std::span<const IoVec>(pieces.data(), piece_count)};
    CO_TRY(const uint64_t written_bytes, co_await object.Write(request));
    if (written_bytes == 0) co_return Error(Code::kNoSpace);
    offset_bytes += written_bytes;
  }
  co_return base::Ok();
}

Task<Status> ZeroRange(Object& object, uint64_t offset_bytes, uint64_t length_bytes) {
  const Status zeroed =
      co_await object.Allocate(fss::AllocateMode::kZeroRangeKeepSize, offset_bytes, length_bytes);
  if (zeroed || zeroed.error().code() != Code::kUnsupported) co_return zeroed;
  CO_TRY_STATUS(co_await OverwriteWithZeroes(object, offset_bytes, length_bytes));
  co_return base::Ok();
}

}  // namespace disklib
