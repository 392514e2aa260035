"""The FS descriptor, the heartbeat slots and Strata's private mark."""

from dataclasses import dataclass

from damage import Damaged, crc32c, text, u16, u32, u64, uuid_text

OFFSET = 0x200000
MAGICS = (0x2FABF15E, 0x2FABF15F)
HEARTBEATS, HEARTBEAT_SLOTS = 0x300000, 1024
HEARTBEAT_FREE, HEARTBEAT_USED, HEARTBEAT_REPLAYING = 0xABCDEF01, 0xABCDEF02, 0xABCDEF03
MARK, MARK_BYTES = 0x200, 256
MAILBOXES, MAILBOXES_END = 0x210000, 0x250000
REPAIR_LOG = 0x251000  # up to the heartbeats; means nothing without the record in the block before
MIB = 1 << 20


class Superblock:
    """The descriptor of a VMFS-6 file system, read from a logical volume."""

    def __init__(self, volume):
        data = volume.read(OFFSET, 4096)
        if u32(data, 0) not in MAGICS:
            raise Damaged(f"superblock: magic {u32(data, 0):#x}")
        self.major, self.minor = u32(data, 4), data[8]
        if self.major != 24:
            raise Damaged(f"superblock: version {self.major}, not 24")
        self.uuid_bytes = data[9:25]
        self.uuid = uuid_text(self.uuid_bytes)
        self.label = text(data[0x1D:0x9D])
        self.block_bytes = u64(data, 0xA1)
        self.lvm_uuid_bytes = data[0xB1:0xC1]
        self.group_offset, self.clusters_per_group = u32(data, 0xD1), u32(data, 0xD5)
        self.sub_block_bytes = u32(data, 0xD9)
        self.pb2_place, self.pb2_address = u64(data, 0xE1), u32(data, 0xE9)
        self.sdd_place, self.sdd_address = u64(data, 0x105), u32(data, 0x10D)
        self.checksum_type = data[0x111]
        self.metadata_bytes = u32(data, 0x134)
        self.small_per_large = 1 << u16(data, 0x138)
        self.pointer_block_bytes = 1 << u16(data, 0x13E)
        self.journal_block_bytes = u32(data, 0x148)
        self._check_geometry()
        self.data = volume.read(OFFSET, self.metadata_bytes)
        self.mark = data[MARK:MARK + MARK_BYTES]
        self.is_ours = self.mark[:8] == b"STRATAFS"

    def _check_geometry(self):
        wanted = {"file block": (self.block_bytes, MIB), "sub-block": (self.sub_block_bytes, 1 << 16),
                  "pointer block": (self.pointer_block_bytes, 1 << 16), "small per large block": (self.small_per_large, 512),
                  "journal block": (self.journal_block_bytes, 2 * MIB)}
        for what, (found, right) in wanted.items():
            if found != right:
                raise Damaged(f"superblock: {what} of {found}, not {right}")
        if self.metadata_bytes < 4096 or self.metadata_bytes & (self.metadata_bytes - 1):
            raise Damaged(f"superblock: metadata alignment {self.metadata_bytes}")
        if self.checksum_type:
            raise Damaged(f"superblock: checksums of type {self.checksum_type}")

    @property
    def descriptor_base(self):
        """Where .fdc.sf begins."""
        return (1024 * self.metadata_bytes + 3 * MIB + MIB - 1) // MIB * MIB

    @property
    def root_place(self):
        """Where descriptor 0, the root's, lies."""
        return self.descriptor_base + self.group_offset + self.clusters_per_group * 2 * self.metadata_bytes

    def check(self, volume):
        """The mark and the private areas. Returns the problems."""
        problems = []
        if self.lvm_uuid_bytes != volume.devices[0].volume_uuid_bytes:
            problems.append("superblock: names another logical volume")
        if volume.devices[0].metadata_alignment != self.metadata_bytes:
            problems.append("superblock: the LVM header has another metadata alignment")
        if not self.is_ours:
            return problems
        if u32(self.mark, 0xFC) != crc32c((OFFSET + MARK).to_bytes(8, "little") + self.mark[:0xFC]):
            problems.append("superblock: the private mark has a wrong CRC")
        if self.uuid_bytes not in self.mark:
            problems.append("superblock: the private mark names another file system")
        if any(self.data[MARK + MARK_BYTES:]):
            problems.append("superblock: bytes behind the private mark")
        rest = volume.read(OFFSET + self.metadata_bytes, MAILBOXES - OFFSET - self.metadata_bytes)
        rest += volume.read(MAILBOXES_END, REPAIR_LOG - MAILBOXES_END)
        if any(rest):
            problems.append("private area: bytes outside the mailboxes")
        return problems


@dataclass
class Heartbeat:
    """One slot that is in use or unreadable."""
    index: int
    state: int
    owner: str
    problem: str


def generations(volume, superblock):
    """The generation of each heartbeat by its volume address."""
    step = superblock.metadata_bytes
    region = volume.read(HEARTBEATS, step * HEARTBEAT_SLOTS)
    return {HEARTBEATS + at: u64(region, at + 12) for at in range(0, len(region), step)}


def heartbeats(volume, superblock):
    """Yields each slot that is not free and in order."""
    step = superblock.metadata_bytes
    region = volume.read(HEARTBEATS, step * HEARTBEAT_SLOTS)
    for index in range(HEARTBEAT_SLOTS):
        slot = region[index * step:(index + 1) * step]
        state, place, generation = u32(slot, 0), u64(slot, 4), u64(slot, 12)
        problem = ""
        if place != HEARTBEATS + index * step:
            problem = f"says it lies at {place:#x}"
        elif state == HEARTBEAT_FREE and (any(slot[0x1C:0x30]) or any(slot[0x64:0x6C])):
            problem = "is free but has an owner or a journal"
        elif state == HEARTBEAT_FREE and generation % 2:
            problem = f"is free at the odd generation {generation}"
        elif state not in (HEARTBEAT_FREE, HEARTBEAT_USED, HEARTBEAT_REPLAYING):
            problem = f"is in state {state:#x}"
        if problem or state != HEARTBEAT_FREE:
            yield Heartbeat(index, state, uuid_text(slot[0x1C:]), problem)
