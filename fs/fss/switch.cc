#include "fs/fss/switch.h"

#include <utility>

#include "fs/base/check.h"

namespace fss {
namespace {

constexpr unsigned kIndexShift = 32;
constexpr InodeNumber kNumberMask = (InodeNumber{1} << kIndexShift) - 1;

InodeNumber Pack(uint64_t index, InodeNumber inode) {
  DCHECK(inode <= kNumberMask);
  return index << kIndexShift | inode;
}

base::Result<Attributes> Packed(uint64_t index, base::Result<Attributes> answer) {
  if (answer) answer->inode = Pack(index, answer->inode);
  return answer;
}

// Gives entries the numbers of the switch on their way to the caller's sink.
class SwitchSink final : public DirectorySink {
 public:
  struct View {
    uint64_t index;       // of the file system being listed
    InodeNumber dot_dot;  // what ".." of its root is; 0 elsewhere
  };

  SwitchSink(DirectorySink& sink, View view) : sink_(sink), view_(view) {}

  bool Add(const DirectoryEntry& entry) override {
    DirectoryEntry packed = entry;
    const bool leaves = view_.dot_dot != 0 && entry.name == "..";
    packed.inode = leaves ? view_.dot_dot : Pack(view_.index, entry.inode);
    return sink_.Add(packed);
  }

 private:
  DirectorySink& sink_;
  const View view_;
};

}  // namespace

Switch::Switch(DevFs& upper) : upper_(upper) {
  members_.push_back({&upper, 0, Caching::kAllowed});
}

void Switch::Graft(InodeNumber upper_directory, FileSystem& file_system, Caching caching) {
  CHECK(GraftAt(upper_directory) == 0);
  members_.push_back({&file_system, upper_directory, caching});
}

bool Switch::MayCache(InodeNumber inode) const {
  const uint64_t index = inode >> kIndexShift;
  return index < members_.size() && members_[index].caching == Caching::kAllowed;
}

bool Switch::MayCacheData(InodeNumber inode) const {
  return MayCache(inode) && inode >> kIndexShift != 0;
}

InodeNumber Switch::RootOf(const FileSystem& file_system) const {
  return NumberOf(file_system, file_system.root());
}

InodeNumber Switch::NumberOf(const FileSystem& file_system, InodeNumber inode) const {
  for (uint64_t index = 1; index < members_.size(); ++index) {
    if (members_[index].file_system == &file_system) return Pack(index, inode);
  }
  return 0;
}

uint64_t Switch::GraftAt(InodeNumber upper_inode) const {
  for (uint64_t index = 1; index < members_.size(); ++index) {
    if (members_[index].upper_directory == upper_inode) return index;
  }
  return 0;
}

base::Result<Switch::Place> Switch::PlaceOf(InodeNumber inode) const {
  const uint64_t index = inode >> kIndexShift;
  if (index >= members_.size()) return base::Code::kStale;
  return Place{members_[index].file_system, index, inode & kNumberMask};
}

base::Task<base::Result<StatFs>> Switch::GetStatFsAt(InodeNumber inode) {
  CO_TRY(const Place at, PlaceOf(inode));
  base::Result<StatFs> figures = co_await at.file_system->GetStatFs();
  co_return figures;
}

base::Task<base::Status> Switch::SyncAt(InodeNumber inode) {
  CO_TRY(const Place at, PlaceOf(inode));
  const base::Status synced = co_await at.file_system->SyncAll();
  co_return synced;
}

base::Task<base::Result<Attributes>> Switch::Lookup(InodeNumber parent, std::string_view name) {
  CO_TRY(const Place at, PlaceOf(parent));
  base::Result<Attributes> found = co_await at.file_system->Lookup(at.inode, name);
  if (!found || at.index != 0) co_return Packed(at.index, std::move(found));
  const uint64_t graft = GraftAt(found->inode);
  if (graft == 0) co_return found;
  upper_.Forget(found->inode, 1);
  FileSystem& grafted = *members_[graft].file_system;
  base::Result<Attributes> top = co_await grafted.GetAttributes(grafted.root());
  co_return Packed(graft, std::move(top));
}

void Switch::Forget(InodeNumber inode, uint64_t count) {
  const base::Result<Place> at = PlaceOf(inode);
  // A file system's root is shown without a lookup at the driver.
  if (at && at->inode != at->file_system->root()) at->file_system->Forget(at->inode, count);
}

base::Task<base::Result<Attributes>> Switch::GetAttributes(InodeNumber inode) {
  CO_TRY(const Place at, PlaceOf(inode));
  base::Result<Attributes> answer = co_await at.file_system->GetAttributes(at.inode);
  co_return Packed(at.index, std::move(answer));
}

base::Task<base::Result<Attributes>> Switch::SetAttributes(InodeNumber inode,
                                                           AttributeChange change) {
  CO_TRY(const Place at, PlaceOf(inode));
  base::Result<Attributes> answer = co_await at.file_system->SetAttributes(at.inode, change);
  co_return Packed(at.index, std::move(answer));
}

base::Task<base::Result<Attributes>> Switch::CreateFile(InodeNumber parent, std::string_view name,
                                                        NewInode attributes) {
  CO_TRY(const Place at, PlaceOf(parent));
  base::Result<Attributes> answer = co_await at.file_system->CreateFile(at.inode, name, attributes);
  co_return Packed(at.index, std::move(answer));
}

base::Task<base::Result<Attributes>> Switch::MakeDirectory(InodeNumber parent,
                                                           std::string_view name,
                                                           NewInode attributes) {
  CO_TRY(const Place at, PlaceOf(parent));
  base::Result<Attributes> answer =
      co_await at.file_system->MakeDirectory(at.inode, name, attributes);
  co_return Packed(at.index, std::move(answer));
}

base::Task<base::Result<Attributes>> Switch::MakeSymlink(InodeNumber parent, std::string_view name,
                                                         std::string_view target,
                                                         NewInode attributes) {
  CO_TRY(const Place at, PlaceOf(parent));
  base::Result<Attributes> answer =
      co_await at.file_system->MakeSymlink(at.inode, name, target, attributes);
  co_return Packed(at.index, std::move(answer));
}

base::Task<base::Result<std::string>> Switch::ReadSymlink(InodeNumber inode) {
  CO_TRY(const Place at, PlaceOf(inode));
  base::Result<std::string> target = co_await at.file_system->ReadSymlink(at.inode);
  co_return target;
}

base::Task<base::Status> Switch::Unlink(InodeNumber parent, std::string_view name) {
  CO_TRY(const Place at, PlaceOf(parent));
  const base::Status removed = co_await at.file_system->Unlink(at.inode, name);
  co_return removed;
}

base::Task<base::Status> Switch::RemoveDirectory(InodeNumber parent, std::string_view name) {
  CO_TRY(const Place at, PlaceOf(parent));
  const base::Status removed = co_await at.file_system->RemoveDirectory(at.inode, name);
  co_return removed;
}

base::Task<base::Status> Switch::Rename(InodeNumber from_parent, std::string_view from_name,
                                        InodeNumber to_parent, std::string_view to_name,
                                        bool no_replace) {
  CO_TRY(const Place from, PlaceOf(from_parent));
  CO_TRY(const Place to, PlaceOf(to_parent));
  if (from.index != to.index) co_return base::Code::kCrossDevice;
  const base::Status renamed =
      co_await from.file_system->Rename(from.inode, from_name, to.inode, to_name, no_replace);
  co_return renamed;
}

base::Task<base::Result<std::unique_ptr<File>>> Switch::Open(InodeNumber inode, OpenMode mode) {
  CO_TRY(const Place at, PlaceOf(inode));
  base::Result<std::unique_ptr<File>> opened = co_await at.file_system->Open(at.inode, mode);
  co_return opened;
}

base::Task<base::Status> Switch::ReadDirectory(InodeNumber inode, uint64_t cursor,
                                               DirectorySink& sink) {
  CO_TRY(const Place at, PlaceOf(inode));
  SwitchSink::View view{at.index, 0};
  if (at.index != 0 && at.inode == at.file_system->root()) {
    view.dot_dot = upper_.ParentOf(members_[at.index].upper_directory);
  }
  SwitchSink packing(sink, view);
  const base::Status read = co_await at.file_system->ReadDirectory(at.inode, cursor, packing);
  co_return read;
}

base::Task<base::Result<StatFs>> Switch::GetStatFs() {
  return upper_.GetStatFs();
}

base::Task<base::Status> Switch::SyncAll() {
  for (const Member& member : members_) CO_TRY_STATUS(co_await member.file_system->SyncAll());
  co_return base::Ok();
}

base::Task<base::Status> Switch::Unmount() {
  co_return base::Ok();
}

}  // namespace fss
