"""Ways to damage a volume, each with words that the check must then say. Every damage is one wrong fact on disk."""

import struct

from block_maps import kind_of
from directories import (BLOCK_HEADER_BYTES, HEADER_BYTES, LINKS, RECORD_BYTES, TABLE, Block,
                         bucket_of)
from superblock import HEARTBEATS, OFFSET

FREE_COUNT, AFFINITY_LIST, CODES = 0x22, 0x940, 0x80


class Damager:
    """Finds places on a volume and changes bytes there; `undo` puts all of them back."""

    def __init__(self, file_system, image):
        self.file_system, self.image, self.changes = file_system, image, []
        self.metadata_bytes = file_system.metadata_bytes

    def put(self, place, data):
        """Writes at a volume offset."""
        (_, offset, _), = self.file_system.volume.pieces(place, len(data))
        self.put_on_device(offset, data)

    def put_on_device(self, offset, data):
        with open(self.image, "r+b") as file:
            file.seek(offset)
            self.changes.append((offset, file.read(len(data))))
            file.seek(offset)
            file.write(data)

    def undo(self):
        with open(self.image, "r+b") as file:
            while self.changes:
                offset, data = self.changes.pop()
                file.seek(offset)
                file.write(data)

    def metadata_of(self, path):
        """Descriptor and volume offset of its metadata block."""
        descriptor = self.file_system.lookup(path)
        return descriptor, descriptor.lock.place + self.metadata_bytes

    def slot_place(self, path, number=0):
        return self.metadata_of(path)[1] + self.metadata_bytes - 2560 + 8 * number

    def in_folder(self, path, offset):
        """The volume offset of a byte of a folder's file."""
        block_map = self.file_system.map(self.file_system.lookup(path))
        number, inside = divmod(offset, block_map.descriptor.block_bytes)
        return block_map.place(number, block_map.block(number)) + inside

    def record_place(self, folder, name):
        directory = self.file_system.directory(self.file_system.lookup(folder))
        return self.in_folder(folder, directory.find(name).offset)

    def small_cluster(self, number=0):
        """Volume offset of a small-block cluster's metadata, and the cluster."""
        _, place, cluster = next(found for found in self.file_system.free_blocks.clusters() if found[0] == number)
        return place + self.metadata_bytes, cluster

    def block_of(self, folder, kind):
        """Number and offset in the file of a folder's first block of a kind."""
        directory = self.file_system.directory(self.file_system.lookup(folder))
        number = next(number for number, nibble in enumerate(directory.nibbles) if nibble & 3 == kind)
        return directory, HEADER_BYTES + number * self.metadata_bytes


def forget_a_name(damager):
    bucket = bucket_of(b"name-7", False)
    damager.put(damager.in_folder("wide", TABLE + 4 * bucket), bytes(4))


def wrong_bucket(damager):
    directory = damager.file_system.directory(damager.file_system.lookup("small"))
    bucket = bucket_of(b"inline", False)
    damager.put(damager.in_folder("small", TABLE + 4 * bucket), bytes(4))
    damager.put(damager.in_folder("small", TABLE + 4 * (bucket + 1)), struct.pack("<I", directory.table[bucket]))


def break_a_link_hash(damager):
    _, at = damager.block_of("wide", LINKS)
    damager.put(damager.in_folder("wide", at + BLOCK_HEADER_BYTES + 10), b"\xa5\x5a")


def leave_bytes_of_a_name(damager):
    directory, at = damager.block_of("small", 1)
    free = Block(directory.data, at).free_bits
    slot = (free & -free).bit_length() - 1
    damager.put(damager.in_folder("small", at + BLOCK_HEADER_BYTES + slot * RECORD_BYTES + 0x18), b"ghost")


def leave_a_link_group(damager):
    """Turns the first bucket that leads to a link group away from it."""
    table = damager.file_system.directory(damager.file_system.lookup("wide")).table
    bucket = next(bucket for bucket, location in enumerate(table) if location & 3 == LINKS)
    damager.put(damager.in_folder("wide", TABLE + 4 * bucket), bytes(4))


def wrong_record(offset, data):
    return lambda damager: damager.put(damager.record_place("small", b"inline") + offset, data)


def wrong_field(path, offset, form, value):
    return lambda damager: damager.put(damager.metadata_of(path)[1] + offset, struct.pack(form, value))


def share_a_block(damager):
    other = damager.file_system.lookup("blocks").slots[0]
    damager.put(damager.slot_place("other", 0), struct.pack("<Q", other))


def empty_slot_in_front(damager):
    descriptor = damager.file_system.lookup("blocks")
    assert kind_of(descriptor.slots[0]) == 1
    damager.put(damager.slot_place("blocks", 1), bytes(8))


def to_be_zeroed(damager):
    address = damager.file_system.lookup("blocks").slots[0]
    damager.put(damager.slot_place("blocks", 0), struct.pack("<Q", address | 0xFF << 7))


def flip_block_code(wanted):
    """Turns the code of the last allocated or the last free small block over."""
    def flip(damager):
        place, cluster = damager.small_cluster()
        item = max(item for item in range(cluster.total) if (cluster.code(item) & 1) != wanted)
        byte = cluster.codes >> item // 4 * 8 & 255
        damager.put(place + CODES + item // 4, bytes([byte ^ 1 << item % 4 * 2]))
    return flip


def leak_a_sub_block(damager):
    number, place, cluster = next(damager.file_system.resources[b".sbc.sf"].clusters())
    item = (cluster.codes & -cluster.codes).bit_length() - 1
    assert number == 0
    damager.put(place + damager.metadata_bytes + CODES + item // 8,
                bytes([cluster.codes >> item // 8 * 8 & 255 & ~(1 << item % 8)]))


def wrong_sub_block_owner(damager):
    cluster, item = next((place for place in _sub_blocks(damager, "sub-block")))
    place = damager.file_system.resources[b".sbc.sf"].cluster_data(cluster)[0]
    damager.put(place + damager.metadata_bytes + 0x8E0 + 4 * item, struct.pack("<I", 0x7FC00004))


def _sub_blocks(damager, path):
    for _, address in damager.file_system.map(damager.file_system.lookup(path)).blocks():
        yield address >> 6 & 0xFFFFFFFFF, address >> 56


def wrong_cluster_field(offset, data):
    return lambda damager: damager.put(damager.small_cluster()[0] + offset, data)


def hold_a_lock(damager):
    damager.put(damager.file_system.lookup("blocks").lock.place + 0x24, struct.pack("<I", 1))


def hold_a_heartbeat(damager):
    damager.put(HEARTBEATS + 77 * damager.metadata_bytes, struct.pack("<I", 0xABCDEF02))


def leave_a_transaction(damager):
    journals = damager.file_system.resources[b".jbc.sf"]
    for item in range(4):
        place = journals.item_place(0, item)
        if damager.file_system.volume.read(place, 4) != bytes(4):
            damager.put(place + 8192, b"\x01\x02\x03\x04")
            return
    raise AssertionError("no journal was ever used")


DAMAGES = {
    "a name its bucket does not lead to": (forget_a_name, "does not lead to it"),
    "a name under another bucket": (wrong_bucket, "found under bucket"),
    "a wrong hash beside a link": (break_a_link_hash, "link hash"),
    "bytes in a free record": (leave_bytes_of_a_name, "in the free slot"),
    "a link group of no bucket": (leave_a_link_group, "that no bucket leads to"),
    "a record with another hash": (wrong_record(0x0C, b"\x01\x02\x03\x04"), "in its record"),
    "a record of another place": (wrong_record(0x10, b"\x00"), "says it lies at"),
    "a record of an older generation": (wrong_record(0x08, b"\xff\xff"), "and generation"),
    "a record of a free descriptor": (wrong_record(0x04, struct.pack("<I", 4 | 7 << 6 | 255 << 22)), "no descriptor in use"),
    "a wrong number of entries": (lambda damager: damager.put(damager.in_folder("small", 4), b"\x09"), "entries in the header"),
    "a directory map that forgets a block":
        (lambda damager: damager.put(damager.in_folder("small", HEADER_BYTES + BLOCK_HEADER_BYTES), b"\x38"), "entries in the"),
    "a wrong link count": (wrong_field("small", 0x08, "<I", 7), "link count 7"),
    "a wrong parent": (wrong_field("blocks", 0x70, "<I", 0x7FC00004), "has the parent"),
    "a wrong block count": (wrong_field("blocks", 0x24, "<Q", 99), "99 blocks"),
    "a wrong descriptor address": (wrong_field("blocks", 0x00, "<I", 0x7FC00004), "says it is"),
    "an inline file that is too long": (wrong_field("small/inline", 0x14, "<Q", 5000), "and inline"),
    "a block used twice": (share_a_block, "has another owner too"),
    "an empty slot in front of a used one": (empty_slot_in_front, "an empty slot in front"),
    "a block to be zeroed": (to_be_zeroed, "bits of no meaning"),
    "a used block marked free": (flip_block_code(1), "used but marked free"),
    "a leaked block": (flip_block_code(0), "1 leaked"),
    "a leaked sub-block": (leak_a_sub_block, "1 leaked"),
    "a sub-block with another owner": (wrong_sub_block_owner, "has the affinity key"),
    "a wrong affinity count": (wrong_cluster_field(AFFINITY_LIST + 4, b"\x63"), "affinity list adds up to"),
    "a wrong free count": (wrong_cluster_field(FREE_COUNT, b"\x07\x00"), "7 free items"),
    "a superblock that looks for .sdd.sf elsewhere": (lambda damager: damager.put(OFFSET + 0x105, b"\x01"), ".sdd.sf lies"),
    "a lock that is held": (hold_a_lock, "locked in mode 1"),
    "a heartbeat in use": (hold_a_heartbeat, "heartbeat 77"),
    "a transaction in the journal": (leave_a_transaction, "slots are not empty"),
    "a damaged private mark": (lambda damager: damager.put(OFFSET + 0x200 + 0x30, b"\x5a\xa5\x77"), "private mark"),
    "bytes in the private area": (lambda damager: damager.put(0x208000, b"x"), "outside the mailboxes"),
    "a wrong PE bitmap": (lambda damager: damager.put_on_device(0x181000, b"\x03"), "PE bitmap"),
    "a wrong size in units": (lambda damager: damager.put_on_device(0x1000CE, b"\x09"), "units"),
    "data in sub-block 0":
        (lambda damager: damager.put(damager.file_system.resources[b".sbc.sf"].item_place(0, 0), b"x"), "0 is not zero"),
}
