#include "disklib/descriptor_lines.h"

#include <charconv>

namespace disklib {
namespace {

char LowerCase(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool IsAccessWord(std::string_view word) {
  return EqualsIgnoringCase(word, "RW") || EqualsIgnoringCase(word, "RDONLY") ||
         EqualsIgnoringCase(word, "NOACCESS");
}

std::string_view WithoutQuotes(std::string_view value) {
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
    return value.substr(1, value.size() - 2);
  }
  return value;
}

void Classify(Line& line) {
  if (line.text.empty()) return;
  line.kind = LineKind::kOther;
  if (line.text.front() == '#') {
    line.kind = LineKind::kComment;
    return;
  }
  std::string_view rest = line.text;
  if (IsAccessWord(TakeWord(rest)) && Trim(rest).substr(0, 1) != "=") {
    line.kind = LineKind::kExtent;
    return;
  }
  const size_t equals = line.text.find('=');
  if (equals == std::string_view::npos || equals == 0) return;
  line.key = Trim(line.text.substr(0, equals));
  line.value = WithoutQuotes(Trim(line.text.substr(equals + 1)));
  line.kind = StartsWithIgnoringCase(line.key, "ddb.") ? LineKind::kDatabase : LineKind::kHeader;
}

}  // namespace

std::string_view TextBeforePadding(std::string_view bytes) {
  return bytes.substr(0, bytes.find('\0'));
}

std::optional<Line> TakeLine(std::string_view& rest) {
  if (rest.empty()) return std::nullopt;
  const size_t end = rest.find('\n');
  Line line;
  line.whole = rest.substr(0, end == std::string_view::npos ? rest.size() : end + 1);
  rest.remove_prefix(line.whole.size());
  std::string_view text = line.whole;
  if (text.ends_with('\n')) text.remove_suffix(1);
  if (text.ends_with('\r')) text.remove_suffix(1);
  line.ending = line.whole.substr(text.size());
  line.text = Trim(text);
  Classify(line);
  return line;
}

std::string_view TakeWord(std::string_view& rest) {
  rest = Trim(rest);
  const std::string_view word = rest.substr(0, rest.find_first_of(" \t"));
  rest.remove_prefix(word.size());
  return word;
}

std::string_view Trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (LowerCase(a[i]) != LowerCase(b[i])) return false;
  }
  return true;
}

bool StartsWithIgnoringCase(std::string_view text, std::string_view prefix) {
  return EqualsIgnoringCase(text.substr(0, prefix.size()), prefix);
}

bool EndsWithIgnoringCase(std::string_view text, std::string_view suffix) {
  return text.size() >= suffix.size() &&
         EqualsIgnoringCase(text.substr(text.size() - suffix.size()), suffix);
}

std::optional<uint64_t> ParseNumber(std::string_view text, int base) {
  uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, base);
  if (text.empty() || error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

}  // namespace disklib
