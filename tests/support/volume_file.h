// Volumes in temporary files, on the production executor and device: for tests with outside judges.
//
// A scratch folder with sparse images, opened as `base::FileDevice`, removed at the end.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fs/base/file_device.h"
#include "fs/base/uring_executor.h"
#include "vmfs/mkfs/mkfs.h"

namespace testing_support {

class VolumeFiles {
 public:
  // `parent`: where the folder is made; in RAM by default.
  explicit VolumeFiles(const std::string& parent = "/dev/shm");
  ~VolumeFiles();
  VolumeFiles(const VolumeFiles&) = delete;
  VolumeFiles& operator=(const VolumeFiles&) = delete;

  base::UringExecutor& executor() { return *executor_; }

  // Creates and opens a sparse image; it becomes the last of devices().
  base::BlockDevice& Add(uint64_t size_bytes);
  std::span<base::BlockDevice* const> devices() const { return devices_; }
  const std::string& path(size_t index = 0) const { return paths_[index]; }
  const std::string& folder() const { return folder_; }

  // mkfs over all devices; fails the test when it fails.
  vmfs::MkfsReport Format(vmfs::MkfsOptions& options);
  vmfs::MkfsReport Format(const std::string& label);

  // Device bytes and volume bytes of a one-device volume.
  std::vector<std::byte> ReadDevice(uint64_t offset, size_t size_bytes, size_t index = 0);
  std::vector<std::byte> ReadVolume(uint64_t offset, size_t size_bytes);
  void WriteVolume(uint64_t offset, std::span<const std::byte> bytes);

 private:
  std::string folder_;
  std::unique_ptr<base::UringExecutor> executor_;
  std::vector<std::string> paths_;
  std::vector<std::unique_ptr<base::FileDevice>> owned_;
  std::vector<base::BlockDevice*> devices_;
};

// Runs a shell command; answers what it printed and its exit status.
struct CommandOutput {
  std::string text;
  int status = -1;
};
CommandOutput RunCommand(const std::string& command);

// Whether a program can be found.
bool HasProgram(const std::string& name);

}  // namespace testing_support
