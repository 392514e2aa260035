#include "disklib/vm_folder/vmx.h"

#include <gtest/gtest.h>

namespace disklib {
namespace {

using base::Code;

constexpr std::string_view kText =
    ".encoding = \"UTF-8\"\n"
    "displayName = \"vm\"\n"
    "scsi0.virtualDev = \"pvscsi\"\n"
    "scsi0:0.deviceType = \"scsi-hardDisk\"\n"
    "scsi0:0.fileName = \"vm-000001.vmdk\"\n"
    "scsi0:0.present = \"TRUE\"\n"
    "SCSI0:1.FILENAME = \"data.vmdk\"\n"
    "scsi0:1.mode = \"independent-persistent\"\n"
    "scsi0:2.fileName = \"gone.vmdk\"\n"
    "scsi0:2.present = \"FALSE\"\n"
    "sata0:0.deviceType = \"cdrom-image\"\n"
    "sata0:0.fileName = \"odd.vmdk\"\n"
    "sata0:1.fileName = \"/vmfs/volumes/iso/debian.iso\"\n"
    "nvram = \"vm.nvram\"\n"
    "sched.scsi0:0.fileName = \"no.vmdk\"\n";

TEST(Vmx, ListsTheDisksThatArePresent) {
  const auto vmx = Vmx::Parse(kText);
  ASSERT_TRUE(vmx) << vmx.error().message();
  EXPECT_EQ(vmx->disks(),
            (std::vector<VmxDisk>{{"scsi0:0", "vm-000001.vmdk", ""},
                                  {"SCSI0:1", "data.vmdk", "independent-persistent"}}));
  EXPECT_FALSE(vmx->disks()[0].is_independent());
  EXPECT_TRUE(vmx->FindDisk("scsi0:1")->is_independent());
  EXPECT_EQ(vmx->FindDisk("scsi0:2"), nullptr);
  EXPECT_EQ(vmx->Text(), kText);
}

TEST(Vmx, NamesAnotherLeafAndKeepsTheRest) {
  auto vmx = Vmx::Parse(kText);
  ASSERT_TRUE(vmx->SetFileName("scsi0:1", "data-000001.vmdk"));
  EXPECT_EQ(vmx->SetFileName("scsi0:7", "x.vmdk").error().code(), Code::kNotFound);
  std::string expected(kText);
  const std::string_view old_name = "SCSI0:1.FILENAME = \"data.vmdk\"";
  expected.replace(expected.find(old_name), old_name.size(),
                   "SCSI0:1.FILENAME = \"data-000001.vmdk\"");
  EXPECT_EQ(vmx->Text(), expected);
}

TEST(Vmx, RefusesNamesInOtherEncodings) {
  const std::string_view text =
      ".encoding = \"windows-1252\"\nscsi0:0.fileName = \"\xfcml.vmdk\"\n";
  EXPECT_EQ(Vmx::Parse(text).error().code(), Code::kUnsupported);
  EXPECT_TRUE(Vmx::Parse(".encoding = \"windows-1252\"\nscsi0:0.fileName = \"a.vmdk\"\n"));
}

}  // namespace
}  // namespace disklib
