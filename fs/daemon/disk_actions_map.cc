// The verb that says where a disk has data, zeros and holes.
#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "disklib/chain.h"
#include "fs/daemon/disk_actions.h"

namespace stratad {
namespace {

using base::Result;
using base::Status;
using base::Task;

constexpr uint64_t kStepBytes = uint64_t{1} << 30;

// A map is answered in parts, so that a disk of many pieces takes little memory on either side.
constexpr size_t kRunsMax = 8192;

const char* NameOf(base::MapState state) {
  if (state == base::MapState::kData) return "data";
  return state == base::MapState::kZero ? "zero" : "hole";
}

// Neighbours of one state become one run. Takes what fits; gives where the rest begins.
uint64_t Append(std::vector<base::MapRun>& runs, const std::vector<base::MapRun>& found) {
  for (const base::MapRun& run : found) {
    const bool continues = !runs.empty() && runs.back().state == run.state;
    if (!continues && runs.size() == kRunsMax) return run.offset_bytes;
    if (continues) runs.back().length_bytes += run.length_bytes;
    if (!continues) runs.push_back(run);
  }
  return runs.back().offset_bytes + runs.back().length_bytes;
}

// From `at_bytes` to the end of the disk, or of the room in an answer.
Task<Result<uint64_t>> Walk(disklib::Chain& chain, uint64_t at_bytes,
                            std::vector<base::MapRun>& runs, disklib::Progress* progress) {
  while (at_bytes < chain.size_bytes()) {
    const uint64_t end_bytes = std::min(chain.size_bytes(), at_bytes + kStepBytes);
    std::vector<base::MapRun> found;
    CO_TRY_STATUS(co_await chain.MapStatus(at_bytes, end_bytes - at_bytes, found));
    if (found.empty()) co_return base::Error(base::Code::kInternal, "map: a range without a run");
    at_bytes = Append(runs, found);
    if (at_bytes < end_bytes) co_return at_bytes;
    if (progress != nullptr && !progress->Advance(at_bytes, chain.size_bytes())) {
      co_return base::Error(base::Code::kInterrupted, "map: stopped");
    }
  }
  co_return at_bytes;
}

Json ToJson(const std::vector<base::MapRun>& runs) {
  Json json = Json::array();
  for (const base::MapRun& run : runs) {
    Json one = Json::object();
    one["offset_bytes"] = run.offset_bytes;
    one["length_bytes"] = run.length_bytes;
    one["state"] = NameOf(run.state);
    json.push_back(std::move(one));
  }
  return json;
}

Task<Result<Json>> Map(DiskCall& call) {
  CO_TRY(const std::string path, PathIn(call.request, "disk"));
  const uint64_t from_bytes = NumberOf(call.request, "offset_bytes").value_or(0);
  if (from_bytes % disklib::kSectorBytes != 0) co_return Senseless("map: no whole sectors");
  const disklib::OpenOptions options{.writable = false, .user = "strata disk map"};
  CO_TRY(const std::unique_ptr<disklib::Chain> chain, co_await call.lib.Open(path, options));
  const uint64_t size_bytes = chain->size_bytes();
  std::vector<base::MapRun> runs;
  const Result<uint64_t> end_bytes = co_await Walk(*chain, from_bytes, runs, call.progress);
  CO_TRY_STATUS(co_await chain->Close());
  if (!end_bytes) co_return end_bytes.error();
  Json json = Json::object();
  json["size_bytes"] = size_bytes;
  json["runs"] = ToJson(runs);
  if (*end_bytes < size_bytes) json["next_offset_bytes"] = *end_bytes;
  co_return json;
}

constexpr std::array kVerbs = {
    DiskVerb{.name = "map", .run = Map, .only_reads = true},
};

}  // namespace

std::span<const DiskVerb> MapVerbs() {
  return kVerbs;
}

}  // namespace stratad
