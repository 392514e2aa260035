// qemu-img reads what we wrote: the same bytes, as a base and over one.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "disklib/sparse/se_file.h"
#include "fs/base/random.h"
#include "fs/base/uring_executor.h"
#include "fs/fss/posix_driver.h"

namespace disklib {
namespace {

constexpr uint64_t kMebi = uint64_t{1} << 20;
constexpr uint64_t kSizeBytes = 48 * kMebi + 3 * 512;

class SparseQemu : public testing::Test {
 protected:
  void SetUp() override {
    if (std::system("qemu-img --version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no qemu-img";
    std::string pattern = std::filesystem::temp_directory_path() / "strata-sparse.XXXXXX";
    folder_ = mkdtemp(pattern.data());
    fss::PosixFileSystem::Options options;
    options.folder_path = folder_;
    files_ = *fss::PosixFileSystem::Create(*executor_, options);
  }

  void TearDown() override {
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }

  template <typename T>
  T Run(base::Task<T> task) {
    return base::RunSync(*executor_, std::move(task));
  }

  void Put(const std::string& name, const std::string& text) {
    std::ofstream(folder_ + "/" + name, std::ios::binary) << text;
  }

  void PutDescriptor(const std::string& name, const std::string& header,
                     const std::string& extent) {
    Put(name, "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\n" + header +
                  "\n# Extent description\n" + extent + "\n\n# The Disk Data Base\n#DDB\n\n");
  }

  void Shell(const std::string& command) {
    const std::string line = fmt::format("cd {} && {} >out.txt 2>&1", folder_, command);
    std::ifstream output(folder_ + "/out.txt");
    EXPECT_EQ(std::system(line.c_str()), 0)
        << command << "\n"
        << std::string(std::istreambuf_iterator<char>(output), {});
  }

  // Random changes to a new extent and to `bytes`, what qemu shall find, in rounds with a Sync.
  void WriteExtent(std::string& bytes) {
    const auto made = Run(files_->CreateFile(files_->root(), "d-sesparse.vmdk", {}));
    std::unique_ptr<Object> object = *Run(files_->Open(made->inode, fss::OpenMode::kWrite));
    files_->Forget(made->inode, 1);
    ASSERT_TRUE(Run(FormatSeSparse(*object, kSizeBytes)));
    const SparseOpen options{.size_bytes = kSizeBytes, .can_write = true, .path = "d"};
    auto extent = Run(OpenSeSparse(*executor_, object, options, {}));
    ASSERT_TRUE(extent) << extent.error().message();
    base::Random random(5);
    for (int round = 0; round < 400; ++round) Change(**extent, random, bytes);
    ASSERT_TRUE(Run((*extent)->Close()));
  }

  void Change(Extent& extent, base::Random& random, std::string& bytes) {
    const uint64_t offset_bytes = random.Below(kSizeBytes / 4096 + 1) * 4096;
    const uint64_t length_bytes = std::min(kSizeBytes - offset_bytes, (1 + random.Below(9)) * 4096);
    const uint64_t verb = random.Below(8);
    if (verb == 0) {
      ASSERT_TRUE(Run(extent.Sync()));
    }
    if (verb == 1) {
      ASSERT_TRUE(Run(extent.WriteZeroes(offset_bytes, length_bytes, true)));
      std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(offset_bytes), length_bytes, '\0');
    }
    if (verb < 2) return;
    for (uint64_t i = 0; i < length_bytes; ++i) {
      bytes[offset_bytes + i] = static_cast<char>(random.Next());
    }
    const base::IoVec piece{reinterpret_cast<std::byte*>(bytes.data() + offset_bytes),
                            length_bytes};
    const auto written = Run(extent.Write({.offset_bytes = offset_bytes, .buffers = {&piece, 1}}));
    ASSERT_TRUE(written) << written.error().message();
  }

  std::string folder_;
  std::unique_ptr<base::UringExecutor> executor_ = *base::UringExecutor::Create();
  std::unique_ptr<fss::PosixFileSystem> files_;
};

TEST_F(SparseQemu, ReadsOurSeSparseAloneAndOverABase) {
  std::string bytes(kSizeBytes, '\0');
  WriteExtent(bytes);
  Put("raw", bytes);
  const std::string extent = fmt::format("RW {} SESPARSE \"d-sesparse.vmdk\"", kSizeBytes / 512);
  PutDescriptor("alone.vmdk", "CID=12345678\nparentCID=ffffffff\ncreateType=\"seSparse\"\n",
                extent);
  Shell("qemu-img compare -f vmdk -F raw alone.vmdk raw");
  Shell("qemu-img check -f vmdk alone.vmdk");
  Shell("qemu-img convert -f vmdk -O raw alone.vmdk copy && cmp copy raw");
  // Over a base of ones: zeros of ours hide it, holes show it.
  Put("base-flat.vmdk", std::string(kSizeBytes, '\x01'));
  PutDescriptor("base.vmdk", "CID=11111111\nparentCID=ffffffff\ncreateType=\"vmfs\"\n",
                fmt::format("RW {} VMFS \"base-flat.vmdk\"", kSizeBytes / 512));
  PutDescriptor("child.vmdk",
                "CID=12345678\nparentCID=11111111\ncreateType=\"seSparse\"\n"
                "parentFileNameHint=\"base.vmdk\"\n",
                extent);
  std::string above(kSizeBytes, '\x01');
  std::filesystem::remove(folder_ + "/d-sesparse.vmdk");
  WriteExtent(above);
  Put("raw", above);
  Shell("qemu-img compare -f vmdk -F raw child.vmdk raw");
  Shell("qemu-img convert -f vmdk -O raw child.vmdk copy && cmp copy raw");
}

}  // namespace
}  // namespace disklib
