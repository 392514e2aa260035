#include "vscsi/psa/path.h"

#include <fmt/format.h>

namespace psa {

std::string PathAddress::ToString() const {
  return fmt::format("vmhba{}:C{}:T{}:L{}", adapter, channel, target, lun);
}

}  // namespace psa
