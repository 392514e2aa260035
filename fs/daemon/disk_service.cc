#include "fs/daemon/disk_service.h"

#include <utility>

#include "fs/base/log.h"
#include "fs/daemon/disk_actions.h"
#include "fs/daemon/late_close.h"

namespace stratad {

DiskService::DiskService(base::Executor& executor, fss::FileSystem& volume,
                         ChangeListener& listener, disklib::Volumes* volumes, fss::NewInode owner)
    : executor_(executor),
      running_changed_(executor),
      door_(volume, listener),
      backend_(door_, owner),
      as_volume_{.uuid = volume.uuid(), .backend = &backend_, .open_disks = &open_disks_},
      lib_(executor, backend_, open_disks_, volumes),
      disks_(lib_),
      tree_(executor, volume, disks_),
      guard_(executor, volume, open_disks_) {}

// Stops an operation when its caller says so or the service is closed.
class DiskService::Stoppable final : public disklib::Progress {
 public:
  Stoppable(const DiskService& service, const DiskService& other, disklib::Progress* caller)
      : service_(service), other_(other), caller_(caller) {}

  bool Advance(uint64_t done_bytes, uint64_t total_bytes) override {
    if (service_.closing_ || other_.closing_) return false;
    return caller_ == nullptr || caller_->Advance(done_bytes, total_bytes);
  }

 private:
  const DiskService& service_;
  const DiskService& other_;
  disklib::Progress* caller_;
};

// Refused for a holder, or done as far as a holder allows.
static bool MetHolder(const base::Result<Json>& answer) {
  if (answer) return answer->contains("holder");
  return answer.error().code() == base::Code::kBusy;
}

base::Task<base::Result<Json>> DiskService::Handle(Json& request, DiskService& other,
                                                   disklib::Progress* progress) {
  if (closing_ || other.closing_) {
    co_return base::Error(base::Code::kInterrupted, "the volume is being unmounted");
  }
  const std::string work = "disk " + StringOf(request, "action").value_or("") + " " +
                           StringOf(request, "disk").value_or("");
  const auto place = running_.insert(work);
  const auto other_place = other.running_.insert(work);
  Stoppable stoppable(*this, other, progress);
  DiskCall call{lib_, other.lib_, request, &stoppable};
  LateClose late_close(executor_, open_disks_);
  base::Result<Json> answer = co_await RunDiskAction(call);
  while (MetHolder(answer) && late_close.may_wait()) {
    co_await late_close.Wait();
    answer = co_await RunDiskAction(call);
  }
  base::LogInfo("disks", "{}: {}", work, answer ? "done" : answer.error().message());
  running_.erase(place);
  other.running_.erase(other_place);
  running_changed_.NotifyAll();
  other.running_changed_.NotifyAll();
  co_return answer;
}

Json DiskService::DescribeOpenDisks() const {
  Json disks = Json::array();
  for (const disklib::DiskHolder& holder : open_disks_.List()) {
    Json disk = Json::object();
    disk["disk"] = holder.disk;
    disk["user"] = holder.user;
    disk["writes"] = holder.writes;
    if (holder.is_elsewhere) disk["stands_on"] = true;
    disks.push_back(std::move(disk));
  }
  return disks;
}

base::Task<base::Status> DiskService::Close() {
  closing_ = true;
  while (!running_.empty()) co_await running_changed_.Wait();
  const base::Status unmounted = co_await tree_.Unmount();
  co_return unmounted;
}

}  // namespace stratad
