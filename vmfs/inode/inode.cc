#include "vmfs/inode/inode.h"

#include "vmfs/directory/directory.h"

namespace vmfs {

Inode::Inode(base::Executor& executor, FdAddress the_fd, uint64_t the_lock_address,
             BlockRef the_block)
    : fd(the_fd),
      lock_address(the_lock_address),
      block(std::move(the_block)),
      lock(executor),
      link_lock(executor),
      changed(executor) {
  Refresh();
}

Inode::~Inode() = default;

}  // namespace vmfs
