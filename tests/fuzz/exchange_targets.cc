#include <string_view>

#include "disklib/exchange/archive.h"
#include "disklib/exchange/machine.h"
#include "disklib/exchange/manifest.h"
#include "disklib/exchange/ovf.h"
#include "disklib/exchange/package_backend.h"
#include "disklib/file_backend.h"
#include "fs/base/check.h"
#include "fs/base/sim_executor.h"
#include "tests/fuzz/targets.h"
#include "tests/support/memory_file_system.h"

namespace fuzz {
namespace {

std::string_view TextIn(Input input) {
  return {reinterpret_cast<const char*>(input.data()), input.size()};
}

}  // namespace

// What is understood is written, and understood again; the machine has its `.vmx`.
void RunOvf(Input input) {
  (void)disklib::ParseAllocationUnits(TextIn(input));
  const auto package = disklib::ParseOvf(TextIn(input));
  if (!package) return;
  CHECK(package->disks.size() <= disklib::kOvfDisksMax);
  for (const disklib::OvfDisk& disk : package->disks) {
    CHECK(disk.file_name.empty() || disklib::CheckMemberName(disk.file_name).has_value());
  }
  const std::vector<std::string> names(package->disks.size(), "disk.vmdk");
  const auto machine_file = disklib::WriteMachineFile(package->machine, names);
  CHECK(machine_file.has_value());
  const auto machine = disklib::ReadMachineFile(*machine_file);
  CHECK(machine.has_value() && machine->machine.drives.size() == package->machine.drives.size());
  const auto written = disklib::WriteOvf(*package);
  if (!written) return;
  const auto again = disklib::ParseOvf(*written);
  // A blank disk has no file, and the writer gives every disk one.
  if (again) CHECK(again->machine.drives == package->machine.drives);
}

// What is understood reads back the same.
void RunManifest(Input input) {
  const auto entries = disklib::ParseManifest(TextIn(input));
  if (!entries) return;
  const auto again = disklib::ParseManifest(disklib::WriteManifest(*entries));
  CHECK(again && *again == *entries);
}

// The input is an OVA: every member that is listed lies in it and can be read.
void RunArchive(Input input) {
  base::SimExecutor executor(1, /*in_order=*/true);
  fss::MemoryFileSystem files;
  disklib::FileBackend backend(files);
  CHECK(base::RunSync(executor, backend.ReplaceContents("a.ova", TextIn(input))).has_value());
  const auto members = base::RunSync(executor, disklib::ListArchive(backend, "a.ova"));
  if (!members) return;
  disklib::PackageBackend package(backend, *members);
  for (const disklib::PackageFile& member : *members) {
    CHECK(disklib::CheckMemberName(member.name).has_value());
    CHECK(member.offset_bytes + member.size_bytes <= input.size());
    const auto text = base::RunSync(executor, ReadObject(package, member.name, input.size()));
    CHECK(text && text->size() == member.size_bytes);
  }
}

}  // namespace fuzz
