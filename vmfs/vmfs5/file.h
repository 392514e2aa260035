// An open file of a VMFS-5 volume, as the switch sees it: for reading only.
//
// Thread rule: the volume's executor. Place: handed out by the mounted volume.
#pragma once

#include <memory>

#include "fs/fss/file_system.h"
#include "vmfs/vmfs5/reader.h"

namespace vmfs::vmfs5 {

// The descriptor as it was when the file was opened; `reader` outlives the file.
std::unique_ptr<fss::File> MakeFile(Reader& reader, const Descriptor& descriptor);

}  // namespace vmfs::vmfs5
