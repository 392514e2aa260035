#include "disklib/snapshot_intent.h"

#include <algorithm>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor_lines.h"
#include "fs/base/crc32c.h"

namespace disklib {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;

constexpr std::string_view kFirstLine = "# Strata snapshot intent\n";
constexpr std::string_view kContentsLine = "contents\n";
constexpr size_t kIntentLinesMax = 16'384;

uint32_t CrcOf(std::string_view bytes) {
  return base::Crc32c(std::as_bytes(std::span<const char>(bytes)));
}

Status CheckName(std::string_view name) {
  const bool is_plain = std::all_of(
      name.begin(), name.end(), [](unsigned char c) { return c >= 0x20 && c != '"' && c != 0x7f; });
  if (is_plain && !name.empty()) return base::Ok();
  return Error(Code::kNameInvalid,
               fmt::format("intent: name \"{}\": is empty or has a quote or a control character",
                           name.substr(0, 200)));
}

std::string FormatMark(const std::optional<ContentMark>& mark) {
  return mark ? fmt::format("{}:{:08x}", mark->size_bytes, mark->crc) : "-";
}

Error BadLine(std::string_view line) {
  return Error(Code::kParseError, fmt::format("intent: not understood: {}", line.substr(0, 200)));
}

Result<std::optional<ContentMark>> ParseMark(std::string_view word, std::string_view line) {
  std::optional<ContentMark> mark;
  if (word == "-") return mark;
  const size_t colon = word.find(':');
  if (colon == std::string_view::npos) return BadLine(line);
  const std::optional<uint64_t> size_bytes = ParseNumber(word.substr(0, colon), 10);
  const std::optional<uint64_t> crc = ParseNumber(word.substr(colon + 1), 16);
  if (!size_bytes || !crc || *crc > 0xffffffff) return BadLine(line);
  mark = {.size_bytes = *size_bytes, .crc = static_cast<uint32_t>(*crc)};
  return mark;
}

// Takes `"name"` off `rest`.
Result<std::string> TakeName(std::string_view& rest, std::string_view line) {
  rest = Trim(rest);
  const size_t end = rest.find('"', 1);
  if (!rest.starts_with('"') || end == std::string_view::npos) return BadLine(line);
  const std::string name(rest.substr(1, end - 1));
  rest.remove_prefix(end + 1);
  TRY_STATUS(CheckName(name));
  return name;
}

// Reads the lines between the checksum and the contents, and takes the contents apart.
class IntentReader {
 public:
  Result<SnapshotIntent> Read(std::string_view text) {
    for (size_t count = 0;; ++count) {
      const std::optional<Line> line = TakeLine(text);
      if (!line || count == kIntentLinesMax) return BadLine("the contents line is missing");
      if (line->whole == kContentsLine) break;
      TRY_STATUS(ReadLine(line->text));
    }
    for (size_t i = 0; i < marks_.size(); ++i) {
      if (marks_[i].size_bytes > text.size()) return BadLine("the contents end too early");
      IntentReplacement& replacement = intent_.replacements[i];
      replacement.contents = text.substr(0, marks_[i].size_bytes);
      text.remove_prefix(marks_[i].size_bytes);
      if (CrcOf(replacement.contents) != marks_[i].crc) {
        return Error(Code::kChecksumMismatch,
                     fmt::format("intent: the contents of {} do not agree", replacement.name));
      }
    }
    if (!text.empty()) return BadLine("bytes behind the contents");
    return std::move(intent_);
  }

 private:
  Status ReadLine(std::string_view line) {
    std::string_view rest = line;
    const std::string_view verb = TakeWord(rest);
    TRY(std::string name, TakeName(rest, line));
    if (verb == "guard") {
      intent_.guards.push_back(std::move(name));
    } else if (verb == "replace") {
      return ReadReplacement(std::move(name), rest, line);
    } else if (verb == "remove") {
      TRY(std::string parent, TakeName(rest, line));
      intent_.removals.push_back({.name = std::move(name), .parent = std::move(parent)});
    } else if (verb == "file" && !intent_.removals.empty()) {
      intent_.removals.back().files.push_back(std::move(name));
    } else {
      return BadLine(line);
    }
    return Trim(rest).empty() ? base::Ok() : Status(BadLine(line));
  }

  Status ReadReplacement(std::string name, std::string_view rest, std::string_view line) {
    TRY(const std::optional<ContentMark> old_mark, ParseMark(TakeWord(rest), line));
    TRY(const std::optional<ContentMark> new_mark, ParseMark(TakeWord(rest), line));
    if (!new_mark || !Trim(rest).empty()) return BadLine(line);
    marks_.push_back(*new_mark);
    intent_.replacements.push_back({.name = std::move(name), .old_mark = old_mark, .contents = {}});
    return base::Ok();
  }

  SnapshotIntent intent_;
  std::vector<ContentMark> marks_;  // of the replacements' contents
};

Status CheckNames(const SnapshotIntent& intent) {
  for (const std::string& guard : intent.guards) TRY_STATUS(CheckName(guard));
  for (const IntentReplacement& each : intent.replacements) TRY_STATUS(CheckName(each.name));
  for (const IntentRemoval& each : intent.removals) {
    TRY_STATUS(CheckName(each.name));
    TRY_STATUS(CheckName(each.parent));
    for (const std::string& file : each.files) TRY_STATUS(CheckName(file));
  }
  return base::Ok();
}

}  // namespace

ContentMark MarkOf(std::string_view contents) {
  return {.size_bytes = contents.size(), .crc = CrcOf(contents)};
}

Result<std::string> WriteIntent(const SnapshotIntent& intent) {
  TRY_STATUS(CheckNames(intent));
  std::string body;
  for (const std::string& guard : intent.guards) body += fmt::format("guard \"{}\"\n", guard);
  for (const IntentReplacement& each : intent.replacements) {
    body += fmt::format("replace \"{}\" {} {}\n", each.name, FormatMark(each.old_mark),
                        FormatMark(MarkOf(each.contents)));
  }
  for (const IntentRemoval& each : intent.removals) {
    body += fmt::format("remove \"{}\" \"{}\"\n", each.name, each.parent);
    for (const std::string& file : each.files) body += fmt::format("file \"{}\"\n", file);
  }
  body += kContentsLine;
  for (const IntentReplacement& each : intent.replacements) body += each.contents;
  if (body.size() > kIntentBytesMax / 2) {
    return Error(Code::kTooLarge, fmt::format("intent: {} bytes", body.size()));
  }
  return fmt::format("{}version=1\ncrc={:08x}\n{}", kFirstLine, CrcOf(body), body);
}

Result<SnapshotIntent> ParseIntent(std::string_view text) {
  if (text.size() > kIntentBytesMax) return Error(Code::kTooLarge, "intent: too long");
  if (!text.starts_with(kFirstLine)) return Error(Code::kNotRecognized, "not a snapshot intent");
  text.remove_prefix(kFirstLine.size());
  const std::optional<Line> version = TakeLine(text);
  if (!version || version->key != "version") return BadLine("the version is missing");
  if (version->value != "1") {
    return Error(Code::kVersionUnsupported, fmt::format("intent: version {}", version->value));
  }
  const std::optional<Line> crc = TakeLine(text);
  if (!crc || crc->key != "crc") return BadLine("the checksum is missing");
  if (ParseNumber(crc->value, 16) != CrcOf(text)) {
    return Error(Code::kChecksumMismatch, "intent: its checksum does not agree");
  }
  IntentReader reader;
  return reader.Read(text);
}

}  // namespace disklib
