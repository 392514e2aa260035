#include "tests/support/sparse_store.h"

#include <algorithm>
#include <cstring>

namespace base {

const SparseStore::Page* SparseStore::Find(uint64_t number) const {
  const auto found = pages_.find(number);
  if (found != pages_.end()) return found->second.get();
  return below_ ? below_->Find(number) : nullptr;
}

SparseStore::Page& SparseStore::Writable(uint64_t number) {
  const Page* old = Find(number);
  std::shared_ptr<Page>& page = pages_[number];
  if (page && page.use_count() == 1) return *page;
  // Assigned at the end: `old` may be the page that is let go.
  page = old ? std::make_shared<Page>(*old) : std::make_shared<Page>();
  return *page;
}

void SparseStore::Read(uint64_t offset_bytes, std::span<std::byte> target) const {
  while (!target.empty()) {
    const uint64_t within = offset_bytes % kPageSize;
    const size_t count = std::min<size_t>(target.size(), kPageSize - within);
    const Page* page = Find(offset_bytes / kPageSize);
    if (page) {
      std::memcpy(target.data(), page->data() + within, count);
    } else {
      std::memset(target.data(), 0, count);
    }
    target = target.subspan(count);
    offset_bytes += count;
  }
}

void SparseStore::Write(uint64_t offset_bytes, std::span<const std::byte> source) {
  while (!source.empty()) {
    const uint64_t within = offset_bytes % kPageSize;
    const size_t count = std::min<size_t>(source.size(), kPageSize - within);
    std::memcpy(Writable(offset_bytes / kPageSize).data() + within, source.data(), count);
    source = source.subspan(count);
    offset_bytes += count;
  }
}

void SparseStore::Zero(uint64_t offset_bytes, uint64_t length_bytes) {
  static constexpr Page kZeros{};
  const uint64_t end = offset_bytes + length_bytes;
  const uint64_t first_whole = (offset_bytes + kPageSize - 1) / kPageSize;
  const uint64_t end_whole = end / kPageSize;
  if (first_whole > end_whole) {
    if (Find(offset_bytes / kPageSize)) Write(offset_bytes, std::span(kZeros).first(length_bytes));
    return;
  }
  const uint64_t head = first_whole * kPageSize - offset_bytes;
  const uint64_t tail = end - end_whole * kPageSize;
  if (head > 0 && Find(first_whole - 1)) Write(offset_bytes, std::span(kZeros).first(head));
  if (tail > 0 && Find(end_whole)) Write(end_whole * kPageSize, std::span(kZeros).first(tail));
  DropPages(first_whole, end_whole);
}

void SparseStore::DropPages(uint64_t begin, uint64_t end) {
  pages_.erase(pages_.lower_bound(begin), pages_.lower_bound(end));
  for (uint64_t at = begin; below_ && (at = below_->NextKnown(at, end)) < end; ++at) {
    pages_[at] = nullptr;
  }
}

// The first page at or behind `number` that this store or one below knows of, `end` if none.
uint64_t SparseStore::NextKnown(uint64_t number, uint64_t end) const {
  const auto found = pages_.lower_bound(number);
  const uint64_t own = found == pages_.end() ? end : std::min(found->first, end);
  return below_ ? std::min(own, below_->NextKnown(number, end)) : own;
}

void SparseStore::Map(uint64_t offset_bytes, uint64_t length_bytes,
                      std::vector<MapRun>& runs) const {
  const uint64_t end = offset_bytes + length_bytes;
  const auto append = [&runs, own_from = runs.size()](MapRun run) {
    if (run.length_bytes == 0) return;
    if (runs.size() > own_from && runs.back().state == run.state) {
      runs.back().length_bytes += run.length_bytes;
    } else {
      runs.push_back(run);
    }
  };
  uint64_t at = offset_bytes;
  const uint64_t end_page = (end + kPageSize - 1) / kPageSize;
  while (at < end) {
    const uint64_t known = NextKnown(at / kPageSize, end_page);
    const uint64_t hole_end = std::clamp(known * kPageSize, at, end);
    append({at, hole_end - at, MapState::kHole});
    at = hole_end;
    const uint64_t page_end = std::min((known + 1) * kPageSize, end);
    if (at < page_end) {
      append({at, page_end - at, Find(known) ? MapState::kData : MapState::kHole});
      at = page_end;
    }
  }
}

}  // namespace base
