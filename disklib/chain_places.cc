#include "disklib/chain_places.h"

#include <algorithm>

#include "fs/base/check.h"

namespace disklib {
namespace {

using base::Result;
using base::Status;
using base::Task;
using fds::GrainRun;
using fds::GrainState;

ChainState StateOf(GrainState state) {
  switch (state) {
    case GrainState::kUnallocated: return ChainState::kHole;
    case GrainState::kZero: return ChainState::kZero;
    case GrainState::kData: return ChainState::kData;
  }
  return ChainState::kHole;
}

bool Overlap(const ChainRun& run, uint64_t offset_bytes, uint64_t end_bytes) {
  return run.offset_bytes < end_bytes && offset_bytes < run.end_bytes();
}

}  // namespace

ChainPlaces::ChainPlaces(base::Executor& executor, WindowBudget& budget,
                         const std::vector<std::unique_ptr<Link>>& links)
    : links_(links), map_(budget), loaded_(executor) {
  NoteLinks();
}

void ChainPlaces::NoteLinks() {
  sources_.clear();
  first_sources_.clear();
  for (size_t i = 0; i < links_.size(); ++i) {
    const Link& link = *links_[i];
    first_top_source_ = static_cast<uint32_t>(sources_.size());
    first_sources_.push_back(first_top_source_);
    for (size_t k = 0; k < link.extents().size(); ++k) {
      Extent& extent = *link.extents()[k];
      Object* const object =
          extent.grain_map() == nullptr ? extent.flat_range().object : extent.grain_object();
      sources_.push_back({.extent = &extent,
                          .object = object,
                          .start_bytes = link.start_bytes(k),
                          .link_index = static_cast<uint32_t>(i)});
    }
  }
  const uint64_t known_bytes = map_.size_bytes();
  map_.Grow(links_.back()->size_bytes());
  // The last window may have ended with the disk.
  if (known_bytes > 0 && known_bytes < map_.size_bytes()) Forget(known_bytes - 1, known_bytes);
}

Task<Status> ChainPlaces::Resolve(uint64_t offset_bytes, uint64_t end_bytes,
                                  std::vector<ChainRun>& runs) {
  const uint64_t window = offset_bytes / kWindowBytes;
  DCHECK(offset_bytes < end_bytes && (end_bytes - 1) / kWindowBytes == window);
  while (!map_.Append(offset_bytes, end_bytes, runs)) {
    if (loading_.contains(window)) {
      co_await loaded_.Wait();
      continue;
    }
    Loading loading;
    std::vector<ChainRun> found;
    loading_.emplace(window, &loading);
    const Status loaded = co_await Load(window, loading, found);
    loading_.erase(window);
    loaded_.NotifyAll();
    if (!loaded) co_return loaded;
    if (loading.is_stale) continue;
    map_.Store(window, found);
    // Not from the map: a window above the budget is not kept.
    AppendCut(found, offset_bytes, end_bytes, runs);
    co_return base::Ok();
  }
  co_return base::Ok();
}

// The runs of a window, with what changed on the way.
Task<Status> ChainPlaces::Load(uint64_t window, Loading& loading, std::vector<ChainRun>& runs) {
  const uint64_t start_bytes = window * kWindowBytes;
  const uint64_t end_bytes = std::min(start_bytes + kWindowBytes, map_.size_bytes());
  CO_TRY_STATUS(co_await Walk(start_bytes, end_bytes, runs));
  for (const ChainRun& update : loading.updates) runs = PutOver(runs, update);
  for (const ChainRun& range : zeroing_) {
    if (!Overlap(range, start_bytes, end_bytes)) continue;
    runs = PutOver(runs, CutRun(range, start_bytes, end_bytes));
  }
  co_return base::Ok();
}

Task<Status> ChainPlaces::Walk(uint64_t offset_bytes, uint64_t end_bytes,
                               std::vector<ChainRun>& runs) {
  runs = {{.offset_bytes = offset_bytes, .length_bytes = end_bytes - offset_bytes}};
  uint64_t visible_end_bytes = end_bytes;
  for (size_t i = links_.size(); i-- > 0;) {
    visible_end_bytes = std::min(visible_end_bytes, links_[i]->size_bytes());
    const auto is_hole = [visible_end_bytes](const ChainRun& run) {
      return run.state == ChainState::kHole && run.offset_bytes < visible_end_bytes;
    };
    const auto first = std::find_if(runs.begin(), runs.end(), is_hole);
    if (first == runs.end()) break;
    const auto last = std::find_if(runs.rbegin(), runs.rend(), is_hole);
    const uint64_t until_bytes = std::min(last->end_bytes(), visible_end_bytes);
    std::vector<ChainRun> below;
    CO_TRY_STATUS(co_await LookUpLink(i, first->offset_bytes, until_bytes, below));
    runs = LayBelow(runs, below);
  }
  co_return base::Ok();
}

Task<Status> ChainPlaces::LookUpLink(size_t link_index, uint64_t offset_bytes, uint64_t end_bytes,
                                     std::vector<ChainRun>& runs) {
  const Link& link = *links_[link_index];
  std::vector<GrainRun> grains;
  const Status found =
      co_await links_[link_index]->Lookup(offset_bytes, end_bytes - offset_bytes, grains);
  if (!found) co_return found.error().Within(link.path());
  for (const GrainRun& grain : grains) {
    ChainRun run{.offset_bytes = grain.offset_bytes,
                 .length_bytes = grain.length_bytes,
                 .state = StateOf(grain.state)};
    if (run.state == ChainState::kData) {
      const size_t extent_index = link.PieceAt(grain.offset_bytes, 1).index;
      run.source = first_sources_[link_index] + static_cast<uint32_t>(extent_index);
      run.file_offset_bytes = grain.file_offset_bytes;
    }
    AppendRun(runs, run);
  }
  co_return base::Ok();
}

void ChainPlaces::Update(const ChainRun& run) {
  for (uint64_t at = run.offset_bytes; at < run.end_bytes();) {
    const uint64_t window = at / kWindowBytes;
    const ChainRun part = CutRun(run, at, (window + 1) * kWindowBytes);
    const auto found = loading_.find(window);
    if (found != loading_.end()) found->second->updates.push_back(part);
    map_.Set(part);
    at = part.end_bytes();
  }
}

void ChainPlaces::Forget(uint64_t offset_bytes, uint64_t end_bytes) {
  if (offset_bytes >= end_bytes) return;
  for (uint64_t window = offset_bytes / kWindowBytes; window <= (end_bytes - 1) / kWindowBytes;
       ++window) {
    const auto found = loading_.find(window);
    if (found != loading_.end()) found->second->is_stale = true;
    map_.Drop(window);
  }
}

void ChainPlaces::BeginZeroing(uint64_t offset_bytes, uint64_t end_bytes) {
  const ChainRun zeros{.offset_bytes = offset_bytes,
                       .length_bytes = end_bytes - offset_bytes,
                       .state = ChainState::kZero};
  zeroing_.push_back(zeros);
  Update(zeros);
}

void ChainPlaces::EndZeroing(uint64_t offset_bytes, uint64_t end_bytes) {
  const auto found = std::find_if(zeroing_.begin(), zeroing_.end(), [=](const ChainRun& range) {
    return range.offset_bytes == offset_bytes && range.end_bytes() == end_bytes;
  });
  CHECK(found != zeroing_.end());
  // A walk that is under way may have seen the time before.
  Update(*found);
  zeroing_.erase(found);
}

}  // namespace disklib
