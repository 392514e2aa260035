// The program that libFuzzer drives: `run.py` calls it by a target's name, through a link.
//
// `fuzzer --list` prints names and largest inputs. Built with clang only.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "fs/base/log.h"
#include "tests/fuzz/targets.h"

namespace {

const fuzz::Target* g_target = nullptr;

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  base::SetLogLevel(base::LogLevel::kOff);
  if (*argc > 1 && std::strcmp((*argv)[1], "--list") == 0) {
    for (const fuzz::Target& target : fuzz::AllTargets()) {
      std::printf("%s %zu\n", target.name, target.input_bytes_max);
    }
    std::exit(0);
  }
  std::string_view name = (*argv)[0];
  name.remove_prefix(name.rfind('/') + 1);
  g_target = fuzz::FindTarget(name);
  if (g_target == nullptr) {
    std::fprintf(stderr, "fuzzer: no target of this name; call it by a link named as one\n");
    std::exit(2);
  }
  // What a target makes once counts for no input.
  g_target->run({});
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // A copy of the exact size, so that reading behind the input is noticed.
  const std::vector<uint8_t> copy(data, data + size);
  g_target->run(std::as_bytes(std::span<const uint8_t>(copy)));
  return 0;
}
