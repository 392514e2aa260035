#include "disklib/chain_info.h"

#include <algorithm>
#include <array>
#include <memory>

#include "disklib/link.h"

namespace disklib {
namespace {

using base::MapRun;
using base::MapState;
using base::Result;
using base::Status;
using base::Task;
using fds::GrainRun;
using fds::GrainState;

constexpr uint64_t kWindowBytes = uint64_t{16} << 20;

GrainState StateOf(MapState state) {
  switch (state) {
    case MapState::kData: return GrainState::kData;
    case MapState::kZero: return GrainState::kZero;
    case MapState::kHole: return GrainState::kUnallocated;
  }
  return GrainState::kData;
}

// What one link holds of a window. Flat files answer for themselves: their map says data
// everywhere.
Task<Status> RunsOf(Link& link, uint64_t offset_bytes, uint64_t length_bytes,
                    std::vector<GrainRun>& runs) {
  runs.clear();
  if (offset_bytes >= link.size_bytes()) co_return base::Ok();  // below the end of a shorter parent
  length_bytes = std::min(length_bytes, link.size_bytes() - offset_bytes);
  if (link.descriptor().has_parent()) {
    CO_TRY_STATUS(co_await link.Lookup(offset_bytes, length_bytes, runs));
    co_return base::Ok();
  }
  std::vector<MapRun> map;
  CO_TRY_STATUS(co_await link.MapStatus(offset_bytes, length_bytes, map));
  for (const MapRun& run : map) {
    runs.push_back({.offset_bytes = run.offset_bytes,
                    .length_bytes = run.length_bytes,
                    .state = StateOf(run.state)});
  }
  co_return base::Ok();
}

// Walks along the runs of one link.
class RunCursor {
 public:
  explicit RunCursor(const std::vector<GrainRun>& runs) : runs_(runs) {}

  GrainState StateAt(uint64_t offset_bytes) {
    Skip(offset_bytes);
    return index_ < runs_.size() ? runs_[index_].state : GrainState::kUnallocated;
  }

  // Up to where the state at `offset_bytes` reaches, at most `end_bytes`.
  uint64_t EndAt(uint64_t offset_bytes, uint64_t end_bytes) {
    Skip(offset_bytes);
    if (index_ == runs_.size()) return end_bytes;
    return std::min(runs_[index_].offset_bytes + runs_[index_].length_bytes, end_bytes);
  }

 private:
  void Skip(uint64_t offset_bytes) {
    while (index_ < runs_.size() &&
           runs_[index_].offset_bytes + runs_[index_].length_bytes <= offset_bytes) {
      ++index_;
    }
  }

  const std::vector<GrainRun>& runs_;
  size_t index_ = 0;
};

// Adds a range in which no link changes its state; `states` base first.
void Account(std::span<const GrainState> states, uint64_t length_bytes, ChainInfo& info) {
  bool is_hidden = false;
  for (size_t i = states.size(); i-- > 0;) {
    LinkUsage& usage = info.links[i];
    if (states[i] == GrainState::kZero) usage.zero_bytes += length_bytes;
    if (states[i] == GrainState::kData) {
      usage.data_bytes += length_bytes;
      if (!is_hidden) {
        usage.unique_bytes += length_bytes;
        info.data_bytes += length_bytes;
      }
      if (i > 0 && states[i - 1] != GrainState::kData) usage.delete_needs_bytes += length_bytes;
    }
    is_hidden = is_hidden || states[i] != GrainState::kUnallocated;
  }
}

Task<Status> AccountWindow(Chain& chain, uint64_t offset_bytes, uint64_t length_bytes,
                           ChainInfo& info) {
  const size_t link_count = chain.links().size();
  std::vector<std::vector<GrainRun>> runs(link_count);
  std::vector<RunCursor> cursors;
  cursors.reserve(link_count);
  for (size_t i = 0; i < link_count; ++i) {
    CO_TRY_STATUS(co_await RunsOf(*chain.links()[i], offset_bytes, length_bytes, runs[i]));
    cursors.emplace_back(runs[i]);
  }
  std::vector<GrainState> states(link_count);
  const uint64_t end_bytes = offset_bytes + length_bytes;
  while (offset_bytes < end_bytes) {
    uint64_t next_bytes = end_bytes;
    for (size_t i = 0; i < link_count; ++i) {
      states[i] = cursors[i].StateAt(offset_bytes);
      next_bytes = cursors[i].EndAt(offset_bytes, next_bytes);
    }
    Account(states, next_bytes - offset_bytes, info);
    offset_bytes = next_bytes;
  }
  co_return base::Ok();
}

Task<Status> DescribeLinks(Lib& lib, Chain& chain, ChainInfo& info) {
  for (const std::unique_ptr<Link>& link : chain.links()) {
    CO_TRY(const DiskInfo disk, co_await lib.GetInfo(link->path()));
    LinkUsage usage;
    usage.path = disk.path;
    usage.kind = disk.create_type;
    usage.capacity_bytes = disk.capacity_bytes;
    usage.allocated_bytes = disk.allocated_bytes;
    if (!info.links.empty()) usage.delete_frees_bytes = disk.allocated_bytes;
    info.allocated_bytes += disk.allocated_bytes;
    info.links.push_back(std::move(usage));
  }
  info.capacity_bytes = chain.size_bytes();
  for (uint64_t at_bytes = 0; at_bytes < info.capacity_bytes; at_bytes += kWindowBytes) {
    const uint64_t length_bytes = std::min(kWindowBytes, info.capacity_bytes - at_bytes);
    CO_TRY_STATUS(co_await AccountWindow(chain, at_bytes, length_bytes, info));
  }
  co_return base::Ok();
}

}  // namespace

Task<Result<ChainInfo>> GetChainInfo(Lib& lib, std::string_view path) {
  const OpenOptions options{.writable = false, .user = "strata disk info"};
  CO_TRY(const std::unique_ptr<Chain> chain, co_await lib.Open(path, options));
  ChainInfo info;
  const Status described = co_await DescribeLinks(lib, *chain, info);
  const Status closed = co_await chain->Close();
  if (!described) co_return described.error();
  if (!closed) co_return closed.error();
  co_return info;
}

}  // namespace disklib
