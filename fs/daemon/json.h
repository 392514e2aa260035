// JSON values of the control protocol and of listings; the only place that names the library.
//
// Parsing never throws: text that is not JSON is an error, and members are read by the functions
// below, which answer nothing for a missing or ill-typed one. Thread rule: plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "fs/base/result.h"

namespace stratad {

using Json = nlohmann::ordered_json;

// Errors: kParseError.
base::Result<Json> ParseJson(std::string_view text);

// One line of text; bytes that are not UTF-8 are replaced, so that this cannot fail.
std::string ToLine(const Json& value);

// The same over several lines, for people.
std::string ToPrettyText(const Json& value);

std::optional<std::string> StringOf(const Json& object, const char* key);
std::optional<uint64_t> NumberOf(const Json& object, const char* key);
bool FlagOf(const Json& object, const char* key);

}  // namespace stratad
