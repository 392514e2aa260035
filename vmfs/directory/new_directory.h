// The bytes of a directory at birth: mkfs writes the root and `.sdd.sf` with them, mkdir every
// other.
//
// Pure functions. Thread rule: plain values. Source of the layout: vmfs/FORMAT.md, Directories, and
// the directories of a volume that ESXi formatted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "vmfs/format/directory.h"

namespace vmfs {

enum class NewDirectoryKind : uint8_t {
  kOrdinary,   // empty, with one record block
  kRoot,       // holds the eight system files' names in its record block
  kSddSystem,  // `.sdd.sf`: header and map only; its "." has type 5
};

struct NewDirectory {
  NewDirectoryKind kind = NewDirectoryKind::kOrdinary;
  FdAddress self, parent;  // the root is its own parent
  uint32_t self_generation = 0, parent_generation = 0;
};

// Number of 4 KiB pieces of a new directory: 18 (two sub-blocks), for `.sdd.sf` 17.
constexpr uint32_t NewDirectoryPieceCount(NewDirectoryKind kind) {
  return kDirectoryHeaderPieces + (kind == NewDirectoryKind::kSddSystem ? 1 : 2);
}

// Whether piece `index` is all zeros: only the first of the header, the map and the record block
// are not (in the root, the hash table's last piece neither).
bool NewDirectoryPieceIsZero(NewDirectoryKind kind, uint32_t index);

// Fills piece `index`, which is under NewDirectoryPieceCount; whatever it held is overwritten.
void FillNewDirectoryPiece(const NewDirectory& directory, uint32_t index, MetadataSpan piece);

// All pieces at once; `bytes` holds exactly that many.
void BuildNewDirectory(const NewDirectory& directory, std::span<std::byte> bytes);

}  // namespace vmfs
