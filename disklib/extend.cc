#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "disklib/descriptor_edit.h"
#include "disklib/disk_size.h"
#include "disklib/extend_leaf.h"
#include "disklib/extend_sparse.h"
#include "disklib/names.h"
#include "disklib/operations.h"
#include "fs/base/log.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

// One extend, from its plan to the opened chain.
struct Growth {
  LoadedDescriptor loaded;          // as it was
  std::vector<ExtentLine> extents;  // as it will be
  Provisioning provisioning = Provisioning::kThin;

  size_t last_index() const { return loaded.descriptor.extents.size() - 1; }
};

// Bytes behind the old end are nobody's, and may hold anything.
Task<Status> ClearStale(Object& object, uint64_t offset_bytes, uint64_t length_bytes,
                        Provisioning provisioning) {
  if (provisioning == Provisioning::kThin) {
    const Status punched =
        co_await object.Allocate(fss::AllocateMode::kPunchHole, offset_bytes, length_bytes);
    if (punched || punched.error().code() != Code::kUnsupported) co_return punched;
  }
  CO_TRY_STATUS(co_await ZeroRange(object, offset_bytes, length_bytes));
  co_return base::Ok();
}

Task<Status> FillGrowth(Object& object, const ObjectInfo* info, uint64_t from_bytes,
                        uint64_t to_bytes, Provisioning provisioning, Progress* progress) {
  if (info->size_bytes > from_bytes) {
    const uint64_t stale_bytes = std::min(info->size_bytes, to_bytes) - from_bytes;
    CO_TRY_STATUS(co_await ClearStale(object, from_bytes, stale_bytes, provisioning));
  }
  CO_TRY_STATUS(
      co_await Provision(object, from_bytes, to_bytes - from_bytes, provisioning, progress));
  CO_TRY_STATUS(co_await object.Sync(/*data_only=*/false));
  co_return base::Ok();
}

// Makes the file of the last extent longer. A cut leaves a file longer than its line: still valid.
Task<Status> GrowLastFile(Lib& lib, Growth& growth, Progress* progress) {
  const size_t index = growth.last_index();
  const ExtentLine& old_line = growth.loaded.descriptor.extents[index];
  const uint64_t start_bytes = old_line.offset_sectors * kSectorBytes;
  const uint64_t from_bytes = start_bytes + old_line.sector_count * kSectorBytes;
  const uint64_t to_bytes = start_bytes + growth.extents[index].sector_count * kSectorBytes;
  if (from_bytes == to_bytes) co_return base::Ok();
  const std::string_view path = growth.loaded.found_paths[index];
  const ObjectInfo& info = growth.loaded.extent_infos[index];
  if (info.size_bytes < to_bytes) CO_TRY_STATUS(co_await lib.backend().Resize(path, to_bytes));
  CO_TRY(const std::unique_ptr<Object> object,
         co_await lib.backend().Open(path, fss::OpenMode::kWrite));
  const Status filled =
      co_await FillGrowth(*object, &info, from_bytes, to_bytes, growth.provisioning, progress);
  const Status closed = co_await object->Close();
  co_return filled ? closed : filled;
}

NewExtentsPlan PlanAddedExtents(const Growth& growth) {
  const std::string& path = growth.loaded.path;
  NewExtentsPlan plan{.descriptor_path = path, .extents = {}, .provisioning = growth.provisioning};
  for (size_t i = growth.last_index() + 1; i < growth.extents.size(); ++i) {
    plan.extents.push_back({.path = JoinPath(FolderOf(path), growth.extents[i].file_name),
                            .size_bytes = growth.extents[i].sector_count * kSectorBytes});
  }
  return plan;
}

// The descriptor with the new extents and the geometry that goes with them.
Result<std::string> GrownText(const Growth& growth) {
  uint64_t sector_count = 0;
  for (const ExtentLine& extent : growth.extents) sector_count += extent.sector_count;
  const std::string* const adapter_type = growth.loaded.descriptor.FindDatabase("ddb.adapterType");
  const Geometry geometry =
      GeometryFor(sector_count, adapter_type == nullptr ? "lsilogic" : *adapter_type);
  DescriptorEdit edit(growth.loaded.text);
  edit.SetExtents(growth.extents);
  edit.SetDatabase("ddb.geometry.cylinders", fmt::format("{}", geometry.cylinders));
  edit.SetDatabase("ddb.geometry.heads", fmt::format("{}", geometry.heads));
  edit.SetDatabase("ddb.geometry.sectors", fmt::format("{}", geometry.sectors));
  return edit.Finish();
}

// Takes the longer disk over into the open chain.
Task<Status> AdoptGrowth(Lib& lib, Chain& chain, Growth& growth) {
  CO_TRY(LoadedDescriptor grown, co_await lib.Load(growth.loaded.path, /*need_extents=*/true));
  std::vector<std::unique_ptr<Extent>> added;
  Status status = base::Ok();
  for (size_t i = growth.last_index() + 1; i < grown.extent_infos.size() && status; ++i) {
    status = chain.claim().Add(grown.extent_infos[i].id);
    if (!status) break;
    Result<std::unique_ptr<Extent>> opened = co_await lib.OpenExtent(grown, i, /*writable=*/true);
    if (opened) {
      added.push_back(*std::move(opened));
    } else {
      status = opened.error();
    }
  }
  if (status) {
    const ExtentLine& last = grown.descriptor.extents[growth.last_index()];
    chain.GrowTop(last.sector_count * kSectorBytes, std::move(added));
    co_return base::Ok();
  }
  for (const auto& extent : added) {
    const Status closed = co_await extent->Close();
    static_cast<void>(closed);  // the first error is the one to tell
  }
  co_return status;
}

Task<Status> Grow(Lib& lib, Chain& chain, Growth& growth, Progress* progress) {
  CO_TRY(const std::string text, GrownText(growth));
  NewExtentsPlan plan = PlanAddedExtents(growth);
  CO_TRY_STATUS(co_await GrowLastFile(lib, growth, progress));
  if (!plan.extents.empty()) CO_TRY_STATUS(co_await MakeExtents(lib.backend(), plan, progress));
  CO_TRY_STATUS(co_await chain.StoreDescriptor(text));
  CO_TRY_STATUS(co_await AdoptGrowth(lib, chain, growth));
  CO_TRY_STATUS(co_await FinishExtents(lib.backend(), growth.loaded.path));
  co_return base::Ok();
}

}  // namespace

Task<Status> ExtendChain(Lib& lib, Chain& chain, ExtendOptions options, Progress* progress) {
  CO_TRY(const uint64_t size_bytes, CheckDiskSize(options.size_bytes));
  if (chain.top().descriptor().has_parent()) {
    co_return co_await ExtendByLeaf(lib, chain, size_bytes, progress);
  }
  CO_TRY(const Lib::PathHold hold, lib.HoldPath(chain.name()));
  Growth growth;
  CO_TRY(growth.extents,
         PlanExtend(chain.top().descriptor(), NameOf(chain.name()), size_bytes / kSectorBytes));
  if (EndsSparse(chain.top().descriptor()) && size_bytes != chain.size_bytes()) {
    co_return Error(Code::kBusy, fmt::format("extend {}: it is in use ({}), and {} extents grow "
                                             "while nobody has the disk open",
                                             chain.name(), chain.claim().holder().user,
                                             NameOf(growth.extents.back().type)));
  }
  if (size_bytes == chain.size_bytes()) {
    // At most the last step of an earlier run is missing.
    CO_TRY_STATUS(co_await FinishExtents(lib.backend(), chain.name()));
    co_return base::Ok();
  }
  co_await chain.drain().AcquireExclusive();
  const base::ExclusiveGuard alone(chain.drain());
  // A longer disk is other content: the id changes first.
  CO_TRY_STATUS(co_await chain.MarkContent());
  CO_TRY(growth.loaded, co_await lib.Load(chain.name(), /*need_extents=*/true));
  const bool is_thin = growth.loaded.is_thin();
  growth.provisioning =
      options.provisioning.value_or(is_thin ? Provisioning::kThin : Provisioning::kZeroedThick);
  const Status grown = co_await Grow(lib, chain, growth, progress);
  if (!grown) co_return grown.error().Within(fmt::format("extend {}", chain.name()));
  base::LogInfo("disklib", "extended disk={} bytes={}", chain.name(), size_bytes);
  co_return base::Ok();
}

}  // namespace disklib
