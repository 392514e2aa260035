// Chains that we wrote, judged by QEMU, and the locks both take.
#include <chrono>
#include <thread>

#include <fcntl.h>
#include <unistd.h>

#include "disklib/names.h"
#include "disklib/new_link.h"
#include "tests/disklib/qemu_support.h"

namespace disklib {
namespace {

using base::Code;

constexpr uint64_t kDiskBytes = 20 * kMebi;

// A QEMU tool that keeps an image open until its input ends.
class OpenInQemu {
 public:
  OpenInQemu(const std::string& folder, const std::string& options, const std::string& image) {
    const std::string line =
        fmt::format("cd {} && qemu-io {} -f vmdk {} >qemu-io.txt 2>&1", folder, options, image);
    pipe_ = popen(line.c_str(), "w");
    // The data file is opened last.
    const std::string data = folder + "/" + FlatExtentName(image);
    const int file = open(data.c_str(), O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < 500 && !IsLocked(file); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_TRUE(IsLocked(file));
    close(file);
    // What was locked is checked, and may be let go again, before the image is used.
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }

  ~OpenInQemu() { pclose(pipe_); }

 private:
  // Whether anybody says that nobody else may resize it: the last byte that is locked.
  static bool IsLocked(int file) {
    struct flock lock {};

    lock.l_type = F_WRLCK;
    lock.l_start = 203;
    lock.l_len = 1;
    return fcntl(file, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
  }

  FILE* pipe_;
};

class QemuChain : public Qemu {
 protected:
  void CreateBase(const std::string& name, DiskLayout layout = DiskLayout::kVmfs) {
    const NewDisk disk{.size_bytes = kDiskBytes, .layout = layout};
    const base::Status created = Run(CreateDisk(*lib_, name, disk, nullptr));
    ASSERT_TRUE(created) << created.error().message();
  }

  void CreateChild(const std::string& name, const std::string& parent, DiskLayout layout) {
    const auto loaded = Run(lib_->Load(parent, /*need_extents=*/false));
    ASSERT_TRUE(loaded);
    NewLink link;
    link.layout = layout;
    link.size_bytes = kDiskBytes;
    link.parent_path = parent;
    link.parent_content_id = loaded->descriptor.content_id;
    const base::Status created = Run(CreateLink(*lib_, name, link, nullptr));
    ASSERT_TRUE(created) << created.error().message();
  }

  // Random bytes at random places, odd ones among them, into the disk and the model.
  void Scribble(const std::string& name, base::Random& random) {
    VDisks disks(*lib_);
    auto disk = Run(disks.Open(name, /*writable=*/true));
    ASSERT_TRUE(disk) << disk.error().message();
    for (int i = 0; i < 12; ++i) {
      const uint64_t at = random.Below(kDiskBytes - 70'000);
      std::string bytes(1 + random.Below(70'000), static_cast<char>('a' + random.Below(26)));
      const base::IoVec piece{reinterpret_cast<std::byte*>(bytes.data()), bytes.size()};
      ASSERT_TRUE(Run((*disk)->Write({.offset_bytes = at, .buffers = {&piece, 1}})));
      model_.replace(at, bytes.size(), bytes);
    }
    const uint64_t hole = random.Below(kDiskBytes - 200'000);
    ASSERT_TRUE(Run((*disk)->Allocate(fss::AllocateMode::kPunchHole, hole, 150'000)));
    model_.replace(hole, 150'000, 150'000, '\0');
    EXPECT_TRUE(Run((*disk)->Sync(true)));
    EXPECT_TRUE(Run((*disk)->Close()));
  }

  std::string model_ = std::string(kDiskBytes, '\0');
};

// The kinds of links in turn, above a flat base.
struct ChainKind {
  const char* name;
  std::vector<DiskLayout> layouts;
};

const ChainKind kChainKinds[] = {
    {"SeSparse", {DiskLayout::kSeSparse}},
    {"VmfsSparse", {DiskLayout::kVmfsSparse}},
    {"MonolithicSparse", {DiskLayout::kMonolithicSparse}},
    {"Mixed",
     {DiskLayout::kSeSparse, DiskLayout::kVmfsSparse, DiskLayout::kMonolithicSparse,
      DiskLayout::kTwoGbMaxExtentSparse}},
};

class QemuChainDepths : public QemuChain, public testing::WithParamInterface<ChainKind> {};

TEST_P(QemuChainDepths, AreReadAsWeReadThem) {
  base::Random random(5);
  const std::vector<DiskLayout>& layouts = GetParam().layouts;
  CreateBase("link1.vmdk");
  Scribble("link1.vmdk", random);
  for (size_t depth = 1; depth <= 32; ++depth) {
    const std::string name = fmt::format("link{}.vmdk", depth);
    if (depth > 1) {
      CreateChild(name, fmt::format("link{}.vmdk", depth - 1), layouts[depth % layouts.size()]);
      if (testing::Test::HasFatalFailure()) return;
      Scribble(name, random);
    }
    if (depth != 1 && depth != 2 && depth != 8 && depth != 32) continue;
    SCOPED_TRACE(fmt::format("a chain of {} links", depth));
    EXPECT_TRUE(ReadDisk(name, 0, kDiskBytes) == model_);
    Shell(fmt::format("qemu-img convert -f vmdk -O raw {} leaf.raw", name));
    EXPECT_TRUE(ReadFile("leaf.raw") == model_);
    Shell(fmt::format("qemu-img compare -f vmdk -F raw {} leaf.raw", name));
  }
}

INSTANTIATE_TEST_SUITE_P(All, QemuChainDepths, testing::ValuesIn(kChainKinds),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST_F(QemuChain, IsRefusedWhatWeHaveOpenForWriting) {
  CreateBase("base.vmdk");
  CreateChild("leaf.vmdk", "base.vmdk", DiskLayout::kSeSparse);
  auto chain = Run(lib_->Open("leaf.vmdk", {.writable = true, .user = "test"}));
  ASSERT_TRUE(chain) << chain.error().message();
  for (const char* command :
       {"qemu-img info leaf.vmdk", "qemu-io -r -f vmdk -c 'read 0 4k' leaf.vmdk",
        "qemu-io -f vmdk -c 'write 0 4k' base.vmdk", "qemu-img convert -O raw leaf.vmdk o.raw"}) {
    EXPECT_NE(FailureOf(command).find("lock"), std::string::npos) << command;
  }
  EXPECT_EQ(FailureOf("qemu-img info -U leaf.vmdk"), "");
  EXPECT_EQ(FailureOf("qemu-io -r -f vmdk -c 'read 0 4k' base.vmdk"), "")
      << "frozen links are read";
  ASSERT_TRUE(Run((*chain)->Close()));
  EXPECT_EQ(FailureOf("qemu-img info leaf.vmdk"), "");
  EXPECT_EQ(FailureOf("qemu-io -f vmdk -c 'write 0 4k' base.vmdk"), "");
}

TEST_F(QemuChain, RefusesUsWhatItHasOpen) {
  CreateBase("disk.vmdk");
  {
    const OpenInQemu writer(folder_, "", "disk.vmdk");
    for (const bool writable : {false, true}) {
      const auto opened = Run(lib_->Open("disk.vmdk", {.writable = writable}));
      ASSERT_FALSE(opened) << writable;
      EXPECT_EQ(opened.error().code(), Code::kLockHeld);
      EXPECT_NE(opened.error().message().find("QEMU"), std::string::npos);
    }
  }
  {
    const OpenInQemu reader(folder_, "-r", "disk.vmdk");
    EXPECT_EQ(Run(lib_->Open("disk.vmdk", {.writable = true})).error().code(), Code::kLockHeld);
    auto opened = Run(lib_->Open("disk.vmdk", {.writable = false}));
    ASSERT_TRUE(opened) << opened.error().message();
    ASSERT_TRUE(Run((*opened)->Close()));
  }
  auto opened = Run(lib_->Open("disk.vmdk", {.writable = true}));
  ASSERT_TRUE(opened) << opened.error().message();
  ASSERT_TRUE(Run((*opened)->Close()));
}

// A reader that becomes a writer keeps others out throughout, and lets readers in when it goes
// back.
TEST_F(QemuChain, SeesALockGrowAndShrink) {
  CreateBase("disk.vmdk");
  VDisks disks(*lib_);
  auto reader = Run(disks.Open("disk.vmdk", false));
  ASSERT_TRUE(reader);
  EXPECT_EQ(FailureOf("qemu-img info disk.vmdk"), "");
  EXPECT_NE(FailureOf("qemu-io -f vmdk -c 'write 0 4k' disk.vmdk"), "");
  auto writer = Run(disks.Open("disk.vmdk", true));
  ASSERT_TRUE(writer) << writer.error().message();
  EXPECT_NE(FailureOf("qemu-img info disk.vmdk"), "");
  ASSERT_TRUE(Run((*writer)->Close()));
  ASSERT_TRUE(Run((*reader)->Close()));
  EXPECT_EQ(FailureOf("qemu-io -f vmdk -c 'write 0 4k' disk.vmdk"), "");
}

}  // namespace
}  // namespace disklib
