#include "vmfs/format/address.h"

#include <fmt/format.h>

namespace vmfs {

std::string Address::ToString() const {
  if (is_hole()) return "hole";
  const ResourceIndex where = index();
  switch (kind()) {
    case AddressKind::kFileBlock: return fmt::format("file block {}", volume_block());
    case AddressKind::kLargeBlock: return fmt::format("large block {}", where.cluster);
    case AddressKind::kSubBlock: return fmt::format("sub-block {}/{}", where.cluster, where.item);
    case AddressKind::kPb2: return fmt::format("pb2 block {}/{}", where.cluster, where.item);
    case AddressKind::kJournalBlock:
      return fmt::format("journal block {}/{}", where.cluster, where.item);
    default: return fmt::format("address {:#018x}", raw_);
  }
}

std::string FdAddress::ToString() const { return fmt::format("fd {:#010x}", raw_); }

}  // namespace vmfs
