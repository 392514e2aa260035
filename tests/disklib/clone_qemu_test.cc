// An independent reader judges our clones: qemu-img compares each format with the raw content.
#include <algorithm>
#include <fstream>

#include "disklib/clone.h"
#include "disklib/compare.h"
#include "tests/disklib/qemu_support.h"

namespace disklib {
namespace {

class CloneQemu : public Qemu {
 protected:
  // A disk with text here and there, and "model.raw" that holds the same.
  void MakeSource(uint64_t size_bytes) {
    const NewDisk disk{.size_bytes = size_bytes, .adapter_type = "pvscsi"};
    ASSERT_TRUE(Run(CreateDisk(*lib_, "source.vmdk", disk, nullptr)));
    std::fstream flat(folder_ + "/source-flat.vmdk",
                      std::ios::in | std::ios::out | std::ios::binary);
    for (uint64_t at = 0; at < size_bytes; at = at * 3 + 37 * 4096) {
      std::string text(std::min<uint64_t>(90'000 + at % 4096, size_bytes - at), '\0');
      for (size_t i = 0; i < text.size(); ++i) {
        text[i] = static_cast<char>('a' + (at + i * 7 + i / 512) % 23);
      }
      flat.seekp(static_cast<std::streamoff>(at));
      flat.write(text.data(), static_cast<std::streamsize>(text.size()));
    }
    flat.close();
    Shell("cp --sparse=always source-flat.vmdk model.raw");
  }
};

TEST_F(CloneQemu, ReadsEveryFormatByteForByte) {
  MakeSource(150 * kMebi + 512);
  for (const char* format :
       {"thin", "zeroedthick", "eagerzeroedthick", "monolithicFlat", "twoGbMaxExtentFlat",
        "vmfsSparse", "seSparse", "monolithicSparse", "2gbsparse", "streamOptimized"}) {
    SCOPED_TRACE(format);
    CloneOptions options;
    ASSERT_TRUE(ParseCloneFormat(format, options));
    const std::string name = fmt::format("{}.vmdk", format);
    const auto cloned = Run(CloneDisk(*lib_, "source.vmdk", *lib_, name, options, nullptr));
    ASSERT_TRUE(cloned) << cloned.error().message();
    Shell(fmt::format("qemu-img compare -f raw -F vmdk model.raw {}", name));
    Shell(fmt::format("qemu-img check -f vmdk {}", name));
    const DiskInfo source = *Run(lib_->GetInfo("source.vmdk"));
    Shell(fmt::format("qemu-img info --output=json {}", name));
    EXPECT_NE(ReadFile("out.txt").find(fmt::format("\"cid\": {}", 0xfffffffeu)), std::string::npos)
        << "the clone has the content id of its source\n"
        << ReadFile("out.txt");
  }
}

TEST_F(CloneQemu, AgreesOnTheHashOfTheRawImage) {
  MakeSource(40 * kMebi);
  const auto hash = Run(HashDisk(*lib_, "source.vmdk", nullptr));
  ASSERT_TRUE(hash) << hash.error().message();
  Shell(fmt::format("test $(sha256sum <model.raw | cut -d' ' -f1) = {}", hash->sha256));
}

TEST_F(CloneQemu, LeavesHolesWhereTheSourceHasThem) {
  MakeSource(400 * kMebi);
  const auto cloned = Run(CloneDisk(*lib_, "source.vmdk", *lib_, "copy.vmdk", {}, nullptr));
  ASSERT_TRUE(cloned) << cloned.error().message();
  const uint64_t source_bytes = Run(lib_->GetInfo("source.vmdk"))->allocated_bytes;
  const uint64_t copy_bytes = Run(lib_->GetInfo("copy.vmdk"))->allocated_bytes;
  EXPECT_LE(copy_bytes, source_bytes + 64 * 1024);
}

}  // namespace
}  // namespace disklib
