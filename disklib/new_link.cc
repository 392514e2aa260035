#include "disklib/new_link.h"

#include <string>

#include <fmt/format.h>

#include "disklib/disk_size.h"
#include "disklib/extend_sparse.h"
#include "disklib/names.h"
#include "fs/base/log.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Status;
using base::Task;

// The files of a new link. A single hosted sparse file holds the descriptor, `text`.
NewExtentsPlan PlanExtents(std::string_view path, const FilledLink& link, std::string_view text) {
  NewExtentsPlan plan{
      .descriptor_path = std::string(path),
      .extents = {},
      .provisioning = link.what.provisioning,
      .grain_bytes = link.what.grain_bytes,
      .all_tables = link.what.all_tables,
      .embedded = {},
      .content = std::string(link.content),
  };
  for (const ExtentLine& line : link.descriptor.extents) {
    plan.extents.push_back({.path = JoinPath(FolderOf(path), line.file_name),
                            .size_bytes = line.sector_count * kSectorBytes,
                            .sparse = SparseKindOf(line.type)});
  }
  plan.is_stream = link.what.layout == DiskLayout::kStreamOptimized;
  if (plan.is_stream || link.what.layout == DiskLayout::kMonolithicSparse) plan.embedded = text;
  return plan;
}

// Nothing may stand under the name of a new disk, but what a cut run of the same left.
Task<Status> CheckNameFree(ObjectBackend& backend, NewExtentsPlan& plan) {
  const std::string_view path = plan.descriptor_path;
  CO_TRY(const bool exists, co_await Exists(backend, path));
  if (exists) co_return Error(Code::kExists, fmt::format("create {}: exists already", path));
  const std::string deleted_path = DeletedPath(path);
  CO_TRY(const bool is_being_deleted, co_await Exists(backend, deleted_path));
  if (!is_being_deleted) co_return base::Ok();
  co_return Error(Code::kExists,
                  fmt::format("create {}: an unfinished delete of the same name is in the way: "
                              "delete {} again first",
                              path, path));
}

// Makes the files and then the descriptor that names them.
Task<Status> MakeFiles(ObjectBackend& backend, NewExtentsPlan& plan, std::string_view text,
                       ExtentFiller* filler, Progress* progress) {
  CO_TRY_STATUS(co_await CheckNameFree(backend, plan));
  CO_TRY_STATUS(co_await MakeExtents(backend, plan, progress, filler));
  if (plan.embedded.empty()) {
    CO_TRY_STATUS(co_await backend.ReplaceContents(plan.descriptor_path, text));
  }
  co_return base::Ok();
}

}  // namespace

Task<Status> CreateFilledLink(Lib& lib, std::string_view path, FilledLink link,
                              Progress* progress) {
  CO_TRY(const std::string text, WriteDescriptor(link.descriptor));
  CO_TRY(const Lib::PathHold hold, lib.HoldPath(path));
  NewExtentsPlan plan = PlanExtents(path, link, text);
  CO_TRY(const bool has_intent, co_await HasIntent(lib.backend(), plan));
  CO_TRY(const bool exists, co_await Exists(lib.backend(), path));
  // With both there, the run before was cut at its last step.
  if (!has_intent || !exists) {
    CO_TRY_STATUS(co_await MakeFiles(lib.backend(), plan, text, link.filler, progress));
  }
  CO_TRY_STATUS(co_await FinishExtents(lib.backend(), path));
  base::LogInfo("disklib", "created disk={} bytes={} layout={} provisioning={}", path,
                link.what.size_bytes, NameOf(link.what.layout), NameOf(link.what.provisioning));
  co_return base::Ok();
}

Task<Status> CreateLink(Lib& lib, std::string_view path, NewLink what, Progress* progress) {
  CO_TRY_STATUS(CheckNewLink(path, what));
  CO_TRY(what.size_bytes, CheckDiskSize(what.size_bytes));
  if (what.layout == DiskLayout::kStreamOptimized) {
    co_return Error(Code::kUnsupported,
                    fmt::format("create {}: streamOptimized files are written once: clone a disk "
                                "to that format",
                                path));
  }
  const Descriptor descriptor = MakeDescriptor(path, what, lib.executor().random());
  const FilledLink link{.descriptor = descriptor, .what = what, .content = {}, .filler = nullptr};
  CO_TRY_STATUS(co_await CreateFilledLink(lib, path, link, progress));
  co_return base::Ok();
}

Task<Status> CreateDisk(Lib& lib, std::string_view path, NewDisk disk, Progress* progress) {
  return CreateLink(lib, path, disk, progress);
}

}  // namespace disklib
