#include "disklib/check/invariants.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "disklib/descriptor_lines.h"

namespace disklib {
namespace {

using enum CheckSeverity;
using enum RepairClass;
using enum Invariant;

constexpr std::string_view kDescriptorScope = "descriptor";
constexpr std::string_view kChainScope = "chain";
constexpr std::string_view kHostedScope = "hosted sparse";
constexpr std::string_view kStreamScope = "stream";
constexpr std::string_view kVmfsSparseScope = "vmfsSparse";
constexpr std::string_view kSeSparseScope = "seSparse";

constexpr std::array kDescriptorRows = {
    InvariantInfo{kD1, "D1", kDescriptorScope, kError, kOnRequest,
                  "version is 1 to 3; CID, parentCID and createType stand once and can be read",
                  "Without these keys a program cannot tell what the file is or which content it "
                  "holds. The repair takes the content id from ddb.longContentID or from a child "
                  "that names it, the type from the extents, and leaves unknown lines as "
                  "comments."},
    InvariantInfo{kD2, "D2", kDescriptorScope, kError, kOnRequest,
                  "createType agrees with the extents; there is one at least, none is empty",
                  "Other programs choose how to read the extents by createType. The repair writes "
                  "the type that the extents have; lines that cannot be read are left to you, "
                  "because dropping one would move everything behind it."},
    InvariantInfo{kD3, "D3", kDescriptorScope, kError, kNone,
                  "every extent's file exists, lies in the datastore and belongs to one link",
                  "A missing file is lost data unless it was moved: put it back under its name. A "
                  "file that two links write to is destroyed by whichever runs first."},
    InvariantInfo{kD4, "D4", kDescriptorScope, kError, kOnRequest,
                  "a flat file reaches to the end of its extent",
                  "The end of the disk is missing, as after a copy that was cut. The repair makes "
                  "the file long enough; what was lost reads as zeros. Copy again if you can."},
    InvariantInfo{kD5, "D5", kDescriptorScope, kError, kOnRequest,
                  "the extent's line and its header give the same size",
                  "The line says what the guest sees, the header what the tables can hold. The "
                  "repair writes the header's size into the line."},
    InvariantInfo{kD6, "D6", kDescriptorScope, kWarning, kAutomatic,
                  "the last eight digits of ddb.longContentID are CID",
                  "Both are drawn together; programs that compare the long one would take the disk "
                  "for another. The repair makes the long one follow CID."},
    InvariantInfo{kD7, "D7", kDescriptorScope, kWarning, kAutomatic,
                  "thin, geometry and uuid in the disk database can be",
                  "A file with holes is thin whatever its descriptor says: writes may run out of "
                  "space. Geometry matters to old guests only. Two disks of one uuid confuse a "
                  "guest that sees both."},
    InvariantInfo{kD8, "D8", kDescriptorScope, kWarning, kAutomatic,
                  "version is 3 just when changeTrackPath is there, and names a file",
                  "Change tracking that is half on would make a backup silently wrong. The repair "
                  "turns it off: the next backup is a full one."},
    InvariantInfo{kD9, "D9", kDescriptorScope, kError, kNone,
                  "the disk is not encrypted by another product, and a device it maps is here",
                  "What cannot be read here is not checked. A raw device map copied off its volume "
                  "is an empty file: the data is on the device."},
    InvariantInfo{kD10, "D10", kDescriptorScope, kError, kOnRequest,
                  "every extent has a descriptor that names it",
                  "The data is there but its descriptor is lost. The repair writes a new one from "
                  "the extent's length or header, with the content id its children expect, and "
                  "never over a file that exists."},
};

constexpr std::array kChainRows = {
    InvariantInfo{kC1, "C1", kChainScope, kError, kOnRequest,
                  "the parent is found, and its CID is the child's parentCID",
                  "A child holds only what differs from its parent as it was. If the parent was "
                  "changed since, the child mixes old and new. The repair tells the child that the "
                  "parent is right as it is; look at the evidence first, and check the file "
                  "system inside afterwards."},
    InvariantInfo{kC2, "C2", kChainScope, kError, kOnRequest,
                  "parentCID and parentFileNameHint are there both or neither",
                  "With one of them lost, some programs take a child for a whole disk and read "
                  "zeros where the parent's data belongs. The repair adds the one that is lost."},
    InvariantInfo{kC3, "C3", kChainScope, kError, kOnRequest,
                  "a child is as large as its parent",
                  "A smaller child hides the end of the disk, as when a parent was extended alone; "
                  "the repair makes a sparse child as large. A larger child is legal here and "
                  "reads zeros behind its parent's end, but ESX refuses it: export or consolidate "
                  "before moving it there."},
    InvariantInfo{kC4, "C4", kChainScope, kError, kNone,
                  "a chain has no cycle and at most 32 links; above 8 is a warning",
                  "More links than 32 are not opened. Long chains cost space and take long to "
                  "consolidate."},
    InvariantInfo{kC5, "C5", kChainScope, kError, kNone,
                  "no parent is open for writing",
                  "Every write to a parent changes what its children read. Close whatever has it "
                  "open, and check the children."},
    InvariantInfo{kC6, "C6", kChainScope, kWarning, kNone,
                  "a link has one child",
                  "Several children of one link are legal: branches and linked clones. Their "
                  "parent can then not take up a child's content."},
    InvariantInfo{kC7, "C7", kChainScope, kWarning, kNone,
                  "every link is named by a .vmx or .vmsd, or is below one that is",
                  "Nobody refers to the link: it may be left over from a snapshot that was "
                  "deleted by hand, or its VM's files are elsewhere. Delete it when you know."},
    InvariantInfo{kC8, "C8", kChainScope, kError, kOnRequest,
                  "the .vmsd is a tree of snapshots whose disks exist",
                  "A snapshot that names a missing disk cannot be reverted to. The repair corrects "
                  "counts; entries are left to you."},
};

constexpr std::array kHostedRows = {
    InvariantInfo{kH1, "H1", kHostedScope, kError, kNone,
                  "magic, version, flags, newline bytes, grain and table sizes can be",
                  "The header says how to read everything else. Damaged newline bytes mean that "
                  "the file was transferred as text and is damaged throughout."},
    InvariantInfo{kH2, "H2", kHostedScope, kError, kAutomatic,
                  "directories and grain tables lie inside the file and apart from each other",
                  "A table that cannot be found hides up to 32 MiB. The repair takes it from the "
                  "other copy where that is whole."},
    InvariantInfo{kH3, "H3", kHostedScope, kError, kOnRequest,
                  "every table entry is 0, the zero code, or a grain inside the file",
                  "The entry's grain is lost. The repair drops the entry: the range then reads as "
                  "the parent, or as zeros."},
    InvariantInfo{kH4, "H4", kHostedScope, kError, kOnRequest,
                  "no two entries lead to one grain",
                  "Writing one place of the disk changes the other; one of them has wrong data "
                  "already. The repair gives each its own copy; both read as now."},
    InvariantInfo{kH5, "H5", kHostedScope, kError, kAutomatic,
                  "grain tables and their redundant copies say the same",
                  "After a crash the copies may differ by the last writes. The repair takes the "
                  "entry that leads to data; where both do, only on request, that of the first "
                  "copy, which programs read."},
    InvariantInfo{kH6, "H6", kHostedScope, kWarning, kAutomatic,
                  "the extent was closed cleanly",
                  "The mark of an unclean close is taken off when everything else holds."},
    InvariantInfo{kH7, "H7", kHostedScope, kLeak, kAutomatic,
                  "every grain in the file is referred to",
                  "Space that nothing refers to, as a crash leaves it. The repair gives it back."},
};

constexpr std::array kStreamRows = {
    InvariantInfo{kS1, "S1", kStreamScope, kError, kAutomatic,
                  "grains inflate to their size, and markers, tables and footer agree",
                  "A grain that does not inflate is lost. Tables that disagree with the grains "
                  "can be made again from the grains themselves."},
    InvariantInfo{kS2, "S2", kStreamScope, kWarning, kAutomatic,
                  "the file ends with its end-of-stream sector; the header's version is 3",
                  "Importers of other products refuse anything else."},
};

constexpr std::array kVmfsSparseRows = {
    InvariantInfo{kV1, "V1", kVmfsSparseScope, kError, kAutomatic,
                  "the header's numbers follow from the size, its marks say clean",
                  "Marks are taken off when everything else holds; numbers that cannot be are "
                  "left alone."},
    InvariantInfo{kV2, "V2", kVmfsSparseScope, kError, kOnRequest,
                  "grain tables lie inside the file, behind the directory, and apart",
                  "The table cannot be found; the repair drops it: its range then reads as the "
                  "parent."},
    InvariantInfo{kV3, "V3", kVmfsSparseScope, kError, kOnRequest,
                  "every grain lies inside the file, outside the tables, and belongs to one entry",
                  "An entry that leads nowhere is dropped by the repair and reads as the parent; "
                  "of two entries on one grain each gets its own copy."},
    InvariantInfo{kV4, "V4", kVmfsSparseScope, kError, kAutomatic,
                  "freeSector is at or behind the last sector in use",
                  "The next write would go over data. The repair moves the mark to the end."},
    InvariantInfo{kV5, "V5", kVmfsSparseScope, kLeak, kNone,
                  "there are no gaps between what is in use",
                  "Space that nothing refers to; the format cannot use it again. A clone is "
                  "compact."},
    InvariantInfo{kV6, "V6", kVmfsSparseScope, kWarning, kAutomatic,
                  "entries behind the end of the disk are 0",
                  "Nobody can read them; they would come back when the disk grows."},
};

constexpr std::array kSeSparseRows = {
    InvariantInfo{kX1, "X1", kSeSparseScope, kError, kAutomatic,
                  "magics, version, sizes and flags can be, padding is zero",
                  "The headers say how to read everything else. Padding that is not zero makes "
                  "other programs refuse the file; the repair clears it."},
    InvariantInfo{kX2, "X2", kSeSparseScope, kError, kNone,
                  "the regions are in order, apart, and large enough",
                  "Where a region cannot be, nothing in it can be trusted."},
    InvariantInfo{kX3, "X3", kSeSparseScope, kError, kNone,
                  "there is no journal to replay",
                  "The file was not closed, and its journal's format is not public: the host that "
                  "wrote it has to open and close it."},
    InvariantInfo{kX4, "X4", kSeSparseScope, kError, kOnRequest,
                  "directory entries name tables that were handed out, each once",
                  "A count of tables that is too low is raised without asking. An entry that "
                  "leads nowhere is dropped on request: its range then reads as the parent."},
    InvariantInfo{kX5, "X5", kSeSparseScope, kError, kOnRequest,
                  "table entries have a known type, and grains inside the file",
                  "The entry's grain is lost. The repair drops the entry: the range then reads as "
                  "the parent, or as zeros."},
    InvariantInfo{kX6, "X6", kSeSparseScope, kError, kOnRequest,
                  "no two entries lead to one grain",
                  "Writing one place of the disk changes the other; one of them has wrong data "
                  "already. The repair gives each its own copy; both read as now."},
    InvariantInfo{kX7, "X7", kSeSparseScope, kError, kAutomatic,
                  "the bitmap has just the grains that are referred to",
                  "A grain in use that the bitmap calls free would be given to another place: "
                  "the repair marks it. One that it calls used but nobody refers to is a leak: "
                  "the repair frees it."},
    InvariantInfo{kX8, "X8", kSeSparseScope, kWarning, kAutomatic,
                  "the back map leads from each grain to its table",
                  "It is used to compact the file only. The repair writes it anew."},
    InvariantInfo{kX9, "X9", kSeSparseScope, kWarning, kAutomatic,
                  "entries behind the end of the disk are 0",
                  "Nobody can read them; they would come back when the disk grows."},
};

constexpr std::array kOtherRows = {
    InvariantInfo{kT1, "T1", "tracking", kInfo, kNone,
                  "change tracking was written by this program",
                  "Another product's tracking file cannot be continued: it is kept, and the first "
                  "write turns tracking off, so that the next backup is a full one."},
    InvariantInfo{kR1, "R1", "file", kError, kNone,
                  "every byte that the check needs can be read",
                  "The datastore failed a read; what hangs on it was not checked."},
};

constexpr size_t kRowCount = kDescriptorRows.size() + kChainRows.size() + kHostedRows.size() +
                             kStreamRows.size() + kVmfsSparseRows.size() +
                             kSeSparseRows.size() + kOtherRows.size();

// The rows of all scopes, one behind the other.
template <typename... Rows>
constexpr std::array<InvariantInfo, kRowCount> Join(const Rows&... rows) {
  std::array<InvariantInfo, kRowCount> all{};
  size_t count = 0;
  ((std::copy(rows.begin(), rows.end(), all.begin() + static_cast<ptrdiff_t>(count)),
    count += rows.size()), ...);
  return all;
}

constexpr std::array<InvariantInfo, kRowCount> kRows =
    Join(kDescriptorRows, kChainRows, kHostedRows, kStreamRows, kVmfsSparseRows, kSeSparseRows,
         kOtherRows);

constexpr bool RowsFollowTheEnumeration() {
  for (size_t i = 0; i < kRows.size(); ++i) {
    if (static_cast<size_t>(kRows[i].id) != i) return false;
  }
  return kRows.size() == static_cast<size_t>(kR1) + 1;
}
static_assert(RowsFollowTheEnumeration());

}  // namespace

std::span<const InvariantInfo> Invariants() {
  return kRows;
}

const InvariantInfo& InfoOf(Invariant id) {
  return kRows[static_cast<size_t>(id)];
}

std::optional<Invariant> ParseInvariant(std::string_view name) {
  for (const InvariantInfo& row : kRows) {
    if (EqualsIgnoringCase(row.name, name)) return row.id;
  }
  return std::nullopt;
}

std::string_view NameOf(CheckSeverity severity) {
  switch (severity) {
    case kInfo: return "info";
    case kLeak: return "leak";
    case kWarning: return "warning";
    case kError: return "error";
  }
  return "error";
}

std::string_view NameOf(RepairClass repair) {
  switch (repair) {
    case kNone: return "none";
    case kOnRequest: return "on request";
    case kAutomatic: return "automatic";
  }
  return "none";
}

}  // namespace disklib
