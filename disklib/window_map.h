// `WindowMap`: what is known of where a chain's bytes are, in windows of 16 MiB, in bounded memory.
//
// A window is a list of runs of 16 bytes, or, above 64 runs, an array with one 8-byte entry per
// unit of the window: 4,096 entries where everything is a multiple of 4 KiB, more for finer grains,
// fewer for coarser ones. Either way one probe answers, whatever the depth of the chain. All maps
// of a program share one `WindowBudget`; when it is spent, the windows that were not used for the
// longest time go (by the clock algorithm: a probe only sets a flag). Thread rule: one executor.
// Pure: no I/O; `ChainPlaces` fills the map and keeps it true.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "disklib/chain_runs.h"

namespace disklib {

inline constexpr uint64_t kWindowBytes = uint64_t{16} << 20;
inline constexpr uint64_t kWindowBudgetBytes = uint64_t{64} << 20;

class WindowMap;

// The memory that maps may take together. Outlives its maps.
class WindowBudget {
 public:
  explicit WindowBudget(uint64_t limit_bytes = kWindowBudgetBytes) : limit_bytes_(limit_bytes) {}

  WindowBudget(const WindowBudget&) = delete;
  WindowBudget& operator=(const WindowBudget&) = delete;
  ~WindowBudget();

  uint64_t limit_bytes() const { return limit_bytes_; }

  uint64_t used_bytes() const { return used_bytes_; }

  uint64_t window_count() const { return ring_.size(); }

 private:
  friend class WindowMap;

  struct Place {
    WindowMap* map;
    uint64_t window;
  };

  using Ring = std::list<Place>;

  // Lets windows go until `wanted_bytes` more fit; `kept` stays. False: they cannot.
  bool MakeRoom(uint64_t wanted_bytes, const Ring::iterator* kept);

  Ring::iterator Enter(WindowMap* map, uint64_t window, uint64_t bytes);
  void Leave(Ring::iterator place, uint64_t bytes);

  const uint64_t limit_bytes_;
  uint64_t used_bytes_ = 0;
  Ring ring_;
  Ring::iterator hand_ = ring_.end();
};

class WindowMap {
 public:
  explicit WindowMap(WindowBudget& budget) : budget_(budget) {}

  WindowMap(const WindowMap&) = delete;
  WindowMap& operator=(const WindowMap&) = delete;
  ~WindowMap();

  uint64_t size_bytes() const { return size_bytes_; }

  // The disk has this size now; never less than before.
  void Grow(uint64_t size_bytes);

  // The run at `offset_bytes`, cut at `end_bytes` and at what one probe can tell: at least one unit
  // of the window. Whether the window is known.
  bool Probe(uint64_t offset_bytes, uint64_t end_bytes, ChainRun& run) const;

  // Appends all runs of a range inside one window. Whether it is known.
  bool Append(uint64_t offset_bytes, uint64_t end_bytes, std::vector<ChainRun>& runs) const;

  // Takes over what a window holds: `runs` cover all of it, in order, in whole sectors. Not kept
  // when it has no room.
  void Store(uint64_t window, std::span<const ChainRun> runs);

  // Changes a range inside one window, if that is known.
  void Set(const ChainRun& run);

  // Lets a window go.
  void Drop(uint64_t window);

  bool knows(uint64_t window) const { return Find(window) != nullptr; }

  // What a window takes in the budget; 0 when it is not known. For tests and figures.
  uint64_t bytes_of(uint64_t window) const;

 private:
  friend class WindowBudget;

  // A run inside a window. 16 bytes.
  struct PackedRun {
    uint32_t start_sectors;  // in the window
    uint32_t source_and_state;
    uint64_t file_offset_sectors;
  };

  static_assert(sizeof(PackedRun) == 16);

  struct Window {
    std::vector<PackedRun> runs;    // up to kRunsMax, else
    std::vector<uint64_t> entries;  // one per unit
    uint32_t length_sectors = 0;
    uint8_t unit_shift = 0;  // of `entries`, of bytes
    mutable bool was_used = true;
    std::list<WindowBudget::Place>::iterator place;

    uint64_t bytes() const;
  };

  // Pointers to the windows of 8 GiB, made when one of them is known.
  struct Group {
    std::array<std::unique_ptr<Window>, 512> windows;
    uint32_t count = 0;
  };

  static Window Pack(std::span<const ChainRun> runs);
  static void PackEntries(std::span<const ChainRun> runs, Window& window);
  static ChainRun RunAt(const Window& window, uint64_t start_bytes, uint64_t offset_bytes);
  static ChainRun EntryAt(const Window& window, uint64_t start_bytes, uint64_t index);
  static bool SetEntries(Window& window, uint64_t start_bytes, const ChainRun& run);

  const Window* Find(uint64_t window) const {
    const uint64_t index = window / 512;
    if (index >= groups_.size() || groups_[index] == nullptr) return nullptr;
    return groups_[index]->windows[window % 512].get();
  }

  bool was_used(uint64_t window) const;

  WindowBudget& budget_;
  uint64_t size_bytes_ = 0;
  std::vector<std::unique_ptr<Group>> groups_;
};

}  // namespace disklib
