#include "disklib/vm_folder/vm_state.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "disklib/children.h"
#include "disklib/descriptor_lines.h"
#include "disklib/extent_places.h"
#include "disklib/names.h"
#include "disklib/vm_folder/dictionary.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

class SuffixCollector : public ObjectSink {
 public:
  explicit SuffixCollector(std::string_view suffix) : suffix_(suffix) {}

  void Add(const ObjectEntry& entry) override {
    if (EndsWithIgnoringCase(entry.name, suffix_)) names_.emplace_back(entry.name);
  }

  std::vector<std::string> TakeSorted() {
    std::sort(names_.begin(), names_.end());
    return std::move(names_);
  }

 private:
  std::string suffix_;
  std::vector<std::string> names_;
};

// Whether an error says that a file is no descriptor, or that somebody has it for himself.
bool IsNoLink(Code code) {
  return code == Code::kNotRecognized || code == Code::kParseError || code == Code::kCorrupt ||
         code == Code::kVersionUnsupported || code == Code::kTooLarge ||
         code == Code::kUnsupported || code == Code::kNameInvalid || code == Code::kNotPermitted ||
         code == Code::kNotFound || code == Code::kLockHeld || code == Code::kBusy;
}

// The data of disks is large and has no descriptor in front.
Task<Result<bool>> MayBeDescriptor(ObjectBackend& backend, std::string_view path) {
  CO_TRY(const std::unique_ptr<Object> object, co_await backend.Open(path, fss::OpenMode::kRead));
  std::string start(4, '\0');
  const bool is_small = object->size_bytes() <= kDescriptorReadBytesMax;
  const Status read = co_await ReadWhole(*object, start);
  const Status closed = co_await object->Close();
  if (!read) co_return read.error();
  if (!closed) co_return closed.error();
  co_return is_small || start == "KDMV";
}

// Adds the link at `path`, unless there is none.
Task<Status> AddLink(Lib& lib, std::string_view path, LinkTree& tree) {
  const Result<bool> may_be = co_await MayBeDescriptor(lib.backend(), path);
  if (!may_be && IsNoLink(may_be.error().code())) co_return base::Ok();
  if (!may_be) co_return may_be.error();
  if (!*may_be) co_return base::Ok();
  Result<LoadedDescriptor> loaded = co_await lib.Load(path, /*need_extents=*/false);
  if (!loaded && IsNoLink(loaded.error().code())) co_return base::Ok();
  if (!loaded) co_return loaded.error();
  TreeLink link{.path = loaded->path, .parent_path = {}, .descriptor = {}};
  if (loaded->descriptor.has_parent()) {
    const Result<std::string> parent = ParentPathOf(lib.backend(), loaded->descriptor, link.path);
    if (parent) link.parent_path = *parent;
  }
  link.descriptor = std::move(loaded->descriptor);
  tree.Add(std::move(link));
  co_return base::Ok();
}

// The disks of a .vmx, in their order, each with its base.
Status ListVmxDisks(VmState& vm) {
  for (const VmxDisk& disk : vm.vmx.disks()) {
    TRY(std::string leaf_path, vm.PathOf(disk.file_name));
    if (FolderOf(leaf_path) != vm.folder) {
      return Error(Code::kUnsupported,
                   fmt::format("{}: the disk {} lies in another folder", vm.vmx_path, leaf_path));
    }
    TRY(std::string base_path, vm.tree.DiskBaseOf(leaf_path));
    vm.disks.push_back({.node = disk.node,
                        .leaf_path = std::move(leaf_path),
                        .base_path = std::move(base_path),
                        .is_independent = disk.is_independent()});
  }
  return base::Ok();
}

// The leaf of the disk on `base_path` where no .vmx tells.
Result<std::string> FindLoneLeaf(const VmState& vm, std::string_view base_path) {
  for (const std::string& name : vm.list.current_disks) {
    TRY(const std::string path, vm.PathOf(name));
    const Result<std::string> base = vm.tree.DiskBaseOf(path);
    if (base && *base == base_path) return path;
  }
  std::vector<std::string> leaves;
  for (const TreeLink* const link : vm.tree.LinksOn(base_path)) {
    if (vm.tree.BranchesOf(link->path).empty()) leaves.push_back(link->path);
  }
  if (leaves.size() == 1) return leaves.front();
  return Error(Code::kInvalidArgument,
               fmt::format("{}: nothing tells which of its leaves is the current one: {}",
                           base_path, fmt::join(leaves, ", ")));
}

Status ListLoneDisk(VmState& vm, std::string_view base_path) {
  TRY(std::string leaf_path, FindLoneLeaf(vm, base_path));
  vm.disks.push_back({.node = std::string(kLoneDiskNode),
                      .leaf_path = std::move(leaf_path),
                      .base_path = std::string(base_path)});
  return base::Ok();
}

// Reads a .vmx of the folder; answers whether it has the disk on `base_path`.
Task<Result<bool>> TryVmx(Lib& lib, VmState& vm, std::string_view name,
                          std::string_view base_path) {
  const std::string path = JoinPath(vm.folder, name);
  CO_TRY(std::string text, co_await ReadObject(lib.backend(), path, Dictionary::kBytesMax));
  Result<Vmx> vmx = Vmx::Parse(text);
  if (!vmx) co_return vmx.error().Within(path);
  bool has_disk = base_path.empty();
  for (const VmxDisk& disk : vmx->disks()) {
    const Result<std::string> leaf = vm.PathOf(disk.file_name);
    const Result<std::string> base = leaf ? vm.tree.DiskBaseOf(*leaf) : leaf;
    has_disk = has_disk || (base && *base == base_path);
  }
  if (!has_disk) co_return false;
  if (vm.has_vmx()) {
    co_return Error(Code::kInvalidArgument,
                    fmt::format("{}: {} and {} both have it", base_path, vm.vmx_path, path));
  }
  vm.vmx_path = path;
  vm.vmx_text = std::move(text);
  vm.vmx = *std::move(vmx);
  co_return true;
}

// Finds the .vmx that has the disk on `base_path`, if there is one.
Task<Status> FindVmx(Lib& lib, VmState& vm, std::string_view base_path) {
  CO_TRY(const std::vector<std::string> names, co_await ListNames(lib, vm.folder, kVmxSuffix));
  for (const std::string& name : names) {
    CO_TRY([[maybe_unused]] const bool found, co_await TryVmx(lib, vm, name, base_path));
  }
  co_return base::Ok();
}

Task<Status> LoadVmsd(Lib& lib, VmState& vm, std::string_view record_owner) {
  vm.vmsd_path = record_owner.substr(0, record_owner.rfind('.'));
  vm.vmsd_path += kVmsdSuffix;
  Result<std::string> text =
      co_await ReadObject(lib.backend(), vm.vmsd_path, Dictionary::kBytesMax);
  if (!text && text.error().code() == Code::kNotFound) co_return base::Ok();
  if (!text) co_return text.error();
  Result<SnapshotList> list = ParseSnapshotList(*text);
  if (!list) co_return list.error().Within(vm.vmsd_path);
  vm.list = *std::move(list);
  vm.vmsd_text = *std::move(text);
  co_return base::Ok();
}

}  // namespace

Result<std::string> VmState::PathOf(std::string_view name) const {
  const Result<std::string> path = ResolveName(folder, name);
  if (!path) return path.error().Within(has_vmx() ? vmx_path : folder);
  return path;
}

std::string VmState::NameOfPath(std::string_view path) const {
  return RelativeName(folder, path);
}

const VmDisk* VmState::FindDisk(std::string_view node) const {
  for (const VmDisk& disk : disks) {
    if (EqualsIgnoringCase(disk.node, node)) return &disk;
  }
  return nullptr;
}

std::vector<const Snapshot*> VmState::SnapshotsOf(std::string_view link_path) const {
  std::vector<const Snapshot*> found;
  for (const Snapshot& snapshot : list.snapshots) {
    for (const SnapshotDisk& disk : snapshot.disks) {
      const Result<std::string> path = PathOf(disk.file_name);
      if (!path || *path != link_path) continue;
      found.push_back(&snapshot);
      break;
    }
  }
  return found;
}

Task<Result<std::vector<std::string>>> ListNames(Lib& lib, std::string_view folder,
                                                 std::string_view suffix) {
  SuffixCollector collector(suffix);
  CO_TRY_STATUS(co_await lib.backend().List(folder, collector));
  co_return collector.TakeSorted();
}

Task<Status> LoadLinkTree(Lib& lib, std::string_view folder, LinkTree& tree) {
  CO_TRY(const std::vector<std::string> names, co_await ListNames(lib, folder, kDescriptorSuffix));
  for (const std::string& name : names) {
    const std::string path = JoinPath(folder, name);
    CO_TRY_STATUS(co_await AddLink(lib, path, tree));
  }
  for (const std::string& name : names) {
    const TreeLink* link = tree.Find(JoinPath(folder, name));
    for (size_t depth = 0; link != nullptr && depth < kChainLinksMax; ++depth) {
      const std::string parent_path = link->parent_path;
      if (parent_path.empty()) break;
      if (tree.Find(parent_path) == nullptr) {
        CO_TRY_STATUS(co_await AddLink(lib, parent_path, tree));
      }
      link = tree.Find(parent_path);
    }
  }
  co_return co_await MarkClones(lib, folder, tree);
}

Task<Status> MarkClones(Lib& lib, std::string_view folder, LinkTree& tree) {
  const std::string suffix = ChildrenPath(kDescriptorSuffix);
  CO_TRY(const std::vector<std::string> registries, co_await ListNames(lib, folder, suffix));
  for (const std::string& name : registries) {
    const std::string path = JoinPath(folder, name);
    const std::string parent_path = path.substr(0, path.rfind('.'));
    CO_TRY(const std::vector<std::string> clones,
           co_await RegisteredChildren(lib.backend(), parent_path));
    for (const std::string& clone : clones) tree.MarkClone(clone, parent_path);
  }
  co_return base::Ok();
}

Task<Result<VmState>> LoadVm(Lib& lib, std::string_view path) {
  CO_TRY(const std::string plain_path, ResolveName("", path));
  VmState vm;
  vm.folder = FolderOf(plain_path);
  CO_TRY_STATUS(co_await LoadLinkTree(lib, vm.folder, vm.tree));
  if (EndsWithIgnoringCase(plain_path, kVmxSuffix)) {
    CO_TRY([[maybe_unused]] const bool found, co_await TryVmx(lib, vm, NameOf(plain_path), ""));
    CO_TRY_STATUS(co_await LoadVmsd(lib, vm, plain_path));
    CO_TRY_STATUS(ListVmxDisks(vm));
    co_return vm;
  }
  CO_TRY(const std::string base_path, vm.tree.DiskBaseOf(plain_path));
  CO_TRY_STATUS(co_await FindVmx(lib, vm, base_path));
  const std::string_view owner = vm.has_vmx() ? std::string_view(vm.vmx_path) : base_path;
  CO_TRY_STATUS(co_await LoadVmsd(lib, vm, owner));
  CO_TRY_STATUS(vm.has_vmx() ? ListVmxDisks(vm) : ListLoneDisk(vm, base_path));
  co_return vm;
}

Task<Status> CheckStaysFrozen(Lib& lib, std::string_view child_path, std::string_view parent_path,
                              std::string_view verb) {
  const Result<VmState> vm = co_await LoadVm(lib, parent_path);
  if (!vm) co_return base::Ok();
  const std::vector<const Snapshot*> snapshots = vm->SnapshotsOf(parent_path);
  if (snapshots.empty()) co_return base::Ok();
  const std::vector<const TreeLink*> children = vm->tree.ChildrenOf(parent_path);
  const bool has_others =
      std::any_of(children.begin(), children.end(),
                  [child_path](const TreeLink* child) { return child->path != child_path; });
  if (has_others) co_return base::Ok();
  co_return Error(Code::kUnsupported,
                  fmt::format("{} {}: its parent {} is snapshot {}, which nothing else stands on: "
                              "delete the snapshot first",
                              verb, child_path, parent_path, snapshots.front()->display_name));
}

}  // namespace disklib
