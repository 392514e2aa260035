#include "fs/daemon/commands/import_source.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "disklib/descriptor.h"
#include "disklib/descriptor_lines.h"
#include "disklib/exchange/import.h"
#include "disklib/names.h"
#include "fs/daemon/commands/qemu_image.h"

namespace stratad {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

constexpr uint64_t kProbeBytes = 4'096;
constexpr uint64_t kTrailerBytes = 512;
constexpr size_t kTarMagicOffset = 257;

bool HasAt(std::string_view bytes, size_t offset, std::string_view magic) {
  return bytes.size() > offset && bytes.substr(offset).starts_with(magic);
}

bool LooksLikeXml(std::string_view bytes) {
  if (bytes.starts_with("\xef\xbb\xbf")) bytes.remove_prefix(3);
  while (!bytes.empty() && std::string_view(" \t\r\n").find(bytes.front()) != bytes.npos) {
    bytes.remove_prefix(1);
  }
  return bytes.starts_with("<?xml") || bytes.starts_with("<Envelope") ||
         bytes.starts_with("<ovf:Envelope");
}

Error NotThisOne(std::string_view name, std::string_view what) {
  return Error(Code::kNotRecognized, fmt::format("{}: {}", name, what));
}

Task<Result<std::string>> ReadPart(disklib::Object& object, uint64_t offset_bytes,
                                   uint64_t length_bytes) {
  std::string bytes(length_bytes, '\0');
  const base::IoVec piece{reinterpret_cast<std::byte*>(bytes.data()), bytes.size()};
  CO_TRY(const uint64_t read_bytes,
         co_await object.Read({.offset_bytes = offset_bytes, .buffers = {&piece, 1}}));
  bytes.resize(read_bytes);
  co_return bytes;
}

Task<Result<SourceType>> Probe(disklib::Object& object, std::string_view name) {
  const uint64_t size_bytes = object.size_bytes();
  CO_TRY(const std::string first, co_await ReadPart(object, 0, kProbeBytes));
  const uint64_t trailer_bytes = std::min(size_bytes, kTrailerBytes);
  CO_TRY(const std::string last,
         co_await ReadPart(object, size_bytes - trailer_bytes, kTrailerBytes));
  co_return TellSource(name, first, last);
}

}  // namespace

Result<SourceType> TellSource(std::string_view name, std::string_view first_bytes,
                              std::string_view last_bytes) {
  using namespace std::string_view_literals;
  if (HasAt(first_bytes, kTarMagicOffset, "ustar")) return SourceType{SourceKind::kArchive};
  if (disklib::LooksLikeDescriptor(first_bytes) || first_bytes.starts_with("KDMV")) {
    return SourceType{SourceKind::kDisk};
  }
  if (LooksLikeXml(first_bytes)) return SourceType{SourceKind::kEnvelope};
  if (first_bytes.starts_with("\x1f\x8b") ||
      first_bytes.starts_with("\xfd"
                              "7zXZ") ||
      first_bytes.starts_with("PK\3\4") || first_bytes.starts_with("\x28\xb5\x2f\xfd")) {
    return NotThisOne(name, "is compressed: unpack it first");
  }
  if (first_bytes.starts_with("COWD") || first_bytes.starts_with("\xbe\xba\xfe\xca\0\0\0\0"sv)) {
    return NotThisOne(name, "holds a disk's data: name the descriptor, the .vmdk beside it");
  }
  const std::string_view foreign = ForeignFormatOf(first_bytes, last_bytes);
  if (!foreign.empty()) return SourceType{SourceKind::kForeign, foreign};
  for (const std::string_view suffix : {".ova", ".ovf", ".qcow2", ".vhdx", ".vdi"}) {
    if (!disklib::EndsWithIgnoringCase(name, suffix)) continue;
    return NotThisOne(name, fmt::format("is called {} and does not begin like one; "
                                        "--source-format raw takes it as a raw image",
                                        suffix));
  }
  // The base of a chain without its snapshots is the classic wrong copy.
  if (disklib::EndsWithIgnoringCase(name, ".vmdk")) {
    return NotThisOne(name,
                      "is no descriptor: name the .vmdk beside it that is one; "
                      "--source-format raw takes this file's bytes alone");
  }
  return SourceType{SourceKind::kRaw};
}

Task<Result<SourceType>> ProbeSource(disklib::ObjectBackend& backend, std::string_view path) {
  CO_TRY(const std::unique_ptr<disklib::Object> object,
         co_await backend.Open(path, fss::OpenMode::kRead));
  const Result<SourceType> type = co_await Probe(*object, disklib::NameOf(path));
  const Status closed = co_await object->Close();
  if (!closed) co_return closed.error();
  co_return type;
}

Task<Result<std::unique_ptr<ImportSource>>> ImportSource::Open(base::Executor& executor,
                                                               ExchangePlace& place,
                                                               std::string_view path,
                                                               SourceKind kind) {
  const bool is_package = kind == SourceKind::kArchive || kind == SourceKind::kEnvelope;
  std::unique_ptr<ImportSource> source(new ImportSource(place, std::string(path), is_package));
  std::vector<disklib::PackageFile> files;
  if (kind == SourceKind::kArchive) {
    CO_TRY(files, co_await disklib::ListArchive(place.backend(), path));
  } else if (kind == SourceKind::kRaw) {
    source->path_ = "image.vmdk";
    CO_TRY(files, co_await disklib::DescribeRawImage(place.backend(), path, source->path_));
  } else {
    co_return source;
  }
  source->inner_ = std::make_unique<Inner>(executor, place.backend(), std::move(files));
  if (is_package) {
    CO_TRY(source->path_, co_await disklib::FindEnvelope(source->inner_->backend));
  }
  co_return source;
}

}  // namespace stratad
