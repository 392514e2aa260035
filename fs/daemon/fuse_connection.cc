#include "fs/daemon/fuse_connection.h"

#include <cerrno>
#include <fstream>

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

namespace stratad {
namespace {

constexpr int kReadAheadKib = 4096;
constexpr int kDirtyPercentMax = 50;

// The number after the colon, which names the connection.
std::string ConnectionOf(const std::string& device) {
  return device.substr(device.find(':') + 1);
}

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}

  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  ~Descriptor() {
    if (value_ >= 0) close(value_);
  }

  int value() const { return value_; }

 private:
  const int value_;
};

// The root of the connections' file system, which is mounted for nobody else to see: not every
// machine has it at its usual place.
int OpenConnections() {
  const Descriptor context(fsopen("fusectl", FSOPEN_CLOEXEC));
  if (context.value() < 0) return -1;
  if (fsconfig(context.value(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return -1;
  return fsmount(context.value(), FSMOUNT_CLOEXEC, 0);
}

}  // namespace

bool KernelOffersFuseRing() {
  char value = 'N';
  std::ifstream("/sys/module/fuse/parameters/enable_uring") >> value;
  return value == 'Y';
}

void WidenKernelCache(const std::string& device) {
  const std::string folder = "/sys/class/bdi/" + device;
  std::ofstream(folder + "/read_ahead_kb") << kReadAheadKib;
  std::ofstream(folder + "/max_ratio") << kDirtyPercentMax;
}

base::Status AbortFuseConnection(const std::string& device) {
  const std::string what = "abort the FUSE connection " + device;
  const Descriptor connections(OpenConnections());
  if (connections.value() < 0) return base::ErrnoError(errno, what + ": fusectl");
  const std::string path = ConnectionOf(device) + "/abort";
  const Descriptor abort(openat(connections.value(), path.c_str(), O_WRONLY | O_CLOEXEC));
  if (abort.value() < 0) return base::ErrnoError(errno, what);
  if (write(abort.value(), "1", 1) != 1) return base::ErrnoError(errno, what);
  return base::Ok();
}

}  // namespace stratad
