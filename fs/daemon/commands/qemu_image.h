// `qemu-img` as a child process: reads and writes the formats that are not ours.
//
// Only formats that hold a whole disk in one file are taken, and no image that names another file:
// what a stranger's image refers to would be read with this user's rights. Thread rule: the main
// thread, no executor running; blocks, shows a progress bar, and passes Ctrl-C on. Place in the
// stack: the program.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "fs/base/result.h"

namespace stratad {

// Whether a file begins (or, where only the end tells, ends) like an image of a foreign format
// that qemu-img reads: qcow2, vhdx, vdi, vpc … Empty: none that this program knows.
std::string_view ForeignFormatOf(std::string_view first_bytes, std::string_view last_bytes);

// Converts an image of that format to a new raw file with holes. Errors: kNotFound (no qemu-img:
// says which package has it), kNotPermitted (the image names another file), kInterrupted, kIo with
// the words of qemu-img. The file is removed when it fails.
base::Status ConvertToRaw(const std::string& image, std::string_view format,
                          const std::string& raw);

// Makes an image of a raw file. Errors: as ConvertToRaw.
base::Status ConvertFromRaw(const std::string& raw, std::string_view format,
                            const std::string& image);

// Compares an image with a raw file. Errors: kChecksumMismatch, as ConvertToRaw.
base::Status CompareWithRaw(const std::string& image, std::string_view format,
                            const std::string& raw);

// Makes a file durable and gives it its name. Errors: those of errno.
base::Status SyncAndRename(const std::string& from, const std::string& to);

// Length of a file. Errors: those of errno.
base::Result<uint64_t> SizeOf(const std::string& path);

}  // namespace stratad
