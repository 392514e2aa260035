// The worked example of vmfs/FORMAT.md is what mkfs writes, byte by byte.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

#include "tests/support/volume_file.h"

namespace vmfs {
namespace {

// One line: offset, two spaces, sixteen bytes; "tt" is a time. Answers how many were compared.
int CompareLine(const std::string& line, const std::vector<std::byte>& block) {
  const size_t offset = std::stoul(line.substr(0, 4), nullptr, 16);
  std::istringstream bytes(line.substr(6, 47));
  std::string byte;
  int compared = 0;
  for (size_t i = 0; bytes >> byte; ++i) {
    if (byte == "tt") continue;
    EXPECT_EQ(std::to_integer<unsigned long>(block[offset + i]), std::stoul(byte, nullptr, 16))
        << "offset " << offset + i;
    ++compared;
  }
  return compared;
}

TEST(FormatDocument, WorkedExampleIsWhatMkfsWrites) {
  testing_support::VolumeFiles files;
  files.Add(ImageBytesFor(kUnitBytes));
  files.Format("document");
  const auto block = files.ReadVolume(0x72b000, 4096);
  std::ifstream document(std::string(STRATA_SOURCE_DIR) + "/vmfs/FORMAT.md");
  std::string line;
  int compared = 0;
  bool in_example = false;
  while (std::getline(document, line)) {
    if (line.starts_with("## ")) in_example = line == "## Worked example";
    const bool is_hex = line.size() > 52 && line.find_first_not_of("0123456789abcdef") == 4;
    if (in_example && is_hex) compared += CompareLine(line, block);
  }
  EXPECT_EQ(compared, 12 * 16 - 12);
}

}  // namespace
}  // namespace vmfs
