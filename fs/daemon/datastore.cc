#include "fs/daemon/datastore.h"

#include <climits>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "fs/daemon/posix_datastore.h"

namespace stratad {

base::Task<base::Status> OpenDatastores(base::UringExecutor& executor,
                                        std::span<const std::string> targets,
                                        DatastoreOptions options, DatastoreList& opened) {
  for (const std::string& target : targets) {
    if (PosixDatastore::IsTarget(target)) {
      CO_TRY(std::unique_ptr<Datastore> datastore, PosixDatastore::Open(executor, target, options));
      opened.push_back(std::move(datastore));
    } else {
      co_return base::Error(base::Code::kUnsupported, target + ": not a posix:FOLDER");
    }
  }
  co_return base::Ok();
}

}  // namespace stratad
