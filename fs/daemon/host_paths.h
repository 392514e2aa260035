// Where Strata keeps things on this host: state that lasts (identity, logs) and sockets that do
// not.
//
// State: /var/lib/strata for root, else $XDG_STATE_HOME/strata or ~/.local/state/strata.
// Sockets: /run/strata for root, else $XDG_RUNTIME_DIR/strata or a private folder under /tmp.
// Thread rule: any thread; blocks shortly. Place in the stack: under daemon and programs.
#pragma once

#include <string>
#include <vector>

#include "fs/base/result.h"
#include "fs/base/uuid.h"

namespace stratad {

// Each makes the folder, for its owner only. Errors: kPermission (also: it belongs to somebody
// else) and others of errno.
base::Result<std::string> StateFolder();
base::Result<std::string> RuntimeFolder();

// The control socket of a mount, by its canonical mount point.
base::Result<std::string> ControlSocketPath(const std::string& mount_point);

// The control sockets of all mounts of this user.
base::Result<std::vector<std::string>> ControlSocketPaths();

// The log file of a mount. An old one over 1 MiB is moved aside first.
base::Result<std::string> PrepareLogFile(const std::string& mount_point);

// The identity of this host: random, made on first use, kept in the state folder.
base::Result<base::Uuid> HostIdentity();

}  // namespace stratad
