#include "fs/daemon/fuse_ring.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include <fmt/format.h>
#include <linux/fuse.h>
#include <sys/mman.h>

#include "fs/base/check.h"
#include "fs/daemon/request_buffers.h"

namespace stratad {
namespace {

constexpr uint32_t kRegister = 1;
constexpr uint32_t kCommitAndFetch = 2;

constexpr size_t kPageBytes = 4096;
constexpr size_t kLeadBytes = kPageBytes - RequestBuffers::kHeaderBytes;
constexpr size_t kEntryBytes = kPageBytes + RequestBuffers::kPayloadBytesMax;

// All queues together; a queue has enough for a deep one on a small machine.
constexpr uint32_t kEntriesMax = 128;
constexpr uint32_t kEntriesPerQueueMin = 4;
constexpr uint32_t kEntriesPerQueueMax = 64;

// A small answer leaves a page behind; only larger ones are worth giving back.
constexpr size_t kSmallBytesMax = 4 * kPageBytes;

uint32_t EntriesPerQueue(uint32_t queue_count) {
  return std::clamp(kEntriesMax / queue_count, kEntriesPerQueueMin, kEntriesPerQueueMax);
}

// How many numbers a list such as "0-3,8" has; 0: not a list.
uint32_t CountOf(std::istream& list) {
  uint32_t count = 0;
  char separator = ',';
  for (uint32_t first = 0; separator == ',' && list >> first; list >> separator) {
    uint32_t last = first;
    separator = 0;
    if (list.peek() == '-' && !(list >> separator >> last)) return 0;
    if (last < first) return 0;
    count += last - first + 1;
    separator = 0;
  }
  return count;
}

}  // namespace

uint32_t FuseRing::QueueCount() {
  std::ifstream list("/sys/devices/system/cpu/possible");
  return CountOf(list);
}

base::Result<std::unique_ptr<FuseRing>> FuseRing::Create(base::UringExecutor& executor,
                                                         int descriptor, Receiver& receiver) {
  const uint32_t queue_count = QueueCount();
  if (!executor.has_commands() || queue_count == 0) {
    return base::Error(base::Code::kUnsupported, "fuse: this kernel's io_uring has no commands");
  }
  const uint32_t per_queue = EntriesPerQueue(queue_count);
  const size_t bytes = size_t{queue_count} * per_queue * kEntryBytes;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    return base::Error(base::Code::kNoMemory, fmt::format("fuse: map {} bytes", bytes));
  }
  return std::unique_ptr<FuseRing>(new FuseRing(
      executor, descriptor, receiver, static_cast<std::byte*>(memory), queue_count, per_queue));
}

FuseRing::FuseRing(base::UringExecutor& executor, int descriptor, Receiver& receiver,
                   std::byte* arena, uint32_t queue_count, uint32_t entries_per_queue)
    : executor_(executor),
      descriptor_(descriptor),
      receiver_(receiver),
      arena_(arena),
      ended_(executor) {
  for (uint32_t i = 0; i < queue_count * entries_per_queue; ++i) {
    auto entry = std::make_unique<Entry>();
    entry->buffer = arena_ + i * kEntryBytes + kLeadBytes;
    // Queues take turns, so that each has an entry soon: the kernel waits for all of them.
    entry->arguments.queue = static_cast<uint16_t>(i % queue_count);
    entry->pieces[0] = {reinterpret_cast<std::byte*>(&entry->headers), sizeof(Headers)};
    entry->pieces[1] = {RequestBuffers::PayloadOf(entry->buffer), RequestBuffers::kPayloadBytesMax};
    entries_.push_back(std::move(entry));
  }
  unanswered_.reserve(entries_.size());
}

FuseRing::~FuseRing() {
  CHECK(live_count_ == 0);
  munmap(arena_, arena_bytes());
}

size_t FuseRing::arena_bytes() const {
  return entries_.size() * kEntryBytes;
}

void FuseRing::Start() {
  live_count_ = entries_.size();
  for (const std::unique_ptr<Entry>& entry : entries_) executor_.Spawn(Serve(*entry));
}

base::UringOperation FuseRing::Register(Entry& entry) {
  return executor_.Command(descriptor_, kRegister, std::as_bytes(std::span(&entry.arguments, 1)),
                           entry.pieces);
}

base::UringOperation FuseRing::CommitAndFetch(Entry& entry) {
  entry.arguments.commit_id = entry.headers.commit_id;
  return executor_.Command(descriptor_, kCommitAndFetch,
                           std::as_bytes(std::span(&entry.arguments, 1)), {});
}

base::Task<void> FuseRing::Serve(Entry& entry) {
  int result = co_await Register(entry);
  if (result < 0 && result != -ENOTCONN && result != -ECANCELED) {
    receiver_.OnRingFailure(base::ErrnoError(-result, "fuse: register an entry of the ring"));
  }
  while (result >= 0 && Receive(entry)) {
    co_await AnswerAwaiter{entry};
    result = co_await CommitAndFetch(entry);
  }
  if (--live_count_ == 0) ended_.NotifyAll();
}

// Puts the parts of a request together: the headers end where the payload begins. False when they
// cannot be parts of one.
bool FuseRing::Receive(Entry& entry) {
  fuse_in_header header;
  std::memcpy(&header, entry.headers.in_out.data(), sizeof(header));
  const size_t payload_bytes = entry.headers.payload_bytes;
  const size_t operation_bytes = header.len - sizeof(header) - payload_bytes;
  if (payload_bytes > RequestBuffers::kPayloadBytesMax ||
      operation_bytes > entry.headers.operation.size()) {
    receiver_.OnRingFailure(base::Error(
        base::Code::kInvalidArgument,
        fmt::format("fuse: a request of {} bytes with {} of payload", header.len, payload_bytes)));
    return false;
  }
  std::byte* const operation = RequestBuffers::PayloadOf(entry.buffer) - operation_bytes;
  std::byte* const request = operation - sizeof(header);
  std::memcpy(operation, entry.headers.operation.data(), operation_bytes);
  std::memcpy(request, &header, sizeof(header));
  entry.answered = false;
  unanswered_.emplace(header.unique, &entry);
  holds_memory_ = holds_memory_ || payload_bytes > kSmallBytesMax;
  receiver_.Process({request, header.len}, entry.buffer);
  return true;
}

bool FuseRing::Reply(uint64_t unique, std::span<const base::IoVec> pieces) {
  const auto found = unanswered_.find(unique);
  if (found == unanswered_.end()) return false;
  Entry& entry = *found->second;
  unanswered_.erase(found);
  CHECK(!pieces.empty() && pieces[0].size_bytes == sizeof(fuse_out_header));
  std::memcpy(entry.headers.in_out.data(), pieces[0].data, sizeof(fuse_out_header));
  std::byte* const payload = RequestBuffers::PayloadOf(entry.buffer);
  size_t at = 0;
  for (const base::IoVec& piece : pieces.subspan(1)) {
    CHECK(at + piece.size_bytes <= RequestBuffers::kPayloadBytesMax);
    if (piece.data != payload + at) std::memmove(payload + at, piece.data, piece.size_bytes);
    at += piece.size_bytes;
  }
  entry.headers.payload_bytes = static_cast<uint32_t>(at);
  holds_memory_ = holds_memory_ || at > kSmallBytesMax;
  entry.answered = true;
  if (entry.waiter) std::exchange(entry.waiter, nullptr).resume();
  return true;
}

bool FuseRing::Owns(const std::byte* buffer) const {
  return buffer >= arena_ && buffer < arena_ + arena_bytes();
}

base::Task<void> FuseRing::WaitForEnd() {
  while (live_count_ > 0) co_await ended_.Wait();
}

void FuseRing::Trim() {
  CHECK(unanswered_.empty());
  (void)madvise(arena_, arena_bytes(), MADV_DONTNEED);
  holds_memory_ = false;
}

}  // namespace stratad
