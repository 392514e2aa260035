"""Checks a whole volume: every structure by itself, then everything against everything that names it."""

import array
import struct

from allocation import LOCK_TYPES, Allocation
from block_maps import PB2, SUB, BlockMap
from damage import Damaged, u32, u64
from descriptors import (DIRECT, DOUBLE, FILE, FOLDER, INLINE, LOCK_TYPE, RDM, SIGNATURE, SINGLE, SINGLE_PB2, SUB_BLOCKS, SYMLINK,
                         SYSTEM, Descriptor, Lock, address_of, cluster_and_item)
from directories import SYSTEM_ADDRESSES
from directory_check import DirectoryCheck
from file_system import ROOT
from resources import HEADER_SIGNATURE, MIB
from superblock import HEARTBEAT_FREE, generations, heartbeats

PROBLEMS_MAX = 1000
BLOCK_KINDS = {DIRECT: None, SUB_BLOCKS: SUB, SINGLE: None, SINGLE_PB2: None, DOUBLE: None}
BROKEN_UP = 4
JOURNAL_SIGNATURE, JOURNAL_HEADER, JOURNAL_SLOT = 0x46534A36, 0x4A364A48, 0x4A364F54


class Checker:
    """After run(), `problems` has a sentence for each fault and `counts` what was looked at.

    Hosts that died leave locks behind, which are no problem if `hosts_died` says so."""

    def __init__(self, file_system, hosts_died=False):
        self.file_system = file_system
        self.generations = generations(file_system.volume, file_system.superblock) if hosts_died else {}
        self.volume, self.superblock = file_system.volume, file_system.superblock
        self.metadata_bytes = file_system.metadata_bytes
        self.strict = self.superblock.is_ours
        self.problems, self.counts = [], {}
        self.allocation = Allocation(file_system, self.report, self.generations)
        self.descriptors = DescriptorTable(file_system.resources[b".fdc.sf"].header.items)

    def report(self, what):
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(what)

    def run(self):
        for problem in self.volume.check() + self.superblock.check(self.volume):
            self.report(problem)
        self.check_heartbeats()
        for name in (*LOCK_TYPES, b".pbc.sf"):
            self.check_resource_header(name)
        self.check_places()
        self.check_large_blocks()
        self.check_journals()
        self.check_descriptors()
        self.check_directories()
        self.check_descriptor_uses()
        if self.strict:
            self.check_rules()
        self.counts["blocks used"] = self.allocation.compare()

    def check_heartbeats(self):
        for slot in heartbeats(self.volume, self.superblock):
            if slot.problem or slot.state != HEARTBEAT_FREE:
                self.report(f"heartbeat {slot.index}: {slot.problem or f'held by {slot.owner}'}")

    def check_resource_header(self, name):
        resource = self.file_system.resources[name]
        header, label = resource.header, name.decode()
        if header.signature != HEADER_SIGNATURE or header.version != 1:
            self.report(f"{label}: signature {header.signature:#x}, version {header.version}")
        if name == b".pbc.sf" or not header.items:
            if self.strict and name == b".pbc.sf" and header.items:
                self.report(f"{label}: has {header.items} items")
            return
        group_items = header.per_cluster * header.clusters_per_group
        if header.groups != -(-header.items // group_items):
            self.report(f"{label}: {header.groups} groups for {header.items} items")
        if name != b"small blocks":
            size = header.clusters_per_group * 2 * self.metadata_bytes + group_items * header.item_bytes
            if header.group_bytes != size:
                self.report(f"{label}: groups of {header.group_bytes:#x} bytes, not {size:#x}")
        elif (header.items, header.broken_up) != (self.volume.bytes // MIB, -(-self.volume.bytes // (512 * MIB))):
            self.report(f"{label}: {header.items} blocks in {header.broken_up} large ones, not as the volume is large")

    def check_large_blocks(self):
        """Only broken-up large blocks are known; on volumes of ours there is no other."""
        for number, _, cluster in self.allocation.checked_clusters(b".fbb.sf"):
            codes = {cluster.code(item) for item in range(cluster.total)}
            if codes != {BROKEN_UP}:
                self.report(f".fbb.sf cluster {number}: large blocks with the codes {sorted(codes)}")

    def check_journals(self):
        """No journal is in use, and each is either new or in the empty form."""
        journals = self.file_system.resources[b".jbc.sf"]
        for number, _, cluster in self.allocation.checked_clusters(b".jbc.sf"):
            if cluster.allocated:
                self.report(f".jbc.sf cluster {number}: {cluster.allocated.bit_count()} journals in use")
            for item in range(cluster.total):
                self.check_journal(f"journal {number}.{item}", journals, journals.item_offset(number, item))

    def check_journal(self, label, journals, offset):
        places = [journals.place(offset + part) for part in range(0, 2 * MIB, 1 << 16)]
        if not any(True for place in places for _ in self.volume.data_ranges(place, 1 << 16)):
            return
        data = b"".join(self.volume.read(place, 1 << 16) for place in places)
        if u32(data, 0) == 0:
            if data.count(0) != len(data):
                self.report(f"{label}: bytes in a journal that was never used")
            return
        header = (u32(data, 0), u32(data, 4), u32(data, 0x20), u32(data, 0x24), u32(data, 0x200), u64(data, 0x204))
        if header != (JOURNAL_SIGNATURE, 0x10000, JOURNAL_HEADER, 0, 0, places[0]):
            self.report(f"{label}: its header is not that of an empty journal")
        used = [at // 4096 for at in range(4096, len(data), 4096)
                if u32(data, at) != JOURNAL_SLOT or data[at + 4:at + 6] != b"\xff\xff"]
        if used:
            self.report(f"{label}: {len(used)} slots are not empty, the first is {used[0]}")

    def check_descriptors(self):
        resource = self.file_system.resources[b".fdc.sf"]
        size = 2 * self.metadata_bytes
        for number, _, cluster in self.allocation.checked_clusters(b".fdc.sf"):
            allocated = cluster.allocated
            for item in range(0, cluster.total, 8):
                place = resource.item_place(number, item)
                count = min(8, cluster.total - item)
                if not allocated >> item & 255 and not any(self.volume.data_ranges(place, count * size)):
                    continue
                data = self.volume.read(place, count * size)
                for index in range(count):
                    if allocated >> item + index & 1:
                        self.check_descriptor(Descriptor(data, self.metadata_bytes, index * size), number, item + index,
                                              place + index * size)
                    else:
                        self.check_free_descriptor(Lock(data, index * size), number, item + index)
        self.counts["descriptors"] = self.descriptors.used

    def check_free_descriptor(self, lock, cluster, item):
        if fault := lock.fault(self.generations):
            self.report(f"free descriptor {address_of(cluster, item):#x}: {fault}")

    def check_descriptor(self, descriptor, cluster, item, place):
        address, lock = address_of(cluster, item), descriptor.lock
        if descriptor.address != address or descriptor.signature != SIGNATURE:
            self.report(f"descriptor {address:#x}: says it is {descriptor.address:#x}, signature {descriptor.signature:#x}")
            return
        if (lock.type, lock.place) != (LOCK_TYPE, place):
            self.report(f"descriptor {address:#x}: lock of type {lock.type:#x} for {lock.place:#x}")
        if fault := lock.fault(self.generations):
            self.report(f"descriptor {address:#x}: {fault}")
        if descriptor.type not in (FOLDER, FILE, SYMLINK, SYSTEM, RDM):
            self.report(f"descriptor {address:#x}: type {descriptor.type}")
        self.descriptors.add(cluster * 256 + item, descriptor)
        try:
            self.check_map(descriptor)
        except Damaged as error:
            self.report(str(error))

    def check_map(self, descriptor):
        kind, address = descriptor.map_kind, descriptor.address
        if descriptor.type == RDM:
            id_bytes = descriptor.inline(78)[1]
            if kind != INLINE or descriptor.blocks or descriptor.pointer_blocks or not 1 <= id_bytes <= 44:
                self.report(f"descriptor {address:#x}: a raw device map, {descriptor.blocks} blocks, an id of {id_bytes} bytes")
            return
        if kind == INLINE:
            if descriptor.length > self.metadata_bytes - 0x200 or descriptor.blocks or descriptor.pointer_blocks:
                self.report(f"descriptor {address:#x}: {descriptor.length} bytes, {descriptor.blocks} blocks, and inline")
            return
        if descriptor.type == SYMLINK:
            self.report(f"descriptor {address:#x}: a symlink that is not inline")
        block_map = BlockMap(self.file_system, descriptor)
        pointers, claim = 0, self.allocation.claim
        self.allocation.affinities[address] = descriptor.affinity
        for pointer in block_map.pointer_blocks():
            claim(pointer, address, PB2 if kind == SINGLE_PB2 else SUB)
            pointers += 1
        wanted, blocks = BLOCK_KINDS.get(kind), 0
        for _, block in block_map.blocks():
            claim(block, address, wanted)
            blocks += 1
        if (blocks, pointers) != (descriptor.blocks, descriptor.pointer_blocks):
            self.report(f"descriptor {address:#x}: {descriptor.blocks} blocks and {descriptor.pointer_blocks} pointer blocks, "
                        f"its map has {blocks} and {pointers}")
        if self.strict:
            self.check_our_map(descriptor)

    def check_our_map(self, descriptor):
        """What simple readers need: no slot used behind an empty one; neither copy-on-write nor blocks to be zeroed."""
        slots = descriptor.slots
        used = sum(1 for slot in slots if slot)
        if any(slots[used:]):
            self.report(f"descriptor {descriptor.address:#x}: an empty slot in front of a used one")
        if descriptor.tbz_blocks or descriptor.cow_blocks:
            self.report(f"descriptor {descriptor.address:#x}: counts blocks to be zeroed or copied")

    def check_directories(self):
        names = 0
        for address in self.descriptors.folders:
            try:
                descriptor = self.file_system.descriptor(address)
                directory = self.file_system.directory(descriptor)
                records = DirectoryCheck(directory, descriptor, self.strict, self.report).run()
                self.check_names(descriptor, directory, records)
                names += len(records)
            except (Damaged, struct.error, IndexError) as error:
                self.report(f"directory {address:#x}: {error}")
        self.counts["folders"], self.counts["names"] = len(self.descriptors.folders), names

    def check_names(self, folder, directory, records):
        table, folders = self.descriptors, 0
        for record in records:
            fault = table.take(record, folder.address)
            if fault:
                self.report(f"directory {folder.address:#x}: {record.name!r} {fault}")
            folders += record.type == FOLDER or record.name == b".sdd.sf"
        if folder.address == ROOT:
            for name, address in SYSTEM_ADDRESSES.items():
                found = directory.find(name)
                if found.address != address if found else name not in (b".unmap.sf", b".dfd.sf"):
                    self.report(f"{name.decode()}: not at its place in the root")
        if folder.links != 2 + folders:
            self.report(f"directory {folder.address:#x}: link count {folder.links}, it has {folders} folders")
        parent = folder.parent or ROOT
        if directory.parent_record.address != parent:
            self.report(f"directory {folder.address:#x}: '..' is {directory.parent_record.address:#x}, not {parent:#x}")

    def check_descriptor_uses(self):
        for problem in self.descriptors.check_uses():
            self.report(problem)

    def check_places(self):
        """The places that readers know by heart, before they can read any map."""
        descriptors = self.file_system.resources[b".fdc.sf"]
        if descriptors.item_place(0, 0) != self.superblock.root_place:
            self.report(f".fdc.sf: the root's descriptor lies at {descriptors.item_place(0, 0):#x}")
        header = self.file_system.descriptor(SYSTEM_ADDRESSES[b".vh.sf"])
        if list(self.file_system.map(header).runs()) != [(0, 0, self.superblock.descriptor_base)]:
            self.report(".vh.sf: does not own the blocks in front of .fdc.sf")
        devices = self.file_system.descriptor(SYSTEM_ADDRESSES[b".sdd.sf"])
        if (self.superblock.sdd_place, self.superblock.sdd_address) != (devices.lock.place, devices.address):
            self.report("superblock: .sdd.sf lies elsewhere")

    def check_rules(self):
        """What else the rules for volumes of ours ask for."""
        sub_blocks = self.file_system.resources[b".sbc.sf"]
        if sub_blocks.header.items > 65536:
            self.report(f".sbc.sf: {sub_blocks.header.items} sub-blocks")
        if any(self.volume.read(sub_blocks.item_place(0, 0), 1 << 16)):
            self.report("sub-block 0 is not zero")
        if not self.allocation.sub.claim(0, 0, 0):
            self.report("sub-block 0 has an owner")


class DescriptorTable:
    """What the descriptors say, by number, in little memory; and which of them a directory names."""

    def __init__(self, count):
        self.type, self.named = bytearray(count), bytearray(count)
        self.generation, self.parent, self.links = (array.array("I", bytes(4 * count)) for _ in range(3))
        self.folders, self.used = [], 0

    def add(self, number, descriptor):
        self.type[number] = descriptor.type & 255
        self.generation[number], self.parent[number] = descriptor.generation, descriptor.parent
        self.links[number] = descriptor.links
        self.used += 1
        if descriptor.type == FOLDER or descriptor.address == SYSTEM_ADDRESSES[b".sdd.sf"]:
            self.folders.append(descriptor.address)

    def take(self, record, folder):
        """Notes that a folder names a descriptor. Returns what is wrong with that, or nothing."""
        cluster, item = cluster_and_item(record.address)
        number = cluster * 256 + item
        if record.address & 7 != 4 or item > 255 or number >= len(self.type) or not self.type[number]:
            return f"stands for {record.address:#x}, which is no descriptor in use"
        if self.named[number]:
            return f"stands for {record.address:#x}, which has another name"
        self.named[number] = 1
        if (record.type, record.generation) != (self.type[number], self.generation[number]):
            return (f"has type {record.type} and generation {record.generation}, "
                    f"its descriptor {self.type[number]} and {self.generation[number]}")
        if self.parent[number] != (0 if record.type == SYSTEM else folder):
            return f"has the parent {self.parent[number]:#x}"
        return ""

    def check_uses(self):
        """Yields descriptors without a name, wrong link counts, and folders that the root does not lead to."""
        for number, kind in enumerate(self.type):
            if not kind:
                continue
            address = address_of(*divmod(number, 256))
            if address != ROOT and not self.named[number]:
                yield f"descriptor {address:#x}: no directory names it"
            if kind in (FILE, SYMLINK, RDM) and self.links[number] != 1:
                yield f"descriptor {address:#x}: link count {self.links[number]}"
        joined = {ROOT, SYSTEM_ADDRESSES[b".sdd.sf"]}
        for folder in self.folders:
            path = []
            while folder not in joined and folder not in path and len(path) <= len(self.folders):
                path.append(folder)
                cluster, item = cluster_and_item(folder)
                number = cluster * 256 + item
                folder = self.parent[number] if number < len(self.parent) else 0
            if folder in joined:
                joined.update(path)
            else:
                yield f"directory {path[0]:#x}: the root does not lead to it"
