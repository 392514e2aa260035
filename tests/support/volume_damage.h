// `VolumeDamage`: damages a copy of the template volume as disks, cables and programs do.
//
// Bits flip, sectors and blocks are zeroed, land elsewhere, change places, stay old or hold
// nonsense; fields take values that counts and offsets break at; devices end early. Same seed, same
// damage. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <string>

#include "fs/base/random.h"
#include "tests/support/sim_disk.h"
#include "tests/support/template_volume.h"

namespace vmfs {

class VolumeDamage {
 public:
  VolumeDamage(const TemplateVolume& volume, base::SimDisk& disk, uint64_t seed)
      : volume_(volume), disk_(disk), random_(seed) {}

  // Does one to six damages; answers what was done, in words.
  std::string Apply();

 private:
  enum class Kind : uint8_t {
    kFlipBit, kRandomBytes, kEdgeValue, kNearValue, kZeroSector, kZeroBlock, kZeroMany, kSwapBlocks,
    kCopyBlock, kStaleBlock, kTruncate
  };

  void Do(Kind kind);
  void ChangeField(bool to_an_edge);
  void ZeroMany();
  uint64_t PickBlock();
  uint64_t PickOffset();
  MetadataBytes ReadBlock(uint64_t offset) const;

  const TemplateVolume& volume_;
  base::SimDisk& disk_;
  base::Random random_;
  std::string words_;
};

}  // namespace vmfs
