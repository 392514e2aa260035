// `Checked`: a device that asserts the contract of `block_device.h` in both directions.
//
// A caller that breaks the contract, or a device that answers outside it, fails a CHECK on the
// spot. Stands between any two layers in all tests and debug builds; it changes nothing else.
// Requests behind the end of the device are passed on: sizes come from guests and are answered
// with an error by the device itself, which is checked instead.
#pragma once

#include <memory>

#include "fs/base/block_device.h"

namespace base {

// Takes over `device`.
std::unique_ptr<BlockDevice> Checked(std::unique_ptr<BlockDevice> device);

// Borrows `device`, which outlives the answer.
std::unique_ptr<BlockDevice> CheckedView(BlockDevice& device);

}  // namespace base
