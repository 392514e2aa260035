#include "fs/daemon/commands/import_in_place.h"

#include <memory>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor_lines.h"
#include "disklib/names.h"
#include "disklib/vm_folder/vmx.h"
#include "fs/daemon/commands/exchange_place.h"
#include "fs/daemon/commands/unfinished_folder.h"
#include "fs/daemon/volume_names.h"

namespace stratad {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;
using disklib::InPlaceMachine;

struct InPlaceWords {
  ExchangeWord source;
  ExchangeWord target;
};

// Whether `path` is `folder` or lies in it. The root holds everything.
bool IsInside(const std::string& path, const std::string& folder) {
  return folder.empty() || path == folder || path.starts_with(folder + "/");
}

// The source as the target's disks name it: a path on the same volume, or on another one of the
// mount.
Result<std::string> NameSource(ExchangePlace& place, const InPlaceWords& words) {
  if (words.source.root == words.target.root) return words.source.path;
  const std::optional<std::string> uuid =
      place.volumes() == nullptr ? std::nullopt : place.volumes()->UuidOf(words.source.root);
  if (uuid && HasLastingUuid(*uuid)) {
    return disklib::JoinVolumePath({.volume = *uuid, .path = words.source.path});
  }
  const std::string full = FullPath(words.source, words.source.path);
  if (!uuid) return Error(Code::kNotFound, full + ": its mount does not say which volume it is");
  return Error(Code::kCrossDevice,
               fmt::format("{}: is a host folder, which has no id of its own by which disks on "
                           "another datastore could find it: copy the disks by strata import",
                           full));
}

Task<Result<std::string>> FindMachineElsewhere(ExchangePlace& place, const std::string* source) {
  if (disklib::EndsWithIgnoringCase(*source, disklib::kVmxSuffix)) co_return *source;
  Result<std::string> found = co_await disklib::FindMachineFile(place.lib().backend(), *source);
  co_return found;
}

Task<Result<std::string>> FindMachine(ExchangePlace& place, const ExchangeWord* source) {
  CO_TRY(const std::optional<fss::FileType> type, co_await place.TypeOf(&source->path));
  if (!type) co_return Error(Code::kNotFound, FullPath(*source, source->path));
  if (*type != fss::FileType::kDirectory) co_return source->path;
  Result<std::string> found = co_await disklib::FindMachineFile(place.backend(), source->path);
  co_return found;
}

// The target is the new folder, or one that gets it under the name of the old one.
Task<Result<std::string>> FindNewFolder(ExchangePlace& place, const ExchangeWord* target,
                                        const std::string* old_folder) {
  std::string folder = target->path;
  CO_TRY(std::optional<fss::FileType> type, co_await place.TypeOf(&folder));
  if (type == fss::FileType::kDirectory && folder != *old_folder) {
    folder = disklib::JoinPath(folder, disklib::NameOf(*old_folder));
    CO_TRY(type, co_await place.TypeOf(&folder));
  }
  if (IsInside(folder, *old_folder)) {
    co_return Error(Code::kInvalidArgument,
                    fmt::format("{}: lies in the machine's own folder, where nothing is written",
                                FullPath(*target, folder)));
  }
  if (type) co_return Error(Code::kExists, FullPath(*target, folder) + ": is in the way");
  co_return folder;
}

// Names everything as it is called once the folder has its name.
void GiveFullPaths(const InPlaceWords& words, const std::string& folder, size_t unfinished_size,
                   InPlaceMachine& machine) {
  const auto final_path = [&](const std::string& path) {
    return FullPath(words.target, folder + path.substr(unfinished_size));
  };
  machine.machine_path = final_path(machine.machine_path);
  for (disklib::InPlaceDisk& disk : machine.disks) {
    const auto elsewhere = disklib::SplitVolumePath(disk.parent);
    disk.parent = elsewhere ? FullPath(words.source, std::string(elsewhere->path))
                            : FullPath(words.target, disk.parent);
    disk.child = final_path(disk.child);
  }
}

Task<Result<InPlaceMachine>> Make(ExchangePlace& place, const InPlaceWords* words) {
  CO_TRY(const std::string source, NameSource(place, *words));
  const bool is_elsewhere = !disklib::VolumeOf(source).empty();
  auto finding =
      is_elsewhere ? FindMachineElsewhere(place, &source) : FindMachine(place, &words->source);
  CO_TRY(const std::string machine_path, co_await finding);
  const std::string old_folder(disklib::FolderOf(machine_path));
  CO_TRY(const std::string folder, co_await FindNewFolder(place, &words->target, &old_folder));
  CO_TRY(const std::unique_ptr<UnfinishedFolder> unfinished,
         co_await UnfinishedFolder::Make(place, &words->target, &folder));
  Result<InPlaceMachine> made =
      co_await disklib::ImportInPlace(place.lib(), machine_path, unfinished->path());
  Status kept = made ? base::Ok() : Status(made.error());
  if (kept) kept = co_await unfinished->Keep();
  if (!kept) {
    const Status discarded = co_await unfinished->Discard();
    static_cast<void>(discarded);  // the first error is the one to tell
    co_return kept.error();
  }
  GiveFullPaths(*words, folder, unfinished->path().size(), *made);
  co_return made;
}

Task<Result<InPlaceMachine>> OpenAndMake(base::UringExecutor& executor, const InPlaceWords* words) {
  CO_TRY(const std::unique_ptr<ExchangePlace> place,
         co_await ExchangePlace::Open(executor, &words->target, Access::kWrite));
  Result<InPlaceMachine> made = co_await Make(*place, words);
  const Status closed = co_await place->Close();
  if (made && !closed) co_return closed.error();
  co_return made;
}

}  // namespace

Result<InPlaceMachine> ImportMachineInPlace(base::UringExecutor& executor,
                                            const std::string& source, const std::string& target) {
  InPlaceWords words;
  TRY(words.source, ReadExchangeWord(source));
  TRY(words.target, ReadExchangeWord(target));
  const bool is_one_mount =
      !words.source.mount_point.empty() && words.source.mount_point == words.target.mount_point;
  if (!ShareRoot(words.source, words.target) && !is_one_mount) {
    return Error(Code::kCrossDevice,
                 fmt::format("{0} lies elsewhere than {1}: disks and their parents are in one "
                             "datastore, or in two of one mount: strata mount OLD NEW FOLDER",
                             target, source));
  }
  return base::RunSync(executor, OpenAndMake(executor, &words));
}

}  // namespace stratad
