// The volumes that ESXi wrote, for tests: found beside the source folder or through STRATA_SAMPLES.
//
// `../shared/samples/NAME.gz` is unpacked once into a sparse file in the build folder. Tests that
// need a sample skip, naming it, where it is absent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace testing_support {

// Path of the unpacked sample ("esxi-vmfs6.bin"); empty when there is none.
const std::string& UnpackedSample(const std::string& name);

// Bytes of the unpacked VMFS-6 sample by volume offset (behind the LVM area), or by device offset.
std::vector<std::byte> ReadSampleVolume(uint64_t volume_offset, size_t size_bytes);
std::vector<std::byte> ReadSampleDevice(uint64_t device_offset, size_t size_bytes);

}  // namespace testing_support

// First line of a test that needs a sample.
#define REQUIRE_SAMPLE(name)                                        \
  do {                                                              \
    if (testing_support::UnpackedSample(name).empty()) {            \
      GTEST_SKIP() << "no sample " << name << " (STRATA_SAMPLES)";  \
    }                                                               \
  } while (false)
