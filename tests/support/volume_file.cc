#include "tests/support/volume_file.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>

#include "fs/base/aligned_buffer.h"
#include "vmfs/format/lvm.h"

namespace testing_support {

VolumeFiles::VolumeFiles(const std::string& parent) : folder_(parent + "/strata-XXXXXX") {
  CHECK(mkdtemp(folder_.data()) != nullptr);
  auto executor = base::UringExecutor::Create();
  CHECK(executor.has_value());
  executor_ = *std::move(executor);
}

VolumeFiles::~VolumeFiles() {
  for (base::BlockDevice* device : devices_) {
    EXPECT_TRUE(base::RunSync(*executor_, device->Close()).has_value());
  }
  for (const std::string& path : paths_) unlink(path.c_str());
  rmdir(folder_.c_str());
}

base::BlockDevice& VolumeFiles::Add(uint64_t size_bytes) {
  paths_.push_back(folder_ + "/" + std::to_string(paths_.size()) + ".img");
  base::FileDeviceOptions options;
  options.create_size_bytes = size_bytes;
  auto device = base::OpenFileDevice(*executor_, paths_.back(), options);
  CHECK(device.has_value());
  owned_.push_back(*std::move(device));
  devices_.push_back(owned_.back().get());
  return *devices_.back();
}

vmfs::MkfsReport VolumeFiles::Format(vmfs::MkfsOptions& options) {
  auto report = base::RunSync(*executor_, vmfs::MakeFileSystem(*executor_, devices_, options));
  if (!report) {
    ADD_FAILURE() << report.error().message();
    return {};
  }
  return *report;
}

vmfs::MkfsReport VolumeFiles::Format(const std::string& label) {
  vmfs::MkfsOptions options;
  options.label = label;
  return Format(options);
}

std::vector<std::byte> VolumeFiles::ReadDevice(uint64_t offset, size_t size_bytes, size_t index) {
  base::AlignedBuffer buffer(size_bytes);
  const base::IoVec piece = buffer.piece();
  const base::IoRequest request{offset, std::span<const base::IoVec>(&piece, 1)};
  const base::Status status = base::RunSync(*executor_, devices_[index]->Read(request));
  if (!status) ADD_FAILURE() << status.error().message();
  return {buffer.span().begin(), buffer.span().end()};
}

std::vector<std::byte> VolumeFiles::ReadVolume(uint64_t offset, size_t size_bytes) {
  return ReadDevice(vmfs::kLvmDataOffset + offset, size_bytes);
}

void VolumeFiles::WriteVolume(uint64_t offset, std::span<const std::byte> bytes) {
  base::AlignedBuffer buffer(bytes.size());
  std::memcpy(buffer.data(), bytes.data(), bytes.size());
  const base::IoVec piece = buffer.piece();
  const base::IoRequest request{vmfs::kLvmDataOffset + offset,
                                std::span<const base::IoVec>(&piece, 1)};
  const base::Status status = base::RunSync(*executor_, devices_[0]->Write(request));
  if (!status) ADD_FAILURE() << status.error().message();
}

CommandOutput RunCommand(const std::string& command) {
  CommandOutput output;
  std::FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return output;
  std::array<char, 4096> buffer{};
  for (size_t count; (count = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
    output.text.append(buffer.data(), count);
  }
  const int status = pclose(pipe);
  output.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return output;
}

bool HasProgram(const std::string& name) {
  return RunCommand("PATH=$PATH:/usr/sbin:/sbin command -v " + name).status == 0;
}

}  // namespace testing_support
