#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/check.h"
#include "fs/base/sim_executor.h"
#include "fs/daemon/disk_service.h"
#include "fs/daemon/json.h"
#include "fs/daemon/mount_point.h"
#include "tests/fuzz/pieces.h"
#include "tests/support/memory_file_system.h"

namespace fuzz {
namespace {

class NoListener final : public stratad::ChangeListener {
 public:
  void NameChanged(fss::InodeNumber, std::string_view) override {}
  void ContentChanged(fss::InodeNumber) override {}
};

// Hangs up after some progress, so that a request for 62 TiB of zeros ends.
class ShortPatience final : public disklib::Progress {
 public:
  bool Advance(uint64_t done_bytes, uint64_t total_bytes) override {
    CHECK(done_bytes <= total_bytes);
    return ++calls_ < 20;
  }

 private:
  int calls_ = 0;
};

std::string_view TextIn(Input input) {
  return {reinterpret_cast<const char*>(input.data()), input.size()};
}

}  // namespace

// Lines of the control socket, one after the other against one volume. Whatever a request says, its
// answer is one line of JSON.
void RunControlMessage(Input input) {
  base::SimExecutor executor(1, /*in_order=*/true);
  constexpr uint64_t kVolumeBlocks = 2048;
  fss::MemoryFileSystem volume("memory", kVolumeBlocks);
  NoListener listener;
  stratad::DiskService service(executor, volume, listener, /*volumes=*/nullptr, fss::NewInode());
  std::string_view text = TextIn(input);
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    base::Result<stratad::Json> request = stratad::ParseJson(line);
    if (!request) continue;
    (void)stratad::StringOf(*request, "command");
    (void)stratad::FlagOf(*request, "lazy");
    (void)stratad::ToLine(*request);
    ShortPatience patience;
    const auto answer = base::RunSync(executor, service.Handle(*request, service, &patience));
    if (answer) CHECK(stratad::ToLine(*answer).find('\n') == std::string::npos);
  }
  (void)stratad::ToLine(service.DescribeOpenDisks());
  CHECK(base::RunSync(executor, service.Close()).has_value());
}

void RunMountTable(Input input) {
  const auto entries = stratad::ParseMountInfo(TextIn(input));
  (void)stratad::MountContaining(entries, "/mnt/volumes");
}

}  // namespace fuzz
