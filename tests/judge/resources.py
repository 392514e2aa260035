"""Resource files: headers, cluster headers, and where an item lies."""

import functools

from damage import Damaged, numbers, u16, u32, u64
from descriptors import Lock

MIB = 1 << 20
HEADER_SIGNATURE, CLUSTER_SIGNATURE = 0x72666D64, 0x72636D64
BITMAP = 0x80
# By resources per cluster: where the affinity keys of the items begin.
KEYS = {256: 0x8E0, 32: 0x2E0}
AFFINITY_LIST = 0x940


class Header:
    """How the items of a resource file are laid out."""

    def __init__(self, data, offset=0):
        (self.per_cluster, self.clusters_per_group, self.group_offset, self.item_bytes,
         self.group_bytes) = (u32(data, offset + at) for at in range(0, 0x14, 4))
        self.items = u32(data, offset + 0x14) | u32(data, offset + 0x1C) << 32
        self.groups = u32(data, offset + 0x18)
        self.signature, self.version, self.flags = (u32(data, offset + at) for at in (0x20, 0x24, 0x28))
        self.list_entries = u16(data, offset + 0x2C)
        self.bits = u32(data, offset + 0x30)
        self.child_offset = u32(data, offset + 0x34)
        self.parent = tuple(u32(data, offset + at) for at in (0x38, 0x3C, 0x40))
        self.broken_up = u32(data, offset + 0x54)

    @property
    def clusters(self):
        return -(-self.items // self.per_cluster) if self.items else 0


class Cluster:
    """A cluster header: lock and metadata block."""

    def __init__(self, data, header, metadata_bytes):
        self.lock = Lock(data)
        block = memoryview(data)[metadata_bytes:2 * metadata_bytes]
        self.block, self.header = block, header
        self.signature = u32(block, 0x10)
        self.number = u64(block, 0x18)
        self.total, self.free = u16(block, 0x20), u16(block, 0x22)
        self.list_count = u16(block, 0x26)
        self.first_free = u32(block, 0x7C)
        length = (header.per_cluster * header.bits + 7) // 8
        self.codes = int.from_bytes(block[BITMAP:BITMAP + length], "little")

    def code(self, item):
        return self.codes >> item * self.header.bits & (1 << self.header.bits) - 1

    @functools.cached_property
    def allocated(self):
        """A bit for each allocated item; bit 0 of an item's code says that it is free."""
        bits, total = self.header.bits, self.total
        if not total:
            return 0
        codes = f"{self.codes:0{bits * total}b}"[-bits * total:]
        return ~int(codes[bits - 1::bits], 2) & (1 << total) - 1

    @property
    def keys(self):
        """The descriptor each item was allocated for, where the layout is known."""
        at = KEYS.get(self.header.per_cluster)
        return numbers(self.block[at:at + 4 * self.header.per_cluster], 4) if at else None

    def affinity_list(self):
        """(descriptor address, blocks) of each entry."""
        values = numbers(self.block[AFFINITY_LIST:AFFINITY_LIST + 8 * self.list_count], 4)
        return list(zip(values[::2], values[1::2]))


class ResourceFile:
    """A resource file. `blocks` are the volume offsets of its 1 MiB blocks, 0 for none."""

    def __init__(self, volume, name, blocks, metadata_bytes, header):
        self.volume, self.name, self.blocks, self.metadata_bytes = volume, name, blocks, metadata_bytes
        self.header = header

    def place(self, offset):
        """The volume offset of a byte of the file."""
        block = offset // MIB
        if block >= len(self.blocks) or not self.blocks[block]:
            raise Damaged(f"{self.name}: no block for byte {offset:#x}")
        return self.blocks[block] + offset % MIB

    def cluster_offset(self, cluster):
        header = self.header
        group, index = divmod(cluster, header.clusters_per_group)
        return header.group_offset + group * header.group_bytes + index * 2 * self.metadata_bytes

    def item_offset(self, cluster, item):
        header = self.header
        group, index = divmod(cluster, header.clusters_per_group)
        return (header.group_offset + group * header.group_bytes + header.clusters_per_group * 2 * self.metadata_bytes
                + (index * header.per_cluster + item) * header.item_bytes)

    def item_place(self, cluster, item):
        if item >= self.header.per_cluster or cluster * self.header.per_cluster + item >= self.header.items:
            raise Damaged(f"{self.name}: no item {item} in cluster {cluster}")
        return self.place(self.item_offset(cluster, item))

    def cluster_data(self, cluster):
        """The volume offset and the bytes of a cluster header."""
        place = self.place(self.cluster_offset(cluster))
        return place, self.volume.read(place, 2 * self.metadata_bytes)

    def clusters(self):
        """Yields number, volume offset and contents of every cluster header."""
        for number in range(self.header.clusters):
            place, data = self.cluster_data(number)
            yield number, place, Cluster(data, self.header, self.metadata_bytes)


class SmallBlocks(ResourceFile):
    """The child of .fbb.sf: its cluster headers are the items of the parent."""

    def __init__(self, parent, header):
        super().__init__(parent.volume, parent.name, parent.blocks, parent.metadata_bytes, header)
        self.parent = parent

    def cluster_offset(self, cluster):
        return self.parent.item_offset(*divmod(cluster, self.parent.header.per_cluster))
