#include "fs/daemon/volume_names.h"

#include <vector>

#include <gtest/gtest.h>

namespace stratad {
namespace {

const std::vector<VolumeName> kVolumes = {
    {.uuid = "6b03722b-b5b03b14-17a1-2b7ddf4d6873", .label = "old"},
    {.uuid = "6b03722c-1c2c53a9-acfc-62c30fb1b934", .label = "new"},
    {.uuid = "posix-1b-8fcf", .label = "folder"},
    {.uuid = "6b03722d-00000001-0000-000000000001", .label = "twin"},
    {.uuid = "6b03722d-00000002-0000-000000000002", .label = "twin"},
};

TEST(VolumeNames, AreUuidsOrTheOnlyLabel) {
  EXPECT_EQ(FindVolumeName(kVolumes, "6b03722c-1c2c53a9-acfc-62c30fb1b934"), 1u);
  EXPECT_EQ(FindVolumeName(kVolumes, "6B03722C-1C2C53A9-ACFC-62C30FB1B934"), 1u);
  EXPECT_EQ(FindVolumeName(kVolumes, "old"), 0u);
  EXPECT_EQ(FindVolumeName(kVolumes, "twin"), std::nullopt);
  EXPECT_EQ(FindVolumeName(kVolumes, "nobody"), std::nullopt);
  EXPECT_EQ(FindVolumeName(kVolumes, ""), std::nullopt);
  EXPECT_EQ(FindVolumeName(kVolumes, "6b03722c-1c2c53a9-acfc-62c30fb1b935"), std::nullopt);
}

TEST(VolumeNames, OfHostFoldersDoNotLast) {
  EXPECT_EQ(FindVolumeName(kVolumes, "posix-1b-8fcf"), std::nullopt);
  EXPECT_EQ(FindVolumeName(kVolumes, "folder"), std::nullopt);
  EXPECT_TRUE(HasLastingUuid("6b03722b-b5b03b14-17a1-2b7ddf4d6873"));
  EXPECT_FALSE(HasLastingUuid("posix-1b-8fcf"));
}

TEST(VolumeNames, OfCopiesOfOneVolumeMeanNone) {
  std::vector<VolumeName> volumes = kVolumes;
  volumes.push_back({.uuid = kVolumes[0].uuid, .label = "copy"});
  EXPECT_EQ(FindVolumeName(volumes, kVolumes[0].uuid), std::nullopt);
  EXPECT_EQ(FindVolumeName(volumes, "copy"), 5u);
}

}  // namespace
}  // namespace stratad
