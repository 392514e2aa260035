#include <algorithm>

#include "fs/base/check.h"
#include "tests/fuzz/pieces.h"
#include "vmfs/format/lvm.h"
#include "vmfs/vmfs5/format.h"

namespace fuzz {

void RunVmfs5Geometry(Input input) {
  Pieces pieces(input);
  const uint32_t item_bytes = pieces.Byte() % 2 == 0 ? vmfs::vmfs5::kDescriptorBytes : 0;
  const auto geometry = vmfs::vmfs5::DecodeGeometry(pieces.rest(), item_bytes);
  if (!geometry) return;
  const uint64_t clusters = geometry->cluster_count();
  CHECK(!geometry->ItemOffset({clusters, 0}).has_value());
  if (clusters > 0) (void)geometry->ItemOffset({clusters - 1, 0});
  const Input headers = pieces.rest().subspan(std::min<size_t>(512, pieces.rest().size()));
  const size_t whole = headers.size() / vmfs::vmfs5::kClusterHeaderBytes;
  (void)vmfs::vmfs5::CountFree(headers.first(whole * vmfs::vmfs5::kClusterHeaderBytes), 0,
                               *geometry);
}

void RunVmfs5Descriptor(Input input) {
  const vmfs::vmfs5::UnitSizes sizes;
  const auto raw = Padded(input, vmfs::vmfs5::kDescriptorBytes);
  const vmfs::FdAddress fd(base::LoadAs<base::Le32>(
      std::span<const std::byte>(raw), vmfs::vmfs5::kSectorBytes));
  (void)vmfs::vmfs5::DecodeDescriptor(input, vmfs::kRootFd, sizes);
  const auto descriptor = vmfs::vmfs5::DecodeDescriptor(raw, fd, sizes);
  if (!descriptor) return;
  (void)descriptor->is_directory();
  for (uint32_t slot = 0; slot < vmfs::vmfs5::kSlotCount; ++slot) {
    const vmfs::vmfs5::Address5 address = descriptor->Slot(slot);
    (void)address.index(/*dense=*/slot % 2 == 0);
    (void)address.is_zeroed();
  }
}

void RunVmfs5Record(Input input) {
  Pieces pieces(input);
  while (!pieces.empty()) {
    const auto record =
        vmfs::vmfs5::DecodeRecord(pieces.Next(sizeof(vmfs::vmfs5::DirectoryRecord)));
    if (!record || !*record) continue;
    const std::string& name = (*record)->name;
    CHECK(!name.empty() && name.size() < 128 && name.find('/') == std::string::npos);
  }
}

}  // namespace fuzz
