#include "fs/daemon/machine_identity.h"

#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "fs/base/digest.h"
#include "fs/daemon/host_paths.h"

namespace stratad {
namespace {

constexpr std::string_view kKey = "strata volume machine";

std::string FirstLine(const char* path) {
  std::string line;
  std::ifstream(path) >> line;
  return line;
}

base::Uuid Hash(const std::string& id) {
  const std::array<std::byte, 32> digest = base::KeyedDigest(kKey, id);
  base::Uuid uuid;
  std::memcpy(uuid.bytes.data(), digest.data(), sizeof(uuid.bytes));
  return uuid;
}

}  // namespace

base::Result<base::Uuid> MachineIdentity() {
  const char* chosen = std::getenv("STRATA_MACHINE_ID");
  std::string id = FirstLine(chosen ? chosen : "/etc/machine-id");
  if (id.empty() && chosen) {
    return base::Error(base::Code::kNotFound,
                       std::string("read the machine's id from ") + chosen + ": nothing there");
  }
  if (id.empty()) {
    TRY(const base::Uuid host, HostIdentity());
    id = host.ToString();
  }
  return Hash(id);
}

}  // namespace stratad
