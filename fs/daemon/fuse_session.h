// `FuseSession`: one FUSE mount served from the executor's own loop, over an `fss::Switch`.
//
// The session's descriptor is a source of the executor: each round takes up to 64 requests without
// waiting, each request is a coroutine that answers when it is done, on the same thread. Data is
// never copied between request and driver (`RequestBuffers`). libfuse's low-level interface stays
// behind `fuse_api.h`.
//
// Rules: nothing here makes a system call on its own mount, and no notification is sent from the
// executor's thread: both would wait for this very loop (`ThreadCall`). An inode that lost data
// (a delayed write failed after write(2) had succeeded) keeps every handle that was open then in
// error until it is closed.
// Thread rule: the executor's thread, but `Mount` and `Invalidate*`, which block.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "fs/base/result.h"
#include "fs/base/uring_executor.h"
#include "fs/fss/switch.h"

namespace stratad {

class FuseServer;

class FuseSession {
 public:
  struct Options {
    std::string mount_point;
    std::string source;  // what mount tables show as the device
    std::string subtype = "strata";
    bool allow_other = false;
    bool read_only = false;
    bool writeback_cache = false;     // the kernel delays writes and owns sizes and times
    bool direct_io = false;           // no page cache at all: every size and byte is always current
    bool changed_by_others = false;   // files change behind the kernel: it keeps no data
    bool cache_listings = true;       // the kernel keeps directory listings
    uint32_t valid_seconds = 86'400;  // how long the kernel may trust names and attributes
    uint32_t time_step_ns = 1000;     // granularity of the drivers' times
    size_t buffer_count_max = 128;    // of 1 MiB each, used as far as requests need them
    bool ring = true;                 // requests over io_uring where the kernel offers that
  };

  struct Figures {
    uint64_t requests = 0;
    uint64_t reads = 0, writes = 0;
    uint64_t read_bytes = 0, written_bytes = 0;
    uint64_t in_flight = 0;
    uint64_t open_files = 0;
    uint64_t lost_writes = 0;
    uint64_t buffers = 0;
    bool ring = false;  // requests come over io_uring
  };

  // `tree` outlives the session. Errors: kInvalidArgument when libfuse refuses the options.
  static base::Result<std::unique_ptr<FuseSession>> Create(base::UringExecutor& executor,
                                                           fss::Switch& tree,
                                                           const Options& options);
  ~FuseSession();

  // Mounts. Blocks, and must not run on the executor's thread when the mount point lies in another
  // of our mounts. Errors: kPermission, kNotFound, kBusy and others of mount(2).
  base::Status Mount();

  // Begins to answer. After `Mount`, on the executor's thread.
  void Start();

  // Waits until the kernel has let go of the mount, by whatever means, and then closes what was
  // still open. The session can only be destroyed afterwards.
  base::Task<void> WaitForEnd();

  // Answers nothing any more and drops the mount's connection: every caller gets ENOTCONN.
  void Abort();

  bool mounted() const;
  bool ended() const;
  Figures figures() const;
  const Options& options() const;

  // The content or size of an inode changed other than through this session: the next open reads
  // it anew.
  void NoteChanged(fss::InodeNumber inode);

  // Makes the kernel forget a name, or what it knows of an inode. Blocks: see the rules above.
  void InvalidateEntry(fss::InodeNumber parent, std::string_view name);
  void InvalidateInode(fss::InodeNumber inode);

 private:
  explicit FuseSession(std::unique_ptr<FuseServer> server);
  std::unique_ptr<FuseServer> server_;
};

}  // namespace stratad
