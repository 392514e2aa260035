// A volume with a small tree of every kind of file, to be damaged by hand and repaired.
//
// The volume lies unmounted on a simulated disk; `expected()` is what it held. Thread rule: one
// thread.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fs/base/on_disk.h"
#include "fs/base/sim_executor.h"
#include "tests/support/vmfs_volume.h"
#include "tests/support/volume_tree.h"
#include "vmfs/fsck/repair.h"
#include "vmfs/raw_volume.h"

namespace vmfs {

// In words, one finding per line.
std::string Describe(const FsckReport& report);
std::string Describe(const RepairReport& report);

class RepairVolumeTest : public testing::Test {
 protected:
  explicit RepairVolumeTest(bool logging = false);
  ~RepairVolumeTest() override;

  // Fresh layout, tree and addresses are known from here on.
  const Tree& expected() const { return expected_; }
  FdAddress FdOf(const std::string& path) const { return FdAddress(fds_.at(path)); }
  RawVolume& raw() { return *raw_; }  // as it was before any damage
  base::BlockDevice& device() { return *lvm_; }

  // Volume addresses of metadata blocks.
  uint64_t Inode(FdAddress fd);
  uint64_t Cluster(ResourceKind kind, uint64_t cluster);  // behind the lock
  InodeMetadata LoadInode(FdAddress fd);
  // Volume address of byte `offset` of a file.
  uint64_t InFile(FdAddress fd, uint64_t offset);
  // Volume address of the record with this name.
  uint64_t RecordOf(const std::string& directory, const std::string& name);

  std::vector<std::byte> Peek(uint64_t address, size_t size_bytes);
  void Poke(uint64_t address, std::span<const std::byte> bytes);
  template <typename T>
  void Patch(uint64_t address, T value) {
    Poke(address, base::BytesOf(base::Le<T>(value)));
  }
  template <typename T, typename Change>
  void Edit(uint64_t address, Change change) {
    const auto bytes = Peek(address, sizeof(T));
    auto value = base::LoadAs<T>(bytes);
    change(value);
    Poke(address, base::BytesOf(value));
  }

  // Makes what the disk holds now the start of `Image` and of crash sweeps.
  void Settle() { volume_.disk().Settle(); }
  // The disk as it was settled last, as another one. Needs `logging`.
  std::unique_ptr<base::SimDisk> Image(base::SimExecutor& executor) {
    return ImageAt(executor, 0);
  }
  // The disk as a cut after so many entries of its log may leave it: whatever may be lost is.
  std::unique_ptr<base::SimDisk> ImageAt(base::SimExecutor& executor, size_t prefix_length) {
    const std::vector<base::SimDisk::Fate> lost(
        volume_.disk().OpenChanges(prefix_length).size());
    return volume_.disk().CrashImage(executor, prefix_length, lost);
  }
  // Repairs another disk, and answers what is wrong with it then: not clean, or `tree` not there.
  static std::string RepairAndCompare(base::SimExecutor& executor, base::SimDisk& disk,
                                      const Tree& tree);

  FsckReport Check();
  base::Result<RepairReport> TryRepair(RepairOptions& options);
  RepairReport Repair();
  // Repairs, and expects a clean check and every file of `expected` back.
  void ExpectRepaired();
  // What a mount shows. Fails the test when it cannot be mounted or read.
  Tree ReadBack();
  // Empty when the mount shows what `tree` says.
  std::string Compare(const Tree& tree);

  base::SimExecutor executor_{11};
  SimVolume volume_;
  Tree expected_;
  std::map<std::string, uint32_t> fds_;
  std::unique_ptr<base::BlockDevice> lvm_;
  std::unique_ptr<RawVolume> raw_;

 private:
  void Fill();
  void Write(VolumeClient& client, const std::string& path, uint64_t offset, size_t size_bytes);
};

}  // namespace vmfs
