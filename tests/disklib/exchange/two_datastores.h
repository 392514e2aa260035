// Two datastores of one mount, for tests of disks whose parents lie on the other one.
//
// Thread rule: one thread.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/snapshot.h"
#include "disklib/volumes.h"
#include "tests/disklib/support.h"

namespace disklib {

inline constexpr uint64_t kDiskBytes = 2 * kMebi;
inline constexpr std::string_view kOldUuid = "5f0c2a1e-00000001-aaaa-0123456789ab";
inline constexpr std::string_view kNewUuid = "6b036e15-00000002-bbbb-0123456789ab";
inline constexpr std::string_view kOldMachine =
    "/vmfs/volumes/5f0c2a1e-00000001-aaaa-0123456789ab/vm/vm.vmx";
inline constexpr std::string_view kParent =
    "/vmfs/volumes/5f0c2a1e-00000001-aaaa-0123456789ab/vm/vm-000001.vmdk";

// Writes 50 KiB that tell their seed.
inline void PutPattern(Bench& bench, Lib& lib, std::string_view path, uint64_t offset_bytes,
                       uint64_t seed) {
  auto chain = bench.Run(lib.Open(path, {.writable = true, .user = "test"}));
  ASSERT_TRUE(chain) << chain.error().message();
  std::vector<std::byte> bytes = Pattern(seed, 51'200);
  EXPECT_TRUE(WriteBytes(bench, **chain, offset_bytes, bytes));
  EXPECT_TRUE(bench.Run((*chain)->Close()));
}

// A datastore of ESX, which is only read: the folder "vm" of a machine with a flat base and one
// snapshot, data in both.
struct OldDatastore {
  OldDatastore() {
    const auto folder = bench.Run(bench.files.MakeDirectory(bench.files.root(), "vm", {}));
    EXPECT_TRUE(folder);
    bench.files.Forget(folder->inode, 1);
    bench.Create("vm/vm.vmdk", {.size_bytes = kDiskBytes});
    bench.Store("vm/vm.vmx",
                "displayName = \"vm\"\nscsi0:0.present = \"TRUE\"\n"
                "scsi0:0.fileName = \"vm.vmdk\"\n");
    PutPattern(bench, bench.lib, "vm/vm.vmdk", 0, 1);
    const CreateSnapshotOptions options{.name = "one", .layout = DiskLayout::kVmfsSparse};
    EXPECT_TRUE(bench.Run(CreateSnapshot(bench.lib, "vm/vm.vmx", options, nullptr)));
    PutPattern(bench, bench.lib, "vm/vm-000001.vmdk", kMebi, 2);
    bench.files.set_read_only(true);
  }

  // Every file with all its bytes.
  std::map<std::string, std::string> Files() {
    ListingSink sink;
    EXPECT_TRUE(bench.Run(bench.backend.List("vm", sink)));
    std::map<std::string, std::string> files;
    for (const std::string& name : sink.names) files[name] = bench.Load("vm/" + name);
    return files;
  }

  Bench bench;
};

// What is mounted beside the new datastore; the old one may be away.
class TwoDatastores final : public Volumes {
 public:
  TwoDatastores(OldDatastore& older, ObjectBackend& newer, OpenDisks& new_disks)
      : old_{std::string(kOldUuid), &older.bench.backend, &older.bench.open_disks},
        new_{std::string(kNewUuid), &newer, &new_disks} {}

  const Volume* Find(std::string_view name) override {
    if (name == kNewUuid || name == "new store") return &new_;
    return is_old_mounted && (name == kOldUuid || name == "old store") ? &old_ : nullptr;
  }

  const Volume* FindOwn(const ObjectBackend& backend) override {
    return &backend == new_.backend ? &new_ : &old_;
  }

  bool is_old_mounted = true;

 private:
  Volume old_;
  Volume new_;
};

}  // namespace disklib
