// An open file of a mounted volume, as the switch sees it.
//
// Thread rule: the volume's executor.
#pragma once

#include <memory>

#include "fs/fss/file_system.h"
#include "vmfs/inode/inode_table.h"
#include "vmfs/volume/core.h"
#include "vmfs/volume/names.h"

namespace vmfs {

// Counts the inode as open until the file is closed; the last close of a nameless inode deletes it.
std::unique_ptr<fss::File> MakeVolumeFile(VolumeCore& core, Names& names, InodeRef inode,
                                          fss::OpenMode mode);

// Puts times that are only in memory into the descriptor. Errors: kIo, kFenced …
base::Task<base::Status> WriteTimes(VolumeCore& core, Inode& inode);

}  // namespace vmfs
