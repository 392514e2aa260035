#include "tests/support/sample.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>

namespace testing_support {
namespace {

constexpr uint64_t kVolumeStart = 0x1100000;

std::string SampleFolder() {
  const char* folder = std::getenv("STRATA_SAMPLES");
  return folder != nullptr ? folder : std::string(STRATA_SOURCE_DIR) + "/../shared/samples";
}

bool IsAllZero(const char* bytes, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (bytes[i] != 0) return false;
  }
  return true;
}

// Copies what `zcat` prints into `file`, leaving holes for zeros.
bool CopySparse(std::FILE* from, int file) {
  std::array<char, 65536> buffer{};
  off_t offset = 0;
  for (size_t count; (count = std::fread(buffer.data(), 1, buffer.size(), from)) > 0;) {
    const bool is_hole = IsAllZero(buffer.data(), count);
    if (!is_hole && ::pwrite(file, buffer.data(), count, offset) != static_cast<ssize_t>(count)) {
      return false;
    }
    offset += static_cast<off_t>(count);
  }
  return ::ftruncate(file, offset) == 0;
}

// Unpacks into the build folder, under a name of its own first: tests run side by side.
std::string Unpack(const std::string& name) {
  namespace fs = std::filesystem;
  const std::string packed = SampleFolder() + "/" + name + ".gz";
  if (!fs::exists(packed)) return "";
  const fs::path folder = fs::path(STRATA_BINARY_DIR) / "samples";
  const std::string path = folder / name;
  if (fs::exists(path)) return path;
  fs::create_directories(folder);
  std::string partial = path + ".XXXXXX";
  const int file = ::mkstemp(partial.data());
  if (file < 0) return "";
  std::FILE* unpacker = ::popen(("zcat '" + packed + "'").c_str(), "r");
  const bool copied = unpacker != nullptr && CopySparse(unpacker, file);
  if (unpacker != nullptr) ::pclose(unpacker);
  ::close(file);
  if (copied && ::rename(partial.c_str(), path.c_str()) == 0) return path;
  ::unlink(partial.c_str());
  return "";
}

}  // namespace

const std::string& UnpackedSample(const std::string& name) {
  static std::map<std::string, std::string> unpacked;
  const auto [position, is_new] = unpacked.try_emplace(name);
  if (is_new) position->second = Unpack(name);
  return position->second;
}

std::vector<std::byte> ReadSampleDevice(uint64_t device_offset, size_t size_bytes) {
  std::vector<std::byte> bytes(size_bytes);
  const int file = ::open(UnpackedSample("esxi-vmfs6.bin").c_str(), O_RDONLY | O_CLOEXEC);
  const ssize_t count =
      ::pread(file, bytes.data(), bytes.size(), static_cast<off_t>(device_offset));
  ::close(file);
  bytes.resize(count < 0 ? 0 : static_cast<size_t>(count));
  return bytes;
}

std::vector<std::byte> ReadSampleVolume(uint64_t volume_offset, size_t size_bytes) {
  return ReadSampleDevice(kVolumeStart + volume_offset, size_bytes);
}

}  // namespace testing_support
