// `GrainCopier`: puts what one link holds into the chain below it. The work of a commit.
//
// Copies exactly the link's grains: data as data, zeros as zeros, in large pieces, several at a
// time. Doing it again is doing it once, so that a cut needs no memory of how far it was. With
// reclaim the link's grains are given back behind the cursor, after what they held is durable
// below: at every moment the bytes exist at least once and the link reads the same
// (disklib/FORMAT.md, "Snapshots"). Place: over Link and Chain. Thread rule: their executor.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "disklib/chain.h"
#include "disklib/link.h"
#include "disklib/new_extents.h"
#include "fs/base/executor.h"
#include "fs/base/result.h"
#include "fs/base/sync.h"
#include "fs/base/task.h"

namespace disklib {

struct GrainTotals {
  uint64_t data_bytes = 0;
  uint64_t zero_bytes = 0;
  uint64_t new_bytes = 0;  // of `data_bytes`: the parent has no space for them yet, at most
};

struct GrainCopyOptions {
  bool reclaim = false;
  uint64_t block_bytes = 4096;  // in which the datastore gives space
};

class GrainCopier {
 public:
  // `child` and `parent` are open; the parent's content id was changed before and the child is not
  // larger. `progress` may be null.
  GrainCopier(base::Executor& executor, Link& child, Chain& parent, GrainCopyOptions options,
              Progress* progress)
      : child_(child), parent_(parent), options_(options), progress_(progress), pieces_(executor) {}

  // Counts what Run would copy. Errors: those of Link::Lookup.
  base::Task<base::Result<GrainTotals>> Measure();

  // Copies everything; durable in the parent when answered. Errors: kInterrupted, kNoSpace, kIo,
  // kCorrupt; the chain is valid whatever was copied.
  base::Task<base::Status> Run(uint64_t total_bytes);

 private:
  static constexpr uint64_t kWindowBytes = uint64_t{16} << 20;
  static constexpr uint64_t kPieceBytes = uint64_t{1} << 20;
  static constexpr uint64_t kPiecesAtOnce = 8;
  static constexpr uint64_t kReclaimBytes = uint64_t{64} << 20;

  base::Task<base::Status> MeasureRun(fds::GrainRun run, GrainTotals& totals);
  base::Task<base::Status> CopyWindow(uint64_t offset_bytes, uint64_t length_bytes);
  base::Task<base::Status> CopyRun(fds::GrainRun run);
  base::Task<void> CopyPiece(uint64_t offset_bytes, uint64_t length_bytes);
  base::Task<base::Status> MovePiece(uint64_t offset_bytes, uint64_t length_bytes);
  base::Task<void> ZeroPiece(uint64_t offset_bytes, uint64_t length_bytes);
  base::Task<base::Status> Settle(uint64_t end_bytes);
  base::Task<base::Status> ReleaseRange(uint64_t offset_bytes, uint64_t end_bytes);
  void NoteError(const base::Status& status);

  Link& child_;
  Chain& parent_;
  const GrainCopyOptions options_;
  Progress* const progress_;
  base::TaskGroup pieces_;
  std::optional<base::Error> first_error_;
  uint64_t done_bytes_ = 0;
  uint64_t total_bytes_ = 0;
  uint64_t settled_bytes_ = 0;  // of the address space: durable in the parent up to here
};

}  // namespace disklib
