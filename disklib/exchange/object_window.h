// A part of a file as an object of its own, for reading: a disk inside an OVA, a raw image.
//
// Thread rule: as the object below. Place in the stack: under `PackageBackend`.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "disklib/object_backend.h"

namespace disklib {

// `size_bytes` bytes of `object` from `offset_bytes` on, under the number `id`. What lies behind
// the object's end reads as zeros: a raw image need not end with a sector. Takes the object over.
// Changing calls answer kReadOnly.
std::unique_ptr<Object> MakeObjectWindow(std::unique_ptr<Object> object, uint64_t id,
                                         uint64_t offset_bytes, uint64_t size_bytes);

// A text that is no file anywhere, as an object.
std::unique_ptr<Object> MakeTextObject(std::string text, uint64_t id);

}  // namespace disklib
