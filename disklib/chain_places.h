// `ChainPlaces`: says where the bytes of an open chain are, whatever its depth.
//
// Walks the links from top to base for a window of the disk at a time (a link that ends earlier
// reads zeros behind its end, and hides what lies below) and keeps the answer in a `WindowMap`, so
// that a read costs one probe. Whoever changes the leaf reports it here before he lets anybody else
// change the same grains. Thread rule: the chain's executor; what answers at once does not suspend,
// so that an answer holds until the caller suspends.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "disklib/chain_runs.h"
#include "disklib/link.h"
#include "disklib/window_map.h"
#include "fs/base/executor.h"
#include "fs/base/result.h"
#include "fs/base/sync.h"
#include "fs/base/task.h"

namespace disklib {

// One extent of one link. Numbered base first, so that a number stays when a link is added on top.
struct ChainSource {
  Extent* extent = nullptr;
  Object* object = nullptr;  // the file of runs that lie in one
  uint64_t start_bytes = 0;  // of the extent on the disk
  uint32_t link_index = 0;   // base first
};

class ChainPlaces {
 public:
  // `links`, base first, and `budget` outlive this.
  ChainPlaces(base::Executor& executor, WindowBudget& budget,
              const std::vector<std::unique_ptr<Link>>& links);

  // Links were added on top, or the top one grew. What is known stays.
  void NoteLinks();

  const ChainSource& source(uint32_t number) const { return sources_[number]; }

  // The number of an extent of the top link.
  uint32_t top_source(size_t extent_index) const {
    return first_top_source_ + static_cast<uint32_t>(extent_index);
  }

  bool is_top(uint32_t number) const { return number >= first_top_source_; }

  // What is known of the run at `offset_bytes`, at most to `end_bytes`. False: not known; Resolve.
  bool Probe(uint64_t offset_bytes, uint64_t end_bytes, ChainRun& run) const {
    return map_.Probe(offset_bytes, end_bytes, run);
  }

  // Appends the runs of a range inside one window, asking the links where nothing is known.
  // Errors: as Link::Lookup.
  base::Task<base::Status> Resolve(uint64_t offset_bytes, uint64_t end_bytes,
                                   std::vector<ChainRun>& runs);

  // The leaf has changed: `run` holds from now on.
  void Update(const ChainRun& run);

  // What is known of a range may be wrong: a change of the leaf failed on the way.
  void Forget(uint64_t offset_bytes, uint64_t end_bytes);

  // A range that is about to become zeros: it reads as zeros from now on, until EndZeroing.
  void BeginZeroing(uint64_t offset_bytes, uint64_t end_bytes);
  void EndZeroing(uint64_t offset_bytes, uint64_t end_bytes);

 private:
  // A walk that is under way, and what changed meanwhile.
  struct Loading {
    std::vector<ChainRun> updates;
    bool is_stale = false;
  };

  base::Task<base::Status> Load(uint64_t window, Loading& loading, std::vector<ChainRun>& runs);
  base::Task<base::Status> Walk(uint64_t offset_bytes, uint64_t end_bytes,
                                std::vector<ChainRun>& runs);
  base::Task<base::Status> LookUpLink(size_t link_index, uint64_t offset_bytes, uint64_t end_bytes,
                                      std::vector<ChainRun>& runs);

  const std::vector<std::unique_ptr<Link>>& links_;
  std::vector<ChainSource> sources_;
  std::vector<uint32_t> first_sources_;  // of each link
  uint32_t first_top_source_ = 0;
  WindowMap map_;
  std::map<uint64_t, Loading*> loading_;
  std::vector<ChainRun> zeroing_;
  base::AsyncCondition loaded_;
};

}  // namespace disklib
