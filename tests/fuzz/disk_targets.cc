#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "disklib/descriptor.h"
#include "disklib/descriptor_edit.h"
#include "disklib/disk_size.h"
#include "disklib/file_backend.h"
#include "disklib/lib.h"
#include "disklib/open_disks.h"
#include "disklib/snapshot_intent.h"
#include "disklib/vm_folder/vmsd.h"
#include "disklib/vm_folder/vmx.h"
#include "fs/base/check.h"
#include "fs/base/crc32c.h"
#include "fs/base/sim_executor.h"
#include "tests/fuzz/pieces.h"
#include "tests/support/memory_file_system.h"

namespace fuzz {
namespace {

std::string_view TextIn(Input input) {
  return {reinterpret_cast<const char*>(input.data()), input.size()};
}

}  // namespace

// What is taken as a descriptor survives an edit.
void RunDiskDescriptor(Input input) {
  const std::string_view text = TextIn(input);
  (void)disklib::LooksLikeDescriptor(text);
  (void)disklib::ParseDiskSize(text);
  const auto parsed = disklib::ParseDescriptor(text);
  if (!parsed) return;
  CHECK(parsed->capacity_sectors() <= disklib::kCapacitySectorsMax);
  base::Random random(1);
  disklib::DescriptorEdit edit(text);
  edit.SetContentId(7, random);
  edit.SetExtents(parsed->extents);
  const auto edited = edit.Finish();
  if (!edited) return;
  const auto again = disklib::ParseDescriptor(*edited);
  CHECK(again && again->content_id == 7 && again->extents == parsed->extents);
}

// What is taken as a .vmx or .vmsd says the same after it was written again.
void RunVmFolder(Input input) {
  const std::string_view text = TextIn(input);
  if (auto vmx = disklib::Vmx::Parse(text)) {
    CHECK(vmx->Text() == text);
    for (const disklib::VmxDisk& disk : std::vector<disklib::VmxDisk>(vmx->disks())) {
      CHECK(vmx->SetFileName(disk.node, "a |\"\n.vmdk").has_value());
    }
    const auto again = disklib::Vmx::Parse(vmx->Text());
    CHECK(again && again->disks() == vmx->disks());
  }
  auto list = disklib::ParseSnapshotList(text);
  if (!list || !disklib::CheckSnapshotList(*list)) return;
  const auto again = disklib::ParseSnapshotList(disklib::WriteSnapshotList(*list));
  CHECK(again && again->snapshots == list->snapshots);
  const uint32_t uid = list->Add("new", "", 1).uid;
  CHECK(disklib::CheckSnapshotList(*disklib::ParseSnapshotList(disklib::WriteSnapshotList(*list))));
  list->Remove(uid);
  CHECK(list->snapshots == again->snapshots);
}

// The checksum is put right, so that the lines are reached.
void RunSnapshotIntent(Input input) {
  const auto crc = base::Crc32c(input);
  std::string text = fmt::format("# Strata snapshot intent\nversion=1\ncrc={:08x}\n", crc);
  text += TextIn(input);
  const auto parsed = disklib::ParseIntent(text);
  if (!parsed) return;
  const auto written = disklib::WriteIntent(*parsed);
  CHECK(written && *disklib::ParseIntent(*written) == *parsed);
}

// The input is "a.vmdk" in a folder with another disk and two extent files; it is looked at, opened
// for writing and read at both ends.
void RunDiskChain(Input input) {
  base::SimExecutor executor(1, /*in_order=*/true);
  fss::MemoryFileSystem files;
  disklib::FileBackend backend(files);
  disklib::OpenDisks open_disks;
  disklib::Lib lib(executor, backend, open_disks);
  const auto store = [&](std::string_view path, std::string_view bytes) {
    CHECK(base::RunSync(executor, backend.ReplaceContents(path, bytes)).has_value());
  };
  const std::string extent(64 * 1024, 'x');
  store("a-flat.vmdk", extent);
  store("b-flat.vmdk", extent);
  store("a.vmdk", TextIn(input));
  (void)base::RunSync(executor, lib.GetInfo("a.vmdk"));
  disklib::OpenOptions options;
  options.writable = true;
  auto chain = base::RunSync(executor, lib.Open("a.vmdk", options));
  if (!chain) return;
  std::vector<std::byte> bytes(4096);
  const uint64_t size_bytes = (*chain)->size_bytes();
  for (const uint64_t offset : {uint64_t{0}, (size_bytes - 1) / 4096 * 4096}) {
    if (offset + bytes.size() > size_bytes) continue;
    const base::IoVec piece{bytes.data(), bytes.size()};
    (void)base::RunSync(executor, (*chain)->Read({offset, std::span(&piece, 1)}));
  }
  CHECK(base::RunSync(executor, (*chain)->Close()).has_value());
}

}  // namespace fuzz
