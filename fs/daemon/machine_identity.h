// Which machine this is: what a volume on a file or block node belongs to.
//
// Locks on such a medium exclude processes of one machine only, so that a second machine must be
// told (vmfs/FORMAT.md, "Our mark"). Thread rule: any thread. Place: below the datastores.
#pragma once

#include "fs/base/result.h"
#include "fs/base/uuid.h"

namespace stratad {

// Follows from the machine's id by a keyed hash, since the id itself is not for others to see
// (machine-id(5)). The id is the first line of the file that STRATA_MACHINE_ID names, else of
// /etc/machine-id; a machine without one is known by `HostIdentity`. Errors: those of
// `HostIdentity`; kNotFound when the named file cannot be read.
base::Result<base::Uuid> MachineIdentity();

}  // namespace stratad
