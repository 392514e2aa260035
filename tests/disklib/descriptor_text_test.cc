#include "disklib/descriptor_text.h"

#include <cstring>

#include "disklib/sparse/hosted_format.h"
#include "tests/disklib/support.h"

namespace disklib {
namespace {

using base::Code;

constexpr uint64_t kRoomBytes = kEmbeddedDescriptorSectors * kSectorBytes;

// A hosted sparse file with nothing but its header and a descriptor inside.
std::string HostedFile(const std::string& text) {
  const NewHostedHeader what{.capacity_sectors = 2048, .has_descriptor = true};
  const HostedHeader header =
      MakeHostedHeader(what, PlanHostedLayout(2048, kHostedDefaultGrainSectors, false));
  std::string file(64 * 1024 + 512, '\0');
  std::memcpy(file.data(), &header, sizeof(header));
  file.replace(512, text.size(), text);
  return file;
}

std::string EmbeddedText(const std::string& name) {
  return "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
         "createType=\"monolithicSparse\"\nRW 2048 SPARSE \"" +
         name + "\"\n";
}

TEST(DescriptorText, IsReadFromATextAndFromInsideASparseFile) {
  Bench bench;
  bench.Store("a.vmdk", EmbeddedText("x.vmdk"));
  const auto plain = bench.Run(ReadDescriptorAt(bench.backend, "a.vmdk"));
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->embedded.room_bytes, 0u);
  bench.Store("b.vmdk", HostedFile(EmbeddedText("b.vmdk")));
  const auto inside = bench.Run(ReadDescriptorAt(bench.backend, "b.vmdk"));
  ASSERT_TRUE(inside) << inside.error().message();
  EXPECT_EQ(inside->text, EmbeddedText("b.vmdk"));
  EXPECT_EQ(inside->embedded.offset_bytes, 512u);
  EXPECT_EQ(inside->embedded.room_bytes, kRoomBytes);
  const auto info = bench.Run(bench.lib.GetInfo("b.vmdk"));
  ASSERT_TRUE(info) << info.error().message();
  EXPECT_EQ(info->create_type, "monolithicSparse");
}

TEST(DescriptorText, IsRefusedWhereItCannotBe) {
  Bench bench;
  bench.Store("cut.vmdk", HostedFile("").substr(0, 4096));
  EXPECT_EQ(bench.Run(ReadDescriptorAt(bench.backend, "cut.vmdk")).error().code(), Code::kCorrupt);
  bench.Store("cowd.vmdk", "COWD" + std::string(2 << 20, 'x'));
  const auto delta = bench.Run(bench.lib.Open("cowd.vmdk", {}));
  EXPECT_EQ(delta.error().code(), Code::kNotRecognized);
  EXPECT_NE(delta.error().message().find("vmfsSparse delta"), std::string::npos);
}

TEST(DescriptorText, IsStoredInPlaceBySectorsThatDiffer) {
  Bench bench;
  const std::string old = EmbeddedText("b.vmdk") + std::string(800, '#') + "\n";
  bench.Store("b.vmdk", HostedFile(old));
  const std::string before = bench.Load("b.vmdk");
  std::string changed = old;
  changed.replace(changed.find("fffffffe"), 8, "12345678");
  const auto object = bench.Run(bench.backend.Open("b.vmdk", fss::OpenMode::kWrite));
  ASSERT_TRUE(object);
  const EmbeddedPlace place{.offset_bytes = 512, .room_bytes = kRoomBytes};
  bench.files.StopFailing();
  ASSERT_TRUE(bench.Run(StoreEmbeddedDescriptor(**object, place, changed)));
  EXPECT_LE(bench.files.call_count(), 3u) << "one read, one sector, one sync";
  EXPECT_EQ(bench.Run(StoreEmbeddedDescriptor(**object, place, std::string(kRoomBytes + 1, 'x')))
                .error()
                .code(),
            Code::kTooLarge);
  ASSERT_TRUE(bench.Run((*object)->Close()));
  const std::string after = bench.Load("b.vmdk");
  EXPECT_EQ(after.substr(512, changed.size()), changed);
  EXPECT_EQ(after.substr(0, 512), before.substr(0, 512));
  EXPECT_EQ(after.substr(512 + kRoomBytes), before.substr(512 + kRoomBytes));
}

}  // namespace
}  // namespace disklib
