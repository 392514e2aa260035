"""File descriptors: what a file is, and the addresses or bytes it carries."""

import struct

from damage import Damaged, numbers

FOLDER, FILE, SYMLINK, SYSTEM, RDM = 2, 3, 4, 5, 6
TYPE_NAMES = {FOLDER: "folder", FILE: "file", SYMLINK: "symlink", SYSTEM: "system", RDM: "rdm"}
DIRECT, SUB_BLOCKS, SINGLE, SINGLE_PB2, DOUBLE, INLINE = 1, 2, 3, 5, 0x10D0, 0x10D1
MAP_NAMES = {DIRECT: "direct", SUB_BLOCKS: "sub-blocks", SINGLE: "single indirect", SINGLE_PB2: "single indirect (pb2)",
             DOUBLE: "double indirect", INLINE: "inline"}
LOCK_TYPE, SIGNATURE = 0x10C00001, 0x66646D64
INLINE_OFFSET = 0x200

_LOCK = struct.Struct("<IQQQQI16s")
_FIELDS = struct.Struct("<5I3Q18I")


def address_of(cluster, item):
    return 4 | cluster << 6 | item << 22


def cluster_and_item(address):
    return address >> 6 & 0xFFFF, address >> 22


class Lock:
    """The block in front of every lockable structure."""
    __slots__ = ("type", "place", "heartbeat", "generation", "version", "mode", "owner", "_holders")

    def __init__(self, data, offset=0):
        (self.type, self.place, self.heartbeat, self.generation, self.version, self.mode,
         self.owner) = _LOCK.unpack_from(data, offset)
        self._holders = data[offset + 0x40:offset + 0x144] if self.mode not in (0, 1) else b""

    def holders(self):
        """Heartbeat address and generation of each host that holds the lock, as far as the lock says."""
        if self.mode == 1:
            return [(self.heartbeat, self.generation)]
        if self.mode in (2, 3):
            count = min(struct.unpack_from("<I", self._holders)[0], 8)
            return [struct.unpack_from("<QQ", self._holders, 4 + 32 * index) for index in range(count)]
        return []

    def fault(self, generations):
        """What is wrong with a lock on a volume that nobody uses. `generations` has the generation of each heartbeat by its
        address, where hosts may have died: their locks stay until somebody needs them. Empty: no lock may be left."""
        if self.mode not in (0, 1, 2, 3):
            return f"locked in mode {self.mode}"
        if self.mode == 0:
            return "free, but with an owner" if any(self.owner) else ""
        held = [place for place, generation in self.holders() if generations.get(place, generation) == generation]
        return f"locked in mode {self.mode} by the heartbeat at {held[0]:#x}" if held else ""


class Descriptor:
    """One descriptor with its lock; `data` is two metadata blocks from `offset` on."""
    __slots__ = ("lock", "address", "generation", "links", "type", "flags", "length", "block_bytes", "blocks", "mtime",
                 "ctime", "atime", "uid", "gid", "mode", "map_kind", "pointer_blocks", "signature", "affinity", "parent",
                 "_metadata", "tbz_blocks", "cow_blocks")

    def __init__(self, data, metadata_bytes, offset=0):
        self.lock = Lock(data, offset)
        at = offset + metadata_bytes
        (self.address, self.generation, self.links, self.type, self.flags, self.length, self.block_bytes, self.blocks,
         self.mtime, self.ctime, self.atime, self.uid, self.gid, self.mode, self.map_kind, self.tbz_blocks, self.cow_blocks,
         _, _, _, self.pointer_blocks, _, self.signature, self.affinity, _, self.parent) = _FIELDS.unpack_from(data, at)
        self._metadata = memoryview(data)[at:at + metadata_bytes]

    @property
    def slots(self):
        """The addresses the descriptor holds."""
        size = len(self._metadata)
        return numbers(self._metadata[size - 2560 if size == 4096 else size // 2:], 8)

    def inline(self, length=None):
        """The bytes inside the descriptor."""
        length = self.length if length is None else length
        if length > len(self._metadata) - INLINE_OFFSET:
            raise Damaged(f"descriptor {self.address:#x}: {length} bytes inline")
        return bytes(self._metadata[INLINE_OFFSET:INLINE_OFFSET + length])

    @property
    def target(self):
        """Where a symlink points to."""
        return self.inline().decode(errors="surrogateescape")

    def status(self):
        """The attributes a caller of stat would ask for, and the map."""
        return {"type": TYPE_NAMES.get(self.type, str(self.type)), "descriptor": self.address, "generation": self.generation,
                "nlink": self.links, "size": self.length, "blocks": self.blocks, "block_size": self.block_bytes,
                "mode": f"{self.mode & 0o7777:04o}", "uid": self.uid, "gid": self.gid, "mtime": self.mtime,
                "ctime": self.ctime, "atime": self.atime, "parent": self.parent,
                "map": MAP_NAMES.get(self.map_kind, hex(self.map_kind)), "pointer_blocks": self.pointer_blocks}
