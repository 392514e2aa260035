// Other programs judge streamOptimized: qemu-img and libvmdk read ours, we read qemu-img's.
#include "disklib/sparse/stream_extent.h"
#include "disklib/sparse/stream_writer.h"
#include "tests/disklib/host_folder.h"

namespace disklib {
namespace {

constexpr size_t kCapacity = (size_t{70} << 20) + 5 * kSectorBytes;

class StreamJudge : public HostFolder {
 protected:
  // Into a file, or like into a pipe.
  class Appending : public StreamSink {
   public:
    explicit Appending(StreamSink& sink) : sink_(sink) {}

    bool can_rewrite() const override { return false; }

    base::Task<base::Status> Append(std::span<const std::byte> bytes) override {
      return sink_.Append(bytes);
    }

    base::Task<base::Status> Rewrite(uint64_t, std::span<const std::byte>) override {
      co_return base::Error(base::Code::kUnsupported);
    }

   private:
    StreamSink& sink_;
  };

  void Write(const std::string& name, const std::string& disk, bool as_pipe) {
    ASSERT_TRUE(Run(backend_->Create(name)));
    auto object = OpenObject(name, fss::OpenMode::kWrite);
    const auto file = MakeObjectSink(*object);
    Appending pipe(*file);
    StreamSink& sink = as_pipe ? static_cast<StreamSink&>(pipe) : *file;
    const NewStream what{.size_bytes = disk.size(), .file_name = name};
    auto writer = Run(StreamWriter::Start(*executor_, sink, what));
    ASSERT_TRUE(writer) << writer.error().message();
    const auto bytes = std::as_bytes(std::span<const char>(disk));
    ASSERT_TRUE(Run((*writer)->Append(0, bytes)));
    ASSERT_TRUE(Run((*writer)->Finish()));
    ASSERT_TRUE(Run(object->Close()));
  }

  std::string Read(const std::string& name, size_t size_bytes) {
    auto object = OpenObject(name, fss::OpenMode::kRead);
    auto extent = Run(OpenStreamExtent(*executor_, std::move(object), size_bytes, name));
    EXPECT_TRUE(extent) << extent.error().message();
    if (!extent) return {};
    std::string bytes(size_bytes, '?');
    const base::IoVec piece{reinterpret_cast<std::byte*>(bytes.data()), bytes.size()};
    const auto read = Run((*extent)->Read({.offset_bytes = 0, .buffers = {&piece, 1}}));
    EXPECT_TRUE(read) << read.error().message();
    EXPECT_TRUE(Run((*extent)->Close()));
    return bytes;
  }
};

TEST_F(StreamJudge, QemuAndLibvmdkReadWhatWeWrote) {
  if (!HasQemu() && !HasLibvmdk()) GTEST_SKIP() << "neither qemu-img nor libvmdk is here";
  const std::string disk = SomeDisk(1, kCapacity);
  Store("model.raw", disk);
  for (const bool as_pipe : {false, true}) {
    SCOPED_TRACE(as_pipe);
    const std::string name = as_pipe ? "pipe.vmdk" : "file.vmdk";
    Write(name, disk, as_pipe);
    if (HasQemu()) Shell("qemu-img compare -f vmdk -F raw " + name + " model.raw");
    if (HasQemu()) Shell("qemu-img check -f vmdk " + name);
    if (HasLibvmdk()) ExpectLibvmdkReads(name, "model.raw");
    EXPECT_EQ(Read(name, kCapacity), disk);
  }
}

TEST_F(StreamJudge, WeReadWhatQemuWrote) {
  if (!HasQemu()) GTEST_SKIP() << "qemu-img is not here";
  const std::string disk = SomeDisk(2, kCapacity);
  Store("model.raw", disk);
  Shell("qemu-img convert -f raw -O vmdk -o subformat=streamOptimized model.raw theirs.vmdk");
  EXPECT_EQ(Read("theirs.vmdk", kCapacity), disk);
}

}  // namespace
}  // namespace disklib
