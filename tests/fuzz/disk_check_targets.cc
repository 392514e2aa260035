#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/check/check.h"
#include "disklib/check/repair.h"
#include "disklib/file_backend.h"
#include "disklib/lib.h"
#include "disklib/new_link.h"
#include "disklib/open_disks.h"
#include "fs/base/check.h"
#include "fs/base/sim_executor.h"
#include "tests/fuzz/pieces.h"
#include "tests/support/memory_file_system.h"

namespace fuzz {
namespace {

constexpr size_t kBlockBytes = 4096;
constexpr uint64_t kDiskBytes = uint64_t{2} << 20;

// Everything on one executor. Members go in the reverse order.
struct Stand {
  base::SimExecutor executor{1, /*in_order=*/true};
  fss::MemoryFileSystem files;
  disklib::FileBackend backend{files};
  disklib::OpenDisks open_disks;
  disklib::Lib lib{executor, backend, open_disks};

  template <typename T>
  T Run(base::Task<T> task) {
    return base::RunSync(executor, std::move(task));
  }
};

// A file by its blocks that are not zeros.
struct SavedFile {
  std::string path;
  uint64_t size_bytes = 0;
  std::vector<std::pair<uint64_t, std::string>> blocks = {};  // by offset
};

using SavedDisk = std::vector<SavedFile>;

class Names final : public disklib::ObjectSink {
 public:
  void Add(const disklib::ObjectEntry& entry) override { names.emplace_back(entry.name); }

  std::vector<std::string> names;
};

SavedFile Save(Stand& stand, std::string_view path) {
  const std::string text = *stand.Run(disklib::ReadObject(stand.backend, path, 256 << 20));
  SavedFile saved{.path = std::string(path), .size_bytes = text.size()};
  for (size_t at = 0; at < text.size(); at += kBlockBytes) {
    const std::string_view block = std::string_view(text).substr(at, kBlockBytes);
    if (block.find_first_not_of('\0') == std::string_view::npos) continue;
    saved.blocks.emplace_back(at, block);
  }
  return saved;
}

void Fill(Stand& stand, std::string_view path, std::byte value) {
  auto chain = *stand.Run(stand.lib.Open(path, {.writable = true, .user = "fuzz"}));
  std::vector<std::byte> bytes(3 * kBlockBytes, value);
  const base::IoVec piece{bytes.data(), bytes.size()};
  for (const uint64_t offset : {uint64_t{0}, kDiskBytes / 2}) {
    CHECK(stand.Run(chain->Write({offset, std::span(&piece, 1)})).has_value());
  }
  CHECK(stand.Run(chain->WriteZeroes(kBlockBytes, kBlockBytes, true)).has_value());
  CHECK(stand.Run(chain->Close()).has_value());
}

// "b.vmdk" on its parent "a.vmdk", with some data and zeros in each.
SavedDisk MakeChain(disklib::DiskLayout base, disklib::DiskLayout child) {
  Stand stand;
  disklib::NewLink link{.size_bytes = kDiskBytes, .layout = base};
  CHECK(stand.Run(disklib::CreateLink(stand.lib, "a.vmdk", link, nullptr)).has_value());
  Fill(stand, "a.vmdk", std::byte{1});
  link.layout = child;
  link.parent_path = "a.vmdk";
  const std::string content_id = stand.Run(stand.lib.GetInfo("a.vmdk"))->content_id;
  link.parent_content_id = static_cast<uint32_t>(std::stoul(content_id, nullptr, 16));
  CHECK(stand.Run(disklib::CreateLink(stand.lib, "b.vmdk", link, nullptr)).has_value());
  Fill(stand, "b.vmdk", std::byte{2});
  Names names;
  CHECK(stand.Run(stand.backend.List("", names)).has_value());
  std::ranges::sort(names.names);
  SavedDisk disk;
  for (const std::string& name : names.names) disk.push_back(Save(stand, name));
  return disk;
}

std::unique_ptr<disklib::Object> OpenToDamage(Stand& stand, const SavedFile& file) {
  return *stand.Run(stand.backend.Open(file.path, fss::OpenMode::kWrite));
}

void Restore(Stand& stand, const SavedFile& file) {
  CHECK(stand.Run(stand.backend.Create(file.path)).has_value());
  CHECK(stand.Run(stand.backend.Resize(file.path, file.size_bytes)).has_value());
  const auto object = OpenToDamage(stand, file);
  for (const auto& [offset, block] : file.blocks) {
    CHECK(stand.Run(disklib::WriteWhole(*object, offset, block)).has_value());
  }
  CHECK(stand.Run(object->Close()).has_value());
}

// A file, a block of it that is in use, a place in that and some bytes for it; or the file ends.
void DamageOnce(Stand& stand, const SavedDisk& disk, Pieces& pieces) {
  const SavedFile& file = disk[pieces.Byte() % disk.size()];
  const uint64_t block = file.blocks[pieces.Byte() % file.blocks.size()].first;
  const uint64_t low = pieces.Byte();
  const uint64_t high = pieces.Byte();
  const uint64_t place = block + (low | high << 8) % kBlockBytes;
  const size_t length = pieces.Byte() % 33;
  if (length == 0) {
    CHECK(stand.Run(stand.backend.Resize(file.path, place)).has_value());
    return;
  }
  const Input bytes = pieces.Next(length);
  const std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  const auto object = OpenToDamage(stand, file);
  CHECK(stand.Run(disklib::WriteWhole(*object, place, text)).has_value());
  CHECK(stand.Run(object->Close()).has_value());
}

disklib::DiskRepairReport Repair(Stand& stand, bool confirms, bool& is_done) {
  disklib::DiskRepairOptions options;
  if (confirms) options.confirm = [](const disklib::CheckFinding&) { return true; };
  auto report = stand.Run(disklib::RepairDisk(stand.lib, "b.vmdk", options, nullptr));
  is_done = report.has_value();
  return report ? *std::move(report) : disklib::DiskRepairReport();
}

}  // namespace

// The first byte chooses the formats of a disk and its snapshot, the rest damages their files. The
// check ends; a repair that asks nobody, and then one with everything confirmed, leave no more
// errors than there were, and none that they may mend without asking.
void RunDiskCheck(Input input) {
  using enum disklib::DiskLayout;
  static const SavedDisk kDisks[] = {MakeChain(kVmfs, kSeSparse), MakeChain(kSeSparse, kVmfsSparse),
                                     MakeChain(kTwoGbMaxExtentSparse, kTwoGbMaxExtentSparse),
                                     MakeChain(kMonolithicSparse, kMonolithicSparse)};
  Pieces pieces(input);
  const SavedDisk& disk = kDisks[pieces.Byte() % std::size(kDisks)];
  Stand stand;
  for (const SavedFile& file : disk) Restore(stand, file);
  while (!pieces.empty()) DamageOnce(stand, disk, pieces);
  const disklib::CheckOptions options{.explain = true, .window_units = 1024};
  const auto checked = stand.Run(disklib::CheckDisk(stand.lib, "b.vmdk", options, nullptr));
  if (!checked) return;
  for (const bool confirms : {false, true}) {
    bool is_done = false;
    const disklib::DiskRepairReport report = Repair(stand, confirms, is_done);
    if (!is_done) return;
    CHECK(report.after.error_count <= report.before.error_count);
    for (const disklib::CheckFinding& finding : report.after.findings) {
      // Beside what it mended a repair frees nothing: what was lost may lie there.
      const bool was_mended = report.action_count != 0;
      if (was_mended && finding.severity != disklib::CheckSeverity::kError) continue;
      CHECK(finding.repair != disklib::RepairClass::kAutomatic);
    }
  }
  (void)stand.Run(disklib::CheckFolder(stand.lib, "", options, nullptr));
}

}  // namespace fuzz
