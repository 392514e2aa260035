#include "disklib/descriptor_edit.h"

#include <optional>
#include <utility>

#include <fmt/format.h>

#include "disklib/descriptor_lines.h"

namespace disklib {
namespace {

std::string FormatDatabaseLine(std::string_view key, std::string_view value) {
  return fmt::format("{} = \"{}\"", key, value);
}

// Whether a line of the file says what `extent` says, so that its bytes can stay.
bool SaysTheSame(const Line& line, const ExtentLine& extent) {
  std::string text = fmt::format("version=1\nCID=0\nparentCID=0\ncreateType=\"x\"\n{}", line.text);
  const base::Result<Descriptor> parsed = ParseDescriptor(text);
  return parsed && parsed->extents.size() == 1 && parsed->extents.front() == extent;
}

}  // namespace

DescriptorEdit::DescriptorEdit(std::string_view bytes) : text_(TextBeforePadding(bytes)) {
  std::string_view rest = text_;
  const std::optional<Line> first = TakeLine(rest);
  ending_ = first && !first->ending.empty() ? std::string(first->ending) : "\n";
  if (!text_.empty() && !text_.ends_with('\n')) text_ += ending_;
}

bool DescriptorEdit::ReplaceLine(std::string_view key, std::string_view new_line) {
  std::string_view rest = text_;
  size_t position = 0;
  while (const std::optional<Line> line = TakeLine(rest)) {
    const size_t length = line->whole.size() - line->ending.size();
    if (EqualsIgnoringCase(line->key, key)) {
      text_.replace(position, length, new_line);
      return true;
    }
    position += line->whole.size();
  }
  return false;
}

void DescriptorEdit::SetContentId(uint32_t content_id, base::Random& random) {
  ReplaceLine("CID", "CID=" + FormatContentId(content_id));
  constexpr std::string_view kLongKey = "ddb.longContentID";
  ReplaceLine(kLongKey, FormatDatabaseLine(kLongKey, DrawLongContentId(random, content_id)));
}

void DescriptorEdit::SetParent(std::string_view file_name_hint, uint32_t content_id) {
  SetHeader("parentCID", FormatContentId(content_id));
  SetHeader("parentFileNameHint", fmt::format("\"{}\"", file_name_hint));
}

void DescriptorEdit::SetExtents(std::span<const ExtentLine> extents) {
  std::string result;
  std::string_view rest = text_;
  size_t kept_count = 0;  // extents whose old lines stay, from the front
  size_t insert_at = 0;   // in `result`, behind the last kept extent line
  bool seen_extent = false;
  while (const std::optional<Line> line = TakeLine(rest)) {
    if (line->kind != LineKind::kExtent) {
      result += line->whole;
      continue;
    }
    if (!std::exchange(seen_extent, true)) insert_at = result.size();
    if (kept_count < extents.size() && insert_at == result.size() &&
        SaysTheSame(*line, extents[kept_count])) {
      result += line->whole;
      ++kept_count;
      insert_at = result.size();
    }
  }
  if (!seen_extent) insert_at = result.size();
  std::string added;
  for (const ExtentLine& extent : extents.subspan(kept_count)) {
    added += FormatExtentLine(extent) + ending_;
  }
  text_ = result.insert(insert_at, added);
}

void DescriptorEdit::SetHeader(std::string_view key, std::string_view value) {
  const std::string new_line = fmt::format("{}={}", key, value);
  if (ReplaceLine(key, new_line)) return;
  std::string_view rest = text_;
  size_t position = 0;
  size_t insert_at = text_.size();
  while (const std::optional<Line> line = TakeLine(rest)) {
    position += line->whole.size();
    if (EqualsIgnoringCase(line->key, "createType")) insert_at = position;
  }
  text_.insert(insert_at, new_line + ending_);
}

void DescriptorEdit::SetDatabase(std::string_view key, std::string_view value) {
  const std::string new_line = FormatDatabaseLine(key, value);
  if (ReplaceLine(key, new_line)) return;
  std::string_view rest = text_;
  size_t position = 0;
  size_t insert_at = text_.size();
  while (const std::optional<Line> line = TakeLine(rest)) {
    position += line->whole.size();
    if (line->kind == LineKind::kDatabase) insert_at = position;
  }
  text_.insert(insert_at, new_line + ending_);
}

bool DescriptorEdit::RemoveLine(std::string_view key) {
  std::string_view rest = text_;
  size_t position = 0;
  while (const std::optional<Line> line = TakeLine(rest)) {
    if (EqualsIgnoringCase(line->key, key)) {
      text_.erase(position, line->whole.size());
      return true;
    }
    position += line->whole.size();
  }
  return false;
}

void DescriptorEdit::EndChangeTracking() {
  if (RemoveLine("changeTrackPath")) ReplaceLine("version", "version=1");
}

base::Result<std::string> DescriptorEdit::Finish() const {
  if (text_.size() > kDescriptorBytesMax) {
    return base::Error(base::Code::kTooLarge,
                       fmt::format("descriptor: {} bytes after the change, allowed are {}",
                                   text_.size(), kDescriptorBytesMax));
  }
  const base::Result<Descriptor> parsed = ParseDescriptor(text_);
  if (!parsed) return parsed.error();
  return text_;
}

}  // namespace disklib
