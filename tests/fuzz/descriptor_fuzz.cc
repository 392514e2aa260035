// Fuzz target: any bytes as a descriptor. What is taken must survive an edit.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "disklib/descriptor.h"
#include "disklib/descriptor_edit.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto parsed = disklib::ParseDescriptor(text);
  if (!parsed) return 0;
  if (parsed->capacity_sectors() > disklib::kCapacitySectorsMax) std::abort();
  base::Random random(1);
  disklib::DescriptorEdit edit(text);
  edit.SetContentId(7, random);
  edit.SetExtents(parsed->extents);
  const auto edited = edit.Finish();
  if (!edited) return 0;
  const auto again = disklib::ParseDescriptor(*edited);
  if (!again || again->content_id != 7 || again->extents != parsed->extents) std::abort();
  return 0;
}
