#include "disklib/exchange/machine.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace disklib {
namespace {

Machine SmallMachine() {
  Machine machine;
  machine.name = "web \"1\"";
  machine.cpu_count = 2;
  machine.memory_bytes = uint64_t{2} << 30;
  machine.guest_os = "debian11-64";
  machine.is_efi = true;
  machine.controllers = {{"scsi", "pvscsi", 0}, {"ide", "", 1}};
  machine.drives = {{0, 0, 0}, {1, 1, 1}};
  machine.networks = {{"VM Network", "vmxnet3"}};
  return machine;
}

TEST(MachineFile, IsWrittenAsItsOwnersWriteIt) {
  const auto text = WriteMachineFile(SmallMachine(), {"web.vmdk", "web_1.vmdk"});
  ASSERT_TRUE(text.has_value()) << text.error().message();
  EXPECT_EQ(*text,
            ".encoding = \"UTF-8\"\n"
            "config.version = \"8\"\n"
            "virtualHW.version = \"14\"\n"
            "displayName = \"web |221|22\"\n"
            "guestOS = \"debian11-64\"\n"
            "firmware = \"efi\"\n"
            "numvcpus = \"2\"\n"
            "memSize = \"2048\"\n"
            "scsi0.present = \"TRUE\"\n"
            "scsi0.virtualDev = \"pvscsi\"\n"
            "scsi0:0.present = \"TRUE\"\n"
            "scsi0:0.deviceType = \"scsi-hardDisk\"\n"
            "scsi0:0.fileName = \"web.vmdk\"\n"
            "ide1:1.present = \"TRUE\"\n"
            "ide1:1.fileName = \"web_1.vmdk\"\n"
            "ethernet0.present = \"TRUE\"\n"
            "ethernet0.virtualDev = \"vmxnet3\"\n"
            "ethernet0.networkName = \"VM Network\"\n"
            "ethernet0.addressType = \"generated\"\n");
}

TEST(MachineFile, ReadsBackAsItWasWritten) {
  const std::vector<std::string> disks = {"web.vmdk", "web_1.vmdk"};
  const auto file = ReadMachineFile(WriteMachineFile(SmallMachine(), disks).value());
  ASSERT_TRUE(file.has_value()) << file.error().message();
  EXPECT_EQ(file->machine, SmallMachine());
  EXPECT_EQ(file->disk_names, disks);
}

TEST(MachineFile, WithoutADiskForADriveIsRefused) {
  EXPECT_EQ(WriteMachineFile(SmallMachine(), {"web.vmdk"}).error().code(),
            base::Code::kInvalidArgument);
}

TEST(MachineFile, WithNonsenseForNumbersGetsTheUsualOnes) {
  const auto file = ReadMachineFile("numvcpus = \"many\"\nmemSize = \"0\"\nfirmware = \"bios\"\n");
  ASSERT_TRUE(file.has_value()) << file.error().message();
  EXPECT_EQ(file->machine.cpu_count, 1U);
  EXPECT_EQ(file->machine.memory_bytes, uint64_t{1} << 30);
  EXPECT_FALSE(file->machine.is_efi);
  EXPECT_TRUE(file->disk_names.empty());
}

TEST(MachineController, GivesItsDisksTheAdapterTheirDescriptorsKnow) {
  EXPECT_EQ(DescriptorAdapterOf({"scsi", "pvscsi", 0}), "lsilogic");
  EXPECT_EQ(DescriptorAdapterOf({"scsi", "buslogic", 0}), "buslogic");
  EXPECT_EQ(DescriptorAdapterOf({"ide", "", 0}), "ide");
}

}  // namespace
}  // namespace disklib
