#include "fs/daemon/fuse_session.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "fs/base/check.h"
#include "fs/base/log.h"
#include "fs/daemon/fuse_api.h"
#include "fs/daemon/fuse_connection.h"
#include "fs/daemon/mount_point.h"

namespace stratad {
namespace {

// Few, so that what they ask of the device is on its way while the next ones are received.
constexpr int kRequestsPerRoundMax = 8;
constexpr size_t kBuffersKeptWhenIdle = 4;
constexpr uint64_t kTrimStepMicroseconds = 100'000;
constexpr uint64_t kIdleMicroseconds = 1'000'000;
constexpr unsigned kBackgroundRequestsMax = 256;

// Flags of INIT that came after this libfuse: the second word holds bits 32 and up.
constexpr uint32_t kInitExtended = 1U << 30;
constexpr uint32_t kOverIoUring = 1U << (41 - 32);

// mount(8) options end at a comma, which a path may contain.
std::string EscapeOption(std::string_view value) {
  std::string escaped;
  for (const char c : value) {
    if (c == ',' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

std::string MountOptions(const FuseSession::Options& options) {
  std::string text = "default_permissions";
  text += ",fsname=" + EscapeOption(options.source);
  text += ",subtype=" + EscapeOption(options.subtype);
  if (options.allow_other) text += ",allow_other";
  if (options.read_only) text += ",ro";
  return text;
}

// libfuse prints its errors; they belong into the log.
void LogFromLibfuse(fuse_log_level level, const char* format, va_list arguments) {
  char line[512];
  std::vsnprintf(line, sizeof(line), format, arguments);
  const std::string_view text(line, strcspn(line, "\n"));
  if (level <= FUSE_LOG_ERR) base::LogWarn("fuse", "{}", text);
}

}  // namespace

FuseServer::FuseServer(base::UringExecutor& executor, fss::Switch& tree,
                       const FuseSession::Options& options)
    : executor_(executor),
      tree_(tree),
      options_(options),
      valid_seconds_(options.valid_seconds),
      buffers_(options.buffer_count_max),
      changed_(executor) {}

FuseServer::~FuseServer() {
  CHECK(in_flight_ == 0 && open_files_.empty() && !trimming_);
  if (session_) fuse_session_destroy(session_);
}

base::Status FuseServer::CreateSession() {
  fuse_set_log_func(LogFromLibfuse);
  const std::string options = MountOptions(options_);
  fuse_args arguments = FUSE_ARGS_INIT(0, nullptr);
  fuse_opt_add_arg(&arguments, "strata");
  fuse_opt_add_arg(&arguments, "-o");
  fuse_opt_add_arg(&arguments, options.c_str());
  session_ = fuse_session_new(&arguments, &OperationsTable(), sizeof(fuse_lowlevel_ops), this);
  fuse_opt_free_args(&arguments);
  if (!session_) {
    return base::Error(base::Code::kInvalidArgument, "fuse: options refused: " + options);
  }
  return base::Ok();
}

base::Status FuseServer::Mount() {
  errno = 0;
  if (fuse_session_mount(session_, options_.mount_point.c_str()) != 0) {
    return base::ErrnoError(errno == 0 ? EIO : errno, "mount on " + options_.mount_point);
  }
  mounted_ = true;
  const int flags = fcntl(descriptor(), F_GETFL);
  if (flags < 0 || fcntl(descriptor(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return base::ErrnoError(errno, "set /dev/fuse non-blocking");
  }
  TRY(device_, DeviceOfMount(options_.mount_point));
  return PrepareRing();
}

// Answers have to pass through here to find their entries. Only root can end a connection whose
// entries wait in a ring.
base::Status FuseServer::PrepareRing() {
  if (!options_.ring || geteuid() != 0 || !executor_.has_commands() || !KernelOffersFuseRing()) {
    return base::Ok();
  }
  fuse_custom_io io{};
  io.read = [](int fuse, void* bytes, size_t size, void*) { return read(fuse, bytes, size); };
  io.writev = [](int, iovec* pieces, int count, void* server) {
    return static_cast<FuseServer*>(server)->Send({pieces, static_cast<size_t>(count)});
  };
  const int result = fuse_session_custom_io(session_, &io, descriptor());
  if (result != 0) return base::ErrnoError(-result, "fuse: take over the session's I/O");
  uses_own_io_ = true;
  return base::Ok();
}

void FuseServer::Start() {
  CHECK(mounted_);
  executor_.AddSource(*this);
}

void FuseServer::Configure(fuse_conn_info& connection) const {
  const auto want = [&connection](unsigned capability, bool wanted) {
    if (wanted && (connection.capable & capability)) {
      connection.want |= capability;
    } else {
      connection.want &= ~capability;
    }
  };
  want(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE, false);
  want(FUSE_CAP_ATOMIC_O_TRUNC, false);
  want(FUSE_CAP_POSIX_LOCKS, false);
  want(FUSE_CAP_FLOCK_LOCKS, false);
  want(FUSE_CAP_ASYNC_READ, true);
  want(FUSE_CAP_ASYNC_DIO, true);
  want(FUSE_CAP_PARALLEL_DIROPS, true);
  want(FUSE_CAP_READDIRPLUS, true);
  want(FUSE_CAP_READDIRPLUS_AUTO, true);
  want(FUSE_CAP_CACHE_SYMLINKS, !options_.changed_by_others);
  want(FUSE_CAP_NO_OPENDIR_SUPPORT, options_.cache_listings);
  want(FUSE_CAP_AUTO_INVAL_DATA, options_.changed_by_others);
  want(FUSE_CAP_WRITEBACK_CACHE, options_.writeback_cache);
  connection.max_write = RequestBuffers::kPayloadBytesMax;
  connection.max_readahead = RequestBuffers::kPayloadBytesMax;
  connection.max_background = kBackgroundRequestsMax;
  connection.congestion_threshold = kBackgroundRequestsMax * 3 / 4;
  connection.time_gran = options_.time_step_ns;
}

bool FuseServer::Drain() {
  int taken_count = 0;
  while (taken_count < kRequestsPerRoundMax && !ended_ && ReceiveOne()) ++taken_count;
  return taken_count > 0;
}

bool FuseServer::ReceiveOne() {
  current_buffer_ = buffers_.Take();
  if (!current_buffer_) return false;
  if (!trimming_ && HoldsMemory()) Spawn(TrimWhenIdle());
  fuse_buf received{};
  received.mem = current_buffer_;
  received.size = RequestBuffers::kReceiveBytes;
  const int size = fuse_session_receive_buf(session_, &received);
  if (uses_own_io_ && !greeted_ && size > 0) NoteInit(*static_cast<fuse_in_header*>(received.mem));
  if (size > 0) fuse_session_process_buf(session_, &received);
  if (size > 0 && !greeted_) AfterInit();
  if (current_buffer_) buffers_.Return(KeepBuffer());
  if (size > 0) {
    ++figures_.requests;
    return true;
  }
  if (size == 0 || fuse_session_exited(session_)) EndSession();
  return size == -EINTR;
}

void FuseServer::NoteInit(const fuse_in_header& header) {
  if (header.opcode != FUSE_INIT || header.len < sizeof(header) + sizeof(fuse_init_in)) return;
  fuse_init_in offer;
  std::memcpy(&offer, &header + 1, sizeof(offer));
  const bool has_ring = (offer.flags & kInitExtended) != 0 && (offer.flags2 & kOverIoUring) != 0;
  init_unique_ = has_ring ? header.unique : 0;
}

// Everything libfuse sends; notifications come from other threads.
ssize_t FuseServer::Send(std::span<iovec> pieces) {
  fuse_out_header header;
  CHECK(pieces[0].iov_len == sizeof(header));
  std::memcpy(&header, pieces[0].iov_base, sizeof(header));
  const int count = static_cast<int>(pieces.size());
  if (header.unique == 0) return writev(descriptor(), pieces.data(), count);
  if (ring_) {
    const std::span answer(reinterpret_cast<const base::IoVec*>(pieces.data()), pieces.size());
    if (ring_->Reply(header.unique, answer)) return header.len;
  }
  if (header.unique == init_unique_ && header.error == 0 && count == 2) return SendInit(pieces);
  return writev(descriptor(), pieces.data(), count);
}

// The answer to INIT, with the flag of the ring, which this libfuse does not know.
ssize_t FuseServer::SendInit(std::span<iovec> pieces) {
  fuse_init_out answer{};
  if (pieces[1].iov_len == sizeof(answer)) {
    std::memcpy(&answer, pieces[1].iov_base, sizeof(answer));
    answer.flags |= kInitExtended;
    answer.flags2 |= kOverIoUring;
    pieces[1].iov_base = &answer;
    ring_agreed_ = true;
  }
  return writev(descriptor(), pieces.data(), static_cast<int>(pieces.size()));
}

// The first request was INIT: its answer has set what the kernel starts with.
void FuseServer::AfterInit() {
  greeted_ = true;
  WidenKernelCache(device_);
  if (ring_agreed_) StartRing();
}

void FuseServer::StartRing() {
  base::Result<std::unique_ptr<FuseRing>> ring = FuseRing::Create(executor_, descriptor(), *this);
  if (!ring) {
    OnRingFailure(ring.error());
    return;
  }
  ring_ = std::move(*ring);
  ring_->Start();
}

void FuseServer::Process(std::span<std::byte> request, std::byte* buffer) {
  ++figures_.requests;
  current_buffer_ = buffer;
  fuse_buf received{};
  received.mem = request.data();
  received.size = request.size();
  fuse_session_process_buf(session_, &received);
  current_buffer_ = nullptr;
  if (!trimming_ && HoldsMemory()) Spawn(TrimWhenIdle());
}

void FuseServer::OnRingFailure(const base::Error& error) {
  base::LogError("fuse", "{}", error.message());
  Abort();
}

bool FuseServer::HoldsMemory() const {
  return buffers_.made_count() > kBuffersKeptWhenIdle || (ring_ && ring_->holds_memory());
}

void FuseServer::EndSession() {
  if (ended_) return;
  ended_ = true;
  executor_.RemoveSource(*this);
  changed_.NotifyAll();
}

void FuseServer::Abort() {
  if (!mounted_ || ended_) return;
  fuse_session_exit(session_);
  EndSession();
  if (!ring_agreed_) return;
  // Entries in the ring keep the connection alive until it is told to end.
  const base::Status aborted = AbortFuseConnection(device_);
  if (!aborted) base::LogWarn("fuse", "{}", aborted.error().message());
}

base::Task<void> FuseServer::WaitForEnd() {
  while (!ended_ || in_flight_ > 0 || trimming_) co_await changed_.Wait();
  if (ring_) co_await ring_->WaitForEnd();
  co_await CloseLeftOpen();
}

// The kernel does not send every RELEASE when a mount goes away.
base::Task<void> FuseServer::CloseLeftOpen() {
  while (!open_files_.empty()) {
    const std::unique_ptr<OpenFile> open = Unregister(open_files_.begin()->first);
    const base::Status closed = co_await open->file->Close();
    if (!closed) base::LogError("fuse", "closing a file: {}", closed.error().message());
  }
}

// Runs while the session has more buffers than an idle one keeps.
base::Task<void> FuseServer::TrimWhenIdle() {
  trimming_ = true;
  uint64_t requests_seen = figures_.requests;
  last_busy_us_ = executor_.NowMicroseconds();
  while (!ended_ && HoldsMemory()) {
    co_await executor_.Sleep(kTrimStepMicroseconds);
    const uint64_t now_us = executor_.NowMicroseconds();
    if (figures_.requests != requests_seen || in_flight_ > 0) {
      requests_seen = figures_.requests;
      last_busy_us_ = now_us;
    }
    if (now_us - last_busy_us_ < kIdleMicroseconds) continue;
    buffers_.Trim(kBuffersKeptWhenIdle);
    if (ring_) ring_->Trim();
  }
  trimming_ = false;
  changed_.NotifyAll();
}

FuseSession::Figures FuseServer::figures() const {
  FuseSession::Figures figures = figures_;
  figures.in_flight = in_flight_;
  figures.open_files = open_files_.size();
  figures.buffers = buffers_.made_count();
  figures.ring = ring_ != nullptr;
  return figures;
}

FuseSession::FuseSession(std::unique_ptr<FuseServer> server) : server_(std::move(server)) {}

FuseSession::~FuseSession() = default;

base::Result<std::unique_ptr<FuseSession>> FuseSession::Create(base::UringExecutor& executor,
                                                               fss::Switch& tree,
                                                               const Options& options) {
  auto server = std::make_unique<FuseServer>(executor, tree, options);
  TRY_STATUS(server->CreateSession());
  return std::unique_ptr<FuseSession>(new FuseSession(std::move(server)));
}

base::Status FuseSession::Mount() {
  return server_->Mount();
}

void FuseSession::Start() {
  server_->Start();
}

base::Task<void> FuseSession::WaitForEnd() {
  return server_->WaitForEnd();
}

void FuseSession::Abort() {
  server_->Abort();
}

bool FuseSession::mounted() const {
  return server_->mounted_;
}

bool FuseSession::ended() const {
  return server_->ended_;
}

FuseSession::Figures FuseSession::figures() const {
  return server_->figures();
}

const FuseSession::Options& FuseSession::options() const {
  return server_->options_;
}

void FuseSession::NoteChanged(fss::InodeNumber inode) {
  server_->changed_inodes_.insert(inode);
}

void FuseSession::InvalidateEntry(fss::InodeNumber parent, std::string_view name) {
  fuse_lowlevel_notify_inval_entry(server_->session_, parent, name.data(), name.size());
}

void FuseSession::InvalidateInode(fss::InodeNumber inode) {
  fuse_lowlevel_notify_inval_inode(server_->session_, inode, 0, 0);
}

}  // namespace stratad
