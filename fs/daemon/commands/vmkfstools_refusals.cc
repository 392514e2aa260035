#include "fs/daemon/commands/vmkfstools.h"

namespace stratad {

std::vector<VmkRefusal> VmkRefusals() {
  return {
      {"-G,--growfs", "DEVICE", "grow file system",
       "a volume keeps its size: make a larger one with -C and copy what it holds"},
      {"-Z,--spanfs", "DEVICE", "span file system",
       "volumes on several devices are mounted, not made: make one on a larger device with -C"},
      {"-T,--upgradevmfs", nullptr, "upgrade file system",
       "VMFS-5 is read only, and no volume of it becomes VMFS-6: make one with -C and copy"},
      {"-y,--reclaimBlocks", nullptr, "reclaim blocks",
       "not needed: space goes back to the device as soon as it is free; -K gives that of a disk's "
       "zeros back"},
      {"-M,--migratevirtualdisk", nullptr, "migrate virtual disk",
       "copy it with -i, compare both with strata disk compare, then delete the old one with -U"},
      {"-I,--snapshotdisk", "SRC", "create snapshot of virtual disk",
       "use strata disk snapshot create"},
      {"-L,--lock", "COMMAND", "change SCSI reservation",
       "devices are not reserved by hand; sg_persist shows and changes reservations"},
      {"-B,--breaklock", nullptr, "break lock",
       "a mount takes over what a dead host held; -D and --activehosts show who holds what"},
      {"-p,--mapblocks", nullptr, "map blocks", "-t 0 prints the map of a disk"},
      {"--policyFile", "FILE", "use storage policy",
       "policies belong to vSAN and vVols; here -d says how space is taken"},
  };
}

}  // namespace stratad
