// A fresh volume for the checker's tests: damage it by hand, check it, look at the findings.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/volume_file.h"
#include "vmfs/fsck/fsck.h"
#include "vmfs/mkfs/layout.h"

namespace testing_support {

inline std::string Describe(const vmfs::FsckReport& report) {
  std::string text;
  for (const vmfs::Finding& finding : report.findings) {
    text += std::string(NameOf(finding.severity)) + " " + std::string(NameOf(finding.code)) + ": " +
            finding.text + "\n";
  }
  return text;
}

class FsckVolume : public testing::Test {
 protected:
  FsckVolume() {
    files_.Add(vmfs::ImageBytesFor(vmfs::kUnitBytes));
    report_ = files_.Format("checked");
    layout_ = *vmfs::PlanVolume(vmfs::kUnitBytes);
  }

  vmfs::FsckReport Check() {
    vmfs::FsckOptions options;
    auto report =
        base::RunSync(files_.executor(), vmfs::CheckDevices(files_.devices(), options));
    if (report) return *std::move(report);
    ADD_FAILURE() << report.error().message();
    return {};
  }

  // Replaces a little-endian integer at a volume address.
  template <typename T>
  void Patch(uint64_t address, T value) {
    const uint64_t block = address / 4096 * 4096;
    auto bytes = files_.ReadVolume(block, 4096);
    base::StoreAs(std::span<std::byte>(bytes), address - block, base::Le<T>(value));
    files_.WriteVolume(block, bytes);
  }

  // Changes a whole structure at a volume address.
  template <typename T, typename Change>
  void Edit(uint64_t address, Change change) {
    const uint64_t block = address / 4096 * 4096;
    auto bytes = files_.ReadVolume(block, 4096);
    auto value = base::LoadAs<T>(bytes, address - block);
    change(value);
    base::StoreAs(std::span<std::byte>(bytes), address - block, value);
    files_.WriteVolume(block, bytes);
  }

  // Expects a finding with this code that says `text`, and none with another code.
  void ExpectOnly(vmfs::FindingCode code, const std::string& text) {
    const vmfs::FsckReport report = Check();
    bool found = false;
    for (const vmfs::Finding& finding : report.findings) {
      EXPECT_EQ(NameOf(finding.code), NameOf(code)) << finding.text;
      found = found || finding.text.find(text) != std::string::npos;
    }
    EXPECT_TRUE(found) << "nothing says \"" << text << "\":\n" << Describe(report);
  }

  // Expects a finding with this code that says `text`; others may follow from the same damage.
  void ExpectAmong(vmfs::FindingCode code, const std::string& text) {
    const vmfs::FsckReport report = Check();
    for (const vmfs::Finding& finding : report.findings) {
      if (finding.code == code && finding.text.find(text) != std::string::npos) return;
    }
    ADD_FAILURE() << "no " << NameOf(code) << " says \"" << text << "\":\n" << Describe(report);
  }

  // Volume addresses of structures of the fresh volume.
  uint64_t InFile(vmfs::FdAddress fd, uint64_t offset) const {
    return layout_.file(fd).VolumeBlock(offset / vmfs::kMebibyte) * vmfs::kMebibyte +
           offset % vmfs::kMebibyte;
  }
  uint64_t Cluster(const vmfs::ResourceGeometry& geometry, uint64_t cluster) const {
    return InFile(SystemFileOf(geometry.kind), geometry.LockOffset(cluster));
  }
  uint64_t Inode(vmfs::FdAddress fd) const {
    return InFile(vmfs::kFdcFd, layout_.fds.ItemOffset(fd.cluster(), fd.item())) + 4096;
  }

  VolumeFiles files_;
  vmfs::MkfsReport report_;
  vmfs::VolumeLayout layout_;
};

}  // namespace testing_support
