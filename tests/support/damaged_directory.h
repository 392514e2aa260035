// A directory with every structure in use, to be damaged, and what is done with it then.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tests/support/test_directory.h"

namespace vmfs {

struct PopulatedDirectory {
  std::vector<std::byte> bytes;
  std::vector<std::string> present;  // a long chain of one bucket, then names of other buckets
  std::vector<std::string> absent;   // some of them of the same bucket
};

// The same every time.
const PopulatedDirectory& MakePopulatedDirectory();

// Finds, lists, inserts, removes and renames in a directory of any bytes. Every call answers, be it
// with an error; answers how many pieces were read for it.
size_t ExerciseDamagedDirectory(std::span<const std::byte> bytes);

}  // namespace vmfs
