// `GrainGatherer`: writes of new grains that follow each other in the file go to it as one.
//
// New grains are handed out consecutively, so what many writers write at the same time lies side by
// side, wherever in the disk it belongs. Whoever comes first waits until the executor has run what
// is ready by then, takes the others along, and writes for all of them: one request below for as
// many as there are writers, and none later for a lone one. Place: below SparseFile. Thread rule:
// the executor of the file below.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "disklib/object_backend.h"
#include "disklib/sparse/grain_space.h"
#include "fs/base/block_device.h"
#include "fs/base/executor.h"
#include "fs/base/result.h"
#include "fs/base/sync.h"
#include "fs/base/task.h"

namespace disklib {

class GrainGatherer {
 public:
  GrainGatherer(base::Executor& executor, Object& object) : executor_(executor), object_(object) {}

  // Writes a whole run. When a write for several fails, each is tried alone, so that everybody gets
  // the answer to his own. Errors: kNoSpace (also: not all was written), those of the object.
  base::Task<base::Status> Write(SectorRun run, std::span<const base::IoVec> buffers);

 private:
  static constexpr size_t kBufferCountMax = 256;
  static constexpr uint64_t kSectorCountMax = 2048;  // 1 MiB

  struct Batch {
    explicit Batch(base::Executor& executor) : ended(executor) {}

    SectorRun run;
    std::vector<base::IoVec> buffers;
    uint64_t writer_count = 1;
    bool has_ended = false;
    base::Status outcome;
    base::AsyncCondition ended;
  };

  bool CanJoin(SectorRun run, size_t buffer_count) const;
  base::Task<base::Status> WriteAlone(SectorRun run, std::span<const base::IoVec> buffers);
  base::Task<base::Status> Lead(SectorRun run, std::span<const base::IoVec> buffers);

  base::Executor& executor_;
  Object& object_;
  std::shared_ptr<Batch> open_;  // takes writers; null: none does
};

}  // namespace disklib
