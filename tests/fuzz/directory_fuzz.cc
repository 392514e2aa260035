// Damages a directory as the input says and uses it. The tests run it on random input; a fuzzer is
// clang++ -std=c++20 -fsanitize=fuzzer,address with the directory code and tests/support.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "tests/support/damaged_directory.h"

// The input is a list of patches: 3 bytes of offset, 1 byte of value.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kPatchBytes = 4;
  std::vector<std::byte> bytes = vmfs::MakePopulatedDirectory().bytes;
  for (; size >= kPatchBytes; data += kPatchBytes, size -= kPatchBytes) {
    uint32_t patch;
    std::memcpy(&patch, data, kPatchBytes);
    bytes[(patch & 0xFFFFFF) % bytes.size()] = static_cast<std::byte>(patch >> 24);
  }
  vmfs::ExerciseDamagedDirectory(bytes);
  return 0;
}
