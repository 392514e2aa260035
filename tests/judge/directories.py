"""Directories: the name hash, the hash table, blocks of records and of links, and the allocation map."""

import struct

from damage import Damaged, numbers, u32

VERSIONS = (0x00F50001, 0x00FDC001)
HEADER_BYTES, BLOCK_HEADER_BYTES, RECORD_BYTES, LINK_GROUP_BYTES = 0x10000, 64, 0x120, 84
TABLE, BUCKETS, ROOT_BUCKETS = 0x5F8, 16001, 15973
RECORDS, LINKS, MAP = 1, 2, 3
PER_MAP_BLOCK = 8064
NAME_MAX = 127
SYSTEM_NAMES = (b".fbb.sf", b".fdc.sf", b".pbc.sf", b".sbc.sf", b".vh.sf", b".pb2.sf", b".sdd.sf", b".jbc.sf",
                b".unmap.sf", b".dfd.sf")
SYSTEM_BUCKET = 0x3E66
SYSTEM_ADDRESSES = {name: 4 | item << 22 for item, name in enumerate(SYSTEM_NAMES, 1)}

_MASK = (1 << 64) - 1
_WORDS = struct.Struct("<32Q")
_FILLER = struct.pack("<Q", 0x739A75C28E61B017)
_RECORD = struct.Struct("<4IQ256sQ")
_GROUP = struct.Struct("<H4B" + "IH" * 12 + "IH")
_NO_RECORD = bytes(RECORD_BYTES)


def name_hash(name):
    """The 64-bit hash of a name given as bytes."""
    padded = bytearray(256)
    padded[:len(name)] = name
    start = (len(name) + 8) // 8 * 8
    if start < 128:
        padded[start:128] = _FILLER * ((128 - start) // 8)
    words = _WORDS.unpack(padded)
    a = b = 42
    c = 0x9E3779B97F4A7C13
    for at in range(0, 30, 3):
        a, b, c = _mix(a + words[at], b + words[at + 1], c + words[at + 2])
    return _mix(a + words[30], b + words[31], c + 32)[2]


def _mix(a, b, c):
    """Three 64-bit words, each step reduced modulo 2^64 before it is shifted."""
    a = (a - b - c & _MASK) ^ (c & _MASK) >> 43
    b = (b - c - a ^ a << 9) & _MASK
    c = (c - a - b & _MASK) ^ b >> 8
    a = (a - b - c & _MASK) ^ c >> 38
    b = (b - c - a ^ a << 23) & _MASK
    c = (c - a - b & _MASK) ^ b >> 5
    a = (a - b - c & _MASK) ^ c >> 35
    b = (b - c - a ^ a << 49) & _MASK
    c = (c - a - b & _MASK) ^ b >> 11
    a = (a - b - c & _MASK) ^ c >> 12
    b = (b - c - a ^ a << 18) & _MASK
    c = (c - a - b & _MASK) ^ b >> 22
    return a, b, c


def bucket_of(name, is_root):
    """The index in the hash table where a name's search begins."""
    if is_root and name in SYSTEM_NAMES:
        return SYSTEM_BUCKET + SYSTEM_NAMES.index(name)
    return name_hash(name) % (ROOT_BUCKETS if is_root else BUCKETS)


class Record:
    """A name and the descriptor it stands for."""
    __slots__ = ("type", "address", "generation", "hash", "offset", "name", "tail")

    def __init__(self, data, at):
        self.type, self.address, self.generation, self.hash, self.offset, name, self.tail = _RECORD.unpack_from(data, at)
        end = name.find(b"\0")
        self.name = name if end < 0 else name[:end]


class Block:
    """The header of a directory block."""
    __slots__ = ("version", "kind", "slots", "free", "free_bits")

    def __init__(self, data, at):
        self.version, self.kind, self.slots, self.free = struct.unpack_from("<4H", data, at)
        self.free_bits = int.from_bytes(data[at + 8:at + 64], "little")


class LinkGroup:
    """Up to twelve locations of names with one bucket."""
    __slots__ = ("bucket", "total", "free", "next_free", "links", "next")

    def __init__(self, data, at):
        fields = _GROUP.unpack_from(data, at)
        self.bucket, self.total, self.free, self.next_free = fields[:4]
        self.links = list(zip(fields[5:29:2], fields[6:29:2]))
        self.next = fields[29]


class Directory:
    """A directory in memory; reads no more of it than is asked for."""

    def __init__(self, data, metadata_bytes, is_root):
        if len(data) < HEADER_BYTES + metadata_bytes:
            raise Damaged(f"directory of {len(data)} bytes")
        if u32(data, 0) not in VERSIONS:
            raise Damaged(f"directory of version {u32(data, 0):#x}")
        self.data, self.metadata_bytes, self.is_root = data, metadata_bytes, is_root
        self.entries, self.allocated, self.map_blocks = u32(data, 4), u32(data, 8), u32(data, 12)
        if not 1 <= self.map_blocks <= 128:
            raise Damaged(f"directory with {self.map_blocks} allocation map blocks")
        self.map_numbers = numbers(data[16:16 + 4 * self.map_blocks], 4)
        self.table = numbers(data[TABLE:TABLE + 4 * BUCKETS], 4)
        self.self_record, self.parent_record = Record(data, 0x3B8), Record(data, 0x4D8)
        self.blocks = (len(data) - HEADER_BYTES) // metadata_bytes
        self.nibbles = self._read_map()

    def _read_map(self):
        nibbles = []
        for number in self.map_numbers:
            at = self.block_at(number)
            if Block(self.data, at).kind != MAP:
                raise Damaged(f"directory: block {number} is no allocation map")
            for byte in self.data[at + BLOCK_HEADER_BYTES:at + self.metadata_bytes]:
                nibbles += (byte >> 4, byte & 15)
        return nibbles

    def block_at(self, number):
        if number >= self.blocks:
            raise Damaged(f"directory: block {number} of {self.blocks}")
        return HEADER_BYTES + number * self.metadata_bytes

    def _slot_at(self, location, kind, size):
        number, slot = location >> 2 & 0x3FFFFF, location >> 24
        at = self.block_at(number)
        if location & 3 != kind or Block(self.data, at).kind != kind:
            raise Damaged(f"directory: location {location:#x} is of another kind")
        if slot >= (self.metadata_bytes - BLOCK_HEADER_BYTES) // size:
            raise Damaged(f"directory: location {location:#x} has no such slot")
        return at + BLOCK_HEADER_BYTES + slot * size

    def record(self, location):
        return Record(self.data, self._slot_at(location, RECORDS, RECORD_BYTES))

    def group(self, location):
        return LinkGroup(self.data, self._slot_at(location, LINKS, LINK_GROUP_BYTES))

    def chain(self, location):
        """Yields location and contents of each link group from one on."""
        seen = set()
        while location:
            if location in seen:
                raise Damaged(f"directory: the link groups at {location:#x} form a ring")
            seen.add(location)
            group = self.group(location)
            yield location, group
            location = group.next

    def find(self, name):
        """The record of a name given as bytes, found by its hash, or None."""
        if name in (b".", b".."):
            return self.self_record if name == b"." else self.parent_record
        location = self.table[bucket_of(name, self.is_root)]
        if location & 3 == RECORDS:
            candidates = [location]
        else:
            wanted = name_hash(name) >> 16 & 0xFFFF
            candidates = [link for _, group in self.chain(location) for link, part in group.links if link and part == wanted]
        found = (self.record(candidate) for candidate in candidates)
        return next((record for record in found if record.name == name), None)

    def records(self):
        """Yields location and record of every name, in the order of the blocks, without "." and ".."."""
        per_block = (self.metadata_bytes - BLOCK_HEADER_BYTES) // RECORD_BYTES
        for number, nibble in enumerate(self.nibbles[:self.blocks]):
            if nibble & 3 != RECORDS:
                continue
            at = self.block_at(number)
            free = int.from_bytes(self.data[at + 8:at + 64], "little")
            for slot in range(per_block):
                if not free >> slot & 1:
                    yield RECORDS | number << 2 | slot << 24, Record(self.data, at + BLOCK_HEADER_BYTES + slot * RECORD_BYTES)
