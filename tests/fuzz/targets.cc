#include "tests/fuzz/targets.h"

#include <algorithm>

namespace fuzz {
namespace {

constexpr Target kTargets[] = {
    {"archive", RunArchive, 8192},
    {"cluster", RunCluster, 4200},
    {"control_message", RunControlMessage, 4096},
    {"descriptor", RunDescriptor, 16384},
    {"directory", RunDirectory, 1024},
    {"directory_block", RunDirectoryBlock, 4096},
    {"directory_check", RunDirectoryCheck, 1024},
    {"directory_header", RunDirectoryHeader, 4096},
    {"disk_chain", RunDiskChain, 4096},
    {"disk_check", RunDiskCheck, 512},
    {"disk_descriptor", RunDiskDescriptor, 8192},
    {"existing_content", RunExistingContent, 8192},
    {"heartbeat_slot", RunHeartbeatSlot, 512},
    {"journal", RunJournal, 8192},
    {"journal_header", RunJournalHeader, 512},
    {"journal_transaction", RunJournalTransaction, 4096},
    {"lock_block", RunLockBlock, 512},
    {"lvm", RunLvm, 8192},
    {"manifest", RunManifest, 4096},
    {"mark", RunMark, 256},
    {"mount_table", RunMountTable, 4096},
    {"ovf", RunOvf, 8192},
    {"repair_record", RunRepairRecord, 4096},
    {"resource_header", RunResourceHeader, 513},
    {"scsi_cdb", RunScsiCdb, 1024},
    {"scsi_parameter_data", RunScsiParameterData, 512},
    {"se_file", RunSeFile, 2048},
    {"se_header", RunSeHeader, 512},
    {"sector_file", RunSectorFile, 2048},
    {"snapshot_intent", RunSnapshotIntent, 2048},
    {"sparse_header", RunSparseHeader, 2048},
    {"stream_extent", RunStreamExtent, 2048},
    {"superblock", RunSuperblock, 512},
    {"vm_folder", RunVmFolder, 4096},
    {"vmfs5_descriptor", RunVmfs5Descriptor, 2048},
    {"vmfs5_geometry", RunVmfs5Geometry, 4096},
    {"vmfs5_record", RunVmfs5Record, 560},
    {"volume", RunVolume, 1024},
};

}  // namespace

std::span<const Target> AllTargets() {
  return kTargets;
}

const Target* FindTarget(std::string_view name) {
  const auto found = std::ranges::find(kTargets, name, &Target::name);
  return found == std::end(kTargets) ? nullptr : found;
}

}  // namespace fuzz
