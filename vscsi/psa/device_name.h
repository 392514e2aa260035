// Device names as ESX gives them: `naa.`, `eui.`, `t10.`, `mpx.`, and the `vml.` alias.
//
// The first three come from the designators of VPD page 83h and are the same on every host and
// path. `mpx.` marks a local device without an identity of its own: it is named after its path and
// is not stable. Plain functions on values, any thread.
#pragma once

#include <span>
#include <string>

#include "vscsi/psa/path.h"
#include "vscsi/scsi/parameter_data.h"

namespace psa {

// The best name: NAA, else EUI-64, else T10 vendor id, each of the logical unit itself; else
// "mpx." and the path's name.
std::string DeviceNameOf(std::span<const scsi::Designator> designators, const PathAddress& path);

// "vml.02" 00, the LUN in two digits, 0000, the NAA identifier, and six characters of the product
// in hex. Empty for a device without an NAA designator.
std::string VmlNameOf(std::span<const scsi::Designator> designators, const PathAddress& path,
                      std::string_view product);

}  // namespace psa
