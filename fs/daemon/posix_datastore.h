// A host folder as a datastore: the target `posix:FOLDER`.
//
// Thread rule: the executor's thread. Place in the stack: see `Datastore`.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "fs/daemon/datastore.h"
#include "fs/fss/posix_driver.h"

namespace stratad {

class PosixDatastore final : public Datastore {
 public:
  static bool IsTarget(std::string_view target) { return target.starts_with("posix:"); }

  // Blocks shortly. Errors: those of opening the folder; kUnsupported on network and FUSE file
  // systems, which includes our own mounts.
  static base::Result<std::unique_ptr<Datastore>> Open(base::UringExecutor& executor,
                                                       const std::string& target,
                                                       DatastoreOptions options);

  fss::FileSystem& file_system() override { return *file_system_; }

  const std::string& source() const override { return source_; }

  std::string kind() const override { return "posix"; }

  bool changed_by_others() const override { return true; }

  uint32_t time_step_ns() const override { return 1000; }

  void Describe(Json& figures) override;

  base::Task<base::Status> Close() override { return file_system_->Unmount(); }

 private:
  PosixDatastore(std::string source, std::unique_ptr<fss::PosixFileSystem> file_system)
      : source_(std::move(source)), file_system_(std::move(file_system)) {}

  const std::string source_;
  std::unique_ptr<fss::PosixFileSystem> file_system_;
};

}  // namespace stratad
