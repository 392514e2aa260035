#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "disklib/check/chain_state.h"
#include "disklib/descriptor_edit.h"
#include "disklib/descriptor_lines.h"
#include "disklib/extent_places.h"
#include "disklib/names.h"
#include "disklib/sparse/hosted_format.h"

namespace disklib::check {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

bool IsFlat(ExtentType type) {
  return type == ExtentType::kFlat || type == ExtentType::kVmfs;
}

bool IsSparse(ExtentType type) {
  return type == ExtentType::kSparse || type == ExtentType::kVmfsSparse ||
         type == ExtentType::kSeSparse;
}

// One extent of a link under check.
struct Work {
  ChainLink* link = nullptr;
  size_t index = 0;
  const ExtentLine* line = nullptr;

  const std::string& path() const { return link->found_paths[index]; }
};

// Finds the extent's file, also in the middle of a rename: D3.
Task<bool> FindFile(CheckRun& run, Work& work) {
  ChainLink& link = *work.link;
  const FolderFile& file = *link.file;
  if (!file.extent_errors[work.index].empty()) {
    run.findings().Add({.id = Invariant::kD3, .text = file.extent_errors[work.index]});
    co_return false;
  }
  link.found_paths[work.index] = file.extent_paths[work.index];
  Result<ObjectInfo> info = co_await run.lib().backend().GetInfo(work.path());
  if (!info && !file.moved_paths[work.index].empty()) {
    link.found_paths[work.index] = file.moved_paths[work.index];
    info = co_await run.lib().backend().GetInfo(work.path());
  }
  if (!info) {
    link.found_paths[work.index] = file.extent_paths[work.index];
    run.findings().Add({.id = Invariant::kD3,
                        .text = fmt::format("extent {}: {}", work.line->file_name,
                                            info.error().message())});
    co_return false;
  }
  link.extent_infos[work.index] = *info;
  co_return true;
}

// Whether another link writes to the same file: D3.
void CheckUsers(CheckRun& run, const Work& work) {
  for (const FolderFile* const user : work.link->folder->UsersOf(work.path())) {
    if (user == work.link->file) continue;
    run.findings().Add({.id = Invariant::kD3,
                        .text = fmt::format("extent {} belongs to {}, too", work.path(),
                                            user->path)});
  }
}

void SetLineSectors(ChainLink& link, size_t index, uint64_t sectors) {
  const Result<Descriptor> parsed = ParseDescriptor(link.wanted);
  if (!parsed || parsed->extents.size() <= index) return;
  std::vector<ExtentLine> extents = parsed->extents;
  extents[index].sector_count = sectors;
  DescriptorEdit edit(link.wanted);
  edit.SetExtents(extents);
  link.wanted = edit.text();
}

// D5: hosted headers may round up to a whole grain; the checks of the formats allow for it.
void CheckLineSize(CheckRun& run, Work& work, uint64_t header_sectors) {
  const uint64_t line_sectors = work.line->sector_count;
  if (header_sectors == line_sectors) return;
  Found found{.id = Invariant::kD5,
              .text = fmt::format("the line of {} has {} sectors, its header {}", work.path(),
                                  line_sectors, header_sectors)};
  if (header_sectors != 0 && header_sectors <= kCapacitySectorsMax) {
    found.repair = RepairClass::kOnRequest;
    found.repair_text = fmt::format("the line gets {} sectors", header_sectors);
  }
  found.place.file = work.link->file->path;
  if (run.findings().Add(std::move(found))) {
    SetLineSectors(*work.link, work.index, header_sectors);
  }
}

// D4, and what flat files hold.
Task<Status> CheckFlatLength(CheckRun& run, Work& work, Object& object) {
  const ExtentLine& line = *work.line;
  const uint64_t end_bytes = (line.offset_sectors + line.sector_count) * kSectorBytes;
  if (object.size_bytes() >= end_bytes) co_return base::Ok();
  Found found{.id = Invariant::kD4,
              .text = fmt::format("{} has {} bytes, its line needs {}", work.path(),
                                  object.size_bytes(), end_bytes),
              .repair = RepairClass::kOnRequest,
              .repair_text = fmt::format("it becomes {} bytes long; what is missing reads as "
                                         "zeros",
                                         end_bytes)};
  found.place.file_offset_bytes = object.size_bytes();
  if (!run.findings().Add(std::move(found))) co_return base::Ok();
  CO_TRY_STATUS(co_await run.lib().backend().Resize(work.path(), end_bytes));
  co_return co_await object.Sync(/*data_only=*/false);
}

// D7: a file that lacks space is thin.
Task<Status> CheckThin(CheckRun& run, Work& work, Object& object) {
  const Descriptor& descriptor = work.link->descriptor();
  const std::string* const thin = descriptor.FindDatabase("ddb.thinProvisioned");
  const bool is_thin = (thin != nullptr && *thin == "1") ||
                       EqualsIgnoringCase(descriptor.create_type, "vmfsThin");
  if (work.line->type != ExtentType::kVmfs || is_thin) co_return base::Ok();
  const uint64_t end_bytes = std::min(object.size_bytes(), work.line->sector_count * kSectorBytes);
  const Result<uint64_t> hole = co_await object.Seek(fss::SeekKind::kHole, 0);
  if (!hole || *hole >= end_bytes) co_return base::Ok();
  // File systems of the host call space that was taken and never written a hole, too.
  CO_TRY(const ObjectInfo info, co_await run.lib().backend().GetInfo(work.path()));
  if (info.allocated_bytes >= end_bytes) co_return base::Ok();
  Found found{.id = Invariant::kD7,
              .text = fmt::format("the disk is not marked thin, but {} has a hole at byte {}",
                                  work.path(), *hole),
              .repair = RepairClass::kAutomatic,
              .repair_text = "ddb.thinProvisioned becomes 1"};
  found.place.file = work.link->file->path;
  if (!run.findings().Add(std::move(found))) co_return base::Ok();
  DescriptorEdit edit(work.link->wanted);
  edit.SetDatabase("ddb.thinProvisioned", "1");
  work.link->wanted = edit.text();
  co_return base::Ok();
}

Task<Status> CheckFlat(CheckRun& run, Work& work, Object& object) {
  work.link->held_bytes += work.line->sector_count * kSectorBytes;
  CO_TRY_STATUS(co_await CheckFlatLength(run, work, object));
  co_return co_await CheckThin(run, work, object);
}

// Whether a hosted extent is a stream of compressed grains.
Task<bool> IsStream(CheckRun& run, Object& object) {
  std::array<std::byte, kHostedHeaderBytes> head{};
  const bool was_read = co_await run.Read(object, 0, head);
  co_return was_read && base::LoadAs<HostedHeader>(head).is_compressed();
}

Task<Status> CheckSparse(CheckRun& run, Work& work, Object& object) {
  ExtentFile file{.object = &object,
                  .path = work.path(),
                  .line_sectors = work.line->sector_count,
                  .is_writable = run.findings().repairs(),
                  .take_size = {}};
  file.take_size = [&run, &work](uint64_t header_sectors) {
    CheckLineSize(run, work, header_sectors);
  };
  Status checked = base::Ok();
  if (work.line->type == ExtentType::kSeSparse) {
    checked = co_await CheckSeSparse(run, file);
  } else if (work.line->type == ExtentType::kVmfsSparse) {
    checked = co_await CheckVmfsSparse(run, file);
  } else {
    const bool is_stream = co_await IsStream(run, object);
    if (is_stream) {
      checked = co_await CheckStream(run, file);
    } else {
      checked = co_await CheckHosted(run, file);
    }
  }
  CO_TRY_STATUS(checked);
  work.link->held_bytes += file.held_bytes;
  co_return base::Ok();
}

// What cannot be opened because somebody has it is no damage.
Status ReportNotOpened(CheckRun& run, Work& work, const Error& error) {
  if (error.code() == Code::kBusy || error.code() == Code::kLockHeld) {
    if (run.findings().repairs()) return error;
    if (run.report().holder.empty()) run.report().holder = error.message();
  } else {
    run.findings().Add({.id = Invariant::kR1, .text = error.message()});
  }
  run.findings().NoteUnchecked();
  work.link->is_whole = false;
  return base::Ok();
}

// The disk that has this file open for writing, if that is not the repair itself.
const DiskHolder* WriterOf(CheckRun& run, std::string_view path, uint64_t id) {
  const DiskHolder* const holder = run.lib().OpenDisksOf(path).HolderOf(id);
  return holder != nullptr && holder->writes && !run.findings().repairs() ? holder : nullptr;
}

Task<Status> CheckOne(CheckRun& run, Work& work) {
  const bool was_found = co_await FindFile(run, work);
  if (!was_found) {
    work.link->is_whole = false;
    co_return base::Ok();
  }
  CheckUsers(run, work);
  const uint64_t id = work.link->extent_infos[work.index].id;
  if (const DiskHolder* const holder = WriterOf(run, work.path(), id)) {
    run.report().holder = holder->Describe();
    run.findings().NoteUnchecked();
    work.link->is_whole = false;
    co_return base::Ok();
  }
  if (work.line->type == ExtentType::kVmfsRdm) {
    co_return co_await CheckDevice(run, *work.link, work.index);
  }
  if (!IsFlat(work.line->type) && !IsSparse(work.line->type)) co_return base::Ok();
  const bool may_repair = run.findings().repairs() && VolumeOf(work.path()).empty();
  const fss::OpenMode mode = may_repair ? fss::OpenMode::kExclusiveDisk : fss::OpenMode::kRead;
  Result<std::unique_ptr<Object>> object = co_await run.lib().backend().Open(work.path(), mode);
  if (!object) co_return ReportNotOpened(run, work, object.error());
  run.findings().BeginFile(work.path());
  Status checked = base::Ok();
  if (IsFlat(work.line->type)) {
    checked = co_await CheckFlat(run, work, **object);
  } else {
    checked = co_await CheckSparse(run, work, **object);
  }
  const Status closed = co_await (*object)->Close();
  run.findings().BeginFile(work.link->file->path);
  CO_TRY_STATUS(checked);
  co_return closed;
}

}  // namespace

Task<Status> CheckExtents(CheckRun& run, ChainLink& link) {
  if (!link.is_usable()) co_return base::Ok();
  run.findings().BeginFile(link.file->path);
  const std::vector<ExtentLine>& extents = link.descriptor().extents;
  link.extent_infos.assign(extents.size(), {});
  link.found_paths.assign(extents.size(), {});
  for (size_t i = 0; i < extents.size(); ++i) {
    if (extents[i].type == ExtentType::kZero || extents[i].file_name.empty()) continue;
    if (NamesDeviceNode(extents[i])) {
      CO_TRY_STATUS(co_await CheckDevice(run, link, i));
      continue;
    }
    Work work{.link = &link, .index = i, .line = &extents[i]};
    CO_TRY_STATUS(co_await CheckOne(run, work));
  }
  co_return base::Ok();
}

}  // namespace disklib::check
