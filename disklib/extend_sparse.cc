#include "disklib/extend_sparse.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "disklib/descriptor_edit.h"
#include "disklib/descriptor_store.h"
#include "disklib/names.h"
#include "disklib/new_disk.h"
#include "disklib/sparse/se_format.h"
#include "disklib/sparse/sector_io.h"
#include "fs/base/log.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

Status CheckCanGrow(const LoadedDescriptor& loaded) {
  if (loaded.descriptor.has_parent()) {
    return Error(Code::kUnsupported,
                 fmt::format("extend {}: it stands on {}: the new size belongs into a new leaf",
                             loaded.path, loaded.descriptor.parent_file_name_hint));
  }
  return base::Ok();
}

Task<Status> GrowLastFile(Lib& lib, const LoadedDescriptor* loaded, const ExtentLine* line) {
  const SparseKind kind = *SparseKindOf(line->type);
  CO_TRY(const std::unique_ptr<Object> object,
         co_await lib.backend().Open(loaded->found_paths.back(), fss::OpenMode::kExclusiveDisk));
  const Status grown = co_await GrowSparseExtent(*object, kind, line->sector_count * kSectorBytes);
  const Status closed = co_await object->Close();
  co_return grown ? closed : grown;
}

// The regions of a seSparse file are made once, for a few times the capacity it had then.
Task<Status> CheckRoom(Lib& lib, const LoadedDescriptor* loaded, const ExtentLine* line) {
  if (line->type != ExtentType::kSeSparse) co_return base::Ok();
  CO_TRY(const std::unique_ptr<Object> object,
         co_await lib.backend().Open(loaded->found_paths.back(), fss::OpenMode::kRead));
  SeSector sector;
  const Status read = co_await ReadRange(*object, 0, sector);
  const Status closed = co_await object->Close();
  if (!read) co_return read;
  if (!closed) co_return closed;
  CO_TRY(const SeHeader header, DecodeSeHeader(sector));
  const Status fits = CheckSeCapacity(header, line->sector_count * kSectorBytes);
  if (fits) co_return base::Ok();
  co_return Error(fits.error().code(),
                  fmt::format("extend {}: {}: clone it to a new disk, which then can grow",
                              loaded->path, fits.error().message()));
}

NewExtentsPlan PlanAdded(const LoadedDescriptor& loaded, const std::vector<ExtentLine>& extents) {
  NewExtentsPlan plan{.descriptor_path = loaded.path, .extents = {}};
  for (size_t i = loaded.descriptor.extents.size(); i < extents.size(); ++i) {
    plan.extents.push_back({.path = JoinPath(FolderOf(loaded.path), extents[i].file_name),
                            .size_bytes = extents[i].sector_count * kSectorBytes,
                            .sparse = SparseKindOf(extents[i].type)});
  }
  return plan;
}

// The descriptor under a new content id, still of the old size; then with the new one.
Result<std::string> MarkedText(const LoadedDescriptor& loaded, base::Random& random) {
  DescriptorEdit edit(loaded.text);
  edit.SetContentId(DrawContentId(random), random);
  edit.EndChangeTracking();
  return edit.Finish();
}

Result<std::string> GrownText(std::string_view marked_text, const std::vector<ExtentLine>& extents,
                              const Descriptor& descriptor) {
  uint64_t sector_count = 0;
  for (const ExtentLine& extent : extents) sector_count += extent.sector_count;
  const std::string* const adapter_type = descriptor.FindDatabase("ddb.adapterType");
  const Geometry geometry =
      GeometryFor(sector_count, adapter_type == nullptr ? "lsilogic" : *adapter_type);
  DescriptorEdit edit(marked_text);
  edit.SetExtents(extents);
  edit.SetDatabase("ddb.geometry.cylinders", fmt::format("{}", geometry.cylinders));
  edit.SetDatabase("ddb.geometry.heads", fmt::format("{}", geometry.heads));
  edit.SetDatabase("ddb.geometry.sectors", fmt::format("{}", geometry.sectors));
  return edit.Finish();
}

}  // namespace

std::optional<SparseKind> SparseKindOf(ExtentType type) {
  switch (type) {
    case ExtentType::kSparse: return SparseKind::kHosted;
    case ExtentType::kVmfsSparse: return SparseKind::kVmfsSparse;
    case ExtentType::kSeSparse: return SparseKind::kSeSparse;
    default: return std::nullopt;
  }
}

bool EndsSparse(const Descriptor& descriptor) {
  return SparseKindOf(descriptor.extents.back().type).has_value();
}

Task<Status> CheckSparseRoom(Lib& lib, const LoadedDescriptor* loaded, uint64_t size_bytes) {
  CO_TRY(const std::vector<ExtentLine> extents,
         PlanExtend(loaded->descriptor, NameOf(loaded->path), size_bytes / kSectorBytes));
  const size_t last = loaded->descriptor.extents.size() - 1;
  co_return co_await CheckRoom(lib, loaded, &extents[last]);
}

Task<Status> GrowSparse(Lib& lib, LoadedDescriptor& loaded, uint64_t size_bytes,
                        Progress* progress) {
  CO_TRY(const std::vector<ExtentLine> extents,
         PlanExtend(loaded.descriptor, NameOf(loaded.path), size_bytes / kSectorBytes));
  CO_TRY(const std::string grown, GrownText(loaded.text, extents, loaded.descriptor));
  const size_t last = loaded.descriptor.extents.size() - 1;
  const Status last_grown = co_await GrowLastFile(lib, &loaded, &extents[last]);
  if (!last_grown) co_return last_grown.error().Within(fmt::format("extend {}", loaded.path));
  NewExtentsPlan plan = PlanAdded(loaded, extents);
  if (!plan.extents.empty()) CO_TRY_STATUS(co_await MakeExtents(lib.backend(), plan, progress));
  CO_TRY_STATUS(co_await ReplaceDescriptor(lib.backend(), loaded.path, grown));
  co_return co_await FinishExtents(lib.backend(), loaded.path);
}

Task<Status> ExtendSparse(Lib& lib, LoadedDescriptor& loaded, uint64_t size_bytes,
                          Progress* progress) {
  CO_TRY(const Lib::PathHold hold, lib.HoldPath(loaded.path));
  CO_TRY_STATUS(Lib::CheckKind(loaded.descriptor, loaded.path));
  CO_TRY_STATUS(CheckCanGrow(loaded));
  if (size_bytes == loaded.descriptor.capacity_sectors() * kSectorBytes) {
    co_return co_await FinishExtents(lib.backend(), loaded.path);
  }
  CO_TRY_STATUS(co_await lib.CheckAlone(loaded, "extend"));
  const OpenOptions options{.writable = true, .user = "strata disk extend"};
  CO_TRY(OpenDisks::Claim claim, lib.ClaimDisk(loaded, options));
  CO_TRY_STATUS(co_await CheckSparseRoom(lib, &loaded, size_bytes));
  CO_TRY(loaded.text, MarkedText(loaded, lib.executor().random()));
  CO_TRY(const ObjectInfo info,
         co_await ReplaceDescriptor(lib.backend(), loaded.path, loaded.text));
  CO_TRY_STATUS(claim.Replace(loaded.info.id, info.id));
  CO_TRY_STATUS(co_await GrowSparse(lib, loaded, size_bytes, progress));
  base::LogInfo("disklib", "extended disk={} bytes={}", loaded.path, size_bytes);
  co_return base::Ok();
}

}  // namespace disklib
