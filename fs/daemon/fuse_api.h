// The only place that names libfuse, and the class behind `FuseSession`.
//
// Private to `fuse_session.cc` (life cycle, receiving), `fuse_names.cc` (names and attributes) and
// `fuse_data.cc` (open files). Thread rule: as `FuseSession`.
#pragma once

#define FUSE_USE_VERSION 314
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include <fuse_lowlevel.h>
#include <linux/fuse.h>

#include "fs/base/executor.h"
#include "fs/base/sync.h"
#include "fs/base/uring_executor.h"
#include "fs/daemon/fuse_ring.h"
#include "fs/daemon/fuse_session.h"
#include "fs/daemon/request_buffers.h"
#include "fs/fss/switch.h"

namespace stratad {

static_assert(sizeof(fuse_in_header) + sizeof(fuse_write_in) == RequestBuffers::kHeaderBytes);

// The inode behind one or more open files, and the data it lost while they were open.
struct OpenInode {
  uint64_t open_count = 0;
  uint64_t writer_count = 0;  // of those, the handles that may write
  uint64_t loss_count = 0;
  std::optional<base::Error> loss;
};

// What a file handle of the kernel (`fuse_file_info::fh`) points to.
struct OpenFile {
  std::unique_ptr<fss::File> file;
  fss::InodeNumber inode = 0;
  OpenInode* shared = nullptr;
  bool may_write = false;
  uint64_t losses_at_open = 0;

  // The handle was open when a delayed write failed.
  bool lost_data() const { return shared->loss_count != losses_at_open; }
};

class FuseServer final : public base::Source, private FuseRing::Receiver {
 public:
  FuseServer(base::UringExecutor& executor, fss::Switch& tree, const FuseSession::Options& options);
  ~FuseServer() override;

  base::Status CreateSession();
  base::Status Mount();
  void Start();
  void Abort();
  base::Task<void> WaitForEnd();
  FuseSession::Figures figures() const;

  int descriptor() const override { return fuse_session_fd(session_); }

  bool Drain() override;

 private:
  friend class FuseSession;
  friend struct FuseOperations;
  friend class InFlight;

  using Inode = fss::InodeNumber;

  // --- life cycle and receiving: fuse_session.cc
  void Configure(fuse_conn_info& connection) const;
  bool ReceiveOne();
  void EndSession();
  base::Status PrepareRing();
  void NoteInit(const fuse_in_header& header);
  void AfterInit();
  void StartRing();
  void Process(std::span<std::byte> request, std::byte* buffer) override;
  void OnRingFailure(const base::Error& error) override;
  ssize_t Send(std::span<iovec> pieces);
  ssize_t SendInit(std::span<iovec> pieces);
  bool HoldsMemory() const;

  base::Task<void> CloseLeftOpen();
  base::Task<void> TrimWhenIdle();

  // The buffer of the request being dispatched becomes the request's own.
  std::byte* KeepBuffer() { return std::exchange(current_buffer_, nullptr); }

  // The request is answered; its buffer may serve another.
  void ReleaseBuffer(std::byte* buffer) {
    if (!ring_ || !ring_->Owns(buffer)) buffers_.Return(buffer);
  }

  void Spawn(base::Task<void> task) { executor_.Spawn(std::move(task)); }

  // --- names and attributes: fuse_names.cc
  base::Task<void> ServeLookup(fuse_req_t request, Inode parent, const char* name);
  base::Task<void> ServeGetAttributes(fuse_req_t request, Inode inode);
  base::Task<void> ServeSetAttributes(fuse_req_t request, Inode inode, fss::AttributeChange change);
  base::Task<void> ServeMakeNode(fuse_req_t request, Inode parent, const char* name, mode_t mode);
  base::Task<void> ServeMakeDirectory(fuse_req_t request, Inode parent, const char* name,
                                      mode_t mode);
  base::Task<void> ServeMakeSymlink(fuse_req_t request, Inode parent, const char* name,
                                    const char* target);
  base::Task<void> ServeReadSymlink(fuse_req_t request, Inode inode);
  base::Task<void> ServeRemove(fuse_req_t request, Inode parent, const char* name, bool directory);
  base::Task<void> ServeRename(fuse_req_t request, Inode from_parent, const char* from_name,
                               Inode to_parent, const char* to_name, unsigned flags);
  base::Task<void> ServeReadDirectory(fuse_req_t request, Inode inode, size_t size, off_t cursor);
  base::Task<void> ServeReadDirectoryPlus(fuse_req_t request, Inode inode, size_t size,
                                          off_t cursor);
  base::Task<void> ServeStatFs(fuse_req_t request, Inode inode);
  base::Task<void> ServeSyncDirectory(fuse_req_t request, Inode inode);

  // Owner, group and mode of something new, as a local file system chooses them.
  base::Task<base::Result<fss::NewInode>> OwnerOfNew(fuse_req_t request, Inode parent, mode_t mode,
                                                     bool directory);
  void ReplyEntry(fuse_req_t request, const base::Result<fss::Attributes>& attributes);
  fuse_entry_param EntryOf(const fss::Attributes& attributes) const;

  // How long the kernel may trust what it is told about an inode.
  double ValidSeconds(Inode inode) const { return tree_.MayCache(inode) ? valid_seconds_ : 0; }

  // --- open files: fuse_data.cc
  base::Task<void> ServeOpen(fuse_req_t request, Inode inode, int flags);
  base::Task<void> ServeCreate(fuse_req_t request, Inode parent, const char* name, mode_t mode,
                               int flags);
  base::Task<void> ServeRead(fuse_req_t request, OpenFile* open, uint64_t size_bytes,
                             uint64_t offset_bytes, std::byte* buffer);
  base::Task<void> ServeWrite(fuse_req_t request, OpenFile* open, base::IoVec payload,
                              uint64_t offset_bytes, bool delayed, std::byte* buffer);
  base::Task<void> ServeRelease(fuse_req_t request, OpenFile* open);
  base::Task<void> ServeSync(fuse_req_t request, OpenFile* open, bool data_only);
  base::Task<void> ServeAllocate(fuse_req_t request, OpenFile* open, fss::AllocateMode mode,
                                 uint64_t offset_bytes, uint64_t length_bytes);
  base::Task<void> ServeSeek(fuse_req_t request, OpenFile* open, fss::SeekKind kind,
                             uint64_t offset_bytes);

  OpenFile* Register(Inode inode, std::unique_ptr<fss::File> file, int flags);
  std::unique_ptr<OpenFile> Unregister(OpenFile* open);
  uint32_t OpenFlags(Inode inode, int flags);
  base::Task<void> CollectDelayedWrites(const OpenFile& open);
  void NoteLoss(OpenFile& open, const base::Error& error);

  base::UringExecutor& executor_;
  fss::Switch& tree_;
  const FuseSession::Options options_;
  const double valid_seconds_;
  fuse_session* session_ = nullptr;
  bool mounted_ = false;
  bool ended_ = false;
  std::string device_;  // as in a mount table
  RequestBuffers buffers_;
  std::unique_ptr<FuseRing> ring_;
  uint64_t init_unique_ = 0;  // of the INIT request whose answer may ask for the ring
  bool uses_own_io_ = false;
  bool ring_agreed_ = false;
  bool greeted_ = false;  // INIT has been answered
  std::byte* current_buffer_ = nullptr;
  bool trimming_ = false;
  uint64_t last_busy_us_ = 0;
  base::AsyncCondition changed_;  // the session ended, or a request did
  uint64_t in_flight_ = 0;
  FuseSession::Figures figures_;
  std::unordered_map<OpenFile*, std::unique_ptr<OpenFile>> open_files_;
  std::unordered_map<Inode, OpenInode> open_inodes_;
  std::unordered_set<Inode> changed_inodes_;
};

// Counts a request from its start to its answer.
class InFlight {
 public:
  explicit InFlight(FuseServer& server) : server_(server) { ++server_.in_flight_; }

  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;

  ~InFlight() {
    if (--server_.in_flight_ == 0 && server_.ended_) server_.changed_.NotifyAll();
  }

 private:
  FuseServer& server_;
};

// The attributes as stat(2) shows them.
struct stat ToStat(const fss::Attributes& attributes);

// Answers a request with an error's errno, or with success.
void ReplyError(fuse_req_t request, const base::Error& error);
void ReplyStatus(fuse_req_t request, const base::Status& status);

// The table that libfuse dispatches to; its functions start the coroutines above.
const fuse_lowlevel_ops& OperationsTable();

}  // namespace stratad
