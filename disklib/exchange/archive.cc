#include "disklib/exchange/archive.h"

#include <memory>
#include <vector>

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>

#include "disklib/exchange/manifest.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;

// Above this the eleven octal digits of the standard's header do not hold the size.
constexpr uint64_t kOctalSizeMax = (uint64_t{1} << 33) - 1;
constexpr size_t kHeaderNameBytesMax = 100;

struct ReaderDeleter {
  void operator()(archive* reader) const { archive_read_free(reader); }
};

// Freed without its end: only a header was written.
struct WriterDeleter {
  void operator()(archive* writer) const {
    archive_write_fail(writer);
    archive_write_free(writer);
  }
};

struct EntryDeleter {
  void operator()(archive_entry* entry) const { archive_entry_free(entry); }
};

std::string WordsOf(archive* archive) {
  const char* const words = archive_error_string(archive);
  return words != nullptr ? words : "unknown error";
}

Status CheckPlainFile(archive_entry* entry, std::string_view name) {
  const bool is_link = archive_entry_hardlink(entry) != nullptr;
  if (is_link || archive_entry_filetype(entry) != AE_IFREG) {
    return Error(Code::kUnsupported, fmt::format("archive member \"{}\": not a plain file", name));
  }
  if (archive_entry_sparse_count(entry) > 0) {
    return Error(Code::kUnsupported, fmt::format("archive member \"{}\": stored sparse", name));
  }
  return base::Ok();
}

Result<std::string> NameIn(archive_entry* entry) {
  const char* const found = archive_entry_pathname(entry);
  if (found == nullptr) return Error(Code::kNameInvalid, "archive member: without a name");
  std::string_view name(found);
  if (name.starts_with("./")) name.remove_prefix(2);
  TRY_STATUS(CheckMemberName(name));
  return std::string(name);
}

}  // namespace

Result<std::optional<ArchiveMember>> DecodeArchiveHeader(std::span<const std::byte> bytes) {
  const std::unique_ptr<archive, ReaderDeleter> reader(archive_read_new());
  if (reader == nullptr) return Code::kNoMemory;
  archive_read_support_format_tar(reader.get());
  if (archive_read_open_memory(reader.get(), bytes.data(), bytes.size()) != ARCHIVE_OK) {
    return Error(Code::kNotRecognized, "archive header: " + WordsOf(reader.get()));
  }
  archive_entry* entry = nullptr;
  const int answer = archive_read_next_header(reader.get(), &entry);
  if (answer == ARCHIVE_EOF) return std::optional<ArchiveMember>();
  if (answer != ARCHIVE_OK) {
    const bool is_tar = archive_format(reader.get()) != 0;
    return Error(is_tar ? Code::kCorrupt : Code::kNotRecognized,
                 "archive header: " + WordsOf(reader.get()));
  }
  ArchiveMember member;
  TRY(member.name, NameIn(entry));
  TRY_STATUS(CheckPlainFile(entry, member.name));
  const la_int64_t size_bytes = archive_entry_size(entry);
  const la_int64_t header_bytes = archive_filter_bytes(reader.get(), 0);
  const bool is_sound = size_bytes >= 0 && header_bytes > 0 &&
                        static_cast<uint64_t>(header_bytes) % kArchiveBlockBytes == 0;
  if (!is_sound) {
    return Error(Code::kCorrupt, fmt::format("archive member \"{}\": a header of {} bytes, {} long",
                                             member.name, header_bytes, size_bytes));
  }
  member.size_bytes = static_cast<uint64_t>(size_bytes);
  member.header_bytes = static_cast<uint64_t>(header_bytes);
  return std::optional<ArchiveMember>(std::move(member));
}

Result<std::string> EncodeArchiveHeader(std::string_view name, uint64_t size_bytes,
                                        uint64_t modified_seconds) {
  TRY_STATUS(CheckMemberName(name));
  if (name.size() > kHeaderNameBytesMax) {
    return Error(Code::kNameTooLong,
                 fmt::format("archive member \"{}\": over {} bytes", name, kHeaderNameBytesMax));
  }
  const std::unique_ptr<archive, WriterDeleter> writer(archive_write_new());
  const std::unique_ptr<archive_entry, EntryDeleter> entry(archive_entry_new());
  if (writer == nullptr || entry == nullptr) return Code::kNoMemory;
  const bool is_large = size_bytes > kOctalSizeMax;
  if (is_large) {
    archive_write_set_format_gnutar(writer.get());
  } else {
    archive_write_set_format_ustar(writer.get());
  }
  archive_write_set_bytes_per_block(writer.get(), 0);
  std::vector<char> bytes(kArchiveHeaderBytesMax);
  size_t used_bytes = 0;
  archive_entry_set_pathname(entry.get(), std::string(name).c_str());
  archive_entry_set_filetype(entry.get(), AE_IFREG);
  archive_entry_set_perm(entry.get(), 0644);
  archive_entry_set_size(entry.get(), static_cast<la_int64_t>(size_bytes));
  archive_entry_set_mtime(entry.get(), static_cast<time_t>(modified_seconds), 0);
  if (archive_write_open_memory(writer.get(), bytes.data(), bytes.size(), &used_bytes) !=
          ARCHIVE_OK ||
      archive_write_header(writer.get(), entry.get()) != ARCHIVE_OK ||
      used_bytes != kArchiveBlockBytes) {
    return Error(Code::kInvalidArgument,
                 fmt::format("archive member \"{}\": {}", name, WordsOf(writer.get())));
  }
  return std::string(bytes.data(), used_bytes);
}

}  // namespace disklib
