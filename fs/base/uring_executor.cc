#include "fs/base/uring_executor.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <liburing.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/uio.h>

#include "fs/base/check.h"

namespace base {
namespace {

static_assert(sizeof(IoVec) == sizeof(iovec));
static_assert(offsetof(IoVec, data) == offsetof(iovec, iov_base));
static_assert(offsetof(IoVec, size_bytes) == offsetof(iovec, iov_len));

// What a completion is for: operations go by their address, whose low bits are zero.
constexpr uint64_t kTagMask = 7;
constexpr uint64_t kOperationTag = 0;
constexpr uint64_t kMailboxTag = 1;
constexpr uint64_t kNobodyTag = 2;
constexpr uint64_t kSourceTag = 3;
constexpr int kSourceShift = 3;

constexpr uint32_t kCompletionEntries = 8192;

// A source with nothing for this many rounds, some 50 us, is left to the ring's poll.
constexpr uint32_t kQuietRoundsMax = 256;

// After so many answers the next round looks for new requests, which fill the device again.
constexpr size_t kResumesPerRoundMax = 8;

// A wait this short would have been spared by spinning; one this long shows an idle program.
constexpr uint64_t kLongWaitMicroseconds = 1000;
constexpr int kSpinScoreMax = 8;
constexpr int kSpinScoreNeeded = 2;

uint64_t ReadClock(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

uint64_t SeedFromKernel() {
  uint64_t seed = 0;
  CHECK(getrandom(&seed, sizeof(seed), 0) == sizeof(seed));
  return seed;
}

// The value of kernel.io_uring_disabled: 0 enabled, 1 for the privileged, 2 for nobody; -1 unknown.
int ReadUringDisabled() {
  std::FILE* file = std::fopen("/proc/sys/kernel/io_uring_disabled", "re");
  if (!file) return -1;
  int value = -1;
  if (std::fscanf(file, "%d", &value) != 1) value = -1;
  std::fclose(file);
  return value;
}

Error SetupError(int errno_value) {
  const int disabled = ReadUringDisabled();
  if (errno_value == ENOSYS) {
    return Error(Code::kUnsupported,
                 "create an io_uring: this kernel or container offers no io_uring");
  }
  if (errno_value == EPERM && disabled > 0) {
    return Error(Code::kNotPermitted,
                 fmt::format("create an io_uring: switched off on this host "
                             "(sysctl kernel.io_uring_disabled is {}; 0 is needed{})",
                             disabled, disabled == 1 ? ", or the capability SYS_ADMIN" : ""));
  }
  if (errno_value == EPERM) {
    return Error(Code::kNotPermitted,
                 "create an io_uring: not permitted (a seccomp filter of the container?)");
  }
  return ErrnoError(errno_value, "create an io_uring");
}

void PrepareCommand(io_uring_sqe* entry, int descriptor, uint32_t command,
                    std::span<const std::byte> arguments, const iovec* pieces, unsigned count) {
  io_uring_prep_rw(IORING_OP_URING_CMD, entry, descriptor, pieces, count, 0);
  entry->cmd_op = command;
  std::memset(entry->cmd, 0, UringExecutor::kCommandBytesMax);
  std::memcpy(entry->cmd, arguments.data(), arguments.size());
}

}  // namespace

struct UringExecutor::Ring {
  io_uring ring{};
  bool exists = false;
  bool has_commands = false;

  Ring() = default;
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  ~Ring() {
    if (exists) io_uring_queue_exit(&ring);
  }

  // The entry to fill; makes room by submitting what is there.
  io_uring_sqe* NextEntry(UringExecutor& executor) {
    io_uring_sqe* entry = io_uring_get_sqe(&ring);
    while (!entry) {
      // A refusal (EBUSY, EAGAIN) means too many unreaped completions.
      if (io_uring_submit(&ring) < 0) executor.Reap();
      entry = io_uring_get_sqe(&ring);
    }
    return entry;
  }

  // Whether completions wait in the kernel for a call that fetches them.
  bool NeedsFetch() const {
    const unsigned flags = IO_URING_READ_ONCE(*ring.sq.kflags);
    return (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
  }
};

Result<std::unique_ptr<UringExecutor>> UringExecutor::Create(const Options& options) {
  // From the best the kernel may know to what every kernel with io_uring knows.
  constexpr std::array<unsigned, 3> kFlagSets = {
      IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
          IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SQE128,
      IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL, 0};
  auto ring = std::make_unique<Ring>();
  int result = -EINVAL;
  for (size_t i = 0; i < kFlagSets.size() && result == -EINVAL; ++i) {
    io_uring_params parameters{};
    parameters.flags = kFlagSets[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    parameters.cq_entries = std::max(kCompletionEntries, 2 * options.queue_entries);
    result = io_uring_queue_init_params(options.queue_entries, &ring->ring, &parameters);
    ring->has_commands = (parameters.flags & IORING_SETUP_SQE128) != 0;
  }
  if (result < 0) return SetupError(-result);
  ring->exists = true;
  TRY(auto mailbox, Mailbox::Create());
  return std::unique_ptr<UringExecutor>(
      new UringExecutor(options, std::move(ring), std::move(mailbox)));
}

UringExecutor::UringExecutor(const Options& options, std::unique_ptr<Ring> ring,
                             std::unique_ptr<Mailbox> mailbox)
    : spin_us_max_(options.spin_us_max),
      random_(options.seed != 0 ? options.seed : SeedFromKernel()),
      ring_(std::move(ring)),
      mailbox_(std::move(mailbox)),
      blocking_(*mailbox_) {}

UringExecutor::~UringExecutor() {
  // The kernel would go on writing into buffers and frames that are gone.
  CHECK(operations_in_flight_ == 0);
  CHECK(posts_expected_ == 0);
}

uint64_t UringExecutor::NowMicroseconds() const {
  return ReadClock(CLOCK_MONOTONIC);
}

uint64_t UringExecutor::WallMicroseconds() const {
  return ReadClock(CLOCK_REALTIME);
}

void UringExecutor::PostAt(uint64_t deadline_us, std::coroutine_handle<> handle) {
  timers_.emplace(deadline_us, handle);
}

bool UringExecutor::CancelAt(uint64_t deadline_us, std::coroutine_handle<> handle) {
  const auto [first, last] = timers_.equal_range(deadline_us);
  const auto timer =
      std::find_if(first, last, [&](const auto& entry) { return entry.second == handle; });
  if (timer == last) return false;
  timers_.erase(timer);
  return true;
}

bool UringExecutor::RunOnce(bool may_wait) {
  CHECK(!std::exchange(in_round_, true));  // no coroutine may run the loop that runs it
  ++round_count_;
  bool progress = DrainSources();
  progress |= TakePosts();
  progress |= RunReady();
  progress |= SubmitAndReap();
  progress |= FireTimers();
  in_round_ = false;
  const bool spin = SpinPays(progress);
  if (progress || !ready_.empty() || !running_.empty()) return true;
  if (!HasFuture()) return false;
  if (may_wait && !spin) WaitForEvents();
  return true;
}

bool UringExecutor::DrainSources() {
  if (sources_.empty()) return false;
  bool progress = false;
  draining_ = true;
  // By index: Drain may add sources (met in this round) and remove some (their entry is emptied).
  for (size_t i = 0; i < sources_.size(); ++i) {
    if (!sources_[i].source || sources_[i].armed) continue;
    const bool drained = sources_[i].source->Drain();
    progress |= drained;
    sources_[i].quiet_rounds = drained ? 0 : sources_[i].quiet_rounds + 1;
    if (sources_[i].source && sources_[i].quiet_rounds >= kQuietRoundsMax) Arm(sources_[i]);
  }
  draining_ = false;
  if (std::exchange(sources_removed_, false)) {
    std::erase_if(sources_, [](const SourceEntry& entry) { return entry.source == nullptr; });
  }
  return progress;
}

bool UringExecutor::TakePosts() {
  const uint64_t count = mailbox_->TakeAll(ready_);
  posts_expected_ -= std::min(posts_expected_, count);
  return count > 0;
}

bool UringExecutor::RunReady() {
  if (running_.empty()) running_.swap(ready_);
  if (running_.empty()) return false;
  const size_t end = std::min(running_.size(), run_count_ + kResumesPerRoundMax);
  while (run_count_ < end) running_[run_count_++].resume();
  if (run_count_ == running_.size()) {
    running_.clear();
    run_count_ = 0;
  }
  return true;
}

bool UringExecutor::FireTimers() {
  if (timers_.empty()) return false;
  const uint64_t now_us = NowMicroseconds();
  bool fired = false;
  while (!timers_.empty() && timers_.begin()->first <= now_us) {
    ready_.push_back(timers_.begin()->second);
    timers_.erase(timers_.begin());
    fired = true;
  }
  return fired;
}

bool UringExecutor::SubmitAndReap() {
  // Without an error path: what could not be submitted now stays queued for the next round.
  if (io_uring_sq_ready(&ring_->ring) > 0) {
    (void)io_uring_submit_and_get_events(&ring_->ring);
  } else if (ring_->NeedsFetch()) {
    (void)io_uring_get_events(&ring_->ring);
  }
  return Reap();
}

bool UringExecutor::Reap() {
  unsigned head = 0;
  unsigned count = 0;
  io_uring_cqe* entry = nullptr;
  io_uring_for_each_cqe(&ring_->ring, head, entry) {
    Complete(entry->user_data, entry->res);
    ++count;
  }
  io_uring_cq_advance(&ring_->ring, count);
  return count > 0;
}

void UringExecutor::Complete(uint64_t user_data, int result) {
  switch (user_data & kTagMask) {
    case kOperationTag: {
      auto* operation = reinterpret_cast<UringOperation*>(user_data);
      operation->result_ = result;
      --operations_in_flight_;
      ready_.push_back(operation->waiter_);
      return;
    }
    case kMailboxTag:
      mailbox_armed_ = false;
      mailbox_->ClearSignal();
      return;
    case kSourceTag:
      for (SourceEntry& entry : sources_) {
        if (entry.id != user_data >> kSourceShift) continue;
        entry.armed = false;
        entry.quiet_rounds = 0;
      }
      return;
    default: return;
  }
}

bool UringExecutor::HasFuture() const {
  return operations_in_flight_ > 0 || posts_expected_ > 0 || !timers_.empty() || !sources_.empty();
}

// Whether the next idle round should follow at once instead of sleeping. Keeps the score.
bool UringExecutor::SpinPays(bool progress) {
  if (progress) {
    if (idle_since_us_ != 0) spin_score_ = std::min(spin_score_ + 1, kSpinScoreMax);
    idle_since_us_ = 0;
    return false;
  }
  if (spin_us_max_ == 0 || spin_score_ < kSpinScoreNeeded) return false;
  const uint64_t now_us = NowMicroseconds();
  if (idle_since_us_ == 0) idle_since_us_ = now_us;
  return now_us - idle_since_us_ < spin_us_max_;
}

void UringExecutor::WaitForEvents() {
  ArmPolls();
  // The polls are in the kernel now. What came before them is found by one more look, what comes
  // after them ends the wait.
  if (DrainSources() || !ready_.empty() || Reap()) return;
  if (!mailbox_->PrepareToSleep()) return;
  ++sleep_count_;
  const uint64_t start_us = NowMicroseconds();
  WaitInRing();
  mailbox_->Awake();
  const uint64_t waited_us = NowMicroseconds() - start_us;
  idle_since_us_ = 0;
  if (waited_us <= spin_us_max_) {
    spin_score_ = std::min(spin_score_ + 1, kSpinScoreMax);
  } else {
    spin_score_ = waited_us > kLongWaitMicroseconds ? 0 : std::max(spin_score_ - 2, 0);
  }
}

void UringExecutor::Arm(SourceEntry& source) {
  source.armed = true;  // first: making room in the ring may complete it already
  const uint64_t user_data = source.id << kSourceShift | kSourceTag;
  io_uring_sqe* entry = ring_->NextEntry(*this);
  io_uring_prep_poll_add(entry, source.descriptor, POLLIN);
  io_uring_sqe_set_data64(entry, user_data);
}

void UringExecutor::ArmPolls() {
  if (!mailbox_armed_) {
    io_uring_sqe* entry = ring_->NextEntry(*this);
    io_uring_prep_poll_add(entry, mailbox_->descriptor(), POLLIN);
    io_uring_sqe_set_data64(entry, kMailboxTag);
    mailbox_armed_ = true;
  }
  for (SourceEntry& source : sources_) {
    if (!source.armed) Arm(source);
  }
  if (io_uring_sq_ready(&ring_->ring) > 0) (void)io_uring_submit_and_get_events(&ring_->ring);
}

void UringExecutor::WaitInRing() {
  if (timers_.empty()) {
    (void)io_uring_submit_and_wait(&ring_->ring, 1);
    return;
  }
  const uint64_t now_us = NowMicroseconds();
  const uint64_t deadline_us = timers_.begin()->first;
  if (deadline_us <= now_us) return;
  const uint64_t wait_us = deadline_us - now_us;
  __kernel_timespec timeout{};
  timeout.tv_sec = static_cast<int64_t>(wait_us / 1'000'000);
  timeout.tv_nsec = static_cast<int64_t>(wait_us % 1'000'000 * 1000);
  io_uring_cqe* entry = nullptr;
  (void)io_uring_submit_and_wait_timeout(&ring_->ring, &entry, 1, &timeout, nullptr);
}

void UringOperation::await_suspend(std::coroutine_handle<> waiter) {
  waiter_ = waiter;
  executor_.Start(*this);
}

void UringExecutor::Start(UringOperation& operation) {
  io_uring_sqe* entry = ring_->NextEntry(*this);
  const int descriptor = operation.descriptor_;
  const auto* pieces = reinterpret_cast<const iovec*>(operation.buffers_.data());
  const auto piece_count = static_cast<unsigned>(operation.buffers_.size());
  // One piece needs no array, which the kernel would have to copy and check.
  const bool single = piece_count == 1 && pieces->iov_len <= INT32_MAX;
  switch (operation.kind_) {
    case UringOperation::Kind::kRead:
      single ? io_uring_prep_read(entry, descriptor, pieces->iov_base,
                                  static_cast<unsigned>(pieces->iov_len), operation.offset_bytes_)
             : io_uring_prep_readv(entry, descriptor, pieces, piece_count, operation.offset_bytes_);
      break;
    case UringOperation::Kind::kWrite:
      single
          ? io_uring_prep_write(entry, descriptor, pieces->iov_base,
                                static_cast<unsigned>(pieces->iov_len), operation.offset_bytes_)
          : io_uring_prep_writev(entry, descriptor, pieces, piece_count, operation.offset_bytes_);
      entry->rw_flags = static_cast<__kernel_rwf_t>(operation.flags_);
      break;
    case UringOperation::Kind::kSync:
      io_uring_prep_fsync(entry, descriptor, operation.flags_);
      break;
    case UringOperation::Kind::kAllocate:
      io_uring_prep_fallocate(entry, descriptor, static_cast<int>(operation.flags_),
                              static_cast<off_t>(operation.offset_bytes_),
                              static_cast<off_t>(operation.length_bytes_));
      break;
    case UringOperation::Kind::kPoll:
      io_uring_prep_poll_add(entry, descriptor, operation.flags_);
      break;
    case UringOperation::Kind::kCommand:
      PrepareCommand(entry, descriptor, operation.flags_, operation.arguments_, pieces,
                     piece_count);
      break;
  }
  if (operation.on_worker_) io_uring_sqe_set_flags(entry, IOSQE_ASYNC);
  io_uring_sqe_set_data(entry, &operation);
  ++operations_in_flight_;
}

UringOperation UringExecutor::Readv(int descriptor, std::span<const IoVec> buffers,
                                    uint64_t offset_bytes, Runner runner) {
  UringOperation operation(*this, UringOperation::Kind::kRead, descriptor);
  operation.on_worker_ = runner == Runner::kWorker;
  operation.buffers_ = buffers;
  operation.offset_bytes_ = offset_bytes;
  return operation;
}

UringOperation UringExecutor::Writev(int descriptor, std::span<const IoVec> buffers,
                                     uint64_t offset_bytes, bool durable, Runner runner) {
  UringOperation operation(*this, UringOperation::Kind::kWrite, descriptor);
  operation.on_worker_ = runner == Runner::kWorker;
  operation.buffers_ = buffers;
  operation.offset_bytes_ = offset_bytes;
  operation.flags_ = durable ? RWF_DSYNC : 0;
  return operation;
}

UringOperation UringExecutor::Fsync(int descriptor, bool data_only) {
  UringOperation operation(*this, UringOperation::Kind::kSync, descriptor);
  operation.flags_ = data_only ? IORING_FSYNC_DATASYNC : 0;
  return operation;
}

UringOperation UringExecutor::Fallocate(int descriptor, int mode, uint64_t offset_bytes,
                                        uint64_t length_bytes) {
  UringOperation operation(*this, UringOperation::Kind::kAllocate, descriptor);
  operation.flags_ = static_cast<uint32_t>(mode);
  operation.offset_bytes_ = offset_bytes;
  operation.length_bytes_ = length_bytes;
  return operation;
}

UringOperation UringExecutor::Command(int descriptor, uint32_t command,
                                      std::span<const std::byte> arguments,
                                      std::span<const IoVec> pieces) {
  CHECK(has_commands() && arguments.size() <= kCommandBytesMax);
  UringOperation operation(*this, UringOperation::Kind::kCommand, descriptor);
  operation.flags_ = command;
  operation.arguments_ = arguments;
  operation.buffers_ = pieces;
  return operation;
}

bool UringExecutor::has_commands() const {
  return ring_->has_commands;
}

UringOperation UringExecutor::PollIn(int descriptor) {
  UringOperation operation(*this, UringOperation::Kind::kPoll, descriptor);
  operation.flags_ = POLLIN;
  return operation;
}

UringOperation UringExecutor::PollOut(int descriptor) {
  UringOperation operation(*this, UringOperation::Kind::kPoll, descriptor);
  operation.flags_ = POLLOUT;
  return operation;
}

void UringExecutor::CancelAll(int descriptor) {
  io_uring_sqe* entry = ring_->NextEntry(*this);
  io_uring_prep_cancel_fd(entry, descriptor, IORING_ASYNC_CANCEL_ALL);
  io_uring_sqe_set_data64(entry, kNobodyTag);
  (void)io_uring_submit(&ring_->ring);
}

void UringExecutor::AddSource(Source& source) {
  sources_.push_back({&source, source.descriptor(), next_source_id_++, /*armed=*/false,
                      /*quiet_rounds=*/0});
}

void UringExecutor::RemoveSource(Source& source) {
  const auto found = std::ranges::find(sources_, &source, &SourceEntry::source);
  CHECK(found != sources_.end());
  if (found->armed) {
    // Submitted at once: the poll holds the file open, and the caller is about to close it.
    io_uring_sqe* entry = ring_->NextEntry(*this);
    io_uring_prep_poll_remove(entry, found->id << kSourceShift | kSourceTag);
    io_uring_sqe_set_data64(entry, kNobodyTag);
    (void)io_uring_submit(&ring_->ring);
  }
  if (draining_) {
    found->source = nullptr;
    sources_removed_ = true;
  } else {
    sources_.erase(found);
  }
}

}  // namespace base
