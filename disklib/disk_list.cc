#include "disklib/disk_list.h"

#include <map>
#include <memory>
#include <set>
#include <utility>

#include "disklib/descriptor.h"
#include "disklib/descriptor_lines.h"
#include "disklib/names.h"
#include "disklib/object_backend.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

// Larger files are data: descriptors that anybody writes stay far below.
constexpr uint64_t kListedBytesMax = 64 * 1024;
constexpr size_t kKnownMax = 4'096;

class DescriptorNames : public fss::DirectorySink {
 public:
  bool Add(const fss::DirectoryEntry& entry) override {
    cursor_ = entry.next_cursor;
    has_progress_ = true;
    if (entry.type == fss::FileType::kRegular &&
        EndsWithIgnoringCase(entry.name, kDescriptorSuffix)) {
      names_.emplace(entry.name);
    }
    return true;
  }

  bool TakeProgress() { return std::exchange(has_progress_, false); }

  uint64_t cursor() const { return cursor_; }

  const std::set<std::string>& names() const { return names_; }

 private:
  std::set<std::string> names_;
  uint64_t cursor_ = 0;
  bool has_progress_ = false;
};

}  // namespace

DiskLister::Known DiskLister::Examine(std::string_view text) {
  Known known;
  Result<Descriptor> descriptor = ParseDescriptor(text);
  if (!descriptor) return known;
  known.is_descriptor = true;
  known.has_parent = descriptor->has_parent();
  known.parent_hint = std::move(descriptor->parent_file_name_hint);
  known.capacity_bytes = descriptor->capacity_sectors() * kSectorBytes;
  for (ExtentLine& extent : descriptor->extents) {
    known.extent_names.push_back(std::move(extent.file_name));
  }
  return known;
}

Task<Status> DiskLister::ReadText(fss::InodeNumber inode, std::string& text) {
  CO_TRY(const std::unique_ptr<fss::File> file,
         co_await file_system_.Open(inode, fss::OpenMode::kRead));
  const Status read = co_await ReadWhole(*file, text);
  const Status closed = co_await file->Close();
  co_return read ? closed : read;
}

// What is known of one name, read anew if it has changed; null when it is too large.
Task<Result<const DiskLister::Known*>> DiskLister::Look(fss::InodeNumber folder,
                                                        std::string_view name,
                                                        fss::InodeNumber& inode) {
  CO_TRY(const fss::Attributes attributes, co_await file_system_.Lookup(folder, name));
  inode = attributes.inode;
  const auto found = known_.find(inode);
  if (found != known_.end() && found->second.size_bytes == attributes.size_bytes &&
      found->second.modified_us == attributes.modified_us &&
      found->second.changed_us == attributes.changed_us) {
    file_system_.Forget(inode, 1);
    co_return &found->second;
  }
  std::string text(attributes.size_bytes > kListedBytesMax ? 0 : attributes.size_bytes, '\0');
  Status read = base::Ok();
  if (!text.empty()) read = co_await ReadText(inode, text);
  file_system_.Forget(inode, 1);
  if (!read) co_return read.error();
  if (known_.size() >= kKnownMax) known_.clear();
  Known& known = known_[inode] = Examine(text);
  known.size_bytes = attributes.size_bytes;
  known.modified_us = attributes.modified_us;
  known.changed_us = attributes.changed_us;
  co_return &known;
}

Task<Status> DiskLister::ListDisks(fss::InodeNumber folder, DiskSink& sink) {
  DescriptorNames names;
  do {
    CO_TRY_STATUS(co_await file_system_.ReadDirectory(folder, names.cursor(), names));
  } while (names.TakeProgress());
  std::map<std::string, ListedDisk> disks;
  std::set<std::string> extents;
  std::set<std::string> parents;
  for (const std::string& name : names.names()) {
    fss::InodeNumber inode = 0;
    const Result<const Known*> looked = co_await Look(folder, name, inode);
    if (!looked || !(*looked)->is_descriptor) continue;
    const Known& known = **looked;
    extents.insert(known.extent_names.begin(), known.extent_names.end());
    if (known.has_parent) {
      parents.insert(known.parent_hint);
    } else {
      disks[name] = {.name = {}, .inode = inode, .capacity_bytes = known.capacity_bytes};
    }
  }
  for (auto& [name, disk] : disks) {
    if (extents.contains(name)) continue;
    disk.name = name;
    disk.has_child = parents.contains(name);
    sink.Add(disk);
  }
  co_return base::Ok();
}

}  // namespace disklib
