#include "disklib/exchange/in_place.h"

#include <memory>
#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor_lines.h"
#include "disklib/device_map.h"
#include "disklib/names.h"
#include "disklib/new_link.h"
#include "disklib/vm_folder/dictionary.h"
#include "disklib/vm_folder/vmx.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using base::Task;

class MachineFileFinder final : public ObjectSink {
 public:
  void Add(const ObjectEntry& entry) override {
    if (EndsWithIgnoringCase(entry.name, kVmxSuffix)) names.emplace_back(entry.name);
  }

  std::vector<std::string> names;
};

// What the child has to know of its parent, after the whole chain could be opened.
Task<Result<NewLink>> DescribeChild(Lib& lib, std::string_view parent) {
  CO_TRY(const std::unique_ptr<Chain> chain,
         co_await lib.Open(parent, {.writable = false, .user = "strata import"}));
  const Descriptor& descriptor = chain->top().descriptor();
  const NewLink child{.size_bytes = chain->size_bytes(),
                      .layout = DiskLayout::kSeSparse,
                      .parent_path = parent,
                      .parent_content_id = descriptor.content_id};
  const Status can_be_frozen =
      CheckNotPhysical(chain->links().front()->descriptor(), parent, "import in place");
  CO_TRY_STATUS(co_await chain->Close());
  if (!can_be_frozen) co_return can_be_frozen.error();
  co_return child;
}

Task<Status> MakeChildren(Lib& lib, const InPlaceMachine* machine) {
  for (const InPlaceDisk& disk : machine->disks) {
    CO_TRY(const NewLink child, co_await DescribeChild(lib, disk.parent));
    CO_TRY_STATUS(co_await CreateLink(lib, disk.child, child, nullptr));
  }
  co_return base::Ok();
}

// The children have the names of their parents, in another folder.
Result<InPlaceMachine> Plan(ObjectBackend& backend, const Vmx& vmx, std::string_view machine_path,
                            std::string_view folder) {
  InPlaceMachine machine;
  machine.machine_path = JoinPath(folder, NameOf(machine_path));
  for (const VmxDisk& disk : vmx.disks()) {
    InPlaceDisk planned;
    planned.node = disk.node;
    TRY(planned.parent, ResolvePath(backend, FolderOf(machine_path), disk.file_name));
    planned.child = JoinPath(folder, NameOf(planned.parent));
    for (const InPlaceDisk& other : machine.disks) {
      if (other.child != planned.child) continue;
      return Error(Code::kExists,
                   fmt::format("{}: two disks are called {}", machine_path, NameOf(planned.child)));
    }
    machine.disks.push_back(std::move(planned));
  }
  if (!machine.disks.empty()) return machine;
  return Error(Code::kNotFound, fmt::format("{}: names no disk", machine_path));
}

}  // namespace

Task<Result<std::string>> FindMachineFile(ObjectBackend& backend, std::string_view folder) {
  MachineFileFinder finder;
  CO_TRY_STATUS(co_await backend.List(folder, finder));
  if (finder.names.size() == 1) co_return JoinPath(folder, finder.names.front());
  co_return Error(finder.names.empty() ? Code::kNotFound : Code::kUnsupported,
                  fmt::format("{}: {} .vmx files in it, not one", folder, finder.names.size()));
}

Task<Result<InPlaceMachine>> ImportInPlace(Lib& lib, std::string_view machine_path,
                                           std::string_view folder) {
  ObjectBackend& files = lib.backend();
  CO_TRY(const std::string text, co_await ReadObject(files, machine_path, Dictionary::kBytesMax));
  Result<Vmx> vmx = Vmx::Parse(text);
  if (!vmx) co_return vmx.error().Within(machine_path);
  CO_TRY(const InPlaceMachine machine, Plan(files, *vmx, machine_path, folder));
  CO_TRY_STATUS(co_await MakeChildren(lib, &machine));
  for (const InPlaceDisk& disk : machine.disks) {
    CO_TRY_STATUS(vmx->SetFileName(disk.node, NameOf(disk.child)));
  }
  const std::string new_text = vmx->Text();
  const std::string_view stem = NameOf(machine_path).substr(0, NameOf(machine_path).rfind('.'));
  const std::string snapshots_path = JoinPath(folder, std::string(stem) + ".vmsd");
  CO_TRY_STATUS(co_await files.ReplaceContents(snapshots_path, ""));
  CO_TRY_STATUS(co_await files.ReplaceContents(machine.machine_path, new_text));
  co_return machine;
}

}  // namespace disklib
