// `PageLatches`: who writes which 4 KiB pages of a file right now.
//
// A write with ragged edges reads whole sectors, merges and writes them: nobody else may write its
// pages from the read to the end of the write. Writes of whole sectors pass each other freely; each
// only links itself into a list while it is on its way, so that a merge can wait for it. Whoever
// finds its way barred waits on the inode's `changed`. Thread rule: the volume's executor.
#pragma once

#include <cstdint>
#include <set>

namespace vmfs {

class PageLatches {
 public:
  PageLatches() = default;
  PageLatches(const PageLatches&) = delete;
  PageLatches& operator=(const PageLatches&) = delete;

  // A write of whole sectors on its way, for as long as the object lives: in the writer's frame.
  class Passage {
   public:
    Passage(PageLatches& latches, uint64_t first_page, uint64_t last_page)
        : first_page_(first_page), last_page_(last_page), link_(&latches.passing_) {
      next_ = *link_;
      if (next_) next_->link_ = &next_;
      *link_ = this;
    }

    Passage(const Passage&) = delete;
    Passage& operator=(const Passage&) = delete;

    ~Passage() {
      *link_ = next_;
      if (next_) next_->link_ = link_;
    }

   private:
    friend class PageLatches;

    const uint64_t first_page_, last_page_;
    Passage* next_ = nullptr;
    Passage** link_;  // what refers to this one
  };

  // From now on nobody else enters these pages; who is inside already is not asked to leave.
  void BeginMerge(uint64_t first_page, uint64_t last_page) {
    for (uint64_t page = first_page; page <= last_page; ++page) merging_.insert(page);
  }

  void EndMerge(uint64_t first_page, uint64_t last_page) {
    merging_.erase(merging_.lower_bound(first_page), merging_.upper_bound(last_page));
  }

  bool AnyMerging(uint64_t first_page, uint64_t last_page) const {
    const auto found = merging_.lower_bound(first_page);
    return found != merging_.end() && *found <= last_page;
  }

  bool AnyPassing(uint64_t first_page, uint64_t last_page) const {
    for (const Passage* passage = passing_; passage; passage = passage->next_) {
      if (passage->first_page_ <= last_page && first_page <= passage->last_page_) return true;
    }
    return false;
  }

 private:
  std::set<uint64_t> merging_;
  Passage* passing_ = nullptr;
};

}  // namespace vmfs
