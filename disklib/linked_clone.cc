#include "disklib/linked_clone.h"

#include <memory>
#include <string>

#include <fmt/format.h>

#include "disklib/children.h"
#include "disklib/device_map.h"
#include "disklib/traits.h"
#include "fs/base/log.h"

namespace disklib {
namespace {

using base::Result;
using base::Status;
using base::Task;

// Of the disk that the clone stands on: the parent's own descriptor may be a snapshot's.
Task<Result<std::string>> AdapterOfDisk(Lib& lib, std::string_view parent_path,
                                        std::string_view user) {
  const OpenOptions options{.writable = false, .user = user};
  CO_TRY(const std::unique_ptr<Chain> chain, co_await lib.Open(parent_path, options));
  std::string adapter_type(AdapterOf(TraitsOf(*chain)));
  const Status closed = co_await chain->Close();
  if (!closed) co_return closed.error();
  co_return adapter_type;
}

}  // namespace

Task<Result<LinkedCloneResult>> CreateLinkedClone(Lib& lib, std::string_view parent_path,
                                                  std::string_view path,
                                                  LinkedCloneOptions options) {
  CO_TRY(const std::string adapter_type, co_await AdapterOfDisk(lib, parent_path, options.user));
  CO_TRY(const LoadedDescriptor parent, co_await lib.Load(parent_path, /*need_extents=*/true));
  CO_TRY_STATUS(CheckNotPhysical(parent.descriptor, parent.path, "link a clone to"));
  const OpenOptions open_options{.writable = false, .user = options.user};
  // Nobody begins to write to the parent while the child is being made.
  CO_TRY(const OpenDisks::Claim claim, lib.ClaimDisk(parent, open_options));
  const Descriptor& above = parent.descriptor;
  const NewLink what{.size_bytes = above.capacity_sectors() * kSectorBytes,
                     .layout = options.layout,
                     .adapter_type = adapter_type,
                     .grain_bytes = options.grain_bytes,
                     .all_tables = options.all_tables,
                     .parent_path = parent.path,
                     .parent_content_id = above.content_id};
  CO_TRY_STATUS(CheckNewLink(path, what));
  CO_TRY_STATUS(co_await RegisterChild(lib.backend(), parent.path, path));
  const Status made = co_await CreateLink(lib, path, what, nullptr);
  if (!made) {
    const Status taken_back = co_await DropStaleChildren(lib.backend(), parent.path);
    static_cast<void>(
        taken_back);  // a stale entry does no harm; the first error is the one to tell
    co_return made.error();
  }
  base::LogInfo("disklib", "linked clone disk={} parent={}", path, parent.path);
  co_return LinkedCloneResult{.path = std::string(path),
                              .parent_path = parent.path,
                              .content_id = FormatContentId(above.content_id),
                              .size_bytes = what.size_bytes};
}

}  // namespace disklib
