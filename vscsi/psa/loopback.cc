#include "vscsi/psa/loopback.h"

#include <utility>

namespace psa {

LoopbackPath::LoopbackPath(const PathAddress& address, std::shared_ptr<LoopbackTarget> target)
    : Path(address), target_(std::move(target)) {
  target_->target.AddNexus(nexus_);
  ++target_->open_path_count;
}

LoopbackPath::~LoopbackPath() {
  target_->target.RemoveNexus(nexus_);
}

uint32_t LoopbackPath::buffer_alignment_bytes() const {
  return target_->target.backing().limits().memory_alignment_bytes;
}

base::Task<Completion> LoopbackPath::Execute(scsi::Command command) {
  Completion completion;
  if (!connected_) {
    completion.host = HostStatus::kNoConnect;
    co_return completion;
  }
  completion.response = co_await target_->target.Execute(nexus_, command);
  co_return completion;
}

base::Task<base::Status> LoopbackPath::Close() {
  if (--target_->open_path_count > 0) co_return base::Ok();
  const base::Status closed = co_await target_->target.Close();
  co_return closed;
}

std::unique_ptr<LoopbackPath> LoopbackAdapter::Attach(std::unique_ptr<base::BlockDevice> backing,
                                                      scsi::TargetOptions options) {
  return Connect(std::make_shared<LoopbackTarget>(std::move(backing), std::move(options)));
}

std::unique_ptr<LoopbackPath> LoopbackAdapter::Connect(std::shared_ptr<LoopbackTarget> target) {
  const PathAddress address{.adapter = number_, .channel = 0, .target = next_target_++, .lun = 0};
  return std::make_unique<LoopbackPath>(address, std::move(target));
}

}  // namespace psa
