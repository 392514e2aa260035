#include "disklib/exchange/import.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "disklib/exchange/archive.h"
#include "disklib/exchange/export.h"
#include "disklib/exchange/package_backend.h"
#include "disklib/exchange/proof_device.h"
#include "disklib/names.h"
#include "tests/disklib/support.h"

namespace disklib {
namespace {

using base::Code;

// Counts the phases; says stop in one of them.
class Phased final : public Phases, public Progress {
 public:
  Progress* Begin(std::string_view what) override {
    names.emplace_back(what);
    return this;
  }

  bool Advance(uint64_t, uint64_t) override { return names.size() != stop_in_phase; }

  std::vector<std::string> names;
  size_t stop_in_phase = 0;
};

std::string RawImage(uint64_t seed, size_t size_bytes) {
  const std::vector<std::byte> bytes = Pattern(seed, size_bytes);
  std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  text.replace(size_bytes / 4, size_bytes / 2, size_bytes / 2, '\0');
  return text;
}

std::string Sha256(std::string_view text) {
  return base::DigestOf(base::DigestKind::kSha256, text);
}

// A raw image in the root, and a Lib that shows it as a disk.
struct RawSource {
  explicit RawSource(Bench& bench, const std::string& image)
      : backend(bench.backend, Describe(bench, image)), lib(bench.executor, backend, open_disks) {}

  static std::vector<PackageFile> Describe(Bench& bench, const std::string& image) {
    bench.Store("image.raw", image);
    return bench.Run(DescribeRawImage(bench.backend, "image.raw", "image.vmdk")).value();
  }

  PackageBackend backend;
  OpenDisks open_disks;
  Lib lib;
};

TEST(Import, ProvesThatTheDiskIsTheImage) {
  Bench bench;
  const std::string image = RawImage(1, 2 * kMebi);
  RawSource source(bench, image);
  Phased phases;
  const auto made =
      bench.Run(ImportDisk(source.lib, "image.vmdk", bench.lib, "vm.vmdk", {}, phases));
  ASSERT_TRUE(made.has_value()) << made.error().message();
  EXPECT_EQ(made->source_sha256, Sha256(image));
  EXPECT_EQ(made->target_sha256, Sha256(image));
  EXPECT_EQ(bench.Load("vm-flat.vmdk"), image);
  EXPECT_EQ(phases.names.size(), 2U);
}

TEST(Import, DoesNotReadBackWhatIsNotToBeVerified) {
  Bench bench;
  RawSource source(bench, RawImage(1, kMebi));
  Phased phases;
  ImportOptions options;
  options.verify = false;
  const auto made =
      bench.Run(ImportDisk(source.lib, "image.vmdk", bench.lib, "vm.vmdk", options, phases));
  ASSERT_TRUE(made.has_value()) << made.error().message();
  EXPECT_EQ(made->target_sha256, "");
  EXPECT_EQ(phases.names.size(), 1U);
}

TEST(Import, LeavesNothingWhenItIsStopped) {
  for (const size_t phase : {size_t{1}, size_t{2}}) {
    Bench bench;
    RawSource source(bench, RawImage(1, kMebi));
    Phased phases;
    phases.stop_in_phase = phase;
    const auto made =
        bench.Run(ImportDisk(source.lib, "image.vmdk", bench.lib, "vm.vmdk", {}, phases));
    ASSERT_FALSE(made.has_value());
    EXPECT_EQ(made.error().code(), Code::kInterrupted);
    EXPECT_EQ(bench.Listing().size(), 1U) << "stopped in phase " << phase;
  }
}

// Whichever call of the file system fails, the disk is absent or proven.
TEST(Import, LeavesNothingUnprovenWhicheverCallFails) {
  const std::string image = RawImage(2, 256 * 1024);
  bool is_done = false;
  for (uint64_t call = 1; !is_done; ++call) {
    SCOPED_TRACE("call " + std::to_string(call));
    ASSERT_LT(call, 2'000U);
    Bench bench;
    RawSource source(bench, image);
    Phased phases;
    bench.files.FailAt(call);
    const auto made =
        bench.Run(ImportDisk(source.lib, "image.vmdk", bench.lib, "vm.vmdk", {}, phases));
    is_done = !bench.files.has_failed();
    bench.files.StopFailing();
    EXPECT_EQ(bench.files.lookups_held(), 0U);
    if (made) {
      EXPECT_EQ(bench.Load("vm-flat.vmdk"), image);
      continue;
    }
    // Removing what was made may be the call that fails; the message says so, and a delete helps.
    const auto files = bench.Listing();
    const bool is_named = made.error().message().find("vm.vmdk stays") != std::string::npos;
    EXPECT_TRUE(is_named || !files.contains("vm.vmdk")) << made.error().message();
  }
}

// An OVA whose disk is a descriptor with a flat file: nothing but the format's own parts.
std::string Package(const std::string& flat, const std::string& manifest_digest) {
  const std::string descriptor =
      "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n"
      "createType=\"monolithicFlat\"\nRW " +
      std::to_string(flat.size() / kSectorBytes) + " FLAT \"d-flat.vmdk\" 0\n";
  OvfPackage package;
  package.machine.name = "web/1";
  package.machine.controllers.resize(1);
  package.machine.drives = {{0, 0, 0}, {1, 0, 1}};
  package.disks.resize(2);
  package.disks[0] = {"", "d.vmdk", "", flat.size(), {}};
  package.disks[1] = {"", "e.vmdk", "", kMebi, {}};
  std::string envelope = WriteOvf(package).value();
  // The second disk is blank: it has no file.
  const std::string blank = " ovf:fileRef=\"file2\"";
  envelope.erase(envelope.find(blank), blank.size());
  const std::string digest = manifest_digest.empty() ? Sha256(descriptor) : manifest_digest;
  const std::string manifest =
      WriteManifest({{base::DigestKind::kSha256, "p.ovf", Sha256(envelope)},
                     {base::DigestKind::kSha256, "d.vmdk", digest},
                     {base::DigestKind::kSha256, "vm.nvram", std::string(64, '0')}});
  std::string archive;
  const std::pair<std::string, std::string> members[] = {
      {"d-flat.vmdk", flat}, {"p.ovf", envelope}, {"d.vmdk", descriptor}, {"p.mf", manifest}};
  for (const auto& [name, content] : members) {
    archive += EncodeArchiveHeader(name, content.size(), 0).value() + content;
    archive.resize(ArchivePaddedBytes(archive.size()));
  }
  return archive + std::string(kArchiveEndBytes, '\0');
}

struct PackageSource {
  PackageSource(Bench& bench, const std::string& archive)
      : backend(bench.backend, List(bench, archive)), lib(bench.executor, backend, open_disks) {}

  static std::vector<PackageFile> List(Bench& bench, const std::string& archive) {
    bench.Store("p.ova", archive);
    return bench.Run(ListArchive(bench.backend, "p.ova")).value();
  }

  PackageBackend backend;
  OpenDisks open_disks;
  Lib lib;
};

TEST(Import, MakesAMachineOfAPackageInAnyOrder) {
  Bench bench;
  const std::string flat = RawImage(3, kMebi);
  PackageSource source(bench, Package(flat, ""));
  EXPECT_EQ(bench.Run(FindEnvelope(source.backend)).value(), "p.ovf");
  auto package = bench.Run(ReadPackage(source.backend, "p.ovf"));
  ASSERT_TRUE(package.has_value()) << package.error().message();
  EXPECT_EQ(package->unused, std::vector<std::string>{"vm.nvram"});
  Phased phases;
  const auto made = bench.Run(ImportPackage(source.lib, *package, bench.lib, "", {}, phases));
  ASSERT_TRUE(made.has_value()) << made.error().message();
  EXPECT_EQ(made->machine_path, "web_1.vmx");
  ASSERT_EQ(made->disks.size(), 2U);
  EXPECT_EQ(made->disks[0].target_sha256, Sha256(flat));
  EXPECT_EQ(made->disks[1].target_sha256, Sha256(std::string(kMebi, '\0')));
  EXPECT_EQ(bench.Load("web_1-flat.vmdk"), flat);
  EXPECT_EQ(bench.Load("web_1.vmsd"), "");
  const auto file = ReadMachineFile(bench.Load("web_1.vmx"));
  ASSERT_TRUE(file.has_value()) << file.error().message();
  EXPECT_EQ(file->disk_names, (std::vector<std::string>{"web_1.vmdk", "web_1_1.vmdk"}));
}

TEST(Import, RefusesAPackageThatIsNotAsItsManifestSays) {
  Bench bench;
  PackageSource source(bench, Package(RawImage(3, kMebi), std::string(64, 'e')));
  auto package = bench.Run(ReadPackage(source.backend, "p.ovf"));
  ASSERT_TRUE(package.has_value()) << package.error().message();
  Phased phases;
  const auto made = bench.Run(ImportPackage(source.lib, *package, bench.lib, "", {}, phases));
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().code(), Code::kChecksumMismatch);
  EXPECT_NE(made.error().message().find("d.vmdk"), std::string::npos);
  EXPECT_EQ(bench.Listing().size(), 1U);
}

TEST(Export, OfARawImageIsTheDisk) {
  Bench bench;
  const std::string image = RawImage(4, kMebi);
  RawSource source(bench, image);
  Phased phases;
  const auto made =
      bench.Run(ExportRaw(source.lib, "image.vmdk", bench.backend, "out.raw", {}, phases));
  ASSERT_TRUE(made.has_value()) << made.error().message();
  EXPECT_EQ(made->source_sha256, Sha256(image));
  EXPECT_EQ(made->target_sha256, Sha256(image));
  EXPECT_EQ(bench.Load("out.raw"), image);
  const auto again =
      bench.Run(ExportRaw(source.lib, "image.vmdk", bench.backend, "out.raw", {}, phases));
  EXPECT_EQ(again.error().code(), Code::kExists);
}

TEST(Export, LeavesNothingWhenItIsStopped) {
  for (const size_t phase : {size_t{1}, size_t{2}}) {
    Bench bench;
    RawSource source(bench, RawImage(4, kMebi));
    Phased phases;
    phases.stop_in_phase = phase;
    const auto made =
        bench.Run(ExportRaw(source.lib, "image.vmdk", bench.backend, "out.raw", {}, phases));
    ASSERT_FALSE(made.has_value());
    EXPECT_EQ(bench.Listing().size(), 1U);
  }
}

TEST(MachineName, MakesAFileName) {
  EXPECT_EQ(FileNameOf("web 1"), "web 1");
  EXPECT_EQ(FileNameOf("../etc"), "_._etc");
  EXPECT_EQ(FileNameOf("a\"b\nc"), "a_b_c");
  EXPECT_EQ(FileNameOf(""), "machine");
  EXPECT_EQ(FileNameOf("..."), "machine");
  const std::string long_name = FileNameOf(std::string(79, 'a') + "\xc3\xa4");
  EXPECT_EQ(long_name, std::string(79, 'a'));
}

}  // namespace
}  // namespace disklib
