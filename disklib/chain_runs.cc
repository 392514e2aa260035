#include "disklib/chain_runs.h"

#include <algorithm>

#include "fs/base/check.h"

namespace disklib {

ChainRun CutRun(const ChainRun& run, uint64_t offset_bytes, uint64_t end_bytes) {
  const uint64_t begin = std::max(run.offset_bytes, offset_bytes);
  const uint64_t end = std::min(run.end_bytes(), end_bytes);
  DCHECK(begin < end);
  ChainRun cut = run;
  cut.offset_bytes = begin;
  cut.length_bytes = end - begin;
  if (run.in_file()) cut.file_offset_bytes += begin - run.offset_bytes;
  return cut;
}

void AppendRun(std::vector<ChainRun>& runs, const ChainRun& run) {
  if (run.length_bytes == 0) return;
  if (!runs.empty()) {
    ChainRun& last = runs.back();
    const bool is_next = last.end_bytes() == run.offset_bytes && last.state == run.state;
    const bool is_data = run.state == ChainState::kData;
    const bool is_next_in_file =
        last.source == run.source && last.in_file() == run.in_file() &&
        (!run.in_file() || last.file_offset_bytes + last.length_bytes == run.file_offset_bytes);
    if (is_next && (!is_data || is_next_in_file)) {
      last.length_bytes += run.length_bytes;
      return;
    }
  }
  runs.push_back(run);
}

void AppendCut(std::span<const ChainRun> runs, uint64_t offset_bytes, uint64_t end_bytes,
               std::vector<ChainRun>& cut) {
  auto run = std::upper_bound(
      runs.begin(), runs.end(), offset_bytes,
      [](uint64_t at, const ChainRun& candidate) { return at < candidate.end_bytes(); });
  for (; run != runs.end() && run->offset_bytes < end_bytes; ++run) {
    AppendRun(cut, CutRun(*run, offset_bytes, end_bytes));
  }
}

std::vector<ChainRun> LayBelow(std::span<const ChainRun> upper, std::span<const ChainRun> lower) {
  std::vector<ChainRun> merged;
  merged.reserve(upper.size() + lower.size());
  size_t below = 0;
  for (const ChainRun& run : upper) {
    if (run.state != ChainState::kHole) {
      AppendRun(merged, run);
      continue;
    }
    uint64_t at = run.offset_bytes;
    while (below < lower.size() && lower[below].end_bytes() <= at) ++below;
    for (size_t i = below; i < lower.size() && lower[i].offset_bytes < run.end_bytes(); ++i) {
      const ChainRun part = CutRun(lower[i], at, run.end_bytes());
      if (part.offset_bytes > at) AppendRun(merged, CutRun(run, at, part.offset_bytes));
      AppendRun(merged, part);
      at = part.end_bytes();
    }
    if (at < run.end_bytes()) AppendRun(merged, CutRun(run, at, run.end_bytes()));
  }
  return merged;
}

std::vector<ChainRun> PutOver(std::span<const ChainRun> runs, const ChainRun& over) {
  std::vector<ChainRun> result;
  result.reserve(runs.size() + 2);
  const uint64_t begin = runs.front().offset_bytes;
  const uint64_t end = runs.back().end_bytes();
  if (over.offset_bytes > begin) AppendCut(runs, begin, over.offset_bytes, result);
  AppendRun(result, over);
  if (over.end_bytes() < end) AppendCut(runs, over.end_bytes(), end, result);
  return result;
}

}  // namespace disklib
