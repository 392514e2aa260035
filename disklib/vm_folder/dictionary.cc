#include "disklib/vm_folder/dictionary.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor_lines.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

bool NeedsEscape(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return c == '"' || c == '|' || byte < 0x20 || byte == 0x7f;
}

std::string Escape(std::string_view value) {
  std::string escaped;
  for (const char c : value) {
    if (NeedsEscape(c)) {
      escaped += fmt::format("|{:02X}", static_cast<unsigned char>(c));
    } else {
      escaped += c;
    }
  }
  return escaped;
}

// A bar that no two hex digits follow stands for itself.
std::string Unescape(std::string_view value) {
  std::string plain;
  for (size_t i = 0; i < value.size(); ++i) {
    std::optional<uint64_t> code;
    if (value[i] == '|' && i + 2 < value.size()) code = ParseNumber(value.substr(i + 1, 2), 16);
    plain += code ? static_cast<char>(*code) : value[i];
    if (code) i += 2;
  }
  return plain;
}

// The value behind '=': what is between quotes, or the bare text. Nothing if it cannot be read.
std::optional<std::string> ReadValue(std::string_view text) {
  text = Trim(text);
  if (!text.starts_with('"')) return Unescape(text);
  const size_t end = text.find('"', 1);
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view behind = Trim(text.substr(end + 1));
  if (!behind.empty() && behind.front() != '#') return std::nullopt;
  return Unescape(text.substr(1, end - 1));
}

}  // namespace

std::string FormatDictionaryLine(std::string_view key, std::string_view value) {
  return fmt::format("{} = \"{}\"", key, Escape(value));
}

Status Dictionary::AddRow(std::string_view text, std::string_view ending) {
  Row row{.text = std::string(text), .ending = std::string(ending), .key = {}, .value = {}};
  const std::string_view trimmed = Trim(text);
  if (!trimmed.empty() && trimmed.front() != '#') {
    const size_t equals = trimmed.find('=');
    std::optional<std::string> value;
    if (equals != std::string_view::npos) value = ReadValue(trimmed.substr(equals + 1));
    row.key = Trim(trimmed.substr(0, equals));
    if (!value || row.key.empty() || row.key.find('"') != std::string::npos) {
      return Error(Code::kParseError, fmt::format("line {}: not key = \"value\": {}",
                                                  rows_.size() + 1, trimmed.substr(0, 100)));
    }
    row.value = *std::move(value);
    if (!index_.emplace(LowerCase(row.key), rows_.size()).second) {
      return Error(Code::kCorrupt,
                   fmt::format("line {}: {} stands there twice", rows_.size() + 1, row.key));
    }
  }
  rows_.push_back(std::move(row));
  return base::Ok();
}

Result<Dictionary> Dictionary::Parse(std::string_view text) {
  if (text.size() > kBytesMax) {
    return Error(Code::kTooLarge, fmt::format("{} bytes, allowed are {}", text.size(), kBytesMax));
  }
  const size_t nul = text.find('\0');
  if (nul != std::string_view::npos) {
    return Error(Code::kParseError, fmt::format("a NUL at byte {}", nul));
  }
  Dictionary dictionary;
  while (!text.empty()) {
    if (dictionary.rows_.size() == kLinesMax) {
      return Error(Code::kTooLarge, fmt::format("more than {} lines", kLinesMax));
    }
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end == std::string_view::npos ? text.size() : end + 1);
    text.remove_prefix(line.size());
    const std::string_view whole = line;
    if (line.ends_with('\n')) line.remove_suffix(1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    TRY_STATUS(dictionary.AddRow(line, whole.substr(line.size())));
  }
  return dictionary;
}

const std::string* Dictionary::Find(std::string_view key) const {
  const auto found = index_.find(LowerCase(key));
  return found == index_.end() ? nullptr : &rows_[found->second].value;
}

void Dictionary::Set(std::string_view key, std::string_view value) {
  const auto found = index_.find(LowerCase(key));
  if (found != index_.end()) {
    Row& row = rows_[found->second];
    if (row.value == value) return;
    row.value = value;
    row.text = FormatDictionaryLine(row.key, value);
    return;
  }
  const std::string ending =
      rows_.empty() || rows_.front().ending.empty() ? "\n" : rows_.front().ending;
  if (!rows_.empty() && rows_.back().ending.empty()) rows_.back().ending = ending;
  index_.emplace(LowerCase(key), rows_.size());
  rows_.push_back({.text = FormatDictionaryLine(key, value),
                   .ending = ending,
                   .key = std::string(key),
                   .value = std::string(value)});
}

bool Dictionary::Remove(std::string_view key) {
  const auto found = index_.find(LowerCase(key));
  if (found == index_.end()) return false;
  const size_t position = found->second;
  rows_.erase(rows_.begin() + static_cast<std::ptrdiff_t>(position));
  index_.erase(found);
  for (auto& [other, at] : index_) {
    if (at > position) --at;
  }
  return true;
}

std::vector<KeyValue> Dictionary::Entries() const {
  std::vector<KeyValue> entries;
  for (const Row& row : rows_) {
    if (!row.key.empty()) entries.push_back({row.key, row.value});
  }
  return entries;
}

std::string Dictionary::Text() const {
  std::string text;
  for (const Row& row : rows_) text += row.text + row.ending;
  return text;
}

}  // namespace disklib
