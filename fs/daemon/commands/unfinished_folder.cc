#include "fs/daemon/commands/unfinished_folder.h"

#include <cerrno>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "disklib/names.h"

namespace stratad {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

UnfinishedFolder::UnfinishedFolder(ExchangePlace& place, std::string folder)
    : place_(place), folder_(std::move(folder)), path_(disklib::UnfinishedPath(folder_)) {}

UnfinishedFolder::~UnfinishedFolder() {
  if (descriptor_ >= 0) close(descriptor_);
}

Status UnfinishedFolder::Lock(const std::string& host_path) {
  descriptor_ = open(host_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor_ < 0) return base::ErrnoError(errno, host_path);
  if (flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return base::Ok();
  return Error(Code::kBusy, host_path + ": another import is filling it");
}

Task<Result<std::unique_ptr<UnfinishedFolder>>> UnfinishedFolder::Make(ExchangePlace& place,
                                                                       const ExchangeWord* word,
                                                                       const std::string* folder) {
  std::unique_ptr<UnfinishedFolder> made(new UnfinishedFolder(place, *folder));
  CO_TRY(const std::optional<fss::FileType> left_over, co_await place.TypeOf(&made->path_));
  if (!left_over) {
    CO_TRY_STATUS(co_await place.MakeFolder(&made->path_));
  }
  // An unmounted volume is nobody else's as it is.
  if (word->target.empty()) {
    CO_TRY_STATUS(made->Lock(word->root + "/" + made->path_));
  }
  if (left_over) {
    CO_TRY_STATUS(co_await place.EmptyFolder(&made->path_));
  }
  co_return made;
}

Task<Status> UnfinishedFolder::Keep() {
  CO_TRY_STATUS(co_await place_.RenameFolder(&path_, &folder_));
  co_return base::Ok();
}

Task<Status> UnfinishedFolder::Discard() {
  CO_TRY_STATUS(co_await place_.RemoveFolder(&path_));
  co_return base::Ok();
}

}  // namespace stratad
