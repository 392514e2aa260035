#include "disklib/object_backend.h"

#include <fmt/format.h>

#include "disklib/names.h"

namespace disklib {

using base::Code;
using base::Error;
using base::IoRequest;
using base::IoVec;
using base::Result;
using base::Status;
using base::Task;

Result<std::string> ResolvePath(ObjectBackend& backend, std::string_view folder,
                                std::string_view name) {
  TRY(const std::string path, ResolveName(folder, name));
  return backend.PlainPath(path);
}

Task<Status> ObjectBackend::Replace(std::string_view from, std::string_view to) {
  co_return Error(Code::kUnsupported,
                  fmt::format("{} to {}: nothing is moved over another here", from, to));
}

Task<Status> ReadWhole(Object& object, std::string& text) {
  uint64_t done_bytes = 0;
  while (done_bytes < text.size()) {
    const IoVec piece{reinterpret_cast<std::byte*>(text.data()) + done_bytes,
                      text.size() - done_bytes};
    const IoRequest request{.offset_bytes = done_bytes, .buffers = {&piece, 1}};
    CO_TRY(const uint64_t read_bytes, co_await object.Read(request));
    if (read_bytes == 0) break;
    done_bytes += read_bytes;
  }
  text.resize(done_bytes);
  co_return base::Ok();
}

Task<Status> WriteWhole(Object& object, uint64_t offset_bytes, std::string_view bytes) {
  uint64_t done_bytes = 0;
  while (done_bytes < bytes.size()) {
    // Writing does not change the buffer; IoVec has one type for both directions.
    auto* const data = reinterpret_cast<std::byte*>(const_cast<char*>(bytes.data()));
    const IoVec piece{data + done_bytes, bytes.size() - done_bytes};
    const IoRequest request{.offset_bytes = offset_bytes + done_bytes, .buffers = {&piece, 1}};
    CO_TRY(const uint64_t written_bytes, co_await object.Write(request));
    if (written_bytes == 0) co_return Error(Code::kNoSpace);
    done_bytes += written_bytes;
  }
  co_return base::Ok();
}

Task<Result<std::string>> ReadObject(ObjectBackend& backend, std::string_view path,
                                     uint64_t bytes_max) {
  CO_TRY(const std::unique_ptr<Object> object, co_await backend.Open(path, fss::OpenMode::kRead));
  const uint64_t size_bytes = object->size_bytes();
  Status read = Error(Code::kTooLarge, fmt::format("read {}: {} bytes, allowed are {}", path,
                                                   size_bytes, bytes_max));
  std::string text;
  if (size_bytes <= bytes_max) {
    text.resize(size_bytes);
    read = co_await ReadWhole(*object, text);
  }
  const Status closed = co_await object->Close();
  if (!read) co_return read.error();
  if (!closed) co_return closed.error();
  co_return text;
}

}  // namespace disklib
