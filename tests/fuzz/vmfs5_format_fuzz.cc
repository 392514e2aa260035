// Every decoder of `vmfs/vmfs5` on arbitrary bytes. The tests run it on random input; a fuzzer is
// clang++ -std=c++20 -fsanitize=fuzzer,address with vmfs/vmfs5, vmfs/format and fs/base.
//
// The first byte chooses the decoder, the rest is its input.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "vmfs/vmfs5/format.h"

namespace vmfs::vmfs5 {
namespace {

void DecodeOne(uint8_t which, std::span<const std::byte> bytes) {
  switch (which) {
    case 0: {
      const auto superblock = DecodeSuperblock(bytes);
      if (superblock) (void)CheckSuperblock(*superblock);
      break;
    }
    case 1:
    case 2: {
      const auto geometry = DecodeGeometry(bytes, which == 1 ? kDescriptorBytes : 0);
      if (!geometry) break;
      (void)geometry->ItemOffset({geometry->cluster_count(), 0});
      (void)CountFree(bytes, 0, *geometry);
      break;
    }
    case 3: (void)DecodeDescriptor(bytes, kRootFd, UnitSizes()); break;
    case 4: (void)DecodeRecord(bytes); break;
    case 5: (void)DecodeLvmVolumeEntry(bytes, kLvm5Major); break;
    case 6: (void)DecodeLvmDeviceHeader(bytes); break;
    default: break;
  }
}

}  // namespace
}  // namespace vmfs::vmfs5

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::vector<uint8_t> copy(data + 1, data + size);
  vmfs::vmfs5::DecodeOne(data[0], std::as_bytes(std::span<const uint8_t>(copy)));
  return 0;
}
