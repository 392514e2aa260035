#include "disklib/exchange/package_backend.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor.h"
#include "disklib/exchange/archive.h"
#include "disklib/exchange/object_window.h"
#include "disklib/names.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::IoVec;
using base::Result;
using base::Status;
using base::Task;

// Most headers are one block; extensions make them longer.
constexpr size_t kFirstReadBytes = 4'096;

// Reads up to `bytes.size()` bytes; a short answer means the object's end.
Task<Result<size_t>> ReadAt(Object& object, uint64_t offset_bytes, std::span<std::byte> bytes) {
  size_t done_bytes = 0;
  while (done_bytes < bytes.size()) {
    const IoVec piece{bytes.data() + done_bytes, bytes.size() - done_bytes};
    const base::IoRequest request{.offset_bytes = offset_bytes + done_bytes,
                                  .buffers = {&piece, 1}};
    CO_TRY(const uint64_t read_bytes, co_await object.Read(request));
    if (read_bytes == 0) break;
    done_bytes += read_bytes;
  }
  co_return done_bytes;
}

// Where the header lies at, with more bytes when the first do not hold all of it.
Task<Result<std::optional<ArchiveMember>>> ReadHeader(Object& object, uint64_t offset_bytes) {
  std::vector<std::byte> bytes(kArchiveHeaderBytesMax);
  CO_TRY(const size_t first_bytes,
         co_await ReadAt(object, offset_bytes, std::span(bytes).first(kFirstReadBytes)));
  const Result<std::optional<ArchiveMember>> member =
      DecodeArchiveHeader(std::span(bytes).first(first_bytes));
  if (member || first_bytes < kFirstReadBytes) co_return member;
  CO_TRY(const size_t all_bytes, co_await ReadAt(object, offset_bytes, bytes));
  co_return DecodeArchiveHeader(std::span(bytes).first(all_bytes));
}

Status AddMember(const ArchiveMember& member, std::string_view path, uint64_t header_bytes,
                 uint64_t archive_bytes, std::vector<PackageFile>& files) {
  const uint64_t start_bytes = header_bytes + member.header_bytes;
  if (start_bytes > archive_bytes || member.size_bytes > archive_bytes - start_bytes) {
    return Error(Code::kCorrupt,
                 fmt::format("archive {}: {} ends behind the file", path, member.name));
  }
  const auto is_same = [&member](const PackageFile& file) { return file.name == member.name; };
  if (std::any_of(files.begin(), files.end(), is_same)) {
    return Error(Code::kCorrupt, fmt::format("archive {}: {} is there twice", path, member.name));
  }
  if (files.size() == kArchiveMembersMax) {
    return Error(Code::kTooLarge,
                 fmt::format("archive {}: more than {} files", path, kArchiveMembersMax));
  }
  files.push_back({.name = member.name,
                   .path = std::string(path),
                   .offset_bytes = start_bytes,
                   .size_bytes = member.size_bytes,
                   .text = {}});
  return base::Ok();
}

Task<Status> ListMembers(Object& object, std::string_view path, std::vector<PackageFile>& files) {
  const uint64_t archive_bytes = object.size_bytes();
  uint64_t at_bytes = 0;
  while (at_bytes < archive_bytes) {
    Result<std::optional<ArchiveMember>> member = co_await ReadHeader(object, at_bytes);
    if (!member) co_return member.error().Within(fmt::format("archive {}", path));
    if (!member->has_value()) co_return base::Ok();
    CO_TRY_STATUS(AddMember(**member, path, at_bytes, archive_bytes, files));
    const PackageFile& added = files.back();
    at_bytes = added.offset_bytes + ArchivePaddedBytes(added.size_bytes);
  }
  co_return base::Ok();
}

}  // namespace

const PackageFile* PackageBackend::Find(std::string_view name) const {
  const auto found = std::find_if(files_.begin(), files_.end(),
                                  [name](const PackageFile& file) { return file.name == name; });
  return found == files_.end() ? nullptr : &*found;
}

Result<const PackageFile*> PackageBackend::FindOrFail(std::string_view path) const {
  const PackageFile* const file = Find(path);
  if (file != nullptr) return file;
  return Error(Code::kNotFound, fmt::format("{}: not in the package", path));
}

uint64_t PackageBackend::IdOf(const PackageFile& file) const {
  return static_cast<uint64_t>(&file - files_.data()) + 1;
}

Task<Result<std::unique_ptr<Object>>> PackageBackend::Open(std::string_view path,
                                                           fss::OpenMode mode) {
  CO_TRY(const PackageFile* const file, FindOrFail(path));
  if (mode == fss::OpenMode::kWrite || mode == fss::OpenMode::kExclusiveDisk) {
    co_return Error(Code::kReadOnly, fmt::format("{}: packages are only read", path));
  }
  if (file->path.empty()) co_return MakeTextObject(file->text, IdOf(*file));
  CO_TRY(std::unique_ptr<Object> object, co_await below_.Open(file->path, fss::OpenMode::kRead));
  co_return MakeObjectWindow(std::move(object), IdOf(*file), file->offset_bytes, file->size_bytes);
}

Task<Result<ObjectInfo>> PackageBackend::GetInfo(std::string_view path) {
  CO_TRY(const PackageFile* const file, FindOrFail(path));
  const uint64_t size_bytes = file->path.empty() ? file->text.size() : file->size_bytes;
  co_return ObjectInfo{.id = IdOf(*file), .size_bytes = size_bytes, .allocated_bytes = size_bytes};
}

Task<Status> PackageBackend::List(std::string_view folder, ObjectSink& sink) {
  if (!folder.empty()) co_return Error(Code::kNotFound, std::string(folder));
  for (const PackageFile& file : files_) sink.Add({file.name, IdOf(file)});
  co_return base::Ok();
}

Task<Result<ObjectInfo>> PackageBackend::Create(std::string_view) {
  co_return Code::kReadOnly;
}

Task<Status> PackageBackend::Resize(std::string_view, uint64_t) {
  co_return Code::kReadOnly;
}

Task<Result<ObjectInfo>> PackageBackend::ReplaceContents(std::string_view, std::string_view) {
  co_return Code::kReadOnly;
}

Task<Status> PackageBackend::Remove(std::string_view) {
  co_return Code::kReadOnly;
}

Task<Status> PackageBackend::Rename(std::string_view, std::string_view) {
  co_return Code::kReadOnly;
}

Task<Status> PackageBackend::SyncNames() {
  co_return base::Ok();
}

Task<Result<std::vector<PackageFile>>> ListArchive(ObjectBackend& below, std::string_view path) {
  CO_TRY(const std::unique_ptr<Object> object, co_await below.Open(path, fss::OpenMode::kRead));
  std::vector<PackageFile> files;
  const Status listed = co_await ListMembers(*object, path, files);
  const Status closed = co_await object->Close();
  if (!listed) co_return listed.error();
  if (!closed) co_return closed.error();
  co_return files;
}

Task<Result<std::vector<PackageFile>>> DescribeRawImage(ObjectBackend& below, std::string_view path,
                                                        std::string_view name) {
  CO_TRY(const ObjectInfo info, co_await below.GetInfo(path));
  const uint64_t sector_count =
      info.size_bytes / kSectorBytes + (info.size_bytes % kSectorBytes == 0 ? 0 : 1);
  if (sector_count == 0) co_return Error(Code::kInvalidArgument, fmt::format("{}: empty", path));
  if (sector_count > kCapacitySectorsMax) {
    co_return Error(Code::kTooLarge, fmt::format("{}: over 62 TiB", path));
  }
  Descriptor descriptor;
  descriptor.create_type = "monolithicFlat";
  descriptor.extents.push_back(
      {.sector_count = sector_count, .type = ExtentType::kFlat, .file_name = FlatExtentName(name)});
  CO_TRY(std::string text, WriteDescriptor(descriptor));
  std::vector<PackageFile> files(2);
  files[0].name = name;
  files[0].text = std::move(text);
  files[1].name = FlatExtentName(name);
  files[1].path = path;
  files[1].size_bytes = sector_count * kSectorBytes;
  co_return files;
}

}  // namespace disklib
