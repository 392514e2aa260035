// `strata import --in-place`: a machine runs on its old disks, which stay as they are, and writes
// into new ones.
//
// Place: under the command `import`; over disklib's `exchange/in_place.h`. Thread rule: the main
// thread.
#pragma once

#include <string>

#include "disklib/exchange/in_place.h"
#include "fs/base/result.h"
#include "fs/base/uring_executor.h"

namespace stratad {

// `source`: the folder of a machine, or its .vmx. `target`: the new machine's folder, or a folder
// that gets it. The paths answered are as the user would write them. Errors: kCrossDevice (children
// and parents lie in one datastore), kInvalidArgument (a target inside the source), kExists, and
// those of disklib's ImportInPlace; the source is as it was, and nothing has the final name.
base::Result<disklib::InPlaceMachine> ImportMachineInPlace(base::UringExecutor& executor,
                                                           const std::string& source,
                                                           const std::string& target);

}  // namespace stratad
