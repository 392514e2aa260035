#include "disklib/exchange/ovf.h"

#include <string>

#include <gtest/gtest.h>

namespace disklib {
namespace {

using base::Code;

// In the manner of VMware's exporters: prefixes, units and the order of items are theirs.
constexpr std::string_view kForeign = R"(<?xml version='1.0' encoding='UTF-8'?>
<ovf:Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="r" xmlns:vssd="v"
    xmlns:vmw="w">
  <ovf:References>
    <ovf:File ovf:id="file2" ovf:href="data.vmdk" ovf:size="70144"/>
    <ovf:File ovf:id="file1" ovf:href="system.vmdk" ovf:size="1234"/>
    <ovf:File ovf:id="file3" ovf:href="vm.nvram" ovf:size="8684"/>
  </ovf:References>
  <ovf:DiskSection><ovf:Info>disks</ovf:Info>
    <ovf:Disk ovf:diskId="vmdisk2" ovf:fileRef="file2" ovf:capacity="512"
      ovf:capacityAllocationUnits="byte * 2^20" ovf:format="f"/>
    <ovf:Disk ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:capacity="16"
      ovf:capacityAllocationUnits="byte * 2^30"
      ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </ovf:DiskSection>
  <ovf:VirtualSystem ovf:id="vm">
    <ovf:Info>machine</ovf:Info>
    <ovf:Name>web &amp; mail</ovf:Name>
    <ovf:OperatingSystemSection ovf:id="96" vmw:osType="debian11_64Guest"/>
    <ovf:VirtualHardwareSection>
      <ovf:System><vssd:VirtualSystemType>vmx-19 vmx-21</vssd:VirtualSystemType></ovf:System>
      <ovf:Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType>
        <rasd:VirtualQuantity>4</rasd:VirtualQuantity></ovf:Item>
      <ovf:Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>
        <rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType>
        <rasd:VirtualQuantity>2048</rasd:VirtualQuantity></ovf:Item>
      <ovf:Item><rasd:AddressOnParent>0</rasd:AddressOnParent>
        <rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource><rasd:InstanceID>3</rasd:InstanceID>
        <rasd:Parent>9</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></ovf:Item>
      <ovf:Item><rasd:AddressOnParent>1</rasd:AddressOnParent>
        <rasd:HostResource>/disk/vmdisk2</rasd:HostResource><rasd:InstanceID>4</rasd:InstanceID>
        <rasd:Parent>9</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></ovf:Item>
      <ovf:Item><rasd:Address>0</rasd:Address><rasd:InstanceID>9</rasd:InstanceID>
        <rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType>
        <rasd:ResourceType>6</rasd:ResourceType></ovf:Item>
      <ovf:Item><rasd:Connection>LAN</rasd:Connection><rasd:InstanceID>11</rasd:InstanceID>
        <rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType>
        <rasd:ResourceType>10</rasd:ResourceType></ovf:Item>
      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>
    </ovf:VirtualHardwareSection>
  </ovf:VirtualSystem>
</ovf:Envelope>)";

std::string Replaced(std::string_view what, std::string_view with) {
  std::string text(kForeign);
  const size_t at = text.find(what);
  EXPECT_NE(at, text.npos) << what;
  return text.replace(at, what.size(), with);
}

TEST(Ovf, OfAnotherWriterIsUnderstood) {
  const auto package = ParseOvf(kForeign);
  ASSERT_TRUE(package.has_value()) << package.error().message();
  const Machine& machine = package->machine;
  EXPECT_EQ(machine.name, "web & mail");
  EXPECT_EQ(machine.cpu_count, 4U);
  EXPECT_EQ(machine.memory_bytes, uint64_t{2} << 30);
  EXPECT_EQ(machine.hardware_version, 19U);
  EXPECT_EQ(machine.guest_os, "debian11-64");
  EXPECT_TRUE(machine.is_efi);
  ASSERT_EQ(machine.controllers.size(), 1U);
  EXPECT_EQ(machine.controllers[0], (MachineController{"scsi", "pvscsi", 0}));
  ASSERT_EQ(machine.networks.size(), 1U);
  EXPECT_EQ(machine.networks[0], (MachineNetwork{"LAN", "vmxnet3"}));
  ASSERT_EQ(package->disks.size(), 2U);
  EXPECT_EQ(package->disks[0], (OvfDisk{"vmdisk1", "system.vmdk", std::string(kStreamOptimizedUri),
                                        uint64_t{16} << 30, 1234}));
  EXPECT_EQ(package->disks[1], (OvfDisk{"vmdisk2", "data.vmdk", "f", uint64_t{512} << 20, 70144}));
  ASSERT_EQ(machine.drives.size(), 2U);
  EXPECT_EQ(machine.drives[0], (MachineDrive{0, 0, 0}));
  EXPECT_EQ(machine.drives[1], (MachineDrive{1, 0, 1}));
}

OvfPackage SmallPackage() {
  OvfPackage package;
  Machine& machine = package.machine;
  machine.name = "a<b>\"&";
  machine.cpu_count = 2;
  machine.memory_bytes = uint64_t{512} << 20;
  machine.guest_os = "other5xlinux-64";
  machine.is_efi = true;
  machine.controllers = {{"scsi", "lsilogic", 0}, {"sata", "", 0}, {"ide", "", 0}};
  machine.drives = {{0, 0, 0}, {1, 1, 3}};
  machine.networks = {{"VM Network", "vmxnet3"}, {"VM Network", "e1000"}};
  package.disks = {{"vmdisk1", "a-disk1.vmdk", std::string(kStreamOptimizedUri), 1 << 20, 70144},
                   {"vmdisk2", "a-disk2.vmdk", std::string(kStreamOptimizedUri), 512, 1}};
  return package;
}

TEST(Ovf, ReadsBackAsItWasWritten) {
  const OvfPackage package = SmallPackage();
  const auto text = WriteOvf(package);
  ASSERT_TRUE(text.has_value()) << text.error().message();
  const auto again = ParseOvf(*text);
  ASSERT_TRUE(again.has_value()) << again.error().message() << *text;
  EXPECT_EQ(*again, package);
}

TEST(Ovf, NamesWhatImportersLookFor) {
  const std::string text = WriteOvf(SmallPackage()).value();
  for (const char* word :
       {"<File ovf:href=\"a-disk1.vmdk\" ovf:id=\"file1\" ovf:size=\"70144\"/>",
        "ovf:format=\"http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized\"",
        "<rasd:ResourceSubType>lsilogic</rasd:ResourceSubType>",
        "<vssd:VirtualSystemType>vmx-14</vssd:VirtualSystemType>",
        "<rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource>",
        "vmw:osType=\"other5xlinux_64Guest\"", "<Name>a&lt;b&gt;&quot;&amp;</Name>"}) {
    EXPECT_NE(text.find(word), text.npos) << word << '\n' << text;
  }
}

TEST(Ovf, RefusesToWriteWhatXmlCannotHold) {
  OvfPackage package = SmallPackage();
  package.machine.name = "a\x01";
  EXPECT_EQ(WriteOvf(package).error().code(), Code::kNameInvalid);
  package = SmallPackage();
  package.machine.drives[0].disk = 9;
  EXPECT_EQ(WriteOvf(package).error().code(), Code::kInvalidArgument);
}

TEST(Ovf, RefusesWhatItCannotDoSafely) {
  const struct {
    std::string text;
    Code code;
    const char* words;
  } cases[] = {
      {"", Code::kNotRecognized, "OVF"},
      {"<a/>", Code::kNotRecognized, "no Envelope"},
      {"<Envelope/>", Code::kCorrupt, "0 machines"},
      {std::string(kOvfBytesMax + 1, ' '), Code::kTooLarge, "bytes"},
      {Replaced("href=\"system.vmdk\"", "href=\"../system.vmdk\""), Code::kNameInvalid, "../"},
      {Replaced("href=\"system.vmdk\"", "href=\"/dev/sda\""), Code::kNameInvalid, "/dev/sda"},
      {Replaced("fileRef=\"file1\"", "fileRef=\"file9\""), Code::kCorrupt, "file9"},
      {Replaced("ovf:id=\"file1\"", "ovf:id=\"file2\""), Code::kCorrupt, "file2"},
      {Replaced("ovf:diskId=\"vmdisk1\"", "ovf:diskId=\"vmdisk2\""), Code::kCorrupt, "vmdisk2"},
      {Replaced("ovf:fileRef=\"file1\"", "ovf:fileRef=\"file1\" ovf:parentRef=\"vmdisk2\""),
       Code::kUnsupported, "parent"},
      {Replaced("ovf:size=\"1234\"", "ovf:compression=\"gzip\""), Code::kUnsupported, "gzip"},
      {Replaced("ovf:size=\"1234\"", "ovf:chunkSize=\"99\""), Code::kUnsupported, "chunks"},
      {Replaced("ovf:capacity=\"16\"", "ovf:capacity=\"${size}\""), Code::kParseError, "${size}"},
      {Replaced("ovf:capacity=\"16\"", "ovf:capacity=\"70000000000\""), Code::kParseError, "range"},
      {Replaced("byte * 2^30", "pages"), Code::kParseError, "pages"},
      {Replaced("ovf:/disk/vmdisk1", "ovf:/disk/vmdisk7"), Code::kCorrupt, "vmdisk7"},
      {Replaced("<rasd:Parent>9<", "<rasd:Parent>8<"), Code::kCorrupt, "no controller"},
      {Replaced("/disk/vmdisk2<", "/disk/vmdisk1<"), Code::kCorrupt, "twice"},
      {Replaced("<rasd:VirtualQuantity>4<", "<rasd:VirtualQuantity>-1<"), Code::kParseError, "-1"},
      {Replaced("</ovf:Envelope>", "<ovf:VirtualSystem/></ovf:Envelope>"), Code::kUnsupported,
       "2 machines"},
  };

  for (const auto& one : cases) {
    const auto package = ParseOvf(one.text);
    ASSERT_FALSE(package.has_value()) << one.words;
    EXPECT_EQ(package.error().code(), one.code) << package.error().message();
    EXPECT_NE(package.error().message().find(one.words), std::string::npos)
        << package.error().message() << " without " << one.words;
  }
}

TEST(Ovf, TakesTheDefaultConfigurationOfSeveral) {
  const std::string text = Replaced("<ovf:Item><rasd:InstanceID>1<",
                                    "<ovf:Item ovf:configuration=\"large\"><rasd:InstanceID>1<");
  const std::string options =
      "<ovf:DeploymentOptionSection><ovf:Configuration ovf:id=\"small\"/>"
      "<ovf:Configuration ovf:id=\"large\" ovf:default=\"DEFAULT\"/>"
      "</ovf:DeploymentOptionSection><ovf:VirtualSystem ";
  const auto with = [&](const std::string& is_default) {
    std::string whole = text;
    std::string section = options;
    section.replace(section.find("DEFAULT"), 7, is_default);
    whole.replace(whole.find("<ovf:VirtualSystem "), 19, section);
    const auto package = ParseOvf(whole);
    EXPECT_TRUE(package.has_value()) << package.error().message();
    return package ? package->machine.cpu_count : 0;
  };
  EXPECT_EQ(with("true"), 4U);
  EXPECT_EQ(with("false"), 1U);
}

TEST(AllocationUnits, AreThoseThatWritersUse) {
  EXPECT_EQ(ParseAllocationUnits(""), 1U);
  EXPECT_EQ(ParseAllocationUnits("byte"), 1U);
  EXPECT_EQ(ParseAllocationUnits("byte * 2^30"), uint64_t{1} << 30);
  EXPECT_EQ(ParseAllocationUnits("bytes*10^9"), 1'000'000'000U);
  EXPECT_EQ(ParseAllocationUnits("byte * 512"), 512U);
  EXPECT_EQ(ParseAllocationUnits("MegaBytes"), uint64_t{1} << 20);
  EXPECT_EQ(ParseAllocationUnits("gb"), uint64_t{1} << 30);
  for (const char* units : {"pages", "byte *", "byte * 2^", "byte * 2^63", "byte * 0^3", "hertz",
                            "byte * 99999999999^9", "byte + 1"}) {
    EXPECT_EQ(ParseAllocationUnits(units), std::nullopt) << units;
  }
}

}  // namespace
}  // namespace disklib
