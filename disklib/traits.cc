#include "disklib/traits.h"

#include "disklib/descriptor_lines.h"
#include "disklib/new_disk.h"

namespace disklib {
namespace {

constexpr std::string_view kGeometryFamily = "ddb.geometry.";
constexpr std::string_view kLongContentIdKey = "ddb.longContentID";

bool IsOfGeometry(const KeyValue& pair) {
  return StartsWithIgnoringCase(pair.key, kGeometryFamily);
}

bool HasGeometry(const std::vector<KeyValue>& database) {
  for (const char* const key :
       {"ddb.geometry.cylinders", "ddb.geometry.heads", "ddb.geometry.sectors"}) {
    const std::string* const value = FindTrait(database, key);
    if (value == nullptr || ParseNumber(*value, 10).value_or(0) == 0) return false;
  }
  return true;
}

}  // namespace

const std::string* FindTrait(const std::vector<KeyValue>& traits, std::string_view key) {
  for (const KeyValue& pair : traits) {
    if (EqualsIgnoringCase(pair.key, key)) return &pair.value;
  }
  return nullptr;
}

void SetTrait(std::vector<KeyValue>& traits, const KeyValue& wanted) {
  for (KeyValue& pair : traits) {
    if (!EqualsIgnoringCase(pair.key, wanted.key)) continue;
    pair.value = wanted.value;
    return;
  }
  traits.push_back(wanted);
}

std::string_view AdapterOf(const std::vector<KeyValue>& traits) {
  const std::string* const found = FindTrait(traits, "ddb.adapterType");
  return found != nullptr && IsAdapterType(*found) ? std::string_view(*found) : "lsilogic";
}

std::vector<KeyValue> TraitsOf(const Chain& chain) {
  std::vector<KeyValue> traits;
  for (const auto& link : chain.links()) {  // base first: what comes later is nearer
    const std::vector<KeyValue>& database = link->descriptor().disk_database;
    const bool has_geometry = link->size_bytes() == chain.size_bytes() && HasGeometry(database);
    if (has_geometry) std::erase_if(traits, IsOfGeometry);
    for (const KeyValue& pair : database) {
      if (has_geometry || !IsOfGeometry(pair)) SetTrait(traits, pair);
    }
  }
  const std::string* const long_id =
      FindTrait(chain.top().descriptor().disk_database, kLongContentIdKey);
  if (long_id == nullptr) {
    std::erase_if(traits, [](const KeyValue& pair) {
      return EqualsIgnoringCase(pair.key, kLongContentIdKey);
    });
  }
  return traits;
}

}  // namespace disklib
