#include "vmfs/vmfs5/directory.h"

#include <algorithm>
#include <utility>

#include "fs/base/aligned_buffer.h"
#include "vmfs/format/corrupt.h"

namespace vmfs::vmfs5 {
namespace {

constexpr size_t kDirectoriesMax = 64;
constexpr size_t kNamesMax = 200'000;  // more than one volume's files; of all directories kept
constexpr uint64_t kRecordBytes = sizeof(DirectoryRecord);
constexpr uint64_t kPieceBytes = 512 * kRecordBytes;

base::Error InDirectory(const base::Error& error, FdAddress fd, uint64_t offset) {
  return error.Within(fmt::format("directory {} at {:#x}", fd.ToString(), offset));
}

}  // namespace

Directory::Directory(std::vector<DirectoryName> names) : names_(std::move(names)) {
  for (const DirectoryName& entry : names_) by_name_.try_emplace(entry.name, &entry);
}

const DirectoryName* Directory::Find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

base::Task<base::Result<std::shared_ptr<const Directory>>> DirectoryTable::Get(FdAddress fd) {
  const auto found = std::ranges::find(kept_, fd, &Kept::fd);
  if (found != kept_.end()) {
    kept_.splice(kept_.begin(), kept_, found);
    co_return kept_.front().directory;
  }
  CO_TRY(std::shared_ptr<const Directory> directory, co_await Load(fd));
  Keep(fd, directory);
  co_return std::move(directory);
}

base::Task<base::Result<std::shared_ptr<const Directory>>> DirectoryTable::Load(FdAddress fd) {
  CO_TRY(const Descriptor descriptor, co_await reader_.ReadDescriptor(fd));
  if (!descriptor.is_directory()) co_return base::Code::kNotDirectory;
  const uint64_t length = descriptor.length_bytes();
  if (length > kDirectoryBytesMax || length % kRecordBytes != 0) {
    co_return CorruptError("directory {}: {:#x} bytes, expected whole records up to {:#x}",
                           fd.ToString(), length, kDirectoryBytesMax);
  }
  std::vector<DirectoryName> names;
  base::AlignedBuffer buffer(kPieceBytes);
  for (uint64_t at = 0; at < length; at += kPieceBytes) {
    const auto piece = buffer.span().first(std::min(kPieceBytes, length - at));
    CO_TRY_STATUS(co_await reader_.ReadExactly(&descriptor, at, piece));
    for (uint64_t offset = 0; offset < piece.size(); offset += kRecordBytes) {
      auto record = DecodeRecord(piece.subspan(offset));
      if (!record) co_return InDirectory(record.error(), fd, at + offset);
      if (record->has_value()) names.push_back(std::move(**record));
    }
  }
  co_return std::make_shared<const Directory>(std::move(names));
}

void DirectoryTable::Keep(FdAddress fd, std::shared_ptr<const Directory> directory) {
  kept_.remove_if([fd](const Kept& kept) { return kept.fd == fd; });  // read twice at once
  kept_.push_front({fd, std::move(directory)});
  size_t names = 0, directories = 0;
  std::erase_if(kept_, [&](const Kept& kept) {
    names += kept.directory->names().size();
    return ++directories > 1 && (names > kNamesMax || directories > kDirectoriesMax);
  });
}

}  // namespace vmfs::vmfs5
