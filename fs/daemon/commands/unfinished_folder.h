// `UnfinishedFolder`: a folder that is filled under another name, and gets its own when it is done.
//
// What a cut run left is cleared away by the next one; two runs never fill one folder. Place: under
// `strata import`. Thread rule: the executor of the place.
#pragma once

#include <memory>
#include <string>

#include "fs/base/result.h"
#include "fs/base/task.h"
#include "fs/daemon/commands/exchange_place.h"

namespace stratad {

class UnfinishedFolder {
 public:
  // Makes the folder that is to be called `folder` in the place of `word`. The place outlives it.
  // Errors: kBusy (another run is filling it), those of MakeFolder and EmptyFolder.
  static base::Task<base::Result<std::unique_ptr<UnfinishedFolder>>> Make(
      ExchangePlace& place, const ExchangeWord* word, const std::string* folder);

  UnfinishedFolder(const UnfinishedFolder&) = delete;
  UnfinishedFolder& operator=(const UnfinishedFolder&) = delete;
  ~UnfinishedFolder();

  // Where to fill it.
  const std::string& path() const { return path_; }

  // Gives it its name, durably. Errors: kExists …
  base::Task<base::Status> Keep();

  // Removes it with what is in it, as far as that can be done.
  base::Task<base::Status> Discard();

 private:
  UnfinishedFolder(ExchangePlace& place, std::string folder);

  // Errors: kBusy, those of open(2).
  base::Status Lock(const std::string& host_path);

  ExchangePlace& place_;
  std::string folder_;
  std::string path_;
  int descriptor_ = -1;  // of the host folder, locked
};

}  // namespace stratad
