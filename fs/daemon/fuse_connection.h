// What the kernel lets an administrator set and do about one FUSE connection, through sysfs.
//
// Thread rule: any thread; short system calls, none of which waits for the daemon. Place in the
// stack: beside `FuseSession`, which it helps to begin and to end.
#pragma once

#include <string>

#include "fs/base/result.h"

namespace stratad {

// Whether this kernel offers the requests of new connections over io_uring (`FuseRing`): the
// parameter enable_uring of its module fuse is Y.
bool KernelOffersFuseRing();

// Lets the kernel read ahead by several requests at once, and hold a good part of the dirty pages
// it allows; it starts with an eighth of a request and one percent, for servers nobody trusts. Only
// root may, and only where sysfs is there; nothing happens otherwise. `device` as in a mount table:
// "0:52".
void WidenKernelCache(const std::string& device);

// Ends the connection of the mount with this device: every request, also of callers that wait, ends
// with ENOTCONN. Errors: kPermission, kNotFound (it has ended already) and others of errno.
base::Status AbortFuseConnection(const std::string& device);

}  // namespace stratad
