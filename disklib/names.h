// Names of a disk's files: which extent names follow from a descriptor's name, and which names a
// descriptor may use. Pure functions on paths.
//
// Paths here are relative to the root of one datastore: "vm/vm.vmdk", no leading '/', no ".", no
// ".."; only a path on another datastore begins with "/vmfs/volumes/" and that one's UUID. Nothing
// is ever classified by its name (disklib/FORMAT.md, "File names"): names are derived for new
// files, and followed when a disk is renamed. Thread rule: pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "fs/base/result.h"

namespace disklib {

inline constexpr std::string_view kDescriptorSuffix = ".vmdk";
inline constexpr size_t kNameBytesMax = 127;
inline constexpr size_t kPathBytesMax = 4'096;

// "vm/vm.vmdk" -> "vm"; "vm.vmdk" -> "". Views into `path`.
std::string_view FolderOf(std::string_view path);

// "vm/vm.vmdk" -> "vm.vmdk". A view into `path`.
std::string_view NameOf(std::string_view path);

// "vm" + "a.vmdk" -> "vm/a.vmdk"; the root folder is "".
std::string JoinPath(std::string_view folder, std::string_view name);

// Where ESX shows its datastores, and where a descriptor that names another one leads.
inline constexpr std::string_view kVolumesPrefix = "/vmfs/volumes/";

// A path on a datastore that is named: "/vmfs/volumes/UUID/vm/vm.vmdk" taken apart.
struct VolumePath {
  std::string_view volume;  // a UUID; in what others wrote also a label
  std::string_view path;    // from that datastore's root; "" is the root itself
};

// Nothing for a path that stays on its own datastore. Views into `path`.
std::optional<VolumePath> SplitVolumePath(std::string_view path);

// The datastore that a path names; empty: its own.
std::string_view VolumeOf(std::string_view path);

// {"UUID", "vm/vm.vmdk"} -> "/vmfs/volumes/UUID/vm/vm.vmdk".
std::string JoinVolumePath(VolumePath place);

// The path that a name found in a descriptor means, seen from the descriptor's folder.
// ".." is followed while it stays inside the datastore. "/vmfs/volumes/NAME/…" leads to a datastore
// that is mounted, if there is one of that name (`volumes.h`); no other absolute name leads
// anywhere. Errors: kNameInvalid (empty, absolute, a NUL or backslash inside, ends in a folder),
// kNotPermitted (leaves the datastore), kNameTooLong.
base::Result<std::string> ResolveName(std::string_view folder, std::string_view name);

// The name by which a descriptor in `folder` calls `path`: "vm.vmdk" in the same folder, else
// "../base/base.vmdk"; a path on another datastore is its own name. ResolveName(folder, …) leads
// back.
std::string RelativeName(std::string_view folder, std::string_view path);

// Whether `path` may name a new disk: normalised, on no other datastore, ends in ".vmdk" with
// something before it, and the names derived from it fit in 127 bytes. Errors: kNameInvalid,
// kNameTooLong, kNotPermitted.
base::Status CheckDiskPath(std::string_view path);

// The extent names a disk called `descriptor_name` has: "vm-flat.vmdk"; "vm-f001.vmdk" counts
// from 1.
std::string FlatExtentName(std::string_view descriptor_name);
std::string SplitFlatExtentName(std::string_view descriptor_name, uint32_t number);

// The name of the data of a delta of createType vmfsSparse or seSparse.
std::string DeltaExtentName(std::string_view descriptor_name);
std::string SeSparseExtentName(std::string_view descriptor_name);
std::string SplitSparseExtentName(std::string_view descriptor_name, uint32_t number);

// What an extent is called after its disk was renamed: "a-flat.vmdk" of a.vmdk becomes
// "b-flat.vmdk" with b.vmdk. A name that does not follow the old descriptor's stays.
std::string RenamedExtentName(std::string_view extent_name, std::string_view old_descriptor_name,
                              std::string_view new_descriptor_name);

// Names of files that are only there while an operation runs, or after it was cut. They are no
// disks: they do not end in ".vmdk". Kept within 127 bytes.
std::string UnfinishedPath(std::string_view path);   // being made, not yet valid
std::string DeletedPath(std::string_view path);      // a descriptor whose disk is being deleted
std::string ReplacementPath(std::string_view path);  // new contents on their way

}  // namespace disklib
