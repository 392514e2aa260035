// `FuseRing`: the requests of a FUSE session over io_uring, instead of read(2) and writev(2).
//
// Kernels from 6.14 on offer it where /sys/module/fuse/parameters/enable_uring is Y. A processor
// has a queue of entries; an entry is a command that waits in our ring until the kernel has put a
// request into the entry's memory. The answer goes back with the command that fetches the next
// request, so that answers, requests and the I/O behind them share one system call. FORGET and the
// notifications keep the old way.
//
// The layout of headers and commands is the kernel's interface (linux/fuse.h, `fuse_uring_*`). An
// entry's memory looks like that of `RequestBuffers`: page-aligned payload, headers before it.
// Thread rule: the executor's thread. Place in the stack: a part of `FuseSession`.
#pragma once

#include <array>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "fs/base/block_device.h"
#include "fs/base/result.h"
#include "fs/base/sync.h"
#include "fs/base/task.h"
#include "fs/base/uring_executor.h"

namespace stratad {

class FuseRing {
 public:
  class Receiver {
   public:
    virtual ~Receiver() = default;

    // A whole request, as read(2) would have given it, in memory whose payload lies at
    // `RequestBuffers::PayloadOf(buffer)`. It is answered by `Reply`, now or later.
    virtual void Process(std::span<std::byte> request, std::byte* buffer) = 0;

    // The kernel refused an entry: requests would wait for ever.
    virtual void OnRingFailure(const base::Error& error) = 0;
  };

  // Processors this machine may have, which is the number of queues the kernel wants.
  static uint32_t QueueCount();

  // `descriptor` is the session's /dev/fuse. Errors: kNoMemory, kUnsupported (no commands).
  static base::Result<std::unique_ptr<FuseRing>> Create(base::UringExecutor& executor,
                                                        int descriptor, Receiver& receiver);
  ~FuseRing();

  // Offers all entries to the kernel. After the session has agreed on the ring.
  void Start();

  // Sends an answer, a header and what follows it, as writev(2) would take it. False when the
  // request did not come through the ring.
  bool Reply(uint64_t unique, std::span<const base::IoVec> pieces);

  // Whether this is the memory of an entry, which is never returned.
  bool Owns(const std::byte* buffer) const;

  // Entries offered to the kernel that have not ended. They end when the connection does.
  size_t live_count() const { return live_count_; }

  // Waits until all have ended.
  base::Task<void> WaitForEnd();

  size_t entry_count() const { return entries_.size(); }

  // Whether entries hold memory that an idle session gives back, and giving it. No request may be
  // in flight.
  bool holds_memory() const { return holds_memory_; }

  void Trim();

 private:
  // The kernel's `fuse_uring_req_header`.
  struct Headers {
    std::array<std::byte, 128> in_out;
    std::array<std::byte, 128> operation;
    uint64_t flags = 0;
    uint64_t commit_id = 0;
    uint32_t payload_bytes = 0;
    uint32_t padding = 0;
    uint64_t reserved = 0;
  };

  static_assert(sizeof(Headers) == 288);

  // The kernel's `fuse_uring_cmd_req`.
  struct Arguments {
    uint64_t flags = 0;
    uint64_t commit_id = 0;
    uint16_t queue = 0;
    std::array<uint8_t, 6> padding{};
  };

  static_assert(sizeof(Arguments) == 24);

  struct Entry {
    std::byte* buffer = nullptr;
    Headers headers;
    Arguments arguments;
    std::array<base::IoVec, 2> pieces;  // headers and payload
    bool answered = false;
    std::coroutine_handle<> waiter;
  };

  struct AnswerAwaiter {
    Entry& entry;

    bool await_ready() const noexcept { return entry.answered; }

    void await_suspend(std::coroutine_handle<> waiter) const { entry.waiter = waiter; }

    void await_resume() const noexcept {}
  };

  FuseRing(base::UringExecutor& executor, int descriptor, Receiver& receiver, std::byte* arena,
           uint32_t queue_count, uint32_t entries_per_queue);

  base::Task<void> Serve(Entry& entry);
  base::UringOperation Register(Entry& entry);
  base::UringOperation CommitAndFetch(Entry& entry);
  bool Receive(Entry& entry);
  size_t arena_bytes() const;

  base::UringExecutor& executor_;
  const int descriptor_;
  Receiver& receiver_;
  std::byte* const arena_;
  std::vector<std::unique_ptr<Entry>> entries_;
  std::unordered_map<uint64_t, Entry*> unanswered_;  // by the request's unique number
  size_t live_count_ = 0;
  bool holds_memory_ = false;
  base::AsyncCondition ended_;
};

}  // namespace stratad
