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

Task<Status> ExtendSparse(Lib& lib, LoadedDescriptor& loaded, uint64_t size_bytes,
                          Progress* progress) {
  CO_TRY(const Lib::PathHold hold, lib.HoldPath(loaded.path));
  CO_TRY_STATUS(Lib::CheckKind(loaded.descriptor, loaded.path));
  CO_TRY_STATUS(CheckCanGrow(loaded));
  CO_TRY(const std::vector<ExtentLine> extents,
         PlanExtend(loaded.descriptor, NameOf(loaded.path), size_bytes / kSectorBytes));
  if (extents == loaded.descriptor.extents) {
    co_return co_await FinishExtents(lib.backend(), loaded.path);
  }
  CO_TRY_STATUS(co_await lib.CheckAlone(loaded, "extend"));
  const OpenOptions options{.writable = true, .user = "strata disk extend"};
  CO_TRY(OpenDisks::Claim claim, lib.ClaimDisk(loaded, options));
  CO_TRY(const std::string marked, MarkedText(loaded, lib.executor().random()));
  CO_TRY(const std::string grown, GrownText(marked, extents, loaded.descriptor));
  CO_TRY(const ObjectInfo info, co_await ReplaceDescriptor(lib.backend(), loaded.path, marked));
  CO_TRY_STATUS(claim.Replace(loaded.info.id, info.id));
  const size_t last = loaded.descriptor.extents.size() - 1;
  const Status last_grown = co_await GrowLastFile(lib, &loaded, &extents[last]);
  if (!last_grown) co_return last_grown.error().Within(fmt::format("extend {}", loaded.path));
  NewExtentsPlan plan = PlanAdded(loaded, extents);
  if (!plan.extents.empty()) CO_TRY_STATUS(co_await MakeExtents(lib.backend(), plan, progress));
  CO_TRY_STATUS(co_await ReplaceDescriptor(lib.backend(), loaded.path, grown));
  CO_TRY_STATUS(co_await FinishExtents(lib.backend(), loaded.path));
  base::LogInfo("disklib", "extended disk={} bytes={}", loaded.path, size_bytes);
  co_return base::Ok();
}

}  // namespace disklib
