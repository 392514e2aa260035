#include "tests/disklib/operation_cases.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "disklib/attach.h"
#include "disklib/check/check.h"
#include "disklib/clone.h"
#include "disklib/defragment.h"
#include "disklib/delete_chain.h"
#include "disklib/linked_clone.h"
#include "disklib/operations.h"
#include "disklib/rebase.h"
#include "fs/base/check.h"

namespace disklib {
namespace {

using base::Code;
using base::Result;
using base::Status;

constexpr uint64_t kSize = 128 * 1024;
constexpr const char* kPaths[] = {"flat.vmdk", "new.vmdk",       "copy.vmdk",
                                  "left.vmdk", "right.vmdk",     "child.vmdk",
                                  "vm.vmdk",   "vm-000001.vmdk", "sparse.vmdk"};

constexpr const char* kParent = "parent of child.vmdk";

template <typename T>
Status StatusOf(const Result<T>& result) {
  return result ? base::Ok() : Status(result.error());
}

bool IsThere(SnapshotStand& stand, std::string_view path) {
  return stand.Run(stand.lib().backend().GetInfo(path)).has_value();
}

// Some data and zeros, at places that overlap with those of other numbers.
void Write(SnapshotStand& stand, std::string_view path, uint64_t number) {
  stand.Write(path, 8192 * number, Pattern(number + 1, 16 * 1024));
  stand.Zero(path, 8192 * number + 4096, 4096);
}

void MakeLink(SnapshotStand& stand, std::string_view path, NewLink what) {
  what.size_bytes = kSize;
  const Status made = stand.Run(CreateLink(stand.lib(), path, what, nullptr));
  ASSERT_TRUE(made) << made.error().message();
}

uint32_t ContentIdOf(SnapshotStand& stand, std::string_view path) {
  const auto descriptor = ParseDescriptor(stand.Load(path));
  EXPECT_TRUE(descriptor) << descriptor.error().message();
  return descriptor ? descriptor->content_id : kNoParentContentId;
}

void PrepareFlat(SnapshotStand& stand) {
  stand.Create("flat.vmdk", kSize);
  Write(stand, "flat.vmdk", 0);
}

void PrepareSnapshotsOf(SnapshotStand& stand, DiskLayout base, DiskLayout links) {
  stand.Create("vm.vmdk", kSize, base);
  Write(stand, "vm.vmdk", 0);
  stand.Take("one", "vm.vmdk", links);
  Write(stand, stand.Leaf(), 1);
  stand.Take("two", "vm.vmdk", links);
  Write(stand, stand.Leaf(), 2);
}

void PrepareSnapshots(SnapshotStand& stand) {
  PrepareSnapshotsOf(stand, DiskLayout::kVmfs, DiskLayout::kSeSparse);
}

// Without its record nothing but the links is known of the chain.
void PrepareLooseLinks(SnapshotStand& stand) {
  PrepareSnapshots(stand);
  const Status removed = stand.Run(stand.lib().backend().Remove("vm.vmsd"));
  ASSERT_TRUE(removed) << removed.error().message();
}

// Grains that do not lie in the order of the disk, and one that was given up.
void PrepareSparse(SnapshotStand& stand) {
  MakeLink(stand, "sparse.vmdk", {.layout = DiskLayout::kSeSparse});
  for (const uint64_t number : std::initializer_list<uint64_t>{6, 2, 4, 0}) {
    Write(stand, "sparse.vmdk", number);
  }
  stand.Zero("sparse.vmdk", 2 * 8192, 4096);
}

void PrepareParents(SnapshotStand& stand) {
  stand.Create("left.vmdk", kSize);
  Write(stand, "left.vmdk", 0);
  const auto copied =
      stand.Run(CloneDisk(stand.lib(), "left.vmdk", stand.lib(), "right.vmdk", {}, nullptr));
  ASSERT_TRUE(copied) << copied.error().message();
  MakeLink(stand, "child.vmdk",
           {.layout = DiskLayout::kSeSparse,
            .parent_path = "left.vmdk",
            .parent_content_id = ContentIdOf(stand, "left.vmdk")});
  Write(stand, "child.vmdk", 1);
}

void PrepareDifferentParents(SnapshotStand& stand) {
  PrepareParents(stand);
  Write(stand, "right.vmdk", 3);
}

void PrepareEmptyParent(SnapshotStand& stand) {
  stand.Create("left.vmdk", kSize);
  MakeLink(stand, "child.vmdk",
           {.layout = DiskLayout::kVmfsSparse,
            .parent_path = "left.vmdk",
            .parent_content_id = ContentIdOf(stand, "left.vmdk")});
  Write(stand, "child.vmdk", 1);
}

Status Extend(SnapshotStand& stand, std::string_view path) {
  return stand.Run(ExtendDisk(stand.lib(), path, {.size_bytes = 2 * kSize}, nullptr));
}

// Three links of one size and a leaf of twice that, with data on both sides of the old end.
void PrepareGrown(SnapshotStand& stand, DiskLayout base, DiskLayout links) {
  PrepareSnapshotsOf(stand, base, links);
  const Status extended = Extend(stand, "vm.vmdk");
  ASSERT_TRUE(extended) << extended.error().message();
  stand.Write(stand.Leaf(), kSize - 8192, Pattern(7, 16 * 1024));
  stand.Write(stand.Leaf(), 2 * kSize - 4096, Pattern(8, 4096));
}

void PrepareGrownFlat(SnapshotStand& stand) {
  PrepareGrown(stand, DiskLayout::kVmfs, DiskLayout::kSeSparse);
}

void PrepareGrownSeSparse(SnapshotStand& stand) {
  PrepareGrown(stand, DiskLayout::kSeSparse, DiskLayout::kSeSparse);
}

void PrepareGrownVmfsSparse(SnapshotStand& stand) {
  PrepareGrown(stand, DiskLayout::kVmfs, DiskLayout::kVmfsSparse);
}

void PrepareGrownHosted(SnapshotStand& stand) {
  PrepareGrown(stand, DiskLayout::kMonolithicSparse, DiskLayout::kSeSparse);
}

Status MergeTheGrownLeaf(SnapshotStand& stand) {
  return StatusOf(stand.Run(ConsolidateLink(stand.lib(), "vm-000003.vmdk", {}, nullptr)));
}

Status DeleteAll(SnapshotStand& stand) {
  return StatusOf(stand.Run(DeleteAllSnapshots(stand.lib(), "vm.vmdk", {}, nullptr)));
}

void PrepareClone(SnapshotStand& stand) {
  PrepareFlat(stand);
  const auto made = stand.Run(CreateLinkedClone(stand.lib(), "flat.vmdk", "left.vmdk", {}));
  ASSERT_TRUE(made) << made.error().message();
  Write(stand, "left.vmdk", 1);
}

Status Rebase(SnapshotStand& stand, RebaseMode mode) {
  const RebaseOptions options{.new_parent = "right.vmdk", .mode = mode};
  return StatusOf(stand.Run(RebaseLink(stand.lib(), "child.vmdk", options, nullptr)));
}

Content ContentOf(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

void MoveToTheRight(World& world) {
  world[kParent] = ContentOf("right.vmdk");
}

// What the child does not hold itself reads as the other parent says.
void ReadFromTheRight(World& world) {
  const Content& left = world["left.vmdk"];
  const Content& right = world["right.vmdk"];
  Content& child = world["child.vmdk"];
  for (size_t i = 0; i < child.size(); ++i) {
    if (child[i] == left[i]) child[i] = right[i];
  }
  MoveToTheRight(world);
}

void DropSnapshots(World& world) {
  std::erase_if(world, [](const auto& entry) { return entry.first.starts_with("snapshot "); });
}

constexpr OperationCase kCases[] = {
    {"Create", PrepareSnapshots,
     [](SnapshotStand& stand) {
       return StatusOf(
           stand.Run(CreateSnapshot(stand.lib(), "vm.vmdk", {.name = "three"}, nullptr)));
     },
     [](World& world) { world["snapshot three"] = world["now"]; }},
    {"Revert", PrepareSnapshots,
     [](SnapshotStand& stand) {
       return StatusOf(stand.Run(RevertToSnapshot(stand.lib(), "vm.vmdk", "one", {}, nullptr)));
     },
     [](World& world) { world["now"] = world["snapshot one"]; }},
    {"DeleteSnapshot", PrepareSnapshots,
     [](SnapshotStand& stand) {
       return StatusOf(stand.Run(DeleteSnapshot(stand.lib(), "vm.vmdk", "one", {}, nullptr)));
     },
     [](World& world) { world.erase("snapshot one"); }},
    {"DeleteAllSnapshots", PrepareSnapshots, DeleteAll, DropSnapshots},
    {"DeleteAllOfAGrownFlatDisk", PrepareGrownFlat, DeleteAll, DropSnapshots},
    {"DeleteAllOfAGrownSeSparseDisk", PrepareGrownSeSparse, DeleteAll, DropSnapshots},
    {"DeleteAllOfAGrownHostedDisk", PrepareGrownHosted, DeleteAll, DropSnapshots},
    {"MergeALargerLeafIntoSeSparse", PrepareGrownFlat, MergeTheGrownLeaf, [](World&) {}},
    {"MergeALargerLeafIntoVmfsSparse", PrepareGrownVmfsSparse, MergeTheGrownLeaf, [](World&) {}},
    {"ExtendOverSnapshots", PrepareSnapshots,
     [](SnapshotStand& stand) { return Extend(stand, "vm.vmdk"); },
     [](World& world) { world["now"].resize(2 * kSize); }},
    {"ConsolidateAMiddleLink", PrepareLooseLinks,
     [](SnapshotStand& stand) {
       return StatusOf(stand.Run(ConsolidateLink(stand.lib(), "vm-000001.vmdk", {}, nullptr)));
     },
     [](World&) {}},
    {"ExtendAFlatDisk", PrepareFlat,
     [](SnapshotStand& stand) { return Extend(stand, "flat.vmdk"); },
     [](World& world) { world["flat.vmdk"].resize(2 * kSize); }},
    {"ExtendASparseDisk", PrepareSparse,
     [](SnapshotStand& stand) { return Extend(stand, "sparse.vmdk"); },
     [](World& world) { world["sparse.vmdk"].resize(2 * kSize); }},
    {"Rename", PrepareFlat,
     [](SnapshotStand& stand) {
       return stand.Run(RenameDisk(stand.lib(), "flat.vmdk", "new.vmdk"));
     },
     [](World& world) {
       world["new.vmdk"] = world["flat.vmdk"];
       world.erase("flat.vmdk");
     }},
    {"RenameALinkedClone", PrepareClone,
     [](SnapshotStand& stand) {
       return stand.Run(RenameDisk(stand.lib(), "left.vmdk", "new.vmdk"));
     },
     [](World& world) {
       world["new.vmdk"] = world["left.vmdk"];
       world.erase("left.vmdk");
     }},
    {"RenameALeaf", PrepareSnapshots,
     [](SnapshotStand& stand) {
       return stand.Run(RenameDisk(stand.lib(), "vm-000002.vmdk", "new.vmdk"));
     },
     [](World& world) { world["new.vmdk"] = world["now"]; }},
    {"DeleteALinkedClone", PrepareClone,
     [](SnapshotStand& stand) {
       return StatusOf(stand.Run(DeleteChain(stand.lib(), "left.vmdk")));
     },
     [](World& world) { world.erase("left.vmdk"); }},
    {"Clone", PrepareSnapshots,
     [](SnapshotStand& stand) {
       const CloneOptions options{.layout = DiskLayout::kSeSparse};
       return StatusOf(stand.Run(
           CloneDisk(stand.lib(), "vm-000002.vmdk", stand.lib(), "copy.vmdk", options, nullptr)));
     },
     [](World& world) { world["copy.vmdk"] = world["now"]; }, Code::kExists},
    {"DeleteADisk", PrepareFlat,
     [](SnapshotStand& stand) { return stand.Run(DeleteDisk(stand.lib(), "flat.vmdk")); },
     [](World& world) { world.erase("flat.vmdk"); }},
    {"DeleteAChain", PrepareLooseLinks,
     [](SnapshotStand& stand) { return StatusOf(stand.Run(DeleteChain(stand.lib(), "vm.vmdk"))); },
     [](World& world) { world.clear(); }},
    {"Defragment", PrepareSparse,
     [](SnapshotStand& stand) {
       return StatusOf(stand.Run(DefragmentLink(stand.lib(), "sparse.vmdk", nullptr)));
     },
     [](World&) {}},
    {"Attach", PrepareParents,
     [](SnapshotStand& stand) {
       return stand.Run(AttachLink(stand.lib(), "child.vmdk", "right.vmdk", {}));
     },
     MoveToTheRight},
    {"Detach", PrepareEmptyParent,
     [](SnapshotStand& stand) { return stand.Run(DetachLink(stand.lib(), "child.vmdk", nullptr)); },
     [](World& world) { world.erase(kParent); }, Code::kInvalidArgument},
    {"RebaseByProof", PrepareParents,
     [](SnapshotStand& stand) { return Rebase(stand, RebaseMode::kProve); }, MoveToTheRight},
    {"RebaseByCopy", PrepareDifferentParents,
     [](SnapshotStand& stand) { return Rebase(stand, RebaseMode::kCopy); }, MoveToTheRight},
    {"RebaseByForce", PrepareDifferentParents,
     [](SnapshotStand& stand) { return Rebase(stand, RebaseMode::kForce); }, ReadFromTheRight},
};

Status Read(SnapshotStand& stand, std::string name, std::string_view path, World& world) {
  TRY(world[std::move(name)], stand.TryContentOf(path));
  return base::Ok();
}

Status ReadSnapshots(SnapshotStand& stand, World& world) {
  TRY(const SnapshotTree tree, stand.Run(ListSnapshots(stand.lib(), "vm.vmdk")));
  for (const SnapshotDiskInfo& disk : tree.disks) {
    TRY_STATUS(Read(stand, "now", disk.path, world));
  }
  for (const SnapshotInfo& snapshot : tree.snapshots) {
    if (snapshot.is_being_deleted) continue;
    for (const SnapshotDiskInfo& disk : snapshot.disks) {
      TRY_STATUS(Read(stand, "snapshot " + snapshot.name, disk.path, world));
    }
  }
  return base::Ok();
}

// A link of the snapshots reads as different things at different times: only its snapshot counts.
Result<World> ReadWorld(SnapshotStand& stand) {
  World world;
  for (const char* path : kPaths) {
    if (!IsThere(stand, path) || std::string_view(path).starts_with("vm")) continue;
    TRY_STATUS(Read(stand, path, path, world));
  }
  if (IsThere(stand, "vm.vmdk")) TRY_STATUS(ReadSnapshots(stand, world));
  if (!IsThere(stand, "child.vmdk")) return world;
  TRY(const std::string text, stand.Run(ReadObject(stand.lib().backend(), "child.vmdk", 65536)));
  TRY(const Descriptor child, ParseDescriptor(text));
  if (child.has_parent()) world[kParent] = ContentOf(child.parent_file_name_hint);
  return world;
}

bool HasEqual(const World& world, const std::string& name, const Content& content) {
  const auto found = world.find(name);
  return found != world.end() && found->second == content;
}

// Each reads as before or as afterwards; what is missing is missing in one of the two, and its
// content is somewhere if it is to be kept.
std::string CompareWithBoth(const World& found, const World& before, const World& after) {
  if (after.empty()) return {};  // what is being deleted may read as anything
  for (const auto& [name, content] : found) {
    if (HasEqual(before, name, content) || HasEqual(after, name, content)) continue;
    return fmt::format("{} reads as neither before nor afterwards", name);
  }
  for (const auto& [name, content] : before) {
    if (found.contains(name)) continue;
    if (after.contains(name)) return fmt::format("{} is not there", name);
    const auto has_content = [&wanted = content](const auto& entry) {
      return entry.second == wanted;
    };
    if (std::ranges::any_of(after, has_content) && std::ranges::none_of(found, has_content)) {
      return fmt::format("{} is gone and nothing has taken its place", name);
    }
  }
  return {};
}

// What a cut leaves in a file that was being written: the mark that it was not closed, and an end
// of what is in use that our writers never believe. Other faults of a header end the check.
bool IsOfAnUncleanClose(const CheckFinding& finding) {
  return finding.id == Invariant::kH6 || finding.id == Invariant::kV1 ||
         finding.id == Invariant::kV4;
}

// What is no damage: space that nobody refers to, branches, links that no record names, and a leaf
// that an extension made larger.
bool IsNoDamage(const CheckFinding& finding) {
  const bool is_larger_child =
      finding.id == Invariant::kC3 && finding.severity == CheckSeverity::kWarning;
  return finding.severity <= CheckSeverity::kLeak || finding.id == Invariant::kC6 ||
         finding.id == Invariant::kC7 || is_larger_child || IsOfAnUncleanClose(finding);
}

// What the checker says of one disk.
std::string CheckOne(SnapshotStand& stand, std::string_view path) {
  const auto report = stand.Run(CheckDisk(stand.lib(), path, {}, nullptr));
  if (!report) return report.error().message();
  for (const CheckFinding& finding : report->findings) {
    if (IsNoDamage(finding)) continue;
    return fmt::format("the check of {} says {} {}: {}", path, InfoOf(finding.id).name,
                       finding.place.file, finding.text);
  }
  return report->is_whole ? "" : fmt::format("the check of {} was not whole", path);
}

std::string CheckAll(SnapshotStand& stand) {
  for (const char* path : kPaths) {
    if (!IsThere(stand, path)) continue;
    if (std::string wrong = CheckOne(stand, path); !wrong.empty()) return wrong;
  }
  return IsThere(stand, "vm.vmdk") ? CheckOne(stand, stand.Leaf()) : std::string();
}

}  // namespace

std::span<const OperationCase> OperationCases() {
  return kCases;
}

void PrintTo(const OperationCase& test, std::ostream* out) {
  *out << test.name;
}

const OperationCase& OperationCaseNamed(std::string_view name) {
  const auto found = std::ranges::find(kCases, name, &OperationCase::name);
  CHECK(found != std::end(kCases));
  return *found;
}

World PrepareCase(base::SimExecutor& executor, fss::FileSystem& files, const OperationCase& test) {
  FileBackend backend(files);
  SnapshotStand stand(executor, backend);
  test.prepare(stand);
  auto world = ReadWorld(stand);
  EXPECT_TRUE(world) << world.error().message();
  return world ? *std::move(world) : World();
}

Status RunCase(base::SimExecutor& executor, fss::FileSystem& files, const OperationCase& test) {
  FileBackend backend(files);
  SnapshotStand stand(executor, backend);
  return test.run(stand);
}

std::string JudgeCase(base::SimExecutor& executor, fss::FileSystem& files,
                      const OperationCase& test, const World& before) {
  FileBackend backend(files);
  SnapshotStand stand(executor, backend);
  World after = before;
  test.change(after);
  const auto found = ReadWorld(stand);
  if (!found) return "read: " + found.error().message();
  if (std::string wrong = CompareWithBoth(*found, before, after); !wrong.empty()) return wrong;
  const Status again = test.run(stand);
  const bool was_done =
      !again && (again.error().code() == Code::kNotFound || again.error().code() == test.if_done);
  if (!again && !was_done) return "again: " + again.error().message();
  const auto finished = ReadWorld(stand);
  if (!finished) return "read again: " + finished.error().message();
  if (*finished != after) return "run again, it ended with another content";
  return CheckAll(stand);
}

}  // namespace disklib
