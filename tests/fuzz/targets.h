// The fuzz targets: one function for each decoder that meets bytes of a disk, guest or user.
//
// A target takes any bytes and ends: no crash, no CHECK, no memory without bound, and the
// invariants it states. Where a checksum stands before a decoder the target puts it right, so that
// the decoder is reached. `tests/fuzz/run.py` explores them with clang's libFuzzer; every build
// replays `corpus/NAME` (`corpus_test.cc`). Thread rule: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace fuzz {

using Input = std::span<const std::byte>;

struct Target {
  const char* name;  // the folder of its corpus
  void (*run)(Input input);
  size_t input_bytes_max;
};

// All of them, by name.
std::span<const Target> AllTargets();

// Null when there is none of that name.
const Target* FindTarget(std::string_view name);

// --- the volume's headers: volume_targets.cc
void RunLvm(Input input);
void RunSuperblock(Input input);
void RunMark(Input input);
void RunHeartbeatSlot(Input input);
void RunLockBlock(Input input);
void RunExistingContent(Input input);

// --- descriptors with their maps, and a whole damaged volume: file_targets.cc
void RunDescriptor(Input input);
void RunVolume(Input input);

// --- resource files: resource_targets.cc
void RunResourceHeader(Input input);
void RunCluster(Input input);

// --- directories: directory_targets.cc
void RunDirectoryHeader(Input input);
void RunDirectoryBlock(Input input);
void RunDirectoryCheck(Input input);
void RunDirectory(Input input);

// --- journals: journal_targets.cc
void RunJournalHeader(Input input);
void RunJournalTransaction(Input input);
void RunJournal(Input input);
void RunRepairRecord(Input input);

// --- VMFS-5: vmfs5_targets.cc
void RunVmfs5Geometry(Input input);
void RunVmfs5Descriptor(Input input);
void RunVmfs5Record(Input input);

// --- virtual disks: disk_targets.cc
void RunDiskDescriptor(Input input);
void RunDiskChain(Input input);
void RunVmFolder(Input input);
void RunSnapshotIntent(Input input);

// --- their sparse extents: sparse_targets.cc
void RunSectorFile(Input input);
void RunSparseHeader(Input input);
void RunStreamExtent(Input input);

// --- seSparse extents: se_sparse_targets.cc
void RunSeHeader(Input input);
void RunSeFile(Input input);

// --- the checker and the repairer of disks: disk_check_targets.cc
void RunDiskCheck(Input input);

// --- packages disks travel in: exchange_targets.cc
void RunOvf(Input input);
void RunManifest(Input input);
void RunArchive(Input input);

// --- SCSI: scsi_targets.cc
void RunScsiCdb(Input input);
void RunScsiParameterData(Input input);

// --- the daemon: daemon_targets.cc
void RunControlMessage(Input input);
void RunMountTable(Input input);

}  // namespace fuzz
