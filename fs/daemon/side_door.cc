#include "fs/daemon/side_door.h"

#include <algorithm>
#include <utility>

namespace stratad {

// Remembers that it was written, and says so when it is closed.
class SideDoorFile final : public fss::ForwardingFile {
 public:
  SideDoorFile(std::unique_ptr<fss::File> below, SideDoor& door)
      : ForwardingFile(std::move(below)), door_(door), inode_(ForwardingFile::inode()) {}

  ~SideDoorFile() override { door_.Drop(inode_, 1); }

  base::Task<base::Result<uint64_t>> Write(base::IoRequest request) override {
    wrote_ = true;
    return below().Write(request);
  }

  base::Task<base::Status> Allocate(fss::AllocateMode mode, uint64_t offset_bytes,
                                    uint64_t length_bytes) override {
    wrote_ = true;
    return below().Allocate(mode, offset_bytes, length_bytes);
  }

  base::Task<base::Status> AllocateKeepingTimes(fss::AllocateMode mode, uint64_t offset_bytes,
                                                uint64_t length_bytes) override {
    wrote_ = true;
    return below().AllocateKeepingTimes(mode, offset_bytes, length_bytes);
  }

  base::Task<base::Status> Close() override {
    if (std::exchange(wrote_, false)) door_.Changed(inode_);
    return below().Close();
  }

 private:
  SideDoor& door_;
  const fss::InodeNumber inode_;
  bool wrote_ = false;
};

void SideDoor::Note(fss::InodeNumber inode, fss::InodeNumber parent, std::string_view name) {
  Place& place = places_[inode];
  place.parent = parent;
  place.name = name;
  ++place.user_count;
}

void SideDoor::Drop(fss::InodeNumber inode, uint64_t count) {
  const auto found = places_.find(inode);
  if (found == places_.end()) return;
  found->second.user_count -= std::min(count, found->second.user_count);
  if (found->second.user_count == 0) places_.erase(found);
}

void SideDoor::Changed(fss::InodeNumber inode) {
  listener_.ContentChanged(inode);
  const auto found = places_.find(inode);
  if (found != places_.end() && !found->second.name.empty()) {
    listener_.NameChanged(found->second.parent, found->second.name);
  }
}

base::Task<base::Result<fss::Attributes>> SideDoor::Lookup(fss::InodeNumber parent,
                                                           std::string_view name) {
  base::Result<fss::Attributes> found = co_await below().Lookup(parent, name);
  if (found) Note(found->inode, parent, name);
  co_return found;
}

void SideDoor::Forget(fss::InodeNumber inode, uint64_t count) {
  Drop(inode, count);
  below().Forget(inode, count);
}

base::Task<base::Result<fss::Attributes>> SideDoor::SetAttributes(fss::InodeNumber inode,
                                                                  fss::AttributeChange change) {
  base::Result<fss::Attributes> changed = co_await below().SetAttributes(inode, change);
  if (changed) Changed(inode);
  co_return changed;
}

base::Task<base::Result<fss::Attributes>> SideDoor::CreateFile(fss::InodeNumber parent,
                                                               std::string_view name,
                                                               fss::NewInode attributes) {
  base::Result<fss::Attributes> made = co_await below().CreateFile(parent, name, attributes);
  if (made) {
    Note(made->inode, parent, name);
    listener_.NameChanged(parent, name);
  }
  co_return made;
}

base::Task<base::Status> SideDoor::Unlink(fss::InodeNumber parent, std::string_view name) {
  const base::Status removed = co_await below().Unlink(parent, name);
  if (removed) listener_.NameChanged(parent, name);
  co_return removed;
}

base::Task<base::Status> SideDoor::Rename(fss::InodeNumber from_parent, std::string_view from_name,
                                          fss::InodeNumber to_parent, std::string_view to_name,
                                          bool no_replace) {
  const base::Status renamed =
      co_await below().Rename(from_parent, from_name, to_parent, to_name, no_replace);
  if (renamed) {
    listener_.NameChanged(from_parent, from_name);
    listener_.NameChanged(to_parent, to_name);
  }
  co_return renamed;
}

base::Task<base::Result<std::unique_ptr<fss::File>>> SideDoor::Open(fss::InodeNumber inode,
                                                                    fss::OpenMode mode) {
  CO_TRY(std::unique_ptr<fss::File> opened, co_await below().Open(inode, mode));
  ++places_[inode].user_count;
  co_return std::unique_ptr<fss::File>(std::make_unique<SideDoorFile>(std::move(opened), *this));
}

base::Task<base::Result<fss::Attributes>> SideDoor::MakeRawDeviceMap(fss::InodeNumber parent,
                                                                     std::string_view name,
                                                                     fss::RawDevice device,
                                                                     fss::NewInode attributes) {
  base::Result<fss::Attributes> made =
      co_await below().MakeRawDeviceMap(parent, name, device, attributes);
  if (made) {
    Note(made->inode, parent, name);
    listener_.NameChanged(parent, name);
  }
  co_return made;
}

base::Task<base::Status> SideDoor::ReplaceContents(
    std::span<const fss::Replacement> replacements) {
  const base::Status replaced = co_await below().ReplaceContents(replacements);
  if (replaced) {
    for (const fss::Replacement& replacement : replacements) Changed(replacement.inode);
  }
  co_return replaced;
}

}  // namespace stratad
