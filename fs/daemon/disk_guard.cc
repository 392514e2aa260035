#include "fs/daemon/disk_guard.h"

#include <string>
#include <utility>

#include "fs/base/log.h"
#include "fs/daemon/late_close.h"

namespace stratad {
namespace {

// Reports to OpenDisks when a plain file is closed. What was opened before the disk it belongs to
// is not read on while that is being written.
class GuardedFile final : public fss::ForwardingFile {
 public:
  GuardedFile(std::unique_ptr<fss::File> below, disklib::OpenDisks& open_disks, bool writes)
      : ForwardingFile(std::move(below)),
        open_disks_(open_disks),
        inode_(ForwardingFile::inode()),
        writes_(writes) {}

  ~GuardedFile() override { open_disks_.CloseFile(inode_, writes_); }

  base::Task<base::Result<uint64_t>> Read(base::IoRequest request) override {
    if (IsLive(inode_)) return Refuse(inode_);
    return ForwardingFile::Read(request);
  }

  base::Task<base::Result<uint64_t>> CopyFrom(fss::File& source, uint64_t source_offset_bytes,
                                              uint64_t offset_bytes,
                                              uint64_t length_bytes) override {
    if (IsLive(source.inode())) return Refuse(source.inode());
    return ForwardingFile::CopyFrom(source, source_offset_bytes, offset_bytes, length_bytes);
  }

 private:
  bool IsLive(fss::InodeNumber inode) const {
    const disklib::DiskHolder* const holder = open_disks_.HolderOf(inode);
    return holder != nullptr && holder->writes;
  }

  // One warning a file: a copy that goes on trying is refused many times.
  base::Task<base::Result<uint64_t>> Refuse(fss::InodeNumber inode) {
    const std::string holder = open_disks_.HolderOf(inode)->Describe();
    if (!std::exchange(has_warned_, true)) {
      base::LogWarn("disks", "refused to read on in a file of an open disk: {}", holder);
    }
    co_return base::Error(base::Code::kBusy, holder);
  }

  disklib::OpenDisks& open_disks_;
  const fss::InodeNumber inode_;
  const bool writes_;
  bool has_warned_ = false;
};

}  // namespace

base::Task<base::Status> DiskGuard::CheckFree(fss::InodeNumber inode, std::string_view what) {
  LateClose late_close(executor_, open_disks_);
  const disklib::DiskHolder* holder = open_disks_.HolderOf(inode);
  while (holder != nullptr && late_close.may_wait()) {
    co_await late_close.Wait();
    holder = open_disks_.HolderOf(inode);
  }
  if (holder == nullptr) co_return base::Ok();
  base::LogWarn("disks", "refused to {} a file of an open disk: {}", what, holder->Describe());
  co_return base::Error(base::Code::kBusy, holder->Describe());
}

base::Task<base::Status> DiskGuard::CheckNameFree(fss::InodeNumber parent, std::string_view name,
                                                  std::string_view what) {
  if (open_disks_.empty()) co_return base::Ok();
  const base::Result<fss::Attributes> found = co_await below().Lookup(parent, name);
  if (!found) co_return base::Ok();
  below().Forget(found->inode, 1);
  const base::Status checked = co_await CheckFree(found->inode, what);
  co_return checked;
}

base::Task<base::Status> DiskGuard::NoteOpen(fss::InodeNumber inode, bool writes) {
  LateClose late_close(executor_, open_disks_);
  base::Status noted = open_disks_.OpenFile(inode, writes);
  while (!noted && late_close.may_wait()) {
    co_await late_close.Wait();
    noted = open_disks_.OpenFile(inode, writes);
  }
  if (!noted) {
    base::LogWarn("disks", "refused to open a file for {}: {}", writes ? "writing" : "reading",
                  noted.error().message());
  }
  co_return noted;
}

base::Task<base::Result<fss::Attributes>> DiskGuard::SetAttributes(fss::InodeNumber inode,
                                                                   fss::AttributeChange change) {
  if (change.size_bytes) CO_TRY_STATUS(co_await CheckFree(inode, "truncate"));
  base::Result<fss::Attributes> changed = co_await below().SetAttributes(inode, change);
  co_return changed;
}

base::Task<base::Status> DiskGuard::Unlink(fss::InodeNumber parent, std::string_view name) {
  CO_TRY_STATUS(co_await CheckNameFree(parent, name, "remove"));
  const base::Status removed = co_await below().Unlink(parent, name);
  co_return removed;
}

base::Task<base::Status> DiskGuard::Rename(fss::InodeNumber from_parent, std::string_view from_name,
                                           fss::InodeNumber to_parent, std::string_view to_name,
                                           bool no_replace) {
  CO_TRY_STATUS(co_await CheckNameFree(from_parent, from_name, "rename"));
  CO_TRY_STATUS(co_await CheckNameFree(to_parent, to_name, "replace"));
  const base::Status renamed =
      co_await below().Rename(from_parent, from_name, to_parent, to_name, no_replace);
  co_return renamed;
}

base::Task<base::Result<std::unique_ptr<fss::File>>> DiskGuard::Open(fss::InodeNumber inode,
                                                                     fss::OpenMode mode) {
  const bool writes = fss::Writes(mode);
  CO_TRY_STATUS(co_await NoteOpen(inode, writes));
  base::Result<std::unique_ptr<fss::File>> opened = co_await below().Open(inode, mode);
  if (!opened) {
    open_disks_.CloseFile(inode, writes);
    co_return opened.error();
  }
  co_return std::unique_ptr<fss::File>(
      std::make_unique<GuardedFile>(std::move(*opened), open_disks_, writes));
}

}  // namespace stratad
