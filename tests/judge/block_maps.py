"""Addresses, and the map from a file's bytes to those of the volume."""

from damage import Damaged, numbers
from descriptors import DIRECT, DOUBLE, INLINE, SINGLE, SINGLE_PB2, SUB_BLOCKS

SMALL, SUB, POINTER, PB2, LARGE = 1, 2, 3, 5, 7
MIB = 1 << 20
LARGE_BYTES = 512 * MIB
SUB_BLOCK_BYTES = 1 << 16
PER_POINTER_BLOCK = SUB_BLOCK_BYTES // 8
TBZ_BITS = 0xFF << 7
COW_BIT = 1 << 5


def kind_of(address):
    return address & 7


def small_block(address):
    """Cluster and item of a small file block."""
    return address >> 15 & 0x7FFFFFFF, address >> 51


def large_block(address):
    return address >> 15 & 0x7FFFFFFF


def resource_item(address):
    """Cluster and item of a sub-block or a pointer block."""
    return address >> 6 & 0xFFFFFFFFF, address >> 56


def has_stray_bits(address):
    """Whether an address has bits that its kind does not use; to be zeroed and copy-on-write count as such."""
    if kind_of(address) == SMALL:
        cluster, item = small_block(address)
        return address != SMALL | cluster << 15 | item << 51
    if kind_of(address) == LARGE:
        return address != LARGE | large_block(address) << 15
    cluster, item = resource_item(address)
    return address != kind_of(address) | cluster << 6 | item << 56


class BlockMap:
    """The map of one descriptor. `store` reads the volume and finds sub-blocks and PB2 items."""

    def __init__(self, store, descriptor):
        self.store, self.descriptor = store, descriptor
        self._cached = (0, None)

    def pointer_blocks(self):
        """Yields the address of each pointer block."""
        kind = self.descriptor.map_kind
        if kind in (SINGLE, SINGLE_PB2, DOUBLE):
            for address in filter(None, self.descriptor.slots):
                yield address
                if kind == DOUBLE:
                    yield from filter(None, self._pointers(address))

    def blocks(self):
        """Yields number and address of each block that is there."""
        kind = self.descriptor.map_kind
        if kind in (DIRECT, SUB_BLOCKS):
            yield from ((number, address) for number, address in enumerate(self.descriptor.slots) if address)
        elif kind in (SINGLE, SINGLE_PB2):
            yield from self._below(self.descriptor.slots, 0)
        elif kind == DOUBLE:
            for number, address in enumerate(self.descriptor.slots):
                if address:
                    yield from self._below(self._pointers(address), number * PER_POINTER_BLOCK)
        elif kind != INLINE:
            raise Damaged(f"descriptor {self.descriptor.address:#x}: map of kind {kind:#x}")

    def _below(self, pointer_blocks, first):
        for number, address in enumerate(pointer_blocks, first):
            if address:
                base = number * PER_POINTER_BLOCK
                yield from ((base + index, block) for index, block in enumerate(self._pointers(address)) if block)

    def _pointers(self, address):
        return numbers(self.store.volume.read(self.store.place(address), SUB_BLOCK_BYTES), 8)

    def block(self, number):
        """The address of one block, 0 for a hole."""
        kind, slots = self.descriptor.map_kind, self.descriptor.slots
        if kind in (DIRECT, SUB_BLOCKS):
            return slots[number] if number < len(slots) else 0
        upper, index = divmod(number, PER_POINTER_BLOCK)
        if kind == DOUBLE:
            upper_slot, upper = divmod(upper, PER_POINTER_BLOCK)
            pointers = self._pointers(slots[upper_slot]) if upper_slot < len(slots) and slots[upper_slot] else ()
        else:
            pointers = slots
        address = pointers[upper] if upper < len(pointers) else 0
        if not address:
            return 0
        if self._cached[0] != address:
            self._cached = (address, self._pointers(address))
        return self._cached[1][index]

    def place(self, number, address):
        """The volume offset of a block, or None where it reads as zeros."""
        if kind_of(address) in (SMALL, LARGE) and address & TBZ_BITS:
            return None
        block_bytes = self.descriptor.block_bytes
        if kind_of(address) == LARGE:
            return large_block(address) * LARGE_BYTES + number * block_bytes % LARGE_BYTES
        return self.store.place(address)

    def runs(self):
        """Yields file offset, volume offset and length of each stretch of blocks in one piece."""
        size = self.descriptor.block_bytes
        run = None
        for number, address in self.blocks():
            place = self.place(number, address)
            if place is None:
                continue
            if run and run[0] + run[2] == number * size and run[1] + run[2] == place:
                run[2] += size
                continue
            if run:
                yield tuple(run)
            run = [number * size, place, size]
        if run:
            yield tuple(run)

    def read(self, offset, length):
        """The bytes of a range, at most up to the end of the file."""
        length = max(min(length, self.descriptor.length - offset), 0)
        if self.descriptor.map_kind == INLINE:
            return self.descriptor.inline()[offset:offset + length]
        parts, size = [], self.descriptor.block_bytes
        while length > 0:
            number, inside = divmod(offset, size)
            part = min(length, size - inside)
            address = self.block(number)
            place = self.place(number, address) if address else None
            parts.append(bytes(part) if place is None else self.store.volume.read(place + inside, part))
            offset += part
            length -= part
        return b"".join(parts)

    def pieces(self):
        """The whole file front to back: yields offset and bytes, or offset and a number of zeros."""
        end, at = self.descriptor.length, 0
        if self.descriptor.map_kind == INLINE:
            yield 0, self.descriptor.inline()
            return
        for begin, place, length in self.runs():
            if begin >= end:
                break
            if begin > at:
                yield at, begin - at
            at = min(begin + length, end)
            for step in range(begin, at, 4 * MIB):
                yield step, self.store.volume.read(place + step - begin, min(4 * MIB, at - step))
        if at < end:
            yield at, end - at
