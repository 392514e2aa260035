// An independent reader and writer judges our disks: qemu-img over a folder of the host.
#include "tests/disklib/qemu_support.h"

namespace disklib {
namespace {

std::string Letters(char first, size_t size_bytes) {
  std::string text(size_bytes, first);
  for (size_t i = 0; i < text.size(); ++i)
    text[i] = static_cast<char>(first + (i * 7 + i / 512) % 23);
  return text;
}

struct Layout {
  const char* name;
  DiskLayout layout;
  uint64_t size_bytes;
};

constexpr Layout kLayouts[] = {
    {"vmfs", DiskLayout::kVmfs, 20 * kMebi},
    {"monolithicFlat", DiskLayout::kMonolithicFlat, 20 * kMebi},
    {"twoGbMaxExtentFlat", DiskLayout::kTwoGbMaxExtentFlat, 4100 * kMebi},
};

TEST_F(Qemu, ReadsWhatWeWroteByteForByte) {
  for (const Layout& layout : kLayouts) {
    SCOPED_TRACE(layout.name);
    const std::string name = fmt::format("ours-{}.vmdk", layout.name);
    const NewDisk disk{.size_bytes = layout.size_bytes, .layout = layout.layout};
    ASSERT_TRUE(Run(CreateDisk(*lib_, name, disk, nullptr)));
    std::string head = Letters('a', 70'000);
    std::string border = Letters('A', 70'001);
    const uint64_t border_at = std::min(layout.size_bytes / 2, 2047 * kMebi - 33'333);
    WriteDisk(name, 0, head);
    WriteDisk(name, border_at, border);
    Shell(fmt::format("qemu-img info --output=json {}", name));
    const std::string info = ReadFile("out.txt");
    EXPECT_NE(info.find(fmt::format("\"virtual-size\": {}", layout.size_bytes)), std::string::npos);
    EXPECT_NE(info.find(fmt::format("\"create-type\": \"{}\"", layout.name)), std::string::npos);
    Shell(fmt::format("truncate -s {} model.raw", layout.size_bytes));
    std::fstream model(folder_ + "/model.raw", std::ios::in | std::ios::out | std::ios::binary);
    model.write(head.data(), static_cast<std::streamsize>(head.size()));
    model.seekp(static_cast<std::streamoff>(border_at));
    model.write(border.data(), static_cast<std::streamsize>(border.size()));
    model.close();
    Shell(fmt::format("qemu-img compare -f raw -F vmdk model.raw {}", name));
    ASSERT_TRUE(Run(RenameDisk(*lib_, name, "renamed.vmdk")));
    const uint64_t grown_bytes = layout.size_bytes + 3 * kMebi;
    ASSERT_TRUE(Run(ExtendDisk(*lib_, "renamed.vmdk", {.size_bytes = grown_bytes}, nullptr)));
    Shell(fmt::format("truncate -s {} model.raw", grown_bytes));
    Shell("qemu-img compare -f raw -F vmdk model.raw renamed.vmdk");
    ASSERT_TRUE(Run(DeleteDisk(*lib_, "renamed.vmdk")));
    std::filesystem::remove(folder_ + "/model.raw");
    std::filesystem::remove(folder_ + "/out.txt");
    EXPECT_TRUE(std::filesystem::is_empty(folder_));
  }
}

TEST_F(Qemu, WritesWhatWeReadAndReadsItBackAfterUs) {
  for (const char* subformat : {"monolithicFlat", "twoGbMaxExtentFlat"}) {
    SCOPED_TRACE(subformat);
    const std::string name = fmt::format("theirs-{}.vmdk", subformat);
    Shell(fmt::format("qemu-img create -f vmdk -o subformat={} {} 4100M", subformat, name));
    const uint64_t border = 2048 * kMebi - 512;
    Shell(fmt::format("qemu-io -f vmdk -c 'write -P 0x61 0 64k' -c 'write -P 0x62 {} 1024' {}",
                      border, name));
    EXPECT_EQ(ReadDisk(name, 0, 65537), std::string(65536, 'a') + std::string(1, '\0'));
    EXPECT_EQ(ReadDisk(name, border - 1, 1026),
              std::string(1, '\0') + std::string(1024, 'b') + std::string(1, '\0'));
    std::string odd(777, 'c');
    WriteDisk(name, border - 100, odd);
    Shell(
        fmt::format("qemu-io -f vmdk -r -c 'read -P 0x63 -s 412 -l 100 {} 512' "
                    "-c 'read -P 0x63 -l 512 {} 512' {}",
                    border - 512, border, name));
    const DiskInfo info = *Run(lib_->GetInfo(name));
    EXPECT_EQ(info.capacity_bytes, 4100 * kMebi);
    EXPECT_TRUE(info.is_thin) << "their flat files have holes";
    EXPECT_EQ(ParseDescriptor(ReadFile(name))->content_id,
              std::strtoul(info.content_id.c_str(), nullptr, 16));
    ASSERT_TRUE(Run(DeleteDisk(*lib_, name)));
  }
}

// What qemu-img makes by default is sparse: it is named, not misread.
TEST_F(Qemu, ReadsAndWritesTheSparseDisksWeWrite) {
  Shell("qemu-img create -f vmdk sparse.vmdk 10M");
  Shell("qemu-io -f vmdk -c 'write -P 7 1M 1M' sparse.vmdk");
  std::string bytes = "written in place";
  WriteDisk("sparse.vmdk", 1'500'000, bytes);
  EXPECT_EQ(ReadDisk("sparse.vmdk", 1'500'000, bytes.size()), bytes);
  Shell("qemu-img convert -f vmdk -O raw sparse.vmdk raw.img");
  const std::string raw = ReadFile("raw.img");
  EXPECT_EQ(raw.substr(1'500'000, bytes.size()), bytes);
  EXPECT_EQ(raw[1'499'999], '\7');
  Shell("qemu-img check -f vmdk sparse.vmdk");
}

}  // namespace
}  // namespace disklib
