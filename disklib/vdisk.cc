#include "disklib/vdisk.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "disklib/buffers.h"
#include "disklib/operations.h"
#include "fs/base/check.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::IoRequest;
using base::IoVec;
using base::Result;
using base::Status;
using base::Task;

uint64_t RoundDown(uint64_t bytes) {
  return bytes / kSectorBytes * kSectorBytes;
}

uint64_t RoundUp(uint64_t bytes) {
  return RoundDown(bytes + kSectorBytes - 1);
}

// Leaves the first `length_bytes` of a request; `cut` then holds its buffers.
void CutBuffers(IoRequest& request, uint64_t length_bytes, std::vector<IoVec>& cut) {
  if (request.size_bytes() == length_bytes) return;
  BufferCursor cursor(request.buffers);
  cursor.Take(length_bytes, cut);
  request.buffers = cut;
}

}  // namespace

VDisk::~VDisk() {
  CHECK(is_closed_);
}

// The bytes of a request that lie on the disk.
Task<Result<uint64_t>> VDisk::ReadThroughChain(IoRequest request) {
  Chain& chain = *disk_->chain;
  if (request.offset_bytes >= chain.size_bytes()) co_return uint64_t{0};
  const uint64_t length_bytes =
      std::min(request.size_bytes(), chain.size_bytes() - request.offset_bytes);
  std::vector<IoVec> cut;
  CutBuffers(request, length_bytes, cut);
  CO_TRY_STATUS(co_await chain.ReadBytes(request));
  co_return length_bytes;
}

Task<Result<uint64_t>> VDisk::WriteThroughChain(IoRequest request) {
  Chain& chain = *disk_->chain;
  if (request.size_bytes() == 0) co_return uint64_t{0};
  if (!writable_) co_return Error(Code::kReadOnly, "write: the disk was opened for reading");
  if (request.offset_bytes >= chain.size_bytes()) {
    co_return Error(Code::kNoSpace,
                    fmt::format("write {} at {}: the disk has {} bytes", chain.name(),
                                request.offset_bytes, chain.size_bytes()));
  }
  const uint64_t length_bytes =
      std::min(request.size_bytes(), chain.size_bytes() - request.offset_bytes);
  std::vector<IoVec> cut;
  CutBuffers(request, length_bytes, cut);
  CO_TRY_STATUS(co_await chain.WriteBytes(request));
  co_return length_bytes;
}

// Straight to the file of a flat leaf, holding the chain so that whoever wants it alone can wait.
Task<Result<uint64_t>> VDisk::WriteDirectly(IoRequest request) {
  Chain& chain = *disk_->chain;
  co_await chain.drain().AcquireShared();
  base::SharedGuard held(chain.drain());
  const FlatRange direct = chain.DirectWrite(request.offset_bytes, request.size_bytes());
  if (direct.object == nullptr) {
    held.Release();
    Result<uint64_t> written = co_await WriteThroughChain(request);
    co_return written;
  }
  request.offset_bytes = direct.offset_bytes;
  Result<uint64_t> written = co_await direct.object->Write(request);
  co_return written;
}

Task<Status> VDisk::Sync(bool) {
  return disk_->chain->Flush();
}

Task<Status> VDisk::Allocate(fss::AllocateMode mode, uint64_t offset_bytes, uint64_t length_bytes) {
  using fss::AllocateMode;
  if (length_bytes == 0) co_return Error(Code::kInvalidArgument, "allocate: no length");
  if (!writable_) co_return Error(Code::kReadOnly, "allocate: the disk was opened for reading");
  const uint64_t capacity = size_bytes();
  const bool fits = offset_bytes <= capacity && length_bytes <= capacity - offset_bytes;
  const bool grows = mode == AllocateMode::kAllocate || mode == AllocateMode::kZeroRange;
  if (!fits && grows) co_return Error(Code::kNoSpace, "allocate: behind the end of the disk");
  if (offset_bytes >= capacity) co_return base::Ok();
  length_bytes = std::min(length_bytes, capacity - offset_bytes);
  // Space of a disk is its extents' matter: allocating changes nothing a guest can see.
  if (mode == AllocateMode::kAllocate || mode == AllocateMode::kAllocateKeepSize) {
    co_return base::Ok();
  }
  const bool may_unmap = mode == AllocateMode::kPunchHole;
  CO_TRY_STATUS(co_await disk_->chain->ZeroBytes(offset_bytes, length_bytes, may_unmap));
  co_return base::Ok();
}

Task<Status> VDisk::MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                              std::vector<base::MapRun>& runs) {
  const uint64_t end_bytes = offset_bytes + length_bytes;
  const uint64_t start = RoundDown(offset_bytes);
  const size_t first = runs.size();
  CO_TRY_STATUS(co_await disk_->chain->MapStatus(start, RoundUp(end_bytes) - start, runs));
  if (runs.size() == first) co_return base::Ok();
  // Back to the bytes asked for.
  runs[first].offset_bytes += offset_bytes - start;
  runs[first].length_bytes -= offset_bytes - start;
  runs.back().length_bytes = end_bytes - runs.back().offset_bytes;
  co_return base::Ok();
}

Task<Status> VDisk::Close() {
  CHECK(!std::exchange(is_closed_, true));
  return disks_.Release(*disk_);
}

VDisks::~VDisks() {
  CHECK(open_.empty());
}

// Under the disk's lock: makes sure of a chain that can do what this open wants.
Task<Status> VDisks::OpenChain(SharedDisk& disk, bool writable) {
  if (disk.chain != nullptr && (!writable || disk.chain->writable())) co_return base::Ok();
  const OpenOptions options{.writable = writable, .user = user_, .successor_of = disk.chain.get()};
  CO_TRY(std::unique_ptr<Chain> chain, co_await lib_.Open(disk.path, options));
  if (disk.chain != nullptr) disk.predecessors.push_back(std::move(disk.chain));
  disk.chain = std::move(chain);
  co_return base::Ok();
}

Task<Result<std::unique_ptr<VDisk>>> VDisks::Open(std::string_view path, bool writable) {
  std::shared_ptr<SharedDisk>& slot = open_[std::string(path)];
  if (slot == nullptr) slot = std::make_shared<SharedDisk>(lib_.executor(), path);
  const std::shared_ptr<SharedDisk> disk = slot;
  ++disk->open_count;
  co_await disk->lock.Acquire();
  base::LockGuard guard(disk->lock);
  const Status opened = co_await OpenChain(*disk, writable);
  guard.Release();
  if (opened) co_return std::unique_ptr<VDisk>(new VDisk(*this, disk, writable));
  const Status released = co_await Release(*disk);
  static_cast<void>(released);  // the first error is the one to tell
  co_return opened.error();
}

// One open less; the last one closes the chain.
Task<Status> VDisks::Release(SharedDisk& disk) {
  CHECK(disk.open_count > 0);
  if (--disk.open_count > 0) co_return base::Ok();
  const std::shared_ptr<SharedDisk> kept = disk.shared_from_this();
  co_await kept->lock.Acquire();
  base::LockGuard guard(kept->lock);
  if (kept->open_count > 0) co_return base::Ok();  // opened again while we waited
  Status first = base::Ok();
  if (kept->chain != nullptr) first = co_await kept->chain->Close();
  for (const auto& chain : kept->predecessors) {
    const Status closed = co_await chain->Close();
    if (first) first = closed;
  }
  kept->chain.reset();
  kept->predecessors.clear();
  guard.Release();
  if (kept->open_count == 0) Forget(*kept);
  co_return first;
}

void VDisks::Forget(const SharedDisk& disk) {
  const auto found = open_.find(disk.path);
  if (found != open_.end() && found->second.get() == &disk) open_.erase(found);
}

// The disk goes on in another link: who opens that one shares this chain.
void VDisks::FollowLeaf(SharedDisk& disk) {
  if (disk.chain == nullptr || disk.path == disk.chain->name()) return;
  Forget(disk);
  disk.path = disk.chain->name();
  // An open of the new link that came in between was refused, and is on its way out.
  open_[disk.path] = disk.shared_from_this();
}

Task<Result<VDiskAttributes>> VDisks::GetAttributes(std::string_view path) {
  CO_TRY(const DiskInfo info, co_await lib_.GetInfo(path));
  const VDiskAttributes attributes{.size_bytes = info.capacity_bytes,
                                   .allocated_bytes = info.allocated_bytes,
                                   .modified_us = info.modified_us};
  co_return attributes;
}

Task<Status> VDisks::Resize(std::string_view path, uint64_t size_bytes) {
  if (size_bytes == 0 || size_bytes % kSectorBytes != 0) {
    co_return Error(Code::kInvalidArgument,
                    fmt::format("resize {}: {} bytes are no whole sectors", path, size_bytes));
  }
  CO_TRY(const std::unique_ptr<VDisk> disk, co_await Open(path, /*writable=*/true));
  const ExtendOptions options{
      .size_bytes = size_bytes, .provisioning = std::nullopt, .user = user_};
  const Status extended = co_await ExtendChain(lib_, *disk->disk_->chain, options, nullptr);
  FollowLeaf(*disk->disk_);
  const Status closed = co_await disk->Close();
  co_return extended ? closed : extended;
}

}  // namespace disklib
