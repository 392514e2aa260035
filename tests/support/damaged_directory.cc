#include "tests/support/damaged_directory.h"

namespace vmfs {

const PopulatedDirectory& MakePopulatedDirectory() {
  static const PopulatedDirectory populated = [] {
    PopulatedDirectory made;
    const auto names = CollidingNames(2, 100'000);
    for (size_t i = 0; i < names[0].size(); ++i) {
      (i + 3 < names[0].size() ? made.present : made.absent).push_back(names[0][i]);
    }
    made.present.push_back(names[1][0]);
    made.absent.push_back(names[1][1]);
    for (uint32_t i = 0; i < 40; ++i) {
      made.present.push_back("present" + std::to_string(i));
      made.absent.push_back("absent" + std::to_string(i));
    }
    TestDirectory directory;
    for (uint32_t i = 0; i < made.present.size(); ++i) {
      CHECK(directory.Insert(made.present[i], FileTarget(i)).has_value());
    }
    made.bytes.assign(directory.file.bytes().begin(), directory.file.bytes().end());
    return made;
  }();
  return populated;
}

size_t ExerciseDamagedDirectory(std::span<const std::byte> bytes) {
  const PopulatedDirectory& populated = MakePopulatedDirectory();
  TestDirectory directory(bytes, /*is_root=*/false, bytes.size() / kMetadataBlockBytes + 4);
  const auto ignore = [](const auto& answer) { static_cast<void>(answer.has_value()); };
  for (const std::string& name : populated.present) ignore(directory.Find(name));
  CollectingSink sink;
  ignore(directory.List(0, sink));
  for (const std::string& name : populated.absent) ignore(directory.Insert(name, FileTarget(1)));
  for (size_t i = 0; i < populated.present.size(); i += 2) {
    ignore(directory.Rename(populated.present[i], "renamed" + std::to_string(i), FileTarget(2)));
  }
  for (const std::string& name : populated.present) ignore(directory.Remove(name));
  ignore(base::RunSync(directory.executor, directory.directory.Self()));
  ignore(base::RunSync(directory.executor, directory.directory.Parent()));
  ignore(base::RunSync(directory.executor, directory.directory.PrepareSetParent()));
  return directory.file.read_count();
}

}  // namespace vmfs
