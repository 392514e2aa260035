#include "disklib/window_map.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "disklib/descriptor.h"
#include "fs/base/check.h"

namespace disklib {
namespace {

constexpr size_t kRunsMax = 64;
constexpr uint64_t kSmallestUnitShift = 9;
constexpr uint64_t kLargestUnitShift = 16;
constexpr uint64_t kWindowsPerGroup = 512;

// An entry: state in the upper two bits, 22 bits of source, 40 bits of sector.
enum class Packed : uint8_t { kHole, kZero, kInFile, kInExtent };

constexpr uint32_t kStateShift = 30;  // of a packed run's source_and_state
constexpr uint32_t kSourceMask = (uint32_t{1} << 22) - 1;
constexpr uint64_t kSectorBits = 40;
constexpr uint64_t kSectorMask = (uint64_t{1} << kSectorBits) - 1;

Packed PackState(const ChainRun& run) {
  if (run.state == ChainState::kHole) return Packed::kHole;
  if (run.state == ChainState::kZero) return Packed::kZero;
  return run.in_file() ? Packed::kInFile : Packed::kInExtent;
}

uint32_t PackSource(const ChainRun& run) {
  CHECK(run.source <= kSourceMask);
  return static_cast<uint32_t>(PackState(run)) << kStateShift | run.source;
}

uint64_t PackSector(const ChainRun& run) {
  if (!run.in_file()) return 0;
  DCHECK(run.file_offset_bytes % kSectorBytes == 0);
  return run.file_offset_bytes / kSectorBytes;
}

uint64_t PackEntry(const ChainRun& run, uint64_t skip_bytes) {
  uint64_t sector = PackSector(run);
  if (run.in_file()) sector += skip_bytes / kSectorBytes;
  CHECK(sector <= kSectorMask);
  return static_cast<uint64_t>(PackState(run)) << 62 |
         static_cast<uint64_t>(run.source) << kSectorBits | sector;
}

// State, source and place; offset and length are the caller's.
ChainRun Unpack(uint32_t source_and_state, uint64_t sector) {
  const auto state = static_cast<Packed>(source_and_state >> kStateShift);
  ChainRun run;
  if (state == Packed::kZero) run.state = ChainState::kZero;
  if (state == Packed::kInFile || state == Packed::kInExtent) {
    run.state = ChainState::kData;
    run.source = source_and_state & kSourceMask;
  }
  if (state == Packed::kInFile) run.file_offset_bytes = sector * kSectorBytes;
  return run;
}

// The largest unit of which all borders of runs are multiples.
uint8_t UnitShiftFor(std::span<const ChainRun> runs) {
  uint64_t borders = uint64_t{1} << kLargestUnitShift;
  for (const ChainRun& run : runs.subspan(1)) borders |= run.offset_bytes;
  const auto shift = static_cast<uint64_t>(std::countr_zero(borders));
  CHECK(shift >= kSmallestUnitShift);
  return static_cast<uint8_t>(shift);
}

}  // namespace

WindowBudget::~WindowBudget() {
  CHECK(ring_.empty());
}

bool WindowBudget::MakeRoom(uint64_t wanted_bytes, const Ring::iterator* kept) {
  if (wanted_bytes > limit_bytes_) return false;
  while (used_bytes_ + wanted_bytes > limit_bytes_) {
    if (ring_.empty() || (kept != nullptr && ring_.size() == 1)) return false;
    if (hand_ == ring_.end()) hand_ = ring_.begin();
    const Ring::iterator at = hand_++;
    if (kept != nullptr && at == *kept) continue;
    if (at->map->was_used(at->window)) continue;
    at->map->Drop(at->window);
  }
  return true;
}

WindowBudget::Ring::iterator WindowBudget::Enter(WindowMap* map, uint64_t window, uint64_t bytes) {
  used_bytes_ += bytes;
  // Behind the hand: the clock comes to it last.
  return ring_.insert(hand_, {map, window});
}

void WindowBudget::Leave(Ring::iterator place, uint64_t bytes) {
  CHECK(used_bytes_ >= bytes);
  used_bytes_ -= bytes;
  if (hand_ == place) ++hand_;
  ring_.erase(place);
}

WindowMap::~WindowMap() {
  for (uint64_t i = 0; i < groups_.size() * kWindowsPerGroup; ++i) Drop(i);
}

uint64_t WindowMap::Window::bytes() const {
  return sizeof(Window) + runs.capacity() * sizeof(PackedRun) + entries.capacity() * 8;
}

uint64_t WindowMap::bytes_of(uint64_t window) const {
  const Window* const found = Find(window);
  return found == nullptr ? 0 : found->bytes();
}

void WindowMap::Grow(uint64_t size_bytes) {
  CHECK(size_bytes >= size_bytes_);
  size_bytes_ = size_bytes;
  const uint64_t group_bytes = kWindowBytes * kWindowsPerGroup;
  groups_.resize((size_bytes + group_bytes - 1) / group_bytes);
}

// Tells whether a window was used since the clock's hand came by, and forgets it.
bool WindowMap::was_used(uint64_t window) const {
  return std::exchange(Find(window)->was_used, false);
}

ChainRun WindowMap::EntryAt(const Window& window, uint64_t start_bytes, uint64_t index) {
  const uint64_t entry = window.entries[index];
  const auto source = static_cast<uint32_t>(entry >> kSectorBits & kSourceMask);
  const auto state = static_cast<uint32_t>(entry >> 62);
  ChainRun run = Unpack(state << kStateShift | source, entry & kSectorMask);
  const uint64_t begin = index << window.unit_shift;
  run.offset_bytes = start_bytes + begin;
  run.length_bytes =
      std::min(uint64_t{1} << window.unit_shift, window.length_sectors * kSectorBytes - begin);
  return run;
}

// The run, or the unit of an array, at an offset.
ChainRun WindowMap::RunAt(const Window& window, uint64_t start_bytes, uint64_t offset_bytes) {
  const uint64_t at_bytes = offset_bytes - start_bytes;
  if (window.runs.empty()) return EntryAt(window, start_bytes, at_bytes >> window.unit_shift);
  const auto behind = std::upper_bound(
      window.runs.begin(), window.runs.end(), at_bytes / kSectorBytes,
      [](uint64_t sector, const PackedRun& run) { return sector < run.start_sectors; });
  const PackedRun& packed = *(behind - 1);
  const uint64_t end_sectors =
      behind == window.runs.end() ? window.length_sectors : behind->start_sectors;
  ChainRun run = Unpack(packed.source_and_state, packed.file_offset_sectors);
  run.offset_bytes = start_bytes + packed.start_sectors * kSectorBytes;
  run.length_bytes = (end_sectors - packed.start_sectors) * kSectorBytes;
  return run;
}

bool WindowMap::Probe(uint64_t offset_bytes, uint64_t end_bytes, ChainRun& run) const {
  const uint64_t number = offset_bytes / kWindowBytes;
  const Window* const window = Find(number);
  if (window == nullptr) return false;
  window->was_used = true;
  const uint64_t start_bytes = number * kWindowBytes;
  run = CutRun(RunAt(*window, start_bytes, offset_bytes), offset_bytes, end_bytes);
  return true;
}

bool WindowMap::Append(uint64_t offset_bytes, uint64_t end_bytes,
                       std::vector<ChainRun>& runs) const {
  ChainRun run;
  while (offset_bytes < end_bytes) {
    if (!Probe(offset_bytes, end_bytes, run)) return false;
    AppendRun(runs, run);
    offset_bytes = run.end_bytes();
  }
  return true;
}

void WindowMap::PackEntries(std::span<const ChainRun> runs, Window& window) {
  window.unit_shift = UnitShiftFor(runs);
  const uint64_t unit_bytes = uint64_t{1} << window.unit_shift;
  const uint64_t length_bytes = window.length_sectors * kSectorBytes;
  window.entries.reserve((length_bytes + unit_bytes - 1) / unit_bytes);
  for (const ChainRun& run : runs) {
    for (uint64_t at = 0; at < run.length_bytes; at += unit_bytes) {
      window.entries.push_back(PackEntry(run, at));
    }
  }
}

WindowMap::Window WindowMap::Pack(std::span<const ChainRun> runs) {
  Window window;
  const uint64_t start_bytes = runs.front().offset_bytes;
  window.length_sectors =
      static_cast<uint32_t>((runs.back().end_bytes() - start_bytes) / kSectorBytes);
  if (runs.size() > kRunsMax) {
    PackEntries(runs, window);
    return window;
  }
  window.runs.reserve(runs.size());
  for (const ChainRun& run : runs) {
    window.runs.push_back(
        {.start_sectors = static_cast<uint32_t>((run.offset_bytes - start_bytes) / kSectorBytes),
         .source_and_state = PackSource(run),
         .file_offset_sectors = PackSector(run)});
  }
  return window;
}

void WindowMap::Store(uint64_t number, std::span<const ChainRun> runs) {
  CHECK(!runs.empty() && runs.front().offset_bytes == number * kWindowBytes);
  Drop(number);
  Window window = Pack(runs);
  if (!budget_.MakeRoom(window.bytes(), nullptr)) return;
  std::unique_ptr<Group>& group = groups_[number / kWindowsPerGroup];
  if (group == nullptr) group = std::make_unique<Group>();
  ++group->count;
  window.place = budget_.Enter(this, number, window.bytes());
  group->windows[number % kWindowsPerGroup] = std::make_unique<Window>(std::move(window));
}

// Changes an array in place; false when the run does not fit its units.
bool WindowMap::SetEntries(Window& window, uint64_t start_bytes, const ChainRun& run) {
  const uint64_t unit_bytes = uint64_t{1} << window.unit_shift;
  const uint64_t begin = run.offset_bytes - start_bytes;
  const uint64_t end = begin + run.length_bytes;
  const bool ends_whole = end % unit_bytes == 0 || end == window.length_sectors * kSectorBytes;
  if (begin % unit_bytes != 0 || !ends_whole) return false;
  for (uint64_t at = 0; at < run.length_bytes; at += unit_bytes) {
    window.entries[(begin + at) >> window.unit_shift] = PackEntry(run, at);
  }
  return true;
}

void WindowMap::Set(const ChainRun& run) {
  const uint64_t number = run.offset_bytes / kWindowBytes;
  // The map owns its windows; Find serves readers, too.
  auto* const window = const_cast<Window*>(Find(number));
  if (window == nullptr) return;
  const uint64_t start_bytes = number * kWindowBytes;
  if (!window->entries.empty() && SetEntries(*window, start_bytes, run)) return;
  std::vector<ChainRun> runs;
  const uint64_t end_bytes = start_bytes + window->length_sectors * kSectorBytes;
  CHECK(Append(start_bytes, end_bytes, runs));
  Store(number, PutOver(runs, run));
}

void WindowMap::Drop(uint64_t number) {
  const Window* const window = Find(number);
  if (window == nullptr) return;
  budget_.Leave(window->place, window->bytes());
  std::unique_ptr<Group>& group = groups_[number / kWindowsPerGroup];
  group->windows[number % kWindowsPerGroup].reset();
  if (--group->count == 0) group.reset();
}

}  // namespace disklib
