// `strata disk clone|compare|hash|inflate|eager-zero|punch|zero|attach|detach|rebase`: the content
// of disks, and what links stand on.
#include <string>

#include <fmt/format.h>

#include "fs/daemon/commands/disk_command.h"

namespace stratad {
namespace {

std::string Bytes(const Json& json, const char* key) {
  return FormatBytes(NumberOf(json, key).value_or(0));
}

void PrintClone(const Json& answer) {
  if (answer.contains("parent")) {
    fmt::print("{} stands on {}, which is frozen from now on\n",
               StringOf(answer, "disk").value_or(""), StringOf(answer, "parent").value_or(""));
    return;
  }
  fmt::print("copied {}: {} stored, {} of zeros left out\n", Bytes(answer, "size_bytes"),
             Bytes(answer, "data_bytes"), Bytes(answer, "zero_bytes"));
}

void PrintComparison(const Json& answer) {
  if (FlagOf(answer, "same")) {
    fmt::print("the same\n");
    return;
  }
  fmt::print("{} sectors differ, the first byte at {}\n",
             NumberOf(answer, "differing_sectors").value_or(0),
             NumberOf(answer, "first_difference_bytes").value_or(0));
}

int ExitCodeOfComparison(const Json& answer) {
  return FlagOf(answer, "same") ? kExitOk : kExitProblems;
}

void PrintHash(const Json& answer) {
  fmt::print("{}\n", StringOf(answer, "sha256").value_or(""));
}

void PrintSpace(const Json& answer) {
  fmt::print("allocated {}, before {}\n", Bytes(answer, "allocated_after_bytes"),
             Bytes(answer, "allocated_before_bytes"));
}

void PrintRebase(const Json& answer) {
  const std::string proof = StringOf(answer, "proof").value_or("");
  const std::string how = proof == "none"   ? "what it does not hold itself reads as there"
                          : proof == "copy" ? Bytes(answer, "copied_bytes") + " copied into it"
                                            : "the same by its " + proof;
  fmt::print("{} stands on {}: {}\n", StringOf(answer, "disk").value_or(""),
             StringOf(answer, "parent").value_or(""), how);
}

void AddClone(CommandLine& line, CLI::App* disk) {
  DiskCommand clone(line, disk, "clone", "clone", "Copy a disk's whole chain to a new disk");
  clone.Word("to", "to", "The new disk, also on another volume of the mount")
      ->required()
      ->type_name("NEW_PATH");
  clone.OneOf("--format", "format", DiskFormatWords(), "The new disk's format (default: thin)");
  clone.Size("--grain", "grain_bytes", "Size of a grain, for sparse formats");
  clone.Flag("--all-tables", "all_tables", "vmfsSparse: make every table now, for other writers");
  clone.Flag("--linked", "linked", "Share what the source holds, which is frozen: a child of it");
  clone.TurnsInto("clone-linked", {"linked"});
  clone
      .Word("--device", "device",
            "Write over this block device, by its node or its id; the new disk maps it")
      ->type_name("DEVICE")
      ->excludes("--format")
      ->excludes("--grain")
      ->excludes("--all-tables")
      ->excludes("--linked");
  clone.Flag("--physical", "physical", "The map is in physical mode; on volumes only")
      ->needs("--device");
  clone.TurnsInto("clone-rdm", {"device"});
  clone.Prints(PrintClone);
}

void AddSpaceChange(CommandLine& line, CLI::App* disk, const char* name, const char* help) {
  DiskCommand(line, disk, name, name, help).Prints(PrintSpace);
}

// Which link a link stands on.
void AddParentChanges(CommandLine& line, CLI::App* disk) {
  DiskCommand attach(line, disk, "attach", "attach", "Put a sparse link on a parent");
  attach.Word("parent", "parent", "The descriptor it is to stand on")
      ->required()
      ->type_name("PARENT_PATH");
  attach.Flag("--force", "force", "Also when the link then reads differently: a new content id");
  DiskCommand(line, disk, "detach", "detach",
              "Make a link that reads nothing from its parent a base");
  DiskCommand rebase(line, disk, "rebase", "rebase",
                     "Put a link on another parent that holds the same");
  rebase.Word("parent", "parent", "The descriptor it is to stand on")
      ->required()
      ->type_name("PARENT_PATH");
  CLI::Option* const copy = rebase.Flag(
      "--copy", "copy", "Where the new parent differs, copy what was read into the link");
  rebase
      .Flag("--force", "force",
            "Without a look at the old parent: what the link does not hold reads as the new one "
            "says")
      ->excludes(copy);
  rebase.Prints(PrintRebase);
}

}  // namespace

void AddDiskCopies(CommandLine& line, CLI::App* disk) {
  AddClone(line, disk);
  DiskCommand compare(line, disk, "compare", "compare", "Compare what two disks hold");
  compare.app()->footer("Exit code: 0 the same, 4 they differ, 1 could not compare.");
  compare.Word("other", "other", "The other disk")->required()->type_name("OTHER_PATH");
  compare.Prints(PrintComparison, ExitCodeOfComparison);
  DiskCommand(line, disk, "hash", "hash", "Print the SHA-256 of what a guest would read")
      .Prints(PrintHash);
  AddSpaceChange(line, disk, "defragment", "Put a sparse disk's grains in the order of the disk");
  AddSpaceChange(line, disk, "inflate", "Give a flat disk all its space, zeros written to it");
  AddSpaceChange(line, disk, "eager-zero", "Write zeros to what a zeroedthick disk never used");
  AddSpaceChange(line, disk, "punch", "Give back the space of zeros");
  AddSpaceChange(line, disk, "zero", "Make the whole disk read as zeros: its content is gone");
  AddParentChanges(line, disk);
}

}  // namespace stratad
