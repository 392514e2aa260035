// `Chain`: an open virtual disk, a `base::BlockDevice` over its links, base to top.
//
// Reads take the topmost link that holds a grain; a window map (`chain_places.h`) says which, so
// that a read costs one probe whatever the depth. Writes go to the top link, the leaf. What the
// leaf does not hold is allocated by whole grains, merged with what lies below, one writer of a
// grain at a time; what it holds is written in place, side by side. Content ids: before the first
// change after each open a new id is drawn and made durable, so that equal ids always mean equal
// content (disklib/FORMAT.md, "Content ids").
//
// Hold and drain: each request holds the chain shared; whoever changes its shape (extend, snapshot,
// close) holds it alone: `co_await drain().AcquireExclusive()` returns when everything that was
// under way has ended, and nothing begins until it is released. Requests that `DirectRead` sent to
// a file are not waited for: they read what cannot change its meaning, and files stay open until
// Close. `fds` filters (tracking, mirrors) stand between a handle and its chain: they are
// BlockDevices over this one, and a handle with a filter does not use the direct ways.
// Place: Lib > Chain > Link > Extent. Thread rule: the executor of the files below.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "disklib/buffers.h"
#include "disklib/chain_places.h"
#include "disklib/in_flight.h"
#include "disklib/link.h"
#include "disklib/object_backend.h"
#include "disklib/open_disks.h"
#include "fs/base/block_device.h"
#include "fs/base/executor.h"
#include "fs/base/range_lock.h"
#include "fs/base/result.h"
#include "fs/base/sync.h"
#include "fs/base/task.h"

namespace disklib {

inline constexpr size_t kChainLinksMax = 32;
inline constexpr size_t kChainLinksAdvised = 8;

struct ChainOptions {
  bool is_thin = false;  // unmapped space of flat extents goes back to the file system
  // For tests of the tests: first writes to one grain do not take turns.
  bool without_turns = false;
};

class Chain : public base::BlockDevice {
 public:
  // `links` base first, at least one. `leaf_claim` holds the leaf's files; if it writes, the chain
  // can be written. `parents_claim` holds the files of the other links. Made by `Lib::Open`.
  Chain(base::Executor& executor, ObjectBackend& backend, WindowBudget& budget,
        std::vector<std::unique_ptr<Link>> links, OpenDisks::Claim leaf_claim,
        OpenDisks::Claim parents_claim, ChainOptions options);

  const base::Limits& limits() const override { return limits_; }

  uint64_t size_bytes() const override { return top().size_bytes(); }

  const std::string& name() const override { return top().path(); }

  bool writable() const { return limits_.can_write; }

  // Base first; the last one is the leaf.
  const std::vector<std::unique_ptr<Link>>& links() const { return links_; }

  const Link& top() const { return *links_.back(); }

  Link& top() { return *links_.back(); }

  // The hold on the leaf's files.
  OpenDisks::Claim& claim() { return claim_; }

  OpenDisks::Claim& parents_claim() { return parents_claim_; }

  // As BlockDevice. Write and its kin also answer what changing the content id met: kNoSpace, kIo.
  base::Task<base::Status> Read(base::IoRequest request) override;
  base::Task<base::Status> Write(base::IoRequest request) override;
  base::Task<base::Status> Flush() override;
  base::Task<base::Status> Unmap(uint64_t offset_bytes, uint64_t length_bytes) override;
  base::Task<base::Status> WriteZeroes(uint64_t offset_bytes, uint64_t length_bytes,
                                       bool may_unmap) override;
  base::Task<base::Status> CompareAndWrite(uint64_t offset_bytes,
                                           std::span<const std::byte> expected,
                                           std::span<const std::byte> replacement) override;
  base::Task<base::Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                                     std::vector<base::MapRun>& runs) override;
  base::Task<base::Status> Close() override;

  // The same for ranges of any alignment inside the disk, which is the caller's to see to.
  base::Task<base::Status> ReadBytes(base::IoRequest request);
  base::Task<base::Status> WriteBytes(base::IoRequest request);
  base::Task<base::Status> ZeroBytes(uint64_t offset_bytes, uint64_t length_bytes, bool may_unmap);

  // The next data or hole from `offset_bytes`. Error kNoData: nothing there (ENXIO).
  base::Task<base::Result<uint64_t>> Seek(fss::SeekKind kind, uint64_t offset_bytes);

  // The range as one piece of a file that may be read without asking the chain, now or later.
  FlatRange DirectRead(uint64_t offset_bytes, uint64_t length_bytes) const {
    if (!Covers(offset_bytes, length_bytes)) return {};
    if (top_is_flat_) return top().FlatRangeOf(offset_bytes, length_bytes);
    ChainRun run;
    if (!places_.Probe(offset_bytes, offset_bytes + length_bytes, run)) return {};
    if (run.length_bytes < length_bytes || !run.in_file()) return {};
    // A grain of the leaf may be given back and used again.
    if (writable() && places_.is_top(run.source)) return {};
    return {.object = places_.source(run.source).object, .offset_bytes = run.file_offset_bytes};
  }

  // Whether a write of the range changes bytes of a flat leaf and nothing else. It may then go to
  // the file while the chain is held shared.
  FlatRange DirectWrite(uint64_t offset_bytes, uint64_t length_bytes) const {
    if (!content_marked_ || !top_is_flat_) return {};
    const FlatRange range = DirectRead(offset_bytes, length_bytes);
    return range.can_write ? range : FlatRange();
  }

  // Changes the content id unless this open has done so already. Called by everything that
  // modifies.
  base::Task<base::Status> MarkContent();

  // Stores a changed descriptor text in one step and takes it over. For operations on open disks.
  // Errors: as ObjectBackend::ReplaceContents.
  base::Task<base::Status> StoreDescriptor(std::string_view text);

  // Takes over the descriptor that stands at the leaf's path: it was replaced together with other
  // files, and has a new content id for this open. Errors: kBusy, those of reading it.
  base::Task<base::Status> AdoptDescriptor();

  // The leaf's last extent is longer now, and `added` stand behind it. The chain is held alone.
  void GrowTop(uint64_t last_extent_bytes, std::vector<std::unique_ptr<Extent>> added);

  // Puts a link without grains on top: the leaf so far is frozen, writes go to the new one. What is
  // known of places stays. `claim` is the new leaf's, that of the old one goes to the parents. The
  // chain is flushed and held alone.
  void AddLink(std::unique_ptr<Link> link, OpenDisks::Claim claim);

  // The leaf may be another link's parent now: what changes it is refused with kReadOnly from here
  // on. The chain is held alone.
  void ForbidWrites();

  // Holds off all requests: `co_await drain().AcquireExclusive()`.
  base::AsyncSharedLock& drain() { return drain_; }

 private:
  // One piece of a request to the leaf: inside one extent and one window.
  struct Part {
    Extent* extent;
    uint32_t source;
    uint64_t start_bytes;  // of the extent on the disk
    uint64_t offset_bytes;
    uint64_t end_bytes;
    uint64_t grain_bytes;  // 0: the extent has no grains
    bool has_zero_state;

    uint64_t GrainStart(uint64_t at_bytes) const;
    uint64_t GrainEnd(uint64_t at_bytes) const;
  };

  bool Covers(uint64_t offset_bytes, uint64_t length_bytes) const {
    return length_bytes > 0 && offset_bytes <= size_bytes() &&
           length_bytes <= size_bytes() - offset_bytes;
  }

  void NoteLinks();
  base::Status CheckRange(uint64_t offset_bytes, uint64_t length_bytes) const;
  base::Task<base::Status> RefuseRange(uint64_t offset_bytes, uint64_t length_bytes) const;
  base::Error ShortRead(uint64_t offset_bytes, uint64_t length_bytes, uint64_t read_bytes) const;
  base::Task<base::Status> ChangeContentId();
  Part PartAt(uint64_t offset_bytes, uint64_t end_bytes) const;

  // Reading (chain_read.cc). The chain is held shared.
  base::Task<base::Status> ReadPieces(base::IoRequest request);
  base::Task<base::Status> ReadRun(ChainRun run, std::span<const base::IoVec> buffers);
  base::Task<base::Status> MapWindow(uint64_t offset_bytes, uint64_t end_bytes,
                                     std::vector<base::MapRun>& runs);
  base::Task<base::Result<uint64_t>> SeekInLinks(uint64_t offset_bytes);

  // Writing (chain_write.cc). The chain is held shared.
  base::Task<base::Status> WriteParts(base::IoRequest request);
  base::Task<base::Status> WritePart(Part part, BufferCursor& cursor);
  base::Task<base::Status> WriteInPlace(ChainRun run, BufferCursor& cursor);
  base::Task<base::Status> WriteNewGrains(Part part, BufferCursor& cursor);
  base::Task<base::Status> MergeGrains(Part part, ChainRun whole, BufferCursor& cursor);
  base::Task<base::Status> NoteWritten(Part part, uint64_t offset_bytes, uint64_t end_bytes);

  // Zeroing (chain_zero.cc). The chain is held shared.
  base::Task<base::Status> ZeroPart(Part part, bool may_unmap);
  base::Task<base::Status> ZeroEdge(Part part);
  base::Task<base::Status> ZeroGrains(Part part, bool may_unmap);
  base::Task<base::Status> ZeroRun(Part part, bool may_unmap);

  base::Executor& executor_;
  ObjectBackend& backend_;
  std::vector<std::unique_ptr<Link>> links_;
  ChainPlaces places_;
  OpenDisks::Claim claim_;
  OpenDisks::Claim parents_claim_;
  const ChainOptions options_;
  base::Limits limits_;
  base::AsyncSharedLock drain_;
  base::AsyncLock mark_lock_;
  base::RangeLock grain_turns_;  // grains of the leaf that are being allocated or given back
  InFlight in_flight_;           // transfers to places that may be given back
  bool top_is_flat_ = false;
  bool content_marked_ = false;
};

}  // namespace disklib
