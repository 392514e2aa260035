#include "disklib/vm_folder/records.h"

#include <algorithm>

#include <fmt/format.h>

#include "disklib/names.h"
#include "disklib/new_extents.h"
#include "disklib/snapshot_record.h"
#include "disklib/vm_folder/vm_state.h"
#include "disklib/vm_folder/vmsd.h"
#include "disklib/vm_folder/vmx.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

// "vm/a.vmdk" and ".vmsd" -> "vm/a.vmsd".
std::string Beside(std::string_view path, std::string_view suffix) {
  path.remove_suffix(kDescriptorSuffix.size());
  return fmt::format("{}{}", path, suffix);
}

// Whether a name of a record in `folder` means `path`.
bool Means(std::string_view folder, std::string_view name, std::string_view path) {
  const Result<std::string> resolved = ResolveName(folder, name);
  return resolved && *resolved == path;
}

// The record that is named after the disk and no VM's; empty: there is none.
Task<Result<std::string>> LoneRecordOf(Lib& lib, std::string_view path) {
  const std::string record_path = Beside(path, kVmsdSuffix);
  const std::string vmx_path = Beside(path, kVmxSuffix);
  CO_TRY(const bool is_there, co_await Exists(lib.backend(), record_path));
  CO_TRY(const bool is_of_vm, co_await Exists(lib.backend(), vmx_path));
  co_return is_there && !is_of_vm ? record_path : std::string();
}

struct VmxFile {
  std::string text;
  Vmx vmx;
};

Task<Result<VmxFile>> ReadVmx(Lib& lib, std::string_view path) {
  VmxFile file;
  CO_TRY(file.text, co_await ReadObject(lib.backend(), path, Dictionary::kBytesMax));
  Result<Vmx> vmx = Vmx::Parse(file.text);
  if (!vmx) co_return vmx.error().Within(std::string(path));
  file.vmx = *std::move(vmx);
  co_return file;
}

Task<Status> RenameInVmx(Lib& lib, std::string_view vmx_path, std::string_view from,
                         std::string_view to) {
  CO_TRY(VmxFile file, co_await ReadVmx(lib, vmx_path));
  const std::string_view folder = FolderOf(vmx_path);
  const std::vector<VmxDisk> disks = file.vmx.disks();
  for (const VmxDisk& disk : disks) {
    if (!Means(folder, disk.file_name, from)) continue;
    CO_TRY_STATUS(file.vmx.SetFileName(disk.node, RelativeName(folder, to)));
  }
  if (file.vmx.disks() == disks) co_return base::Ok();
  const std::string text = file.vmx.Text();
  CO_TRY_STATUS(co_await lib.backend().ReplaceContents(vmx_path, text));
  co_return base::Ok();
}

Task<Result<SnapshotList>> ReadList(Lib& lib, std::string_view path) {
  CO_TRY(const std::string text, co_await ReadObject(lib.backend(), path, Dictionary::kBytesMax));
  Result<SnapshotList> list = ParseSnapshotList(text);
  if (!list) co_return list.error().Within(std::string(path));
  co_return list;
}

Task<Status> StoreIfChanged(Lib& lib, std::string_view path, const SnapshotList* old,
                            SnapshotList& list) {
  if (list == *old) co_return base::Ok();
  const std::string text = WriteSnapshotList(list);
  CO_TRY_STATUS(co_await lib.backend().ReplaceContents(path, text));
  co_return base::Ok();
}

// Every name in a list.
std::vector<std::string*> NamesOf(SnapshotList& list) {
  std::vector<std::string*> names;
  for (std::string& name : list.current_disks) names.push_back(&name);
  for (Snapshot& snapshot : list.snapshots) {
    for (SnapshotDisk& disk : snapshot.disks) names.push_back(&disk.file_name);
  }
  if (!list.unfinished_delete) return names;
  for (std::string& name : list.unfinished_delete->children) names.push_back(&name);
  return names;
}

Task<Status> RenameInVmsd(Lib& lib, std::string_view path, std::string_view from,
                          std::string_view to, bool moves_along) {
  CO_TRY(const SnapshotRecord held, SnapshotRecord::Hold(lib, path));
  CO_TRY(const SnapshotList old, co_await ReadList(lib, path));
  SnapshotList list = old;
  for (std::string* const name : NamesOf(list)) {
    if (!Means(FolderOf(path), *name, from)) continue;
    *name = moves_along ? std::string(NameOf(to)) : RelativeName(FolderOf(path), to);
  }
  co_return co_await StoreIfChanged(lib, path, &old, list);
}

Task<Status> ForgetInVmsd(Lib& lib, std::string_view path, std::string_view gone_path) {
  CO_TRY(const SnapshotRecord held, SnapshotRecord::Hold(lib, path));
  const Result<SnapshotList> old = co_await ReadList(lib, path);
  if (!old) co_return base::Ok();
  const auto is_gone = [&](const std::string& name) {
    return Means(FolderOf(path), name, gone_path);
  };
  SnapshotList list = *old;
  std::erase_if(list.current_disks, is_gone);
  for (Snapshot& snapshot : list.snapshots) {
    std::erase_if(snapshot.disks, [&](const SnapshotDisk& d) { return is_gone(d.file_name); });
  }
  if (list.unfinished_delete) std::erase_if(list.unfinished_delete->children, is_gone);
  co_return co_await StoreIfChanged(lib, path, &*old, list);
}

}  // namespace

Task<Status> CheckRecordsCanFollow(Lib& lib, std::string_view from, std::string_view to) {
  const std::string_view folder = FolderOf(from);
  CO_TRY(const std::vector<std::string> vmx_names, co_await ListNames(lib, folder, kVmxSuffix));
  for (const std::string& name : vmx_names) {
    const std::string path = JoinPath(folder, name);
    CO_TRY([[maybe_unused]] const VmxFile file, co_await ReadVmx(lib, path));
  }
  CO_TRY(const std::vector<std::string> vmsd_names, co_await ListNames(lib, folder, kVmsdSuffix));
  for (const std::string& name : vmsd_names) {
    const std::string path = JoinPath(folder, name);
    CO_TRY([[maybe_unused]] const SnapshotList list, co_await ReadList(lib, path));
  }
  CO_TRY(const std::string record_path, co_await LoneRecordOf(lib, from));
  if (record_path.empty()) co_return base::Ok();
  const std::string target = Beside(to, kVmsdSuffix);
  CO_TRY(const bool is_taken, co_await Exists(lib.backend(), target));
  if (!is_taken) co_return base::Ok();
  co_return Error(Code::kExists,
                  fmt::format("rename {} to {}: {} is in the way", from, to, target));
}

Task<Status> RenameInRecords(Lib& lib, std::string_view from, std::string_view to) {
  const std::string_view folder = FolderOf(from);
  CO_TRY(const std::vector<std::string> vmx_names, co_await ListNames(lib, folder, kVmxSuffix));
  for (const std::string& name : vmx_names) {
    const std::string path = JoinPath(folder, name);
    CO_TRY_STATUS(co_await RenameInVmx(lib, path, from, to));
  }
  CO_TRY(const std::string lone_path, co_await LoneRecordOf(lib, from));
  CO_TRY(const std::vector<std::string> vmsd_names, co_await ListNames(lib, folder, kVmsdSuffix));
  for (const std::string& name : vmsd_names) {
    const std::string path = JoinPath(folder, name);
    CO_TRY_STATUS(co_await RenameInVmsd(lib, path, from, to, path == lone_path));
  }
  if (lone_path.empty()) co_return base::Ok();
  const std::string target = Beside(to, kVmsdSuffix);
  CO_TRY_STATUS(co_await lib.backend().Rename(lone_path, target));
  CO_TRY_STATUS(co_await lib.backend().SyncNames());
  co_return base::Ok();
}

Task<Status> ForgetInRecords(Lib& lib, std::string_view path) {
  const std::string_view folder = FolderOf(path);
  CO_TRY(const std::string lone_path, co_await LoneRecordOf(lib, path));
  CO_TRY(const std::vector<std::string> names, co_await ListNames(lib, folder, kVmsdSuffix));
  for (const std::string& name : names) {
    const std::string record_path = JoinPath(folder, name);
    if (record_path == lone_path) continue;
    CO_TRY_STATUS(co_await ForgetInVmsd(lib, record_path, path));
  }
  if (lone_path.empty()) co_return base::Ok();
  CO_TRY(const SnapshotRecord held, SnapshotRecord::Hold(lib, lone_path));
  CO_TRY_STATUS(co_await RemoveIfThere(lib.backend(), lone_path));
  CO_TRY_STATUS(co_await lib.backend().SyncNames());
  co_return base::Ok();
}

}  // namespace disklib
