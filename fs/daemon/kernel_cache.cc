#include "fs/daemon/kernel_cache.h"

#include <utility>

#include "fs/daemon/thread_call.h"

namespace stratad {

void KernelCache::ForgetName(fss::InodeNumber parent, std::string_view name) {
  Add({parent, std::string(name)});
}

void KernelCache::ForgetContent(fss::InodeNumber inode) {
  if (session_) session_->NoteChanged(inode);
  Add({inode, {}});
}

void KernelCache::Add(Change change) {
  if (!session_ || session_->ended()) return;
  pending_.push_back(std::move(change));
  if (!std::exchange(sending_, true)) tasks_.Add(Send());
}

base::Task<void> KernelCache::Send() {
  while (!pending_.empty() && session_ && !session_->ended()) {
    std::vector<Change> batch = std::exchange(pending_, {});
    FuseSession* session = session_;
    ThreadCall call(executor_, [&batch, session] {
      for (const Change& change : batch) {
        if (change.name.empty()) {
          session->InvalidateInode(change.inode);
        } else {
          session->InvalidateEntry(change.inode, change.name);
        }
      }
      return true;
    });
    co_await call;
  }
  pending_.clear();
  sending_ = false;
  changed_.NotifyAll();
}

base::Task<void> KernelCache::Flush() {
  while (sending_) co_await changed_.Wait();
  co_await tasks_.Join();
}

}  // namespace stratad
