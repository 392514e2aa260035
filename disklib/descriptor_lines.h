// The lexical level of descriptors: lines and their kinds. Used by the parser and by the editor.
//
// Lines are told apart by shape, never by section: section comments are decoration
// (disklib/FORMAT.md, "Lexical rules"). Views point into the caller's text. Thread rule: pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace disklib {

enum class LineKind : uint8_t { kBlank, kComment, kHeader, kDatabase, kExtent, kOther };

struct Line {
  LineKind kind = LineKind::kBlank;
  std::string_view whole;   // with its line end
  std::string_view text;    // without line end and outer blanks
  std::string_view ending;  // "\n", "\r\n" or "" on the last line
  std::string_view key;     // kHeader, kDatabase
  std::string_view value;   // the same, without quotes
};

// The text up to the first NUL: descriptors may be padded.
std::string_view TextBeforePadding(std::string_view bytes);

// Takes the next line off `rest`; nothing when `rest` is empty.
std::optional<Line> TakeLine(std::string_view& rest);

// Takes the next word (no blanks in it) off `rest`; empty at the end.
std::string_view TakeWord(std::string_view& rest);

// Without blanks and tabs at both ends.
std::string_view Trim(std::string_view text);

// Comparison of ASCII letters without case.
bool EqualsIgnoringCase(std::string_view a, std::string_view b);
bool StartsWithIgnoringCase(std::string_view text, std::string_view prefix);
bool EndsWithIgnoringCase(std::string_view text, std::string_view suffix);

// The whole text as a number in `base` (10 or 16), without sign; nothing if it is not one.
std::optional<uint64_t> ParseNumber(std::string_view text, int base);

}  // namespace disklib
