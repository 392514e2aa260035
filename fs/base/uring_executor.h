// `UringExecutor`: the production executor, one thread around one io_uring.
//
// A round of its loop: drain the sources, run a few of the ready, submit once, reap once, fire
// timers. Rounds are kept short, so that a device gets its next work while the answers to its last
// are still being handled. When a round found nothing to do it spins for up to 50 us as long as
// that has paid off lately, then waits in the ring for a completion, a source, a post from another
// thread or a timer. A source that was quiet for some hundred rounds costs nothing until the ring
// sees it readable. An idle executor sleeps until its next timer.
//
// Thread rule: created, used and destroyed on one thread (after any fork: the ring belongs to the
// thread that made it); only `PostFromAnyThread` may be called elsewhere. Place in the stack: under
// every production device, front and session. liburing is named in `uring_executor.cc` alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "fs/base/block_device.h"
#include "fs/base/blocking_thread.h"
#include "fs/base/executor.h"
#include "fs/base/mailbox.h"
#include "fs/base/result.h"

namespace base {

class UringExecutor;

// A descriptor whose requests are picked up by polling while busy: a FUSE session, a socket, a
// kick.
class Source {
 public:
  virtual ~Source() = default;

  // Becomes readable when `Drain` would find something. The same for the source's whole life.
  virtual int descriptor() const = 0;

  // Takes what is there without blocking, a small batch at a time. Returns whether it did anything.
  // Called in every round while that pays; may post, spawn, and remove sources (also itself).
  virtual bool Drain() = 0;
};

// One kernel operation, awaited at once: `const int n = co_await executor.Readv(fd, buffers, at);`
// Answers the system call's result, or -errno. Lives in the coroutine frame, is trivially
// destructible, and is known to the kernel by its address until it is answered.
class [[nodiscard]] UringOperation {
 public:
  bool await_ready() const noexcept { return false; }

  void await_suspend(std::coroutine_handle<> waiter);

  int await_resume() const noexcept { return result_; }

 private:
  friend class UringExecutor;
  enum class Kind : uint8_t { kRead, kWrite, kSync, kAllocate, kPoll, kCommand };

  UringOperation(UringExecutor& executor, Kind kind, int descriptor)
      : executor_(executor), kind_(kind), descriptor_(descriptor) {}

  UringExecutor& executor_;
  Kind kind_;
  int descriptor_;
  bool on_worker_ = false;
  uint32_t flags_ = 0;
  int result_ = 0;
  uint64_t offset_bytes_ = 0;
  uint64_t length_bytes_ = 0;
  std::span<const IoVec> buffers_;
  std::span<const std::byte> arguments_;  // of a command
  std::coroutine_handle<> waiter_;
};

class UringExecutor final : public Executor {
 public:
  struct Options {
    uint32_t queue_entries = 256;  // submissions kept before one system call; not a limit
    uint32_t spin_us_max = 50;     // 0: always sleep
    uint64_t seed = 0;             // of random(); 0: from the host's kernel
  };

  // Errors: kNotPermitted or kUnsupported with a message that says how io_uring is switched off on
  // this host; kNoMemory and others of errno.
  static Result<std::unique_ptr<UringExecutor>> Create(const Options& options);

  static Result<std::unique_ptr<UringExecutor>> Create() { return Create(Options()); }

  // No operation may be in flight and no blocking call under way.
  ~UringExecutor() override;

  uint64_t NowMicroseconds() const override;
  uint64_t WallMicroseconds() const override;

  Random& random() override { return random_; }

  void Post(std::coroutine_handle<> handle) override { ready_.push_back(handle); }

  void PostAt(uint64_t deadline_us, std::coroutine_handle<> handle) override;
  bool CancelAt(uint64_t deadline_us, std::coroutine_handle<> handle) override;

  // Returns false only when there is no ready coroutine, timer, operation in flight, blocking call,
  // expected post or source.
  bool RunOnce(bool may_wait) override;

  // Any thread. A loop that has nothing else to live for must be told by `ExpectPost`.
  void PostFromAnyThread(std::coroutine_handle<> handle) { mailbox_->Post(handle); }

  // Announces one `PostFromAnyThread` to come, so that RunOnce waits for it.
  void ExpectPost() { ++posts_expected_; }

  // The kernel's readv(2), preadv(2) at `offset_bytes`; kNoOffset for sockets and pipes. The array
  // of pieces and their memory belong to the caller until the answer. May be short.
  static constexpr uint64_t kNoOffset = ~uint64_t{0};
  enum class Runner : uint8_t {
    kSubmitter,  // this thread, as far as it need not wait
    kWorker,     // a thread of the kernel: for long copies, while this thread goes on
  };
  UringOperation Readv(int descriptor, std::span<const IoVec> buffers, uint64_t offset_bytes,
                       Runner runner = Runner::kSubmitter);

  // As Readv; with `durable` the data is on the medium when answered (RWF_DSYNC).
  UringOperation Writev(int descriptor, std::span<const IoVec> buffers, uint64_t offset_bytes,
                        bool durable = false, Runner runner = Runner::kSubmitter);

  // fsync(2), or fdatasync(2) with `data_only`.
  UringOperation Fsync(int descriptor, bool data_only);

  // fallocate(2) with the kernel's mode bits.
  UringOperation Fallocate(int descriptor, int mode, uint64_t offset_bytes, uint64_t length_bytes);

  // A command that the file's driver defines itself (IORING_OP_URING_CMD), with up to 80 bytes of
  // arguments, which are copied, and pieces of memory. Only where `has_commands()`.
  static constexpr size_t kCommandBytesMax = 80;
  UringOperation Command(int descriptor, uint32_t command, std::span<const std::byte> arguments,
                         std::span<const IoVec> pieces);

  // Whether this kernel's ring carries commands (5.19 and later).
  bool has_commands() const;

  // Answers the poll(2) events once the descriptor is readable (writable), or -ECANCELED.
  UringOperation PollIn(int descriptor);
  UringOperation PollOut(int descriptor);

  // Makes every operation in flight on `descriptor` end with -ECANCELED where the kernel can still
  // stop it. To be called before a polled descriptor is closed.
  void CancelAll(int descriptor);

  struct BlockingAwaiter {
    UringExecutor& executor;
    BlockingCall& call;

    bool await_ready() const noexcept { return false; }

    void await_suspend(std::coroutine_handle<> waiter) const {
      executor.ExpectPost();
      executor.blocking_.Submit(call, waiter);
    }

    void await_resume() const noexcept {}
  };

  // `co_await executor.RunBlocking(call);` runs `call` on the helper thread and resumes here.
  BlockingAwaiter RunBlocking(BlockingCall& call) { return BlockingAwaiter{*this, call}; }

  // `source` stays valid until it is removed.
  void AddSource(Source& source);
  void RemoveSource(Source& source);

  uint64_t operations_in_flight() const { return operations_in_flight_; }

  // How often the loop slept in the kernel, and how many rounds it ran: for tests and figures.
  uint64_t sleep_count() const { return sleep_count_; }

  uint64_t round_count() const { return round_count_; }

 private:
  friend class UringOperation;
  struct Ring;  // the io_uring itself

  struct SourceEntry {
    Source* source;
    int descriptor;
    uint64_t id;  // never used twice: a late completion of a removed source finds nobody
    bool armed;   // a one-shot poll is in the ring: nothing is there before it ends
    uint32_t quiet_rounds;  // how often in a row it had nothing
  };

  UringExecutor(const Options& options, std::unique_ptr<Ring> ring,
                std::unique_ptr<Mailbox> mailbox);

  void Start(UringOperation& operation);
  void Complete(uint64_t user_data, int result);
  bool DrainSources();
  bool TakePosts();
  bool FireTimers();
  bool RunReady();
  bool SubmitAndReap();
  bool Reap();
  bool HasFuture() const;
  bool SpinPays(bool progress);
  void WaitForEvents();
  void Arm(SourceEntry& source);
  void ArmPolls();
  void WaitInRing();

  const uint32_t spin_us_max_;
  Random random_;
  std::unique_ptr<Ring> ring_;
  std::unique_ptr<Mailbox> mailbox_;
  BlockingThread blocking_;
  bool mailbox_armed_ = false;

  std::vector<std::coroutine_handle<>> ready_;
  std::vector<std::coroutine_handle<>> running_;  // what was ready some rounds ago
  size_t run_count_ = 0;                          // how many of them have been resumed
  bool in_round_ = false;
  std::multimap<uint64_t, std::coroutine_handle<>> timers_;  // by deadline, then as they were set
  std::vector<SourceEntry> sources_;
  uint64_t next_source_id_ = 1;
  bool draining_ = false;
  bool sources_removed_ = false;

  uint64_t operations_in_flight_ = 0;
  uint64_t posts_expected_ = 0;
  uint64_t sleep_count_ = 0;
  uint64_t round_count_ = 0;
  uint64_t idle_since_us_ = 0;  // start of the current run of rounds without work; 0: none
  int spin_score_ = 0;          // how well spinning would have done lately
};

}  // namespace base
