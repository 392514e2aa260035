#include "fs/daemon/commands/import_in_place.h"

#include <memory>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "disklib/names.h"
#include "fs/daemon/commands/exchange_place.h"
#include "fs/daemon/commands/unfinished_folder.h"

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
void GiveFullPaths(const ExchangeWord& target, const std::string& folder, size_t unfinished_size,
                   InPlaceMachine& machine) {
  const auto final_path = [&](const std::string& path) {
    return FullPath(target, folder + path.substr(unfinished_size));
  };
  machine.machine_path = final_path(machine.machine_path);
  for (disklib::InPlaceDisk& disk : machine.disks) {
    disk.parent = FullPath(target, disk.parent);
    disk.child = final_path(disk.child);
  }
}

Task<Result<InPlaceMachine>> Make(ExchangePlace& place, const InPlaceWords* words) {
  CO_TRY(const std::string machine_path, co_await FindMachine(place, &words->source));
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
  GiveFullPaths(words->target, folder, unfinished->path().size(), *made);
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
  if (!ShareRoot(words.source, words.target)) {
    return Error(Code::kCrossDevice,
                 fmt::format("{} lies on another volume than its source: a disk and its parent "
                             "are in one datastore",
                             target));
  }
  return base::RunSync(executor, OpenAndMake(executor, &words));
}

}  // namespace stratad
