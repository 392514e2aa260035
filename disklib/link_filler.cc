#include "disklib/link_filler.h"

#include <algorithm>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "disklib/names.h"
#include "disklib/sparse/stream_writer.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::IoRequest;
using base::Result;
using base::Status;
using base::Task;

// Flat files are looked through for zeros in the unit that a volume allocates anyway.
constexpr uint64_t kFlatZeroUnitBytes = 64 * 1024;

// A new link as the target of a copy.
class LinkTarget : public CopyTarget {
 public:
  LinkTarget(Link& link, Provisioning provisioning, uint64_t granule_bytes, bool is_sparse)
      : link_(link),
        granule_bytes_(granule_bytes),
        leaves_zeros_out_(is_sparse || provisioning == Provisioning::kThin),
        writes_zeros_(!is_sparse && provisioning == Provisioning::kEagerZeroedThick) {}

  uint64_t granule_bytes() const override { return granule_bytes_; }

  uint64_t zero_unit_bytes() const override {
    return leaves_zeros_out_ ? std::max(granule_bytes_, zero_unit_floor_bytes()) : 0;
  }

  bool wants_zeros() const override { return writes_zeros_; }

  Task<Status> Store(IoRequest request) override {
    CO_TRY(const uint64_t written_bytes, co_await link_.Write(request));
    if (written_bytes == request.size_bytes()) co_return base::Ok();
    co_return Error(Code::kNoSpace, fmt::format("copy: wrote {} of {} bytes at {}", written_bytes,
                                                request.size_bytes(), request.offset_bytes));
  }

  Task<Status> StoreZeros(uint64_t offset_bytes, uint64_t length_bytes) override {
    while (length_bytes > 0) {
      const uint64_t piece_bytes = std::min(length_bytes, kZeroStepBytes);
      const FlatRange range = link_.FlatRangeOf(offset_bytes, piece_bytes);
      if (range.object == nullptr) {  // the piece crosses into the next file
        CO_TRY_STATUS(co_await link_.WriteZeroes(offset_bytes, piece_bytes, /*may_unmap=*/false));
      } else {
        CO_TRY_STATUS(co_await OverwriteWithZeroes(*range.object, range.offset_bytes, piece_bytes));
      }
      offset_bytes += piece_bytes;
      length_bytes -= piece_bytes;
    }
    co_return base::Ok();
  }

  // From file to file by the host, where both are its files.
  Task<Result<uint64_t>> TakeFrom(FlatRange source, uint64_t offset_bytes,
                                  uint64_t length_bytes) override {
    const FlatRange range = link_.FlatRangeOf(offset_bytes, length_bytes);
    if (range.object == nullptr || !takes_) co_return uint64_t{0};
    const Result<uint64_t> taken = co_await range.object->CopyFrom(
        *source.object, source.offset_bytes, range.offset_bytes, length_bytes);
    if (taken || taken.error().code() != Code::kUnsupported) co_return taken;
    takes_ = false;
    co_return uint64_t{0};
  }

 private:
  static constexpr uint64_t kZeroStepBytes = uint64_t{1} << 20;

  uint64_t zero_unit_floor_bytes() const {
    return granule_bytes_ == kSectorBytes ? kFlatZeroUnitBytes : granule_bytes_;
  }

  Link& link_;
  uint64_t granule_bytes_;
  bool leaves_zeros_out_;
  bool writes_zeros_;
  bool takes_ = true;
};

// A stream as the target of a copy: grains in order, zeros passed over.
class StreamTarget : public CopyTarget {
 public:
  explicit StreamTarget(StreamWriter& writer) : writer_(writer) {}

  uint64_t granule_bytes() const override { return kStreamGrainBytes; }

  bool in_order() const override { return true; }

  Task<Status> Store(IoRequest request) override {
    const base::IoVec& piece = request.buffers.front();
    return writer_.Append(request.offset_bytes, {piece.data, piece.size_bytes});
  }

 private:
  StreamWriter& writer_;
};

std::string_view TraitOf(const Descriptor& descriptor, std::string_view key,
                         std::string_view fallback) {
  const std::string* const value = descriptor.FindDatabase(key);
  return value == nullptr ? fallback : std::string_view(*value);
}

}  // namespace

Task<Result<std::unique_ptr<Extent>>> LinkFiller::OpenUnfinished(const NewExtent* extent) {
  const std::string path = UnfinishedPath(extent->path);
  CO_TRY(std::unique_ptr<Object> object, co_await lib_.backend().Open(path, fss::OpenMode::kWrite));
  if (extent->sparse) {
    const SparseOpen options{.kind = *extent->sparse,
                             .size_bytes = extent->size_bytes,
                             .can_write = true,
                             .path = extent->path};
    // The callee's frame takes the object over when it starts, which it does here.
    auto opening = OpenSparseExtent(lib_.executor(), std::move(object), options);
    Result<std::unique_ptr<Extent>> opened = co_await opening;
    co_return opened;
  }
  co_return MakeFlatExtent(std::move(object), {.size_bytes = extent->size_bytes});
}

Task<Result<std::unique_ptr<Link>>> LinkFiller::OpenLink(NewExtentsPlan& plan) {
  std::vector<std::unique_ptr<Extent>> extents;
  granule_bytes_ = kSectorBytes;
  for (const NewExtent& extent : plan.extents) {
    Result<std::unique_ptr<Extent>> opened = co_await OpenUnfinished(&extent);
    if (opened) {
      fds::GrainMap* const map = (*opened)->grain_map();
      if (map != nullptr) granule_bytes_ = std::max(granule_bytes_, map->grain_bytes());
      extents.push_back(*std::move(opened));
      continue;
    }
    for (const auto& other : extents) {
      const Status closed = co_await other->Close();
      static_cast<void>(closed);  // the first error is the one to tell
    }
    co_return opened.error();
  }
  co_return std::make_unique<Link>(plan.descriptor_path, /*object_id=*/0, descriptor_,
                                   std::move(extents));
}

Task<Status> LinkFiller::Fill(NewExtentsPlan& plan, Progress* progress) {
  CO_TRY(const std::unique_ptr<Link> link, co_await OpenLink(plan));
  const bool is_sparse = plan.extents.front().sparse.has_value();
  LinkTarget target(*link, plan.provisioning, granule_bytes_, is_sparse);
  const CopyOptions options{.direct = direct_, .progress = progress};
  const Result<CopyCounts> copied = co_await CopyContent(lib_.executor(), source_, target, options);
  Status status = copied ? base::Ok() : Status(copied.error());
  if (status) status = co_await link->Sync();
  const Status closed = co_await link->Close();
  if (copied) counts_ = *copied;
  co_return status ? closed : status;
}

Task<Status> StreamFiller::WriteStream(Object& object, Progress* progress) {
  const std::unique_ptr<StreamSink> sink = MakeObjectSink(object);
  const NewStream what{
      .size_bytes = source_.size_bytes(),
      .file_name = descriptor_.extents.front().file_name,
      .adapter_type = TraitOf(descriptor_, "ddb.adapterType", "lsilogic"),
      .hardware_version = TraitOf(descriptor_, "ddb.virtualHWVersion", "14"),
      .content_id = descriptor_.content_id,
  };
  CO_TRY(const std::unique_ptr<StreamWriter> writer,
         co_await StreamWriter::Start(lib_.executor(), *sink, what));
  StreamTarget target(*writer);
  const CopyOptions options{.direct = nullptr, .progress = progress};
  CO_TRY(counts_, co_await CopyContent(lib_.executor(), source_, target, options));
  CO_TRY_STATUS(co_await writer->Finish());
  CO_TRY_STATUS(co_await object.Sync(/*data_only=*/false));
  co_return base::Ok();
}

Task<Status> StreamFiller::Fill(NewExtentsPlan& plan, Progress* progress) {
  const std::string path = UnfinishedPath(plan.extents.front().path);
  CO_TRY(const std::unique_ptr<Object> object,
         co_await lib_.backend().Open(path, fss::OpenMode::kWrite));
  const Status written = co_await WriteStream(*object, progress);
  const Status closed = co_await object->Close();
  co_return written ? closed : written;
}

}  // namespace disklib
