#include "fs/daemon/fuse_session.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <sys/mount.h>

#include "fs/base/check.h"
#include "fs/base/log.h"
#include "fs/daemon/fuse_api.h"

namespace stratad {
namespace {

constexpr int kRequestsPerRoundMax = 64;
constexpr size_t kBuffersKeptWhenIdle = 4;
constexpr uint64_t kTrimStepMicroseconds = 100'000;
constexpr uint64_t kIdleMicroseconds = 1'000'000;
constexpr unsigned kBackgroundRequestsMax = 256;

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
  if (!trimming_ && buffers_.made_count() > kBuffersKeptWhenIdle) Spawn(TrimWhenIdle());
  fuse_buf received{};
  received.mem = current_buffer_;
  received.size = RequestBuffers::kReceiveBytes;
  const int size = fuse_session_receive_buf(session_, &received);
  if (size > 0) fuse_session_process_buf(session_, &received);
  if (current_buffer_) buffers_.Return(KeepBuffer());
  if (size > 0) {
    ++figures_.requests;
    return true;
  }
  if (size == 0 || fuse_session_exited(session_)) EndSession();
  return size == -EINTR;
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
}

base::Task<void> FuseServer::WaitForEnd() {
  while (!ended_ || in_flight_ > 0 || trimming_) co_await changed_.Wait();
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
  while (!ended_ && buffers_.made_count() > kBuffersKeptWhenIdle) {
    co_await executor_.Sleep(kTrimStepMicroseconds);
    const uint64_t now_us = executor_.NowMicroseconds();
    if (figures_.requests != requests_seen || in_flight_ > 0) {
      requests_seen = figures_.requests;
      last_busy_us_ = now_us;
    }
    if (now_us - last_busy_us_ >= kIdleMicroseconds) buffers_.Trim(kBuffersKeptWhenIdle);
  }
  trimming_ = false;
  changed_.NotifyAll();
}

FuseSession::Figures FuseServer::figures() const {
  FuseSession::Figures figures = figures_;
  figures.in_flight = in_flight_;
  figures.open_files = open_files_.size();
  figures.buffers = buffers_.made_count();
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
