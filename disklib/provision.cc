#include "disklib/provision.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "disklib/copy.h"
#include "disklib/descriptor_edit.h"
#include "disklib/descriptor_lines.h"
#include "fs/base/device_filter.h"
#include "fs/base/log.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::IoRequest;
using base::MapRun;
using base::MapState;
using base::Result;
using base::Status;
using base::Task;
using fds::GrainRun;
using fds::GrainState;

constexpr uint64_t kWindowBytes = uint64_t{1} << 30;
constexpr uint64_t kWriteStepBytes = uint64_t{16} << 20;
constexpr uint64_t kPunchUnitBytes = 64 * 1024;
constexpr std::string_view kThinKey = "ddb.thinProvisioned";

Error Stopped(std::string_view path) {
  return Error(Code::kInterrupted, fmt::format("{}: stopped", path));
}

bool IsFlatLink(const Descriptor& descriptor) {
  return std::all_of(descriptor.extents.begin(), descriptor.extents.end(),
                     [](const ExtentLine& extent) {
                       return extent.type == ExtentType::kFlat || extent.type == ExtentType::kVmfs;
                     });
}

// Whether the descriptor is of a product that writes how space is taken into it.
bool HasThinKey(const Descriptor& descriptor) {
  return EqualsIgnoringCase(std::string_view(descriptor.create_type).substr(0, 4), "vmfs");
}

bool IsMarkedThin(const Descriptor& descriptor) {
  const std::string* const value = descriptor.FindDatabase(kThinKey);
  return value != nullptr && *value == "1";
}

Task<Status> MarkThin(Lib& lib, Chain& chain, bool is_thin) {
  const Descriptor& descriptor = chain.top().descriptor();
  if (!HasThinKey(descriptor) || IsMarkedThin(descriptor) == is_thin) co_return base::Ok();
  CO_TRY(const DescriptorText old, co_await ReadDescriptorAt(lib.backend(), chain.name()));
  DescriptorEdit edit(old.text);
  if (is_thin) {
    edit.SetDatabase(kThinKey, "1");
  } else {
    edit.RemoveDatabase(kThinKey);
  }
  CO_TRY(const std::string text, edit.Finish());
  CO_TRY_STATUS(co_await chain.StoreDescriptor(text));
  co_return base::Ok();
}

// The first piece of a range that lies in one file.
struct FilePiece {
  FlatRange range;
  uint64_t length_bytes = 0;
};

FilePiece PieceInFile(Chain& chain, uint64_t offset_bytes, uint64_t length_bytes) {
  const FlatRange whole = chain.DirectRead(offset_bytes, length_bytes);
  if (whole.object != nullptr || length_bytes <= kSectorBytes) return {whole, length_bytes};
  // It crosses into the next file: halve down to the border.
  const uint64_t half_bytes = length_bytes / 2 / kSectorBytes * kSectorBytes;
  return PieceInFile(chain, offset_bytes, std::max(half_bytes, kSectorBytes));
}

Task<Status> GiveSpace(Chain& chain, uint64_t offset_bytes, uint64_t length_bytes) {
  while (length_bytes > 0) {
    const FilePiece piece = PieceInFile(chain, offset_bytes, length_bytes);
    if (piece.range.object == nullptr) {
      co_return Error(Code::kUnsupported, "the range is in no file");
    }
    Object& object = *piece.range.object;
    const Status allocated = co_await object.Allocate(fss::AllocateMode::kAllocateKeepSize,
                                                      piece.range.offset_bytes, piece.length_bytes);
    if (!allocated && allocated.error().code() != Code::kUnsupported) co_return allocated;
    CO_TRY_STATUS(
        co_await OverwriteWithZeroes(object, piece.range.offset_bytes, piece.length_bytes));
    offset_bytes += piece.length_bytes;
    length_bytes -= piece.length_bytes;
  }
  co_return base::Ok();
}

// Writes zeros wherever no data is known to be; the content stays.
Task<Status> FillHoles(Chain& chain, Progress* progress) {
  const uint64_t size_bytes = chain.size_bytes();
  for (uint64_t at_bytes = 0; at_bytes < size_bytes;) {
    const uint64_t window_bytes = std::min(kWindowBytes, size_bytes - at_bytes);
    std::vector<MapRun> runs;
    CO_TRY_STATUS(co_await chain.MapStatus(at_bytes, window_bytes, runs));
    for (const MapRun& run : runs) {
      if (run.state == MapState::kData) continue;
      for (uint64_t done_bytes = 0; done_bytes < run.length_bytes;) {
        const uint64_t step_bytes = std::min(kWriteStepBytes, run.length_bytes - done_bytes);
        const uint64_t from_bytes = run.offset_bytes + done_bytes;
        CO_TRY_STATUS(co_await GiveSpace(chain, from_bytes, step_bytes));
        done_bytes += step_bytes;
        if (progress != nullptr && !progress->Advance(from_bytes + step_bytes, size_bytes)) {
          co_return Stopped(chain.name());
        }
      }
    }
    at_bytes += window_bytes;
  }
  if (progress != nullptr) static_cast<void>(progress->Advance(size_bytes, size_bytes));
  co_return base::Ok();
}

// Turns zeros of a disk of flat files into holes.
class PunchTarget : public CopyTarget {
 public:
  explicit PunchTarget(Chain& chain) : chain_(chain) {}

  uint64_t zero_unit_bytes() const override { return kPunchUnitBytes; }

  bool wants_zeros() const override { return true; }

  Task<Status> Store(IoRequest) override { co_return base::Ok(); }

  Task<Status> StoreZeros(uint64_t offset_bytes, uint64_t length_bytes) override {
    while (length_bytes > 0) {
      const FilePiece piece = PieceInFile(chain_, offset_bytes, length_bytes);
      if (piece.range.object != nullptr) {
        CO_TRY_STATUS(co_await piece.range.object->Allocate(
            fss::AllocateMode::kPunchHole, piece.range.offset_bytes, piece.length_bytes));
      }
      offset_bytes += piece.length_bytes;
      length_bytes -= piece.length_bytes;
    }
    co_return base::Ok();
  }

 private:
  Chain& chain_;
};

Task<Status> Inflate(Lib& lib, Chain& chain, Progress* progress) {
  if (!IsFlatLink(chain.top().descriptor())) {
    co_return Error(Code::kUnsupported,
                    fmt::format("inflate {}: only flat disks can have all their space: clone it "
                                "to eagerzeroedthick",
                                chain.name()));
  }
  CO_TRY_STATUS(co_await FillHoles(chain, progress));
  CO_TRY_STATUS(co_await chain.Flush());
  CO_TRY_STATUS(co_await MarkThin(lib, chain, /*is_thin=*/false));
  co_return base::Ok();
}

Task<Status> EagerZero(Lib& lib, Chain& chain, Progress* progress) {
  if (!IsFlatLink(chain.top().descriptor())) {
    co_return Error(Code::kUnsupported,
                    fmt::format("eager-zero {}: only flat disks have all their space: clone it to "
                                "eagerzeroedthick",
                                chain.name()));
  }
  if (IsMarkedThin(chain.top().descriptor())) {
    co_return Error(Code::kInvalidArgument,
                    fmt::format("eager-zero {}: the disk is thin: inflate it", chain.name()));
  }
  CO_TRY_STATUS(co_await Inflate(lib, chain, progress));
  co_return base::Ok();
}

Task<Status> PunchFlat(Lib& lib, Chain& chain, Progress* progress) {
  // A thin disk may have all its space; a thick one with holes would be a contradiction.
  CO_TRY_STATUS(co_await MarkThin(lib, chain, /*is_thin=*/true));
  PunchTarget target(chain);
  const CopyOptions options{.direct = nullptr, .progress = progress};
  CO_TRY_STATUS(co_await CopyContent(lib.executor(), chain, target, options));
  CO_TRY_STATUS(co_await chain.Flush());
  co_return base::Ok();
}

// The leaf of a chain, as a source that has data only where the leaf itself holds it.
class LeafData : public base::DeviceFilter {
 public:
  explicit LeafData(Chain& chain) : base::DeviceFilter(chain), chain_(chain) {}

  Task<Status> MapStatus(uint64_t offset_bytes, uint64_t length_bytes,
                         std::vector<MapRun>& runs) override {
    std::vector<GrainRun> held;
    CO_TRY_STATUS(co_await chain_.top().Lookup(offset_bytes, length_bytes, held));
    for (const GrainRun& run : held) {
      const bool is_data = run.state == GrainState::kData;
      runs.push_back(
          {run.offset_bytes, run.length_bytes, is_data ? MapState::kData : MapState::kHole});
    }
    co_return base::Ok();
  }

 private:
  Chain& chain_;
};

// Turns grains of zeros of a sparse leaf into what reads the same and takes no space.
class GrainPunchTarget : public CopyTarget {
 public:
  GrainPunchTarget(Chain& chain, uint64_t grain_bytes) : chain_(chain), grain_bytes_(grain_bytes) {}

  uint64_t granule_bytes() const override { return grain_bytes_; }

  uint64_t zero_unit_bytes() const override { return grain_bytes_; }

  bool wants_zeros() const override { return true; }

  Task<Status> Store(IoRequest) override { co_return base::Ok(); }

  // The range may be one that the leaf does not hold: only its own data is touched.
  Task<Status> StoreZeros(uint64_t offset_bytes, uint64_t length_bytes) override {
    std::vector<GrainRun> held;
    CO_TRY_STATUS(co_await chain_.top().Lookup(offset_bytes, length_bytes, held));
    for (const GrainRun& run : held) {
      if (run.state != GrainState::kData) continue;
      CO_TRY_STATUS(
          co_await chain_.WriteZeroes(run.offset_bytes, run.length_bytes, /*may_unmap=*/true));
    }
    co_return base::Ok();
  }

 private:
  Chain& chain_;
  uint64_t grain_bytes_;
};

Task<Status> PunchSparse(Lib& lib, Chain& chain, Progress* progress) {
  uint64_t grain_bytes = kSectorBytes;
  for (const std::unique_ptr<Extent>& extent : chain.top().extents()) {
    fds::GrainMap* const map = extent->grain_map();
    if (map == nullptr || (chain.links().size() > 1 && !map->has_zero_state())) {
      co_return Error(Code::kUnsupported,
                      fmt::format("punch {}: its format has no zeros to put in the place of data",
                                  chain.name()));
    }
    grain_bytes = std::max(grain_bytes, map->grain_bytes());
  }
  LeafData source(chain);
  GrainPunchTarget target(chain, grain_bytes);
  const CopyOptions options{.direct = nullptr, .progress = progress};
  CO_TRY_STATUS(co_await CopyContent(lib.executor(), source, target, options));
  CO_TRY_STATUS(co_await chain.Flush());
  co_return base::Ok();
}

Task<Status> Punch(Lib& lib, Chain& chain, Progress* progress) {
  if (IsFlatLink(chain.top().descriptor())) {
    CO_TRY_STATUS(co_await PunchFlat(lib, chain, progress));
    co_return base::Ok();
  }
  CO_TRY_STATUS(co_await PunchSparse(lib, chain, progress));
  co_return base::Ok();
}

Task<Status> Zero(Lib& lib, Chain& chain, Progress* progress) {
  static_cast<void>(lib);
  const uint64_t size_bytes = chain.size_bytes();
  const bool may_unmap = chain.limits().can_unmap;
  for (uint64_t at_bytes = 0; at_bytes < size_bytes;) {
    const uint64_t step_bytes = std::min(kWindowBytes, size_bytes - at_bytes);
    CO_TRY_STATUS(co_await chain.WriteZeroes(at_bytes, step_bytes, may_unmap));
    at_bytes += step_bytes;
    if (progress != nullptr && !progress->Advance(at_bytes, size_bytes)) {
      co_return Stopped(chain.name());
    }
  }
  CO_TRY_STATUS(co_await chain.Flush());
  co_return base::Ok();
}

using Change = Task<Status> (*)(Lib&, Chain&, Progress*);

// Opens the disk alone, changes it, and says what that did to its space.
Task<Result<SpaceResult>> ChangeSpace(Lib& lib, std::string_view path, std::string_view user,
                                      Change change, Progress* progress) {
  CO_TRY(const DiskInfo before, co_await lib.GetInfo(path));
  const OpenOptions options{.writable = true, .user = user};
  CO_TRY(const std::unique_ptr<Chain> chain, co_await lib.Open(path, options));
  const Status changed = co_await change(lib, *chain, progress);
  const Status closed = co_await chain->Close();
  if (!changed) co_return changed.error();
  if (!closed) co_return closed.error();
  CO_TRY(const DiskInfo after, co_await lib.GetInfo(path));
  base::LogInfo("disklib", "changed space disk={} by=\"{}\" allocated_before={} allocated_after={}",
                path, user, before.allocated_bytes, after.allocated_bytes);
  co_return SpaceResult{.size_bytes = after.capacity_bytes,
                        .allocated_before_bytes = before.allocated_bytes,
                        .allocated_after_bytes = after.allocated_bytes};
}

}  // namespace

Task<Result<SpaceResult>> InflateDisk(Lib& lib, std::string_view path, Progress* progress) {
  return ChangeSpace(lib, path, "strata disk inflate", Inflate, progress);
}

Task<Result<SpaceResult>> EagerZeroDisk(Lib& lib, std::string_view path, Progress* progress) {
  return ChangeSpace(lib, path, "strata disk eagerzero", EagerZero, progress);
}

Task<Result<SpaceResult>> PunchDisk(Lib& lib, std::string_view path, Progress* progress) {
  return ChangeSpace(lib, path, "strata disk punch", Punch, progress);
}

Task<Result<SpaceResult>> ZeroDisk(Lib& lib, std::string_view path, Progress* progress) {
  return ChangeSpace(lib, path, "strata disk zero", Zero, progress);
}

}  // namespace disklib
