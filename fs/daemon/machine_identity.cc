#include "fs/daemon/machine_identity.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include <openssl/hmac.h>

#include "fs/daemon/host_paths.h"

namespace stratad {
namespace {

constexpr std::string_view kKey = "strata volume machine";

std::string FirstLine(const char* path) {
  std::string line;
  std::ifstream(path) >> line;
  return line;
}

base::Result<base::Uuid> Hash(const std::string& id) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int digest_bytes = 0;
  const unsigned char* made =
      HMAC(EVP_sha256(), kKey.data(), static_cast<int>(kKey.size()),
           reinterpret_cast<const unsigned char*>(id.data()), id.size(), digest.data(),
           &digest_bytes);
  base::Uuid uuid;
  if (made == nullptr || digest_bytes < sizeof(uuid.bytes)) {
    return base::Error(base::Code::kInternal, "hash the machine's id: failed");
  }
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
