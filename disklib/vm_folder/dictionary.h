// `Dictionary`: the text of .vmx and .vmsd files, `key = "value"` a line. Parser and line editor.
//
// Keys are compared without case; comments, blank lines, order and line ends stay as they were, and
// only the lines that are set change (disklib/FORMAT.md, "Snapshots"). In a value `|22` stands for
// a quote: two hex digits behind a bar. Thread rule: a plain value. Pure.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "disklib/descriptor.h"
#include "fs/base/result.h"

namespace disklib {

class Dictionary {
 public:
  static constexpr size_t kBytesMax = size_t{1} << 20;
  static constexpr size_t kLinesMax = 16'384;

  // Errors: kTooLarge (more bytes or lines than the limits above), kParseError naming the line (no
  // '=', an open quote, a NUL), kCorrupt (a key given twice).
  static base::Result<Dictionary> Parse(std::string_view text);

  // The value of a key, without quotes and escapes; null if there is none. Valid until a change.
  const std::string* Find(std::string_view key) const;

  // Replaces the key's line, or adds one at the end.
  void Set(std::string_view key, std::string_view value);

  // Whether there was such a line.
  bool Remove(std::string_view key);

  // Keys and values in the order of the lines.
  std::vector<KeyValue> Entries() const;

  // The whole text.
  std::string Text() const;

 private:
  struct Row {
    std::string text;    // as it stands in the file, without its line end
    std::string ending;  // "\n", "\r\n" or ""
    std::string key;     // empty: a comment or a blank line
    std::string value;
  };

  base::Status AddRow(std::string_view text, std::string_view ending);

  std::vector<Row> rows_;
  std::map<std::string, size_t> index_;  // of keys in lower case
};

// A line `key = "value"` without its end, special characters escaped.
std::string FormatDictionaryLine(std::string_view key, std::string_view value);

}  // namespace disklib
