#include "disklib/new_extents.h"

#include <algorithm>

#include <fmt/format.h>

#include "disklib/descriptor.h"
#include "disklib/extent.h"
#include "disklib/names.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

constexpr uint64_t kAllocateStepBytes = uint64_t{1} << 30;
constexpr uint64_t kZeroStepBytes = uint64_t{16} << 20;

std::string_view WordOf(const NewExtent& extent) {
  if (!extent.sparse) return "flat";
  switch (*extent.sparse) {
    case SparseKind::kHosted: return "hosted";
    case SparseKind::kVmfsSparse: return "vmfsSparse";
    case SparseKind::kSeSparse: return "seSparse";
  }
  return "flat";
}

// The text of an intent: enough to tell a run of the same operation from any other.
std::string IntentText(const NewExtentsPlan& plan) {
  std::string text = fmt::format("# Strata: files being made for {}\nprovisioning {}\n",
                                 NameOf(plan.descriptor_path), NameOf(plan.provisioning));
  if (plan.grain_bytes != 0) text += fmt::format("grain {}\n", plan.grain_bytes);
  if (!plan.content.empty()) text += fmt::format("content {}\n", plan.content);
  for (const NewExtent& extent : plan.extents) {
    text += fmt::format("{} {} {}\n", WordOf(extent), extent.size_bytes, extent.path);
  }
  return text;
}

Task<Status> TakeSpace(Object& object, uint64_t offset_bytes, uint64_t length_bytes) {
  const Status allocated =
      co_await object.Allocate(fss::AllocateMode::kAllocate, offset_bytes, length_bytes);
  if (allocated || allocated.error().code() != Code::kUnsupported) co_return allocated;
  CO_TRY_STATUS(co_await OverwriteWithZeroes(object, offset_bytes, length_bytes));
  co_return base::Ok();
}

Task<Status> Prepare(Object& object, const NewExtent* extent, const NewExtentsPlan* plan,
                     Provisioning provisioning, Progress* progress) {
  if (plan->is_stream) co_return base::Ok();
  if (extent->sparse) {
    const NewSparseExtent shape{.kind = *extent->sparse,
                                .size_bytes = extent->size_bytes,
                                .grain_bytes = plan->grain_bytes,
                                .all_tables = plan->all_tables,
                                .descriptor = plan->embedded};
    CO_TRY_STATUS(co_await FormatSparseExtent(object, shape));
    co_return base::Ok();
  }
  CO_TRY_STATUS(co_await Provision(object, 0, extent->size_bytes, provisioning, progress));
  CO_TRY_STATUS(co_await object.Sync(/*data_only=*/false));
  co_return base::Ok();
}

// Makes one extent under its unfinished name, durable.
Task<Status> MakeUnfinished(ObjectBackend& backend, const NewExtent* extent,
                            const NewExtentsPlan* plan, Provisioning provisioning,
                            Progress* progress) {
  const std::string path = UnfinishedPath(extent->path);
  CO_TRY_STATUS(co_await RemoveIfThere(backend, path));
  CO_TRY_STATUS(co_await backend.Create(path));
  if (!extent->sparse && provisioning == Provisioning::kThin) {
    CO_TRY_STATUS(co_await backend.Resize(path, extent->size_bytes));
  }
  CO_TRY(const std::unique_ptr<Object> object, co_await backend.Open(path, fss::OpenMode::kWrite));
  const Status status = co_await Prepare(*object, extent, plan, provisioning, progress);
  const Status closed = co_await object->Close();
  if (!status) co_return status.error().Within(fmt::format("create {}", extent->path));
  co_return closed;
}

// A sparse file's length follows from what was filled in.
bool IsAsMade(const NewExtent& extent, const ObjectInfo& info) {
  return extent.sparse || info.size_bytes == extent.size_bytes;
}

// The extents that stand under their final names already, made by an earlier run.
Task<Status> FindFinished(ObjectBackend& backend, NewExtentsPlan& plan,
                          std::vector<bool>& finished) {
  CO_TRY(const bool has_intent, co_await HasIntent(backend, plan));
  for (const NewExtent& extent : plan.extents) {
    const Result<ObjectInfo> info = co_await backend.GetInfo(extent.path);
    if (!info && info.error().code() != Code::kNotFound) co_return info.error();
    finished.push_back(info.has_value());
    if (info && (!has_intent || !IsAsMade(extent, *info))) {
      co_return Error(Code::kExists, fmt::format("create {}: {} is in the way",
                                                 plan.descriptor_path, extent.path));
    }
  }
  co_return base::Ok();
}

Task<Status> MakeAllUnfinished(ObjectBackend& backend, NewExtentsPlan& plan, Progress* progress,
                               ExtentFiller* filler) {
  // An extent that holds its descriptor is complete with one rename: it needs no intent.
  if (plan.embedded.empty()) {
    const std::string intent = IntentText(plan);
    const std::string intent_path = UnfinishedPath(plan.descriptor_path);
    CO_TRY_STATUS(co_await backend.ReplaceContents(intent_path, intent));
  }
  // A filler writes all there is to write: zeros first would be written twice.
  const bool zeros_later =
      filler != nullptr && plan.provisioning == Provisioning::kEagerZeroedThick;
  const Provisioning provisioning = zeros_later ? Provisioning::kZeroedThick : plan.provisioning;
  for (const NewExtent& extent : plan.extents) {
    CO_TRY_STATUS(co_await MakeUnfinished(backend, &extent, &plan, provisioning,
                                          filler == nullptr ? progress : nullptr));
  }
  if (filler != nullptr) CO_TRY_STATUS(co_await filler->Fill(plan, progress));
  CO_TRY_STATUS(co_await backend.SyncNames());
  co_return base::Ok();
}

// What an error leaves is taken away again; what a cut leaves, the next run finds.
Task<void> RemoveUnfinished(ObjectBackend& backend, NewExtentsPlan& plan) {
  for (const NewExtent& extent : plan.extents) {
    const std::string path = UnfinishedPath(extent.path);
    const Status removed = co_await RemoveIfThere(backend, path);
    if (!removed) co_return;
  }
  const Status removed = co_await FinishExtents(backend, plan.descriptor_path);
  static_cast<void>(removed);  // the first error is the one to tell
}

}  // namespace

Task<Result<bool>> Exists(ObjectBackend& backend, std::string_view path) {
  const Result<ObjectInfo> info = co_await backend.GetInfo(path);
  if (!info && info.error().code() != Code::kNotFound) co_return info.error();
  co_return info.has_value();
}

Task<Status> RemoveIfThere(ObjectBackend& backend, std::string_view path) {
  const Status removed = co_await backend.Remove(path);
  if (!removed && removed.error().code() != Code::kNotFound) co_return removed;
  co_return base::Ok();
}

Task<Status> Provision(Object& object, uint64_t offset_bytes, uint64_t length_bytes,
                       Provisioning provisioning, Progress* progress) {
  const bool writes = provisioning == Provisioning::kEagerZeroedThick;
  const uint64_t step_bytes = writes ? kZeroStepBytes : kAllocateStepBytes;
  if (provisioning == Provisioning::kThin) co_return base::Ok();
  for (uint64_t done_bytes = 0; done_bytes < length_bytes;) {
    const uint64_t piece_bytes = std::min(step_bytes, length_bytes - done_bytes);
    CO_TRY_STATUS(co_await TakeSpace(object, offset_bytes + done_bytes, piece_bytes));
    if (writes) {
      CO_TRY_STATUS(co_await OverwriteWithZeroes(object, offset_bytes + done_bytes, piece_bytes));
    }
    done_bytes += piece_bytes;
    if (progress != nullptr && !progress->Advance(done_bytes, length_bytes)) {
      co_return Error(Code::kInterrupted, "provision: stopped");
    }
  }
  co_return base::Ok();
}

Task<Result<bool>> HasIntent(ObjectBackend& backend, NewExtentsPlan& plan) {
  if (!plan.embedded.empty()) co_return false;
  const std::string path = UnfinishedPath(plan.descriptor_path);
  const Result<std::string> text = co_await ReadObject(backend, path, kDescriptorReadBytesMax);
  if (!text && text.error().code() != Code::kNotFound) co_return text.error();
  co_return text&&* text == IntentText(plan);
}

Task<Status> MakeExtents(ObjectBackend& backend, NewExtentsPlan& plan, Progress* progress,
                         ExtentFiller* filler) {
  std::vector<bool> finished;
  CO_TRY_STATUS(co_await FindFinished(backend, plan, finished));
  // Renaming begins when all are complete: with one renamed, there is nothing left to fill.
  if (std::find(finished.begin(), finished.end(), true) == finished.end()) {
    const Status made = co_await MakeAllUnfinished(backend, plan, progress, filler);
    if (!made) {
      co_await RemoveUnfinished(backend, plan);
      co_return made.error();
    }
  }
  for (size_t i = 0; i < plan.extents.size(); ++i) {
    if (finished[i]) continue;
    const std::string& path = plan.extents[i].path;
    const std::string unfinished = UnfinishedPath(path);
    CO_TRY_STATUS(co_await backend.Rename(unfinished, path));
  }
  CO_TRY_STATUS(co_await backend.SyncNames());
  co_return base::Ok();
}

Task<Status> FinishExtents(ObjectBackend& backend, std::string_view descriptor_path) {
  const std::string intent = UnfinishedPath(descriptor_path);
  CO_TRY(const bool is_there, co_await Exists(backend, intent));
  if (!is_there) co_return base::Ok();
  CO_TRY_STATUS(co_await backend.Remove(intent));
  CO_TRY_STATUS(co_await backend.SyncNames());
  co_return base::Ok();
}

}  // namespace disklib
