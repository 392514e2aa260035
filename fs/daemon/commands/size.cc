#include "fs/daemon/commands/size.h"

#include <cctype>
#include <charconv>
#include <limits>
#include <string>

namespace stratad {
namespace {

// The power of 1024 that a suffix means; -1 for none that is known.
int PowerOf(std::string suffix) {
  for (char& c : suffix) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (suffix.empty() || suffix == "b") return 0;
  const std::string_view rest = std::string_view(suffix).substr(1);
  if (!rest.empty() && rest != "b" && rest != "ib") return -1;
  const size_t power = std::string_view("kmgtp").find(suffix.front());
  return power == std::string_view::npos ? -1 : static_cast<int>(power) + 1;
}

}  // namespace

base::Result<uint64_t> ParseSize(std::string_view text) {
  const base::Error unclear(base::Code::kParseError, "size \"" + std::string(text) +
                                                         "\": expected a number like 512M or 10G");
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc::result_out_of_range) return base::Code::kTooLarge;
  if (error != std::errc()) return unclear;
  const int power = PowerOf(std::string(end, text.data() + text.size()));
  if (power < 0) return unclear;
  const int shift = 10 * power;
  if (number > std::numeric_limits<uint64_t>::max() >> shift) {
    return base::Error(base::Code::kTooLarge, "size \"" + std::string(text) + "\"");
  }
  return number << shift;
}

}  // namespace stratad
