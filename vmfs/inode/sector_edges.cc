#include "vmfs/inode/sector_edges.h"

#include <algorithm>
#include <memory>

#include "vmfs/inode/buffers.h"

namespace vmfs {
namespace {

constexpr uint64_t kPageBytes = 4096;

// Page-aligned memory for a transfer of whole sectors around [address, address + length).
struct Bounce {
  Bounce(uint64_t address, uint64_t length_bytes)
      : begin(address / kSectorBytes * kSectorBytes),
        size((address + length_bytes - begin + kSectorBytes - 1) / kSectorBytes * kSectorBytes),
        memory(static_cast<std::byte*>(::operator new (size, std::align_val_t{kPageBytes}))),
        piece{memory, size} {}

  Bounce(const Bounce&) = delete;
  Bounce& operator=(const Bounce&) = delete;

  ~Bounce() { ::operator delete (memory, std::align_val_t{kPageBytes}); }

  base::IoRequest request() const { return {begin, std::span(&piece, 1)}; }

  const uint64_t begin;
  const uint64_t size;
  std::byte* const memory;
  const base::IoVec piece;
};

base::Task<base::Status> ReadSector(VolumeCore& core, Bounce& bounce, uint64_t offset_in_bounce) {
  const base::IoVec piece{bounce.memory + offset_in_bounce, kSectorBytes};
  const base::IoRequest request{bounce.begin + offset_in_bounce, std::span(&piece, 1)};
  co_return co_await core.device.Read(request);
}

base::Task<base::Status> MergeAndWrite(VolumeCore& core, Bounce& bounce, uint64_t address,
                                       std::span<const base::IoVec> pieces) {
  const uint64_t length = base::TotalBytes(pieces);
  if (address != bounce.begin) CO_TRY_STATUS(co_await ReadSector(core, bounce, 0));
  const bool ragged_end = (address + length) % kSectorBytes != 0;
  const bool last_is_first = bounce.size == kSectorBytes && address != bounce.begin;
  if (ragged_end && !last_is_first) {
    CO_TRY_STATUS(co_await ReadSector(core, bounce, bounce.size - kSectorBytes));
  }
  CopyFromBuffers(pieces, std::span(bounce.memory + (address - bounce.begin), length));
  co_return co_await core.device.Write(bounce.request());
}

}  // namespace

base::Task<base::Status> ReadBytes(VolumeCore& core, uint64_t address,
                                   std::span<const base::IoVec> pieces) {
  const uint64_t length = base::TotalBytes(pieces);
  if (IsSectorAligned(address, length)) {
    const base::IoRequest request{address, pieces};
    co_return co_await core.device.Read(request);
  }
  Bounce bounce(address, length);
  CO_TRY_STATUS(co_await core.device.Read(bounce.request()));
  CopyToBuffers(std::span(bounce.memory + (address - bounce.begin), length), pieces);
  co_return base::Ok();
}

base::Task<base::Status> WriteBytes(VolumeCore& core, Inode& inode, uint64_t address,
                                    std::span<const base::IoVec> pieces) {
  const uint64_t length = base::TotalBytes(pieces);
  const uint64_t first_page = address / kPageBytes;
  const uint64_t last_page = (address + length - 1) / kPageBytes;
  while (inode.pages.AnyMerging(first_page, last_page)) co_await inode.changed.Wait();
  if (IsSectorAligned(address, length)) {
    base::Status status;
    {
      PageLatches::Passage passage(inode.pages, first_page, last_page);
      const base::IoRequest request{address, pieces};
      status = co_await core.device.Write(request);
    }
    core.journal->NoteDataWrite();
    inode.changed.NotifyAll();
    co_return status;
  }
  inode.pages.BeginMerge(first_page, last_page);
  // What a write of whole sectors brings to these pages now, the merge would take away again.
  while (inode.pages.AnyPassing(first_page, last_page)) co_await inode.changed.Wait();
  Bounce bounce(address, length);
  const base::Status status = co_await MergeAndWrite(core, bounce, address, pieces);
  core.journal->NoteDataWrite();
  inode.pages.EndMerge(first_page, last_page);
  inode.changed.NotifyAll();
  co_return status;
}

}  // namespace vmfs
