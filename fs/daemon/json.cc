#include "fs/daemon/json.h"

namespace stratad {
namespace {

const Json* Member(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

}  // namespace

base::Result<Json> ParseJson(std::string_view text) {
  Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) return base::Error(base::Code::kParseError, "not JSON");
  return value;
}

std::string ToLine(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string ToPrettyText(const Json& value) {
  return value.dump(2, ' ', false, Json::error_handler_t::replace);
}

std::optional<std::string> StringOf(const Json& object, const char* key) {
  const Json* member = Member(object, key);
  if (!member || !member->is_string()) return std::nullopt;
  return *member->get_ptr<const Json::string_t*>();
}

std::optional<uint64_t> NumberOf(const Json& object, const char* key) {
  const Json* member = Member(object, key);
  if (!member || !member->is_number_unsigned()) return std::nullopt;
  return *member->get_ptr<const Json::number_unsigned_t*>();
}

bool FlagOf(const Json& object, const char* key) {
  const Json* member = Member(object, key);
  return member && member->is_boolean() && *member->get_ptr<const Json::boolean_t*>();
}

}  // namespace stratad
