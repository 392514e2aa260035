// `DescriptorEdit`: changes single lines of a descriptor and leaves every other byte as it was.
//
// Foreign keys, comments, order and line ends survive (disklib/FORMAT.md, "Rewriting"); only NUL
// padding is dropped. Thread rule: a plain value. Pure.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "disklib/descriptor.h"
#include "fs/base/random.h"
#include "fs/base/result.h"

namespace disklib {

class DescriptorEdit {
 public:
  // `bytes`: a descriptor that parses.
  explicit DescriptorEdit(std::string_view bytes);

  // Sets the content id, and with it `ddb.longContentID` where the descriptor has one: 24 new
  // digits and the id (disklib/FORMAT.md, "Content ids").
  void SetContentId(uint32_t content_id, base::Random& random);

  // Names another parent, or another content id of the same one, in a descriptor that has one.
  void SetParent(std::string_view file_name_hint, uint32_t content_id);

  // Turns change tracking off: version 1, no `changeTrackPath`. For writers that do not track: a
  // stale tracking file would make later backups silently wrong.
  void EndChangeTracking();

  // Replaces all extent lines, at the place of the first. A line that says the same stays as it is.
  void SetExtents(std::span<const ExtentLine> extents);

  // Sets a header key to `value` as it is to stand there, with its quotes; a new key goes behind
  // createType, or to the end.
  void SetHeader(std::string_view key, std::string_view value);

  void RemoveHeader(std::string_view key) { RemoveLine(key); }

  // Sets a disk database key; a new one goes behind the last.
  void SetDatabase(std::string_view key, std::string_view value);

  void RemoveDatabase(std::string_view key) { RemoveLine(key); }

  // The text as it is now, unchecked.
  const std::string& text() const { return text_; }

  // The changed text. Errors: kTooLarge (over kDescriptorBytesMax), and those of ParseDescriptor
  // where a value broke it (a quote in a file name).
  base::Result<std::string> Finish() const;

 private:
  // Replaces the first header or database line of that key by `line`; false if there is none.
  bool ReplaceLine(std::string_view key, std::string_view line);
  bool RemoveLine(std::string_view key);

  std::string text_;
  std::string ending_;  // of the first line
};

}  // namespace disklib
