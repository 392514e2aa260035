#include "disklib/descriptor_text.h"

#include <algorithm>
#include <array>
#include <span>

#include <fmt/format.h>

#include "disklib/descriptor.h"
#include "disklib/sparse/hosted_format.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::IoRequest;
using base::IoVec;
using base::Result;
using base::Status;
using base::Task;

void EndAtFirstNul(std::string& text) {
  text.resize(std::min(text.find('\0'), text.size()));
}

// Fills `text`; a file that ends before is an error.
Task<Status> ReadRange(Object& object, uint64_t offset_bytes, std::string& text) {
  const IoVec piece{reinterpret_cast<std::byte*>(text.data()), text.size()};
  const IoRequest request{.offset_bytes = offset_bytes, .buffers = {&piece, 1}};
  CO_TRY(const uint64_t read_bytes, co_await object.Read(request));
  if (read_bytes == text.size()) co_return base::Ok();
  co_return Error(Code::kCorrupt,
                  fmt::format("{} bytes at {}: the file ends before", text.size(), offset_bytes));
}

Task<Result<DescriptorText>> ReadEmbedded(Object& object, std::string* head) {
  const auto bytes = std::as_bytes(std::span<const char>(*head));
  CO_TRY(const HostedHeader header, DecodeHostedHeader(bytes));
  if (header.descriptor_sector == 0 || header.descriptor_sectors == 0)
    co_return ExplainNoDescriptor(*head);
  const uint64_t sectors = header.descriptor_sectors;
  const uint64_t file_sectors = object.size_bytes() / kSectorBytes;
  if (header.descriptor_sector > file_sectors ||
      sectors > file_sectors - header.descriptor_sector ||
      sectors > kDescriptorReadBytesMax / kSectorBytes) {
    co_return Error(Code::kCorrupt,
                    fmt::format("the embedded descriptor: {} sectors at {} of {}", sectors,
                                uint64_t{header.descriptor_sector}, file_sectors));
  }
  DescriptorText found;
  found.embedded = {.offset_bytes = header.descriptor_sector * kSectorBytes,
                    .room_bytes = sectors * kSectorBytes};
  found.text.resize(found.embedded.room_bytes);
  CO_TRY_STATUS(co_await ReadRange(object, found.embedded.offset_bytes, found.text));
  EndAtFirstNul(found.text);
  co_return found;
}

}  // namespace

Error ExplainNoDescriptor(std::string_view head) {
  std::string_view what = "not a disk descriptor";
  if (head.starts_with("KDMV")) what = "a hosted sparse extent without a descriptor inside";
  if (head.starts_with("COWD")) what = "the data of a vmfsSparse delta, not its descriptor";
  if (head.starts_with("\xbe\xba\xfe\xca")) {
    what = "the data of a seSparse delta, not its descriptor";
  }
  return Error(Code::kNotRecognized, std::string(what));
}

Task<Result<DescriptorText>> ReadDescriptorText(Object& object) {
  const uint64_t size_bytes = object.size_bytes();
  std::string head(std::min<uint64_t>(size_bytes, kSectorBytes), '\0');
  CO_TRY_STATUS(co_await ReadRange(object, 0, head));
  if (head.size() == kSectorBytes && head.starts_with("KDMV")) {
    Result<DescriptorText> embedded = co_await ReadEmbedded(object, &head);
    co_return embedded;
  }
  if (size_bytes > kDescriptorReadBytesMax) co_return ExplainNoDescriptor(head);
  DescriptorText found;
  found.text.resize(size_bytes);
  CO_TRY_STATUS(co_await ReadRange(object, 0, found.text));
  co_return found;
}

Task<Result<DescriptorText>> ReadDescriptorAt(ObjectBackend& backend, std::string_view path) {
  CO_TRY(const std::unique_ptr<Object> object, co_await backend.Open(path, fss::OpenMode::kRead));
  Result<DescriptorText> found = co_await ReadDescriptorText(*object);
  const Status closed = co_await object->Close();
  if (!found) co_return found.error().Within(path);
  if (!closed) co_return closed.error().Within(path);
  co_return found;
}

Task<Status> StoreEmbeddedDescriptor(Object& object, EmbeddedPlace place, std::string_view text) {
  if (text.size() > place.room_bytes) {
    co_return Error(Code::kTooLarge, fmt::format("store the descriptor: {} bytes, the file has {}",
                                                 text.size(), place.room_bytes));
  }
  std::string old(place.room_bytes, '\0');
  CO_TRY_STATUS(co_await ReadRange(object, place.offset_bytes, old));
  std::string padded(text);
  padded.resize(place.room_bytes, '\0');
  for (uint64_t at = 0; at < place.room_bytes; at += kSectorBytes) {
    const std::string_view sector = std::string_view(padded).substr(at, kSectorBytes);
    if (sector == std::string_view(old).substr(at, kSectorBytes)) continue;
    CO_TRY_STATUS(co_await WriteWhole(object, place.offset_bytes + at, sector));
  }
  CO_TRY_STATUS(co_await object.Sync(/*data_only=*/false));
  co_return base::Ok();
}

}  // namespace disklib
