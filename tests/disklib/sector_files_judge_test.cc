// Other programs judge hosted sparse and vmfsSparse: qemu-img and libvmdk read and write what we
// made, and we what qemu-img made.
#include "disklib/descriptor.h"
#include "disklib/sparse/embedded_descriptor.h"
#include "disklib/sparse/sparse_extent.h"
#include "tests/disklib/host_folder.h"

namespace disklib {
namespace {

constexpr size_t kSize = (size_t{21} << 20) + 7 * kSectorBytes;

class SectorFilesJudge : public HostFolder {
 protected:
  std::string DescriptorText(const std::string& create_type, const char* type,
                             const std::string& file) {
    Descriptor descriptor;
    descriptor.create_type = create_type;
    descriptor.content_id = 0x12345678;
    descriptor.extents.push_back(
        {.sector_count = kSize / kSectorBytes,
         .type = std::string(type) == "SPARSE" ? ExtentType::kSparse : ExtentType::kVmfsSparse,
         .file_name = file});
    descriptor.disk_database = {{"ddb.adapterType", "lsilogic"}};
    return *WriteDescriptor(descriptor);
  }

  void Make(const std::string& name, NewSparseExtent what) {
    ASSERT_TRUE(Run(backend_->Create(name)));
    auto object = OpenObject(name, fss::OpenMode::kWrite);
    const auto made = Run(FormatSparseExtent(*object, what));
    ASSERT_TRUE(made) << made.error().message();
    ASSERT_TRUE(Run(object->Close()));
  }

  std::unique_ptr<Extent> Open(const std::string& name, SparseKind kind, bool can_write,
                               uint64_t size_bytes = kSize) {
    auto object = OpenObject(name, can_write ? fss::OpenMode::kWrite : fss::OpenMode::kRead);
    const SparseOpen options{
        .kind = kind, .size_bytes = size_bytes, .can_write = can_write, .path = name};
    auto extent = Run(OpenSparseExtent(*executor_, std::move(object), options));
    EXPECT_TRUE(extent) << extent.error().message();
    return extent ? *std::move(extent) : nullptr;
  }

  // Writes the grains of `disk` that are not zeros, from the last to the first.
  void Write(const std::string& name, SparseKind kind, std::string& disk) {
    auto extent = Open(name, kind, true, disk.size());
    ASSERT_NE(extent, nullptr);
    const uint64_t piece = 256 * 1024;
    for (uint64_t at = (disk.size() - 1) / piece * piece;; at -= piece) {
      const uint64_t length = std::min<uint64_t>(piece, disk.size() - at);
      const base::IoVec bytes{reinterpret_cast<std::byte*>(&disk[at]), length};
      const std::string_view text = std::string_view(disk).substr(at, length);
      const bool is_zero = text.find_first_not_of('\0') == std::string_view::npos;
      if (!is_zero) {
        const auto written = Run(extent->Write({.offset_bytes = at, .buffers = {&bytes, 1}}));
        ASSERT_TRUE(written) << written.error().message();
      }
      if (at == 0) break;
    }
    ASSERT_TRUE(Run(extent->Close()));
  }

  std::string Read(const std::string& name, SparseKind kind, size_t size_bytes) {
    auto extent = Open(name, kind, false, size_bytes);
    if (extent == nullptr) return {};
    std::string bytes(size_bytes, '?');
    const base::IoVec piece{reinterpret_cast<std::byte*>(bytes.data()), bytes.size()};
    const auto read = Run(extent->Read({.offset_bytes = 0, .buffers = {&piece, 1}}));
    EXPECT_TRUE(read) << read.error().message();
    EXPECT_TRUE(Run(extent->Close()));
    return bytes;
  }

  // qemu writes here and there, in our file, and the model keeps up.
  void QemuWrites(const std::string& name, std::string& disk) {
    const uint64_t places[] = {0, 333 * 512, 9'000'000 / 512 * 512, 17'000'000 / 512 * 512,
                               disk.size() - 2048};
    std::string command = "qemu-io -f vmdk";
    for (const uint64_t at : places) {
      command += fmt::format(" -c 'write -P 0x71 {} 2048'", at);
      std::fill_n(disk.begin() + static_cast<std::ptrdiff_t>(at), 2048, '\x71');
    }
    Shell(command + " " + name);
  }
};

TEST_F(SectorFilesJudge, QemuReadsAndWritesTheHostedFilesWeMake) {
  if (!HasQemu()) GTEST_SKIP() << "qemu-img is not here";
  std::string disk = SomeDisk(3, kSize);
  const std::string text = DescriptorText("monolithicSparse", "SPARSE", "ours.vmdk");
  Make("ours.vmdk", {.kind = SparseKind::kHosted, .size_bytes = kSize, .descriptor = text});
  Write("ours.vmdk", SparseKind::kHosted, disk);
  Store("model.raw", disk);
  Shell("qemu-img compare -f vmdk -F raw ours.vmdk model.raw");
  Shell("qemu-img check -f vmdk ours.vmdk");
  if (HasLibvmdk()) ExpectLibvmdkReads("ours.vmdk", "model.raw");
  QemuWrites("ours.vmdk", disk);
  EXPECT_EQ(Read("ours.vmdk", SparseKind::kHosted, kSize), disk);
  std::string again = SomeDisk(4, kSize);
  Write("ours.vmdk", SparseKind::kHosted, again);
  disk = Read("ours.vmdk", SparseKind::kHosted, kSize);
  Store("model.raw", disk);
  Shell("qemu-img compare -f vmdk -F raw ours.vmdk model.raw");
  Shell("qemu-img check -f vmdk ours.vmdk");
}

TEST_F(SectorFilesJudge, QemuReadsHostedFilesThatGrew) {
  if (!HasQemu()) GTEST_SKIP() << "qemu-img is not here";
  std::string disk = SomeDisk(5, kSize);
  std::string text = DescriptorText("monolithicSparse", "SPARSE", "ours.vmdk");
  Make("ours.vmdk", {.kind = SparseKind::kHosted, .size_bytes = kSize, .descriptor = text});
  Write("ours.vmdk", SparseKind::kHosted, disk);
  const size_t grown_bytes = size_t{70} << 20;
  auto object = OpenObject("ours.vmdk", fss::OpenMode::kWrite);
  ASSERT_TRUE(Run(GrowSparseExtent(*object, SparseKind::kHosted, grown_bytes)));
  const std::string old_size = fmt::format("RW {} ", kSize / 512);
  text.replace(text.find(old_size), old_size.size(), fmt::format("RW {} ", grown_bytes / 512));
  ASSERT_TRUE(Run(ReplaceEmbeddedDescriptor(*object, text)));
  ASSERT_TRUE(Run(object->Close()));
  disk.resize(grown_bytes);
  disk.replace(grown_bytes - 300'000, 5000, 5000, 'z');
  Write("ours.vmdk", SparseKind::kHosted, disk);
  Store("model.raw", disk);
  Shell("qemu-img compare -f vmdk -F raw ours.vmdk model.raw");
  Shell("qemu-img check -f vmdk ours.vmdk");
  QemuWrites("ours.vmdk", disk);
  EXPECT_EQ(Read("ours.vmdk", SparseKind::kHosted, grown_bytes), disk);
}

TEST_F(SectorFilesJudge, WeReadAndWriteWhatQemuMakes) {
  if (!HasQemu()) GTEST_SKIP() << "qemu-img is not here";

  struct Form {
    const char* options;
    const char* file;
  };

  for (const Form& form : {Form{"subformat=monolithicSparse", "theirs.vmdk"},
                           Form{"subformat=monolithicSparse,zeroed_grain=on", "theirs.vmdk"},
                           Form{"subformat=twoGbMaxExtentSparse", "theirs-s001.vmdk"}}) {
    SCOPED_TRACE(form.options);
    std::string disk = SomeDisk(6, kSize);
    Store("model.raw", disk);
    Shell(fmt::format("qemu-img convert -f raw -O vmdk -o {} model.raw theirs.vmdk", form.options));
    EXPECT_EQ(Read(form.file, SparseKind::kHosted, kSize), disk);
    std::string ours = SomeDisk(7, kSize);
    Write(form.file, SparseKind::kHosted, ours);
    disk = Read(form.file, SparseKind::kHosted, kSize);
    Store("model.raw", disk);
    Shell("qemu-img compare -f vmdk -F raw theirs.vmdk model.raw");
    Shell("qemu-img check -f vmdk theirs.vmdk");
    QemuWrites("theirs.vmdk", disk);
    EXPECT_EQ(Read(form.file, SparseKind::kHosted, kSize), disk);
    Shell("rm -f theirs*.vmdk");
  }
}

TEST_F(SectorFilesJudge, QemuAndLibvmdkReadTheVmfsSparseFilesWeMake) {
  if (!HasQemu() && !HasLibvmdk()) GTEST_SKIP() << "neither qemu-img nor libvmdk is here";
  for (const uint64_t grain_bytes : {512, 4096, 65536}) {
    SCOPED_TRACE(grain_bytes);
    std::string disk = SomeDisk(grain_bytes, kSize);
    Store("model.raw", disk);
    Store("ours.vmdk", DescriptorText("vmfsSparse", "VMFSSPARSE", "ours-delta.vmdk"));
    Make("ours-delta.vmdk", {.kind = SparseKind::kVmfsSparse,
                             .size_bytes = kSize,
                             .grain_bytes = grain_bytes,
                             .all_tables = grain_bytes == 4096});
    Write("ours-delta.vmdk", SparseKind::kVmfsSparse, disk);
    if (HasQemu()) Shell("qemu-img compare -f vmdk -F raw ours.vmdk model.raw");
    if (HasQemu()) Shell("qemu-img check -f vmdk ours.vmdk");
    if (HasLibvmdk()) ExpectLibvmdkReads("ours.vmdk", "model.raw");
    if (HasQemu() && grain_bytes == 4096) {
      // With every table there, qemu can write it without harm, and we go on behind it.
      QemuWrites("ours.vmdk", disk);
      EXPECT_EQ(Read("ours-delta.vmdk", SparseKind::kVmfsSparse, kSize), disk);
      std::string more = SomeDisk(11, kSize);
      Write("ours-delta.vmdk", SparseKind::kVmfsSparse, more);
      Store("model.raw", Read("ours-delta.vmdk", SparseKind::kVmfsSparse, kSize));
      Shell("qemu-img compare -f vmdk -F raw ours.vmdk model.raw");
    }
    Shell("rm -f ours*.vmdk");
  }
}

}  // namespace
}  // namespace disklib
