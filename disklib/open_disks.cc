#include "disklib/open_disks.h"

#include <set>
#include <utility>

#include <fmt/format.h>

#include "fs/base/check.h"

namespace disklib {

using base::Code;
using base::Error;
using base::Result;
using base::Status;

std::string DiskHolder::Describe() const {
  if (is_parent) return fmt::format("disk {} stands on it ({})", disk, user);
  return fmt::format("disk {} is open for {} ({})", disk, writes ? "writing" : "reading", user);
}

OpenDisks::~OpenDisks() {
  CHECK(holders_.empty());
}

OpenDisks::Claim& OpenDisks::Claim::operator=(Claim&& other) noexcept {
  if (this != &other) {
    Release();
    disks_ = other.disks_;
    holder_ = std::move(other.holder_);
    elsewhere_ = std::move(other.elsewhere_);
  }
  return *this;
}

void OpenDisks::Claim::Release() {
  elsewhere_.clear();
  if (holder_ == nullptr) return;
  disks_->ReleaseAll(holder_.get());
  if (holder_->is_closing) --disks_->closing_count_;
  holder_.reset();
}

void OpenDisks::Claim::BeginClosing() {
  if (holder_ == nullptr || holder_->is_closing) return;
  holder_->is_closing = true;
  ++disks_->closing_count_;
}

Status OpenDisks::Claim::AllowWrites() {
  if (holder_->writes) return base::Ok();
  DiskHolder wanted = *holder_;
  wanted.writes = true;
  for (const auto& [inode, holder] : disks_->holders_) {
    if (holder != holder_.get()) continue;
    TRY_STATUS(disks_->CheckNoPlainWriter(inode, wanted));
    for (auto [at, end] = disks_->holders_.equal_range(inode); at != end; ++at) {
      if (at->second == holder_.get()) continue;
      return Error(Code::kBusy, fmt::format("open {}: {}", wanted.disk, at->second->Describe()));
    }
  }
  holder_->writes = true;
  return base::Ok();
}

void OpenDisks::Claim::TakeOver(Claim&& other) {
  for (auto& [inode, holder] : disks_->holders_) {
    if (holder == other.holder_.get()) holder = holder_.get();
  }
  other.holder_.reset();
  for (Claim& claim : other.elsewhere_) elsewhere_.push_back(std::move(claim));
  other.elsewhere_.clear();
}

Status OpenDisks::Claim::Add(fss::InodeNumber inode) {
  for (auto [at, end] = disks_->holders_.equal_range(inode); at != end; ++at) {
    if (at->second == holder_.get()) return base::Ok();
  }
  TRY_STATUS(disks_->CheckFree(inode, *holder_));
  disks_->holders_.emplace(inode, holder_.get());
  return base::Ok();
}

Status OpenDisks::Claim::Replace(fss::InodeNumber old_inode, fss::InodeNumber new_inode) {
  std::erase_if(disks_->holders_, [this, old_inode](const auto& entry) {
    return entry.first == old_inode && entry.second == holder_.get();
  });
  return Add(new_inode);
}

Status OpenDisks::CheckFree(fss::InodeNumber inode, const DiskHolder& wanted) const {
  for (auto [at, end] = holders_.equal_range(inode); at != end; ++at) {
    if (!wanted.writes && !at->second->writes) continue;
    return Error(Code::kBusy, fmt::format("open {}: {}", wanted.disk, at->second->Describe()));
  }
  return CheckNoPlainWriter(inode, wanted);
}

Status OpenDisks::CheckNoPlainWriter(fss::InodeNumber inode, const DiskHolder& wanted) const {
  if (!plain_writer_counts_.contains(inode)) return base::Ok();
  return Error(Code::kBusy,
               fmt::format("open {}: one of its files (inode {}) is open for writing as a plain "
                           "file",
                           wanted.disk, inode));
}

Result<OpenDisks::Claim> OpenDisks::ClaimFiles(std::span<const fss::InodeNumber> inodes,
                                               DiskHolder holder) {
  for (const fss::InodeNumber inode : inodes) TRY_STATUS(CheckFree(inode, holder));
  Claim claim(*this, std::move(holder));
  for (const fss::InodeNumber inode : std::set(inodes.begin(), inodes.end())) {
    holders_.emplace(inode, claim.holder_.get());
  }
  return claim;
}

void OpenDisks::ReleaseAll(const DiskHolder* holder) {
  std::erase_if(holders_, [holder](const auto& entry) { return entry.second == holder; });
}

const DiskHolder* OpenDisks::HolderOf(fss::InodeNumber inode) const {
  const DiskHolder* found = nullptr;
  for (auto [at, end] = holders_.equal_range(inode); at != end; ++at) {
    if (found == nullptr || at->second->writes) found = at->second;
  }
  return found;
}

Status OpenDisks::OpenFile(fss::InodeNumber inode, bool writes) {
  const DiskHolder* const holder = HolderOf(inode);
  if (holder != nullptr && (writes || holder->writes)) {
    return Error(Code::kBusy, fmt::format("open inode {}: {}", inode, holder->Describe()));
  }
  if (writes) ++plain_writer_counts_[inode];
  return base::Ok();
}

void OpenDisks::CloseFile(fss::InodeNumber inode, bool writes) {
  if (!writes) return;
  const auto found = plain_writer_counts_.find(inode);
  CHECK(found != plain_writer_counts_.end());
  if (--found->second == 0) plain_writer_counts_.erase(found);
}

std::vector<DiskHolder> OpenDisks::List() const {
  std::set<const DiskHolder*> seen;
  std::vector<DiskHolder> disks;
  for (const auto& [inode, holder] : holders_) {
    const bool is_listed = !holder->is_parent || holder->is_elsewhere;
    if (is_listed && seen.insert(holder).second) disks.push_back(*holder);
  }
  return disks;
}

}  // namespace disklib
