"""Everything a directory says twice must agree; every name must be found by its hash."""

from damage import Damaged
from descriptors import FOLDER, SYSTEM
from directories import (BUCKETS, HEADER_BYTES, LINKS, MAP, NAME_MAX, PER_MAP_BLOCK, RECORD_BYTES, RECORDS, ROOT_BUCKETS,
                         SYSTEM_NAMES, Block, Record, bucket_of, name_hash)

_NO_RECORD = bytes(RECORD_BYTES)
_HAS_FREE, _NEVER_WRITTEN = 4, 8


class DirectoryCheck:
    """Checks one directory. `report` takes each problem as a sentence; `strict` asks for the rules of our own volumes."""

    def __init__(self, directory, descriptor, strict, report):
        self.directory, self.descriptor, self.strict = directory, descriptor, strict
        self.report = lambda what: report(f"directory {descriptor.address:#x}: {what}")
        self.records, self.groups = {}, {}

    def run(self):
        """Returns the records of all names, without "." and ".."."""
        self._check_map()
        for number, nibble in enumerate(self.directory.nibbles[:self.directory.blocks]):
            self._check_block(number, nibble)
        self._check_paths()
        self._check_counts()
        return self.records.values()

    def _check_map(self):
        directory = self.directory
        if directory.map_numbers[0] != 0:
            self.report(f"its first allocation map lies in block {directory.map_numbers[0]}")
        if self.strict and directory.map_blocks != 1:
            self.report(f"it has {directory.map_blocks} allocation map blocks")
        if (self.descriptor.length - HEADER_BYTES) % directory.metadata_bytes:
            self.report(f"its length {self.descriptor.length} is not one of whole blocks")
        if directory.blocks > PER_MAP_BLOCK * directory.map_blocks:
            self.report(f"its {directory.blocks} blocks are not all in the map")
        beyond = directory.nibbles[directory.blocks:]
        if any(nibble != _NEVER_WRITTEN for nibble in beyond):
            self.report("its map knows blocks past its end")
        for number in directory.map_numbers:
            if directory.nibbles[number] & 3 != MAP:
                self.report(f"its map does not know its map block {number}")

    def _check_block(self, number, nibble):
        kind = nibble & 3
        if kind in (RECORDS, LINKS):
            at = self.directory.block_at(number)
            block = Block(self.directory.data, at)
            self._check_block_header(number, nibble, block)
            (self._take_records if kind == RECORDS else self._take_groups)(number, block, at + 64)
        elif kind == 0 and not nibble & _NEVER_WRITTEN:
            self._check_emptied(number)
        elif kind == MAP and number not in self.directory.map_numbers:
            self.report(f"block {number} is marked as a map, and is none")

    def _check_block_header(self, number, nibble, block):
        slots = (self.directory.metadata_bytes - 64) // (RECORD_BYTES if nibble & 3 == RECORDS else 84)
        free = (block.free_bits & (1 << slots) - 1).bit_count()
        wrong = {
            f"is of kind {block.kind}, its map says {nibble & 3}": block.kind != nibble & 3,
            f"is of version {block.version}": block.version != 1,
            f"has {block.slots} slots": block.slots != slots,
            f"has {block.free} free slots, its bitmap {free}": block.free != free,
            f"has {free} free slots, its map says otherwise": bool(nibble & _HAS_FREE) != (free > 0),
            "is marked as never written": nibble & _NEVER_WRITTEN,
            "has free bits past its slots": block.free_bits >> slots,
        }
        for what, is_wrong in wrong.items():
            if is_wrong:
                self.report(f"block {number} {what}")

    def _take_records(self, number, block, at):
        data = self.directory.data
        for slot in range(min(block.slots, (self.directory.metadata_bytes - 64) // RECORD_BYTES)):
            place = at + slot * RECORD_BYTES
            if not block.free_bits >> slot & 1:
                record = self.records[RECORDS | number << 2 | slot << 24] = Record(data, place)
                if record.offset != place:
                    self.report(f"{record.name!r} says it lies at {record.offset:#x}, not {place:#x}")
            elif self.strict and data[place:place + RECORD_BYTES] != _NO_RECORD:
                self.report(f"bytes in the free slot {slot} of block {number}")

    def _take_groups(self, number, block, _):
        for slot in range(min(block.slots, (self.directory.metadata_bytes - 64) // 84)):
            if not block.free_bits >> slot & 1:
                self.groups[LINKS | number << 2 | slot << 24] = None

    def _check_emptied(self, number):
        """A block given back may hold no names: simple readers would list them."""
        at = self.directory.block_at(number)
        if self.strict and Block(self.directory.data, at).kind == RECORDS and any(
                self.directory.data[at + 64:at + self.directory.metadata_bytes]):
            self.report(f"bytes of names in block {number}, which is given back")

    def _check_paths(self):
        """Follows every bucket, then asks of every record whether its own bucket leads to it."""
        found = {}
        for bucket, location in enumerate(self.directory.table):
            if not location:
                continue
            try:
                for place, part in self._locations(bucket, location):
                    if found.setdefault(place, (bucket, part)) != (bucket, part) or place not in self.records:
                        self.report(f"bucket {bucket} leads to {place:#x}, which is no record of its own")
            except Damaged as error:
                self.report(f"bucket {bucket}: {error}")
        unused = [place for place, owner in self.groups.items() if owner is None]
        if unused:
            self.report(f"{len(unused)} link groups that no bucket leads to, the first is {unused[0]:#x}")
        names = set()
        for place, record in self.records.items():
            self._check_record(record, found.get(place))
            if record.name in names:
                self.report(f"the name {record.name!r} is there twice")
            names.add(record.name)

    def _locations(self, bucket, location):
        """Yields the record locations of a bucket, each with the part of the hash beside it, if any."""
        if location & 3 == RECORDS:
            yield location, None
            return
        seen = set()
        for place, group in self.directory.chain(location):
            self._check_group(bucket, place, group)
            for link, part in group.links:
                if link and link in seen:
                    self.report(f"bucket {bucket} names {link:#x} twice")
                if link:
                    seen.add(link)
                    yield link, part

    def _check_group(self, bucket, place, group):
        if self.groups.get(place, bucket) is not None:
            self.report(f"bucket {bucket}: the link group {place:#x} is free or has another owner")
        self.groups[place] = bucket
        used = [link != 0 for link, _ in group.links]
        count = sum(used)
        if group.bucket != bucket or group.total != len(used) or group.free != len(used) - count:
            self.report(f"link group {place:#x}: bucket {group.bucket}, {group.free} of {group.total} free, has {count}")
        if count == 0 or not all(used[:count]):
            self.report(f"link group {place:#x}: its links are not packed")

    def _check_record(self, record, path):
        name = record.name
        if not 0 < len(name) <= NAME_MAX or b"/" in name or record.tail:
            self.report(f"the record of {name!r} is malformed")
        is_system = self.directory.is_root and name in SYSTEM_NAMES
        hash_value = name_hash(name)
        if record.hash != (0 if is_system else hash_value & 0xFFFFFFFF):
            self.report(f"{name!r}: hash {record.hash:#x} in its record")
        buckets = ROOT_BUCKETS if self.directory.is_root else BUCKETS
        bucket = bucket_of(name, True) if is_system else hash_value % buckets
        if path is None:
            self.report(f"{name!r}: bucket {bucket} does not lead to it")
        elif path[0] != bucket or path[1] not in (None, hash_value >> 16 & 0xFFFF):
            self.report(f"{name!r}: found under bucket {path[0]}, link hash {path[1]}, not {bucket}")

    def _check_counts(self):
        directory, count = self.directory, len(self.records) + 2
        if directory.entries != count:
            self.report(f"{directory.entries} entries in the header, {count} found")
        if directory.allocated < directory.entries:
            self.report(f"{directory.allocated} entries allocated, {directory.entries} used")
        for name, record in {b".": directory.self_record, b"..": directory.parent_record}.items():
            if record.name != name or record.hash or record.type not in (FOLDER, SYSTEM):
                self.report(f"its record {name!r} is malformed")
        if (directory.self_record.address, directory.self_record.generation) != (self.descriptor.address,
                                                                                self.descriptor.generation):
            self.report(f"'.' is {directory.self_record.address:#x}")
