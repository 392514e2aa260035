"""A VMFS-6 volume as a tree: system files, descriptors by address, paths, contents."""

import hashlib

from block_maps import PB2, BlockMap, kind_of, resource_item
from damage import Damaged
from descriptors import (FOLDER, SYMLINK, SYSTEM, Descriptor, cluster_and_item)
from directories import SYSTEM_ADDRESSES, Directory
from lvm import LogicalVolume
from resources import MIB, Header, ResourceFile, SmallBlocks
from superblock import Superblock

ROOT = 4
RESOURCES = (b".fbb.sf", b".fdc.sf", b".sbc.sf", b".jbc.sf", b".pbc.sf")
_ZEROS = bytes(4 * MIB)


class FileSystem:
    """Opened for reading only. Raises Damaged where it cannot be understood."""

    def __init__(self, images):
        self.volume = LogicalVolume(images)
        self.superblock = Superblock(self.volume)
        self.metadata_bytes = self.superblock.metadata_bytes
        self.resources = {}
        pb2 = self._read_descriptor(self.superblock.pb2_place)
        if pb2.address != self.superblock.pb2_address:
            raise Damaged("superblock: no descriptor of .pb2.sf where it should lie")
        self._open_resource(b".pb2.sf", pb2)
        for name in RESOURCES:
            self._open_resource(name, self._early_descriptor(name))
        self.free_blocks = self._open_small_blocks()

    def close(self):
        self.volume.close()

    def _read_descriptor(self, place):
        return Descriptor(self.volume.read(place, 2 * self.metadata_bytes), self.metadata_bytes)

    def _early_descriptor(self, name):
        """A system file's descriptor: all of them lie right behind the root's."""
        item = cluster_and_item(SYSTEM_ADDRESSES[name])[1]
        found = self._read_descriptor(self.superblock.root_place + item * 2 * self.metadata_bytes)
        if found.address != SYSTEM_ADDRESSES[name]:
            raise Damaged(f"{name.decode()}: its descriptor says {found.address:#x}")
        return found

    def _open_resource(self, name, descriptor):
        block_map = BlockMap(self, descriptor)
        blocks = [0] * -(-descriptor.length // MIB)
        for number, address in block_map.blocks():
            if number < len(blocks):
                blocks[number] = block_map.place(number, address) or 0
        header = Header(block_map.read(0, 4096))
        self.resources[name] = ResourceFile(self.volume, name.decode(), blocks, self.metadata_bytes, header)

    def _open_small_blocks(self):
        large = self.resources[b".fbb.sf"]
        place = large.place(large.header.child_offset)
        self.resources[b"small blocks"] = SmallBlocks(large, Header(self.volume.read(place, 4096)))
        return self.resources[b"small blocks"]

    def place(self, address):
        """The volume offset of a block, sub-block or pointer block."""
        kind = kind_of(address)
        if kind == 1:
            place = ((address >> 15 & 0x7FFFFFFF) * 512 + (address >> 51)) * MIB
            if place >= self.volume.bytes:
                raise Damaged(f"address {address:#x} is past the end of the volume")
            return place
        if kind == 2:
            return self.resources[b".sbc.sf"].item_place(*resource_item(address))
        if kind == PB2:
            return self.resources[b".pb2.sf"].item_place(*resource_item(address))
        raise Damaged(f"address {address:#x} is of no kind a file is made of")

    def descriptor(self, address):
        if address & 7 != 4:
            raise Damaged(f"{address:#x} is no address of a descriptor")
        place = self.resources[b".fdc.sf"].item_place(*cluster_and_item(address))
        found = self._read_descriptor(place)
        if found.address != address:
            raise Damaged(f"descriptor {address:#x} says it is {found.address:#x}")
        return found

    def directory(self, descriptor):
        return Directory(BlockMap(self, descriptor).read(0, descriptor.length), self.metadata_bytes, descriptor.address == ROOT)

    def lookup(self, path):
        """The descriptor at a path from the root, each name found by its hash; symlinks are not followed."""
        found = self.descriptor(ROOT)
        for name in filter(None, path.encode(errors="surrogateescape").split(b"/")):
            record = self.directory(found).find(name)
            if record is None:
                raise FileNotFoundError(f"no {name.decode(errors='replace')!r} on the way to {path!r}")
            found = self.descriptor(record.address)
        return found

    def list(self, descriptor):
        """Yields name and descriptor address of everything in a folder."""
        for _, record in self.directory(descriptor).records():
            yield record.name.decode(errors="surrogateescape"), record.address

    def walk(self, path=""):
        """Yields path and descriptor of everything below a folder, folders before what is in them."""
        pending = [(path.strip("/"), self.lookup(path))]
        while pending:
            folder, opened = pending.pop()
            for name, address in self.list(opened):
                descriptor = self.descriptor(address)
                place = f"{folder}/{name}" if folder else name
                yield place, descriptor
                if descriptor.type == FOLDER:
                    pending.append((place, descriptor))

    def map(self, descriptor):
        return BlockMap(self, descriptor)

    def sha256(self, descriptor):
        """The digest of a file's whole contents, holes as zeros."""
        digest = hashlib.sha256()
        for _, piece in self.map(descriptor).pieces():
            if isinstance(piece, bytes):
                digest.update(piece)
                continue
            for step in range(0, piece, len(_ZEROS)):
                digest.update(_ZEROS[:piece - step])
        return digest.hexdigest()

    def is_ordinary(self, path, descriptor):
        """Whether a path is one that users made, not one of the volume's own files."""
        return not (descriptor.type == SYSTEM or path.encode(errors="surrogateescape") in SYSTEM_ADDRESSES)

    def status(self, descriptor):
        facts = descriptor.status()
        if descriptor.type == SYMLINK:
            facts["target"] = descriptor.target
        return facts
