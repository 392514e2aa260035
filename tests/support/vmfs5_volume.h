// The VMFS-5 volume that ESXi wrote, in memory: to be patched, mounted and read by tests.
//
// Thread rule: one thread, one `SimExecutor` of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fs/base/random.h"
#include "fs/base/sim_executor.h"
#include "tests/support/sim_disk.h"
#include "vmfs/format/address.h"
#include "vmfs/volume/volume.h"

namespace vmfs {

class Vmfs5Volume {
 public:
  // The sample must be there (REQUIRE_SAMPLE).
  explicit Vmfs5Volume(uint64_t seed = 1);
  ~Vmfs5Volume();

  base::SimExecutor& executor() { return executor_; }
  std::span<base::BlockDevice* const> devices() const { return devices_; }
  Volume& volume() { return *volume_; }
  base::SimDisk& disk() { return *disk_; }

  // By device offset and by volume offset. A mounted volume may have read the old bytes.
  std::vector<std::byte> ReadDevice(uint64_t offset, size_t size_bytes);
  void WriteDevice(uint64_t offset, std::span<const std::byte> bytes);
  void Write32(uint64_t volume_offset, uint32_t value);
  void Write64(uint64_t volume_offset, uint64_t value);

  // Volume offset of a descriptor of cluster 0.
  static uint64_t DescriptorAt(uint32_t item);

  base::Status Mount(bool read_only = true);
  void Unmount();

  // Of a mounted volume. Reads at most `bytes_max`.
  base::Result<fss::Attributes> Find(const std::string& path);
  base::Result<std::string> ReadText(const std::string& path, uint64_t offset_bytes,
                                     uint64_t bytes_max);

  // Lists and reads what can be found below a directory, some bytes of every file; answers what was
  // found. Damage is no failure.
  std::vector<std::string> ReadEverything();

 private:
  void ReadBelow(fss::InodeNumber directory, const std::string& path,
                 std::vector<std::string>& found);

  base::SimExecutor executor_;
  std::unique_ptr<base::SimDisk> disk_;
  std::vector<base::BlockDevice*> devices_;
  std::unique_ptr<base::BlockDevice> lvm_;
  std::unique_ptr<Volume> volume_;
};

}  // namespace vmfs
