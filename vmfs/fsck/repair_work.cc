#include "vmfs/fsck/repair_work.h"

#include <algorithm>
#include <cstring>

#include "fs/base/aligned_buffer.h"

namespace vmfs::fsck {

using base::Result;
using base::Status;
using base::Task;

namespace {

// Enough for any volume that can be repaired at once; the next round sees the others.
constexpr size_t kFindingsMax = 100'000;

bool IsDamage(base::Code code) {
  return code == base::Code::kCorrupt || code == base::Code::kOutOfRange ||
         code == base::Code::kNotRecognized;
}

}  // namespace

bool IsLocal(const Status& status) {
  if (status) return true;
  switch (status.error().code()) {
    case base::Code::kCorrupt:
    case base::Code::kOutOfRange:
    case base::Code::kNotRecognized:
    case base::Code::kIo:
    case base::Code::kMedium:
    case base::Code::kNoSpace: return true;
    default: return false;
  }
}

bool IsBlind(const FsckReport& report) {
  return std::ranges::any_of(report.findings, [](const Finding& finding) {
    constexpr auto kFdClusters = static_cast<uint8_t>(ResourceKind::kFd) + 1;
    return finding.code == FindingCode::kUnreadable || finding.code == FindingCode::kSystemFile ||
           (finding.code == FindingCode::kCluster && finding.place.resource == kFdClusters);
  });
}

Task<Status> RepairWork::Check(FsckReport& found) {
  state_.reset();
  raw_.reset();
  found_ = FsckReport();
  check_options_ = options_.check;
  check_options_.findings_max = std::max(kFindingsMax, options_.check.findings_max);
  Result<std::unique_ptr<RawVolume>> raw = co_await RawVolume::Open(overlay_);
  if (!raw) {
    if (!IsDamage(raw.error().code())) co_return raw.error();
    found_.error_count = 1;
    found_.findings.push_back(
        {FindingSeverity::kError, FindingCode::kSuperblock, raw.error().message()});
    found = found_;
    co_return base::Ok();
  }
  raw_ = *std::move(raw);
  state_ = std::make_unique<State>(*raw_, check_options_, found_);
  state_->collects_names = true;
  const Status checked = co_await RunPhases(*state_);
  found = found_;
  if (found.findings.size() > options_.check.findings_max) {
    found.findings.resize(options_.check.findings_max);
  }
  co_return checked;
}

Task<Status> RepairWork::ReadBytes(uint64_t address, std::span<std::byte> target) {
  if (address % kMetadataBlockBytes != 0 || address > overlay_.size_bytes() ||
      target.size() > overlay_.size_bytes() - address) {
    co_return base::Error(base::Code::kOutOfRange,
                          fmt::format("repair: volume address {:#x} does not exist", address));
  }
  // Devices may want their own alignment of memory.
  base::AlignedBuffer buffer(target.size());
  const uint64_t step = overlay_.limits().transfer_bytes_max;
  for (uint64_t done = 0; done < target.size(); done += step) {
    const base::IoVec piece{buffer.data() + done, std::min<uint64_t>(step, target.size() - done)};
    const base::IoRequest request{address + done, std::span<const base::IoVec>(&piece, 1)};
    CO_TRY_STATUS(co_await overlay_.Read(request));
  }
  std::memcpy(target.data(), buffer.data(), target.size());
  co_return base::Ok();
}

Task<Status> RepairWork::WriteBytes(uint64_t address, std::span<std::byte> source) {
  if (address % kMetadataBlockBytes != 0 || address > overlay_.size_bytes() ||
      source.size() > overlay_.size_bytes() - address) {
    co_return base::Error(base::Code::kOutOfRange,
                          fmt::format("repair: volume address {:#x} does not exist", address));
  }
  const base::IoVec piece{source.data(), source.size()};
  const base::IoRequest request{address, std::span<const base::IoVec>(&piece, 1)};
  co_return co_await overlay_.Write(request);
}

bool RepairWork::IsFree(ResourceKind kind, uint64_t index) const {
  const Usage& usage = state_->usage(kind);
  if (options_.faults.copy_to_used_blocks && kind != ResourceKind::kFd) return true;
  if (kind == ResourceKind::kFd && state_->inodes[index].type != 0) return false;
  return !usage.marked.Get(index) && !usage.seen.Get(index);
}

Result<ResourceIndex> RepairWork::Allocate(ResourceKind kind) {
  Usage& usage = state_->usage(kind);
  const ResourceGeometry& geometry = raw_->geometry(kind);
  for (uint64_t index = 0; index < usage.marked.count(); ++index) {
    const ResourceIndex where{index / geometry.resources_per_cluster,
                              static_cast<uint32_t>(index % geometry.resources_per_cluster)};
    if (!geometry.Contains(where) || !IsFree(kind, index)) continue;
    usage.seen.Set(index);
    usage.marked.Set(index);
    return where;
  }
  return base::Error(base::Code::kNoSpace,
                     fmt::format("repair: no free {} is left", NameOf(kind)));
}

Result<uint64_t> RepairWork::AddressOf(ResourceKind kind, ResourceIndex index) const {
  if (kind != ResourceKind::kSmallBlock) return raw_->ItemAddress(kind, index);
  return (index.cluster * kSmallBlocksPerCluster + index.item) * kFileBlockBytes;
}

Task<Result<Address>> RepairWork::AllocateUnit(ResourceKind kind, bool zeroed) {
  CO_TRY(const ResourceIndex index, Allocate(kind));
  CO_TRY(const uint64_t address, AddressOf(kind, index));
  const uint64_t length = kind == ResourceKind::kSmallBlock ? kFileBlockBytes : kSubBlockBytes;
  if (zeroed) {
    std::vector<std::byte> zeros(length);
    CO_TRY_STATUS(co_await WriteBytes(address, zeros));
  }
  switch (kind) {
    case ResourceKind::kSmallBlock:
      co_return Address::MakeFileBlock(index.cluster * kSmallBlocksPerCluster + index.item);
    case ResourceKind::kPb2: co_return Address::MakePb2(index.cluster, index.item);
    default: co_return Address::MakeSubBlock(index.cluster, index.item);
  }
}

Result<const VolumeLayout*> RepairWork::FreshLayout() {
  if (!fresh_) {
    TRY(fresh_, PlanVolume(overlay_.size_bytes()));
  }
  return &*fresh_;
}

}  // namespace vmfs::fsck
