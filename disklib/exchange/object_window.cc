#include "disklib/exchange/object_window.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "disklib/buffers.h"

namespace disklib {
namespace {

using base::Code;
using base::IoRequest;
using base::IoVec;
using base::MapRun;
using base::Result;
using base::Status;
using base::Task;

// What both kinds share: nothing can be changed.
class ReadOnlyObject : public Object {
 public:
  ReadOnlyObject(uint64_t id, uint64_t size_bytes) : id_(id), size_bytes_(size_bytes) {}

  fss::InodeNumber inode() const override { return id_; }

  uint64_t size_bytes() const override { return size_bytes_; }

  Task<Result<uint64_t>> Write(IoRequest) override { co_return Code::kReadOnly; }

  Task<Status> Sync(bool) override { co_return base::Ok(); }

  Task<Status> Allocate(fss::AllocateMode, uint64_t, uint64_t) override {
    co_return Code::kReadOnly;
  }

 protected:
  // How much of a request lies in the object.
  uint64_t Inside(const IoRequest& request) const {
    if (request.offset_bytes >= size_bytes_) return 0;
    return std::min(request.size_bytes(), size_bytes_ - request.offset_bytes);
  }

 private:
  const uint64_t id_;
  const uint64_t size_bytes_;
};

class TextObject final : public ReadOnlyObject {
 public:
  TextObject(std::string text, uint64_t id)
      : ReadOnlyObject(id, text.size()), text_(std::move(text)) {}

  Task<Result<uint64_t>> Read(IoRequest request) override {
    const uint64_t length_bytes = Inside(request);
    if (length_bytes > 0) {
      const std::span<const char> part(text_.data() + request.offset_bytes, length_bytes);
      BufferCursor(request.buffers).CopyFrom(std::as_bytes(part));
    }
    co_return length_bytes;
  }

  Task<Result<uint64_t>> Seek(fss::SeekKind kind, uint64_t offset_bytes) override {
    if (offset_bytes >= size_bytes()) co_return Code::kNoData;
    co_return kind == fss::SeekKind::kData ? offset_bytes : size_bytes();
  }

  Task<Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                         std::vector<MapRun>& runs) override {
    runs.push_back({offset_bytes, length_bytes, base::MapState::kData});
    co_return base::Ok();
  }

  Task<Status> Close() override { co_return base::Ok(); }

 private:
  const std::string text_;
};

class ObjectWindow final : public ReadOnlyObject {
 public:
  ObjectWindow(std::unique_ptr<Object> object, uint64_t id, uint64_t offset_bytes,
               uint64_t size_bytes)
      : ReadOnlyObject(id, size_bytes), object_(std::move(object)), offset_bytes_(offset_bytes) {}

  Task<Result<uint64_t>> Read(IoRequest request) override {
    const uint64_t length_bytes = Inside(request);
    std::vector<IoVec> pieces;
    if (length_bytes > 0) BufferCursor(request.buffers).Take(length_bytes, pieces);
    const IoRequest below{.offset_bytes = offset_bytes_ + request.offset_bytes, .buffers = pieces};
    CO_TRY(const uint64_t read_bytes, co_await object_->Read(below));
    ZeroBehind(pieces, read_bytes);
    co_return length_bytes;
  }

  Task<Result<uint64_t>> Seek(fss::SeekKind kind, uint64_t offset_bytes) override {
    if (offset_bytes >= size_bytes()) co_return Code::kNoData;
    const Result<uint64_t> found = co_await object_->Seek(kind, offset_bytes_ + offset_bytes);
    const bool is_none = !found && found.error().code() == Code::kNoData;
    if (!found && !is_none) co_return found.error();
    if (is_none && kind == fss::SeekKind::kHole) co_return offset_bytes;
    if (is_none || *found - offset_bytes_ >= size_bytes()) {
      if (kind == fss::SeekKind::kData) co_return Code::kNoData;
      co_return size_bytes();
    }
    co_return *found - offset_bytes_;
  }

  Task<Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                         std::vector<MapRun>& runs) override {
    const size_t first = runs.size();
    CO_TRY_STATUS(co_await object_->MapStatus(offset_bytes_ + offset_bytes, length_bytes, runs));
    for (size_t i = first; i < runs.size(); ++i) runs[i].offset_bytes -= offset_bytes_;
    co_return base::Ok();
  }

  Task<Status> Close() override { return object_->Close(); }

 private:
  static void ZeroBehind(const std::vector<IoVec>& pieces, uint64_t read_bytes) {
    for (const IoVec& piece : pieces) {
      const uint64_t kept_bytes = std::min<uint64_t>(read_bytes, piece.size_bytes);
      read_bytes -= kept_bytes;
      std::memset(piece.data + kept_bytes, 0, piece.size_bytes - kept_bytes);
    }
  }

  const std::unique_ptr<Object> object_;
  const uint64_t offset_bytes_;
};

}  // namespace

std::unique_ptr<Object> MakeObjectWindow(std::unique_ptr<Object> object, uint64_t id,
                                         uint64_t offset_bytes, uint64_t size_bytes) {
  return std::make_unique<ObjectWindow>(std::move(object), id, offset_bytes, size_bytes);
}

std::unique_ptr<Object> MakeTextObject(std::string text, uint64_t id) {
  return std::make_unique<TextObject>(std::move(text), id);
}

}  // namespace disklib
