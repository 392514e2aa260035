#include "disklib/file_backend.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "disklib/names.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

constexpr int kLinksFollowedMax = 40;

// An inode whose lookup count this object has raised, and takes back when it goes.
class LookedUp {
 public:
  LookedUp(fss::FileSystem& file_system, const fss::Attributes& attributes)
      : file_system_(&file_system), attributes_(attributes) {}

  LookedUp(LookedUp&& other) noexcept
      : file_system_(std::exchange(other.file_system_, nullptr)), attributes_(other.attributes_) {}

  LookedUp& operator=(LookedUp&& other) noexcept {
    std::swap(file_system_, other.file_system_);
    std::swap(attributes_, other.attributes_);
    return *this;
  }

  ~LookedUp() {
    if (file_system_ != nullptr) file_system_->Forget(attributes_.inode, 1);
  }

  const fss::Attributes& attributes() const { return attributes_; }

  fss::InodeNumber inode() const { return attributes_.inode; }

 private:
  fss::FileSystem* file_system_;
  fss::Attributes attributes_;
};

ObjectInfo InfoOf(const fss::Attributes& attributes) {
  return {.id = attributes.inode,
          .size_bytes = attributes.size_bytes,
          .allocated_bytes = attributes.allocated_bytes,
          .modified_us = attributes.modified_us};
}

// The same once the whole content has been replaced.
ObjectInfo InfoOf(const fss::Attributes& attributes, uint64_t size_bytes) {
  ObjectInfo info = InfoOf(attributes);
  info.size_bytes = size_bytes;
  return info;
}

// Collects one batch of a directory.
class EntryBatch : public fss::DirectorySink {
 public:
  bool Add(const fss::DirectoryEntry& entry) override {
    cursor_ = entry.next_cursor;
    ++count_;
    if (entry.type == fss::FileType::kRegular) {
      files_.emplace_back(std::string(entry.name), entry.inode);
    }
    return true;
  }

  // Whether anything came since the last call.
  bool TakeProgress() { return std::exchange(count_, 0) != 0; }

  uint64_t cursor() const { return cursor_; }

  const std::vector<std::pair<std::string, uint64_t>>& files() const { return files_; }

 private:
  std::vector<std::pair<std::string, uint64_t>> files_;
  uint64_t cursor_ = 0;
  uint64_t count_ = 0;
};

}  // namespace

// Where a path has led: the folders on the way, the last name, and what stands there, if anything.
struct FileBackend::Place {
  std::vector<LookedUp> folders;  // below the root
  std::string name;
  std::optional<LookedUp> target;
  fss::InodeNumber root = 0;
  int links_followed_count = 0;

  fss::InodeNumber parent() const { return folders.empty() ? root : folders.back().inode(); }
};

// Takes one name off `rest` and goes there.
Task<Status> FileBackend::Step(Place& place, std::string& rest, bool follow_link) {
  place.name = rest.substr(0, rest.find('/'));
  rest.erase(0, std::min(place.name.size() + 1, rest.size()));
  place.target.reset();
  if (place.name.empty() || place.name == ".") co_return base::Ok();
  if (place.name == "..") {
    if (place.folders.empty()) {
      co_return Error(Code::kNotPermitted, "the path leads out of the datastore");
    }
    place.folders.pop_back();
    co_return base::Ok();
  }
  const Result<fss::Attributes> found = co_await file_system_.Lookup(place.parent(), place.name);
  if (!found && found.error().code() == Code::kNotFound && rest.empty()) co_return base::Ok();
  if (!found) co_return found.error();
  LookedUp inode(file_system_, *found);
  if (found->type == fss::FileType::kSymlink && (follow_link || !rest.empty())) {
    if (++place.links_followed_count > kLinksFollowedMax) co_return Error(Code::kLoop);
    CO_TRY(const std::string target, co_await file_system_.ReadSymlink(inode.inode()));
    if (target.starts_with('/')) {
      co_return Error(Code::kNotPermitted,
                      fmt::format("{} is a link out of the datastore ({})", place.name, target));
    }
    rest = rest.empty() ? target : fmt::format("{}/{}", target, rest);
    co_return base::Ok();
  }
  if (!rest.empty() && found->type != fss::FileType::kDirectory) {
    co_return Error(Code::kNotDirectory);
  }
  if (rest.empty()) {
    place.target.emplace(std::move(inode));
  } else {
    place.folders.push_back(std::move(inode));
  }
  co_return base::Ok();
}

Task<Result<FileBackend::Place>> FileBackend::Find(std::string_view path, bool follow_last_link) {
  Place place;
  place.root = file_system_.root();
  std::string rest(path);
  while (!rest.empty()) {
    const Status stepped = co_await Step(place, rest, follow_last_link);
    if (!stepped) co_return stepped.error().Within(path);
    if (rest.size() > kPathBytesMax) co_return Error(Code::kNameTooLong, std::string(path));
  }
  co_return place;
}

Task<Result<FileBackend::Place>> FileBackend::FindExisting(std::string_view path) {
  CO_TRY(Place place, co_await Find(path, /*follow_last_link=*/true));
  if (!place.target) {
    co_return Error(Code::kNotFound, fmt::format("{}: no such file", path));
  }
  if (place.target->attributes().type == fss::FileType::kDirectory) {
    co_return Error(Code::kIsDirectory, fmt::format("{}: is a folder", path));
  }
  co_return place;
}

Task<Result<ObjectInfo>> FileBackend::Create(std::string_view path) {
  CO_TRY(const Place place, co_await Find(path, /*follow_last_link=*/false));
  if (place.target) co_return Error(Code::kExists, fmt::format("{}: exists already", path));
  const Result<fss::Attributes> made =
      co_await file_system_.CreateFile(place.parent(), place.name, new_files_);
  if (!made) co_return made.error().Within(path);
  const LookedUp inode(file_system_, *made);
  co_return InfoOf(inode.attributes());
}

Task<Result<std::unique_ptr<Object>>> FileBackend::Open(std::string_view path, fss::OpenMode mode) {
  CO_TRY(const Place place, co_await FindExisting(path));
  Result<std::unique_ptr<Object>> opened = co_await file_system_.Open(place.target->inode(), mode);
  if (!opened) co_return opened.error().Within(path);
  co_return opened;
}

Task<Result<ObjectInfo>> FileBackend::GetInfo(std::string_view path) {
  CO_TRY(const Place place, co_await FindExisting(path));
  co_return InfoOf(place.target->attributes());
}

Task<Status> FileBackend::Resize(std::string_view path, uint64_t size_bytes) {
  CO_TRY(const Place place, co_await FindExisting(path));
  fss::AttributeChange change;
  change.size_bytes = size_bytes;
  const Result<fss::Attributes> changed =
      co_await file_system_.SetAttributes(place.target->inode(), change);
  if (!changed) co_return changed.error().Within(path);
  co_return base::Ok();
}

// Leaves a complete, durable file `name`, or none.
Task<Result<ObjectInfo>> FileBackend::WriteReplacement(fss::InodeNumber parent,
                                                       std::string_view name,
                                                       std::string_view contents,
                                                       fss::NewInode attributes) {
  const Status unlinked = co_await file_system_.Unlink(parent, name);  // what a cut left behind
  if (!unlinked && unlinked.error().code() != Code::kNotFound) co_return unlinked.error();
  CO_TRY(const fss::Attributes made, co_await file_system_.CreateFile(parent, name, attributes));
  const LookedUp inode(file_system_, made);
  CO_TRY(const std::unique_ptr<fss::File> file,
         co_await file_system_.Open(inode.inode(), fss::OpenMode::kWrite));
  Status status = co_await WriteWhole(*file, 0, contents);
  if (status) status = co_await file->Sync(/*data_only=*/false);
  const Status closed = co_await file->Close();
  if (status) status = closed;
  if (status) co_return InfoOf(inode.attributes(), contents.size());
  const Status removed = co_await file_system_.Unlink(parent, name);
  static_cast<void>(removed);  // the first error is the one to tell; the rest is found next time
  co_return status.error();
}

// Whether the file system replaced the contents in place; false when it cannot.
Task<Result<bool>> FileBackend::ReplaceInPlace(fss::InodeNumber inode, std::string_view contents) {
  const fss::Replacement replacement{inode, contents};
  const Status replaced = co_await file_system_.ReplaceContents(std::span(&replacement, 1));
  if (replaced) co_return true;
  const Code code = replaced.error().code();
  if (code == Code::kUnsupported || code == Code::kTooLarge) co_return false;
  co_return replaced.error();
}

Task<Status> FileBackend::ReplaceTogether(std::span<const ObjectReplacement> replacements) {
  std::vector<Place> places;  // keep the files looked up
  std::vector<fss::Replacement> contents;
  for (const ObjectReplacement& replacement : replacements) {
    CO_TRY(Place place, co_await FindExisting(replacement.path));
    contents.push_back({place.target->inode(), replacement.contents});
    places.push_back(std::move(place));
  }
  const Status replaced = co_await file_system_.ReplaceContents(contents);
  if (replaced || replacements.empty()) co_return replaced;
  co_return replaced.error().Within(replacements.front().path);
}

Task<Result<ObjectInfo>> FileBackend::ReplaceContents(std::string_view path,
                                                      std::string_view contents) {
  CO_TRY(const Place place, co_await Find(path, /*follow_last_link=*/true));
  if (place.target && place.target->attributes().type == fss::FileType::kRegular) {
    const Result<bool> in_place = co_await ReplaceInPlace(place.target->inode(), contents);
    if (!in_place) co_return in_place.error().Within(path);
    if (*in_place) co_return InfoOf(place.target->attributes(), contents.size());
  }
  fss::NewInode attributes = new_files_;
  if (place.target) {
    const fss::Attributes& old = place.target->attributes();
    attributes = {.mode = old.mode, .uid = old.uid, .gid = old.gid};
  }
  const std::string replacement(NameOf(ReplacementPath(place.name)));
  const Result<ObjectInfo> info =
      co_await WriteReplacement(place.parent(), replacement, contents, attributes);
  if (!info) co_return info.error().Within(path);
  const Status renamed = co_await file_system_.Rename(place.parent(), replacement, place.parent(),
                                                      place.name, /*no_replace=*/false);
  if (!renamed) co_return renamed.error().Within(path);
  const Status synced = co_await file_system_.SyncAll();
  if (!synced) co_return synced.error().Within(path);
  co_return info;
}

Task<Status> FileBackend::Remove(std::string_view path) {
  CO_TRY(const Place place, co_await Find(path, /*follow_last_link=*/false));
  const Status removed = co_await file_system_.Unlink(place.parent(), place.name);
  if (!removed) co_return removed.error().Within(path);
  co_return base::Ok();
}

Task<Status> FileBackend::Rename(std::string_view from, std::string_view to) {
  return Move(from, to, /*no_replace=*/true);
}

Task<Status> FileBackend::Replace(std::string_view from, std::string_view to) {
  return Move(from, to, /*no_replace=*/false);
}

Task<Status> FileBackend::Move(std::string_view from, std::string_view to, bool no_replace) {
  CO_TRY(const Place source, co_await Find(from, /*follow_last_link=*/false));
  CO_TRY(const Place target, co_await Find(to, /*follow_last_link=*/false));
  const Status renamed = co_await file_system_.Rename(source.parent(), source.name, target.parent(),
                                                      target.name, no_replace);
  if (!renamed) co_return renamed.error().Within(fmt::format("{} to {}", from, to));
  co_return base::Ok();
}

Task<Status> FileBackend::List(std::string_view folder, ObjectSink& sink) {
  CO_TRY(const Place place, co_await Find(folder, /*follow_last_link=*/true));
  const fss::InodeNumber inode = place.target ? place.target->inode() : place.parent();
  EntryBatch batch;
  do {
    const Status read = co_await file_system_.ReadDirectory(inode, batch.cursor(), batch);
    if (!read) co_return read.error().Within(folder);
  } while (batch.TakeProgress());
  for (const auto& [name, id] : batch.files()) sink.Add({.name = name, .id = id});
  co_return base::Ok();
}

Task<Result<ObjectSpace>> FileBackend::GetSpace() {
  CO_TRY(const fss::StatFs stat, co_await file_system_.GetStatFs());
  const uint64_t block_bytes = std::bit_ceil(std::max<uint64_t>(stat.block_size_bytes, 512));
  co_return ObjectSpace{.free_bytes = stat.blocks_free * stat.block_size_bytes,
                        .block_bytes = block_bytes};
}

Task<Result<ObjectInfo>> FileBackend::MakeDeviceMap(std::string_view path, fss::RawDevice device) {
  CO_TRY(const Place place, co_await Find(path, /*follow_last_link=*/false));
  if (place.target) co_return Error(Code::kExists, fmt::format("{}: exists already", path));
  const Result<fss::Attributes> made =
      co_await file_system_.MakeRawDeviceMap(place.parent(), place.name, device, new_files_);
  if (!made) co_return made.error().Within(path);
  const LookedUp inode(file_system_, *made);
  co_return InfoOf(inode.attributes());
}

Task<Result<std::string>> FileBackend::GetDeviceId(std::string_view path) {
  CO_TRY(const Place place, co_await FindExisting(path));
  Result<std::string> id = co_await file_system_.GetRawDeviceId(place.target->inode());
  if (!id) co_return id.error().Within(path);
  co_return id;
}

}  // namespace disklib
