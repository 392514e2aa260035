"""The logical volume: one or more devices put together by the table of physical extents each of them carries."""

import errno
import os
import stat

from damage import Damaged, text, u32, u64, uuid_text

HEADER = 0x100000
MAGIC = 0xC001D00D
UNIT = 256 << 20
VOLUME_TABLE, NAME_TABLE, BITMAP, TABLE = 0x1000, 0x7F000, 0x81000, 0x82000
ENTRY_BYTES, ENTRIES = 128, 8192


class Segment:
    """A piece of the volume that lies in one piece on one device."""

    def __init__(self, logical, physical, length, device):
        self.logical, self.physical, self.length, self.device = logical, physical, length, device
        self.end = logical + length


class Device:
    """One extent: its header, its entry of the volume table, and its pieces."""

    def __init__(self, path):
        self.path = path
        self.file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.bytes = _size(self.file)
        header = os.pread(self.file, 512, HEADER)
        if len(header) < 512 or u32(header, 0) != MAGIC:
            raise Damaged(f"{path}: no LVM header")
        if u32(header, 4) != 6:
            raise Damaged(f"{path}: LVM version {u32(header, 4)}, not 6")
        self.entries_used = u32(header, 0x6A)
        self.last_entry = u32(header, 0x6E)
        self.data_offset = u64(header, 0x7A)
        self.uuid = uuid_text(header[0x82:])
        self.locked = any(header[0xA2:0xBA])
        self.metadata_alignment = u32(header, 0xCA)
        self.units = u32(header, 0xCE)
        self._read_volume_entry()
        self.segments = self._read_segments()

    def _read_volume_entry(self):
        entry = os.pread(self.file, 512, HEADER + VOLUME_TABLE)
        self.volume_bytes = u64(entry, 0)
        self.state = u32(entry, 0x10)
        self.volume_name = text(entry[0x14:0x54])
        self.volume_uuid_bytes = entry[0x54:0x64]
        self.volume_uuid = uuid_text(self.volume_uuid_bytes)
        self.snapshot_id = u32(entry, 0x64)
        self.entry_units = u32(entry, 0x74)
        self.first_unit, self.last_unit = u64(entry, 0x78), u64(entry, 0x80)
        self.devices = u32(entry, 0x90)
        self.consumed = u32(entry, 0x110)

    def _read_segments(self):
        self.marked = int.from_bytes(os.pread(self.file, 4096, HEADER + BITMAP), "little")
        table = os.pread(self.file, ENTRY_BYTES * ENTRIES, HEADER + TABLE)
        segments = []
        self.used = 0
        for index in range(len(table) // ENTRY_BYTES):
            entry = table[index * ENTRY_BYTES:(index + 1) * ENTRY_BYTES]
            if entry[0] == 0:
                continue
            self.used |= 1 << index
            segments.append(Segment(u64(entry, 0x11), u64(entry, 9), u64(entry, 0x19), self))
        return segments

    def names(self):
        """The device-name table; only the device that holds the volume's first byte has one."""
        table = os.pread(self.file, 32 * 256, HEADER + NAME_TABLE)
        return [name for name in (text(table[at:at + 256]) for at in range(0, len(table), 256)) if name]


def _size(file):
    status = os.fstat(file)
    return os.lseek(file, 0, os.SEEK_END) if stat.S_ISBLK(status.st_mode) else status.st_size


class LogicalVolume:
    """Reads by volume offset. Raises Damaged where the devices given do not make up the volume."""

    def __init__(self, paths):
        self.devices = [Device(path) for path in paths]
        first = self.devices[0]
        self.bytes = first.volume_bytes
        self.segments = sorted((segment for device in self.devices for segment in device.segments),
                               key=lambda segment: segment.logical)
        if {device.volume_uuid for device in self.devices} != {first.volume_uuid}:
            raise Damaged("the devices belong to different volumes")
        if first.devices != len(self.devices):
            raise Damaged(f"the volume has {first.devices} devices, {len(self.devices)} are given")
        end = 0
        for segment in self.segments:
            if segment.logical != end or segment.length == 0:
                raise Damaged(f"the extents leave a gap or overlap at volume offset {end:#x}")
            end = segment.end
        if end != self.bytes:
            raise Damaged(f"the extents make up {end:#x} bytes, the volume says {self.bytes:#x}")

    def close(self):
        for device in self.devices:
            os.close(device.file)

    def _segment(self, offset):
        low, high = 0, len(self.segments)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.segments[middle].logical <= offset else (low, middle)
        return self.segments[low]

    def pieces(self, offset, length):
        """The parts of a range of the volume: device, offset on it, length."""
        if offset < 0 or offset + length > self.bytes:
            raise Damaged(f"volume offset {offset:#x} + {length:#x} is past the end {self.bytes:#x}")
        while length > 0:
            segment = self._segment(offset)
            part = min(length, segment.end - offset)
            yield segment.device, segment.physical + offset - segment.logical, part
            offset += part
            length -= part

    def read(self, offset, length):
        parts = []
        for device, place, part in self.pieces(offset, length):
            data = os.pread(device.file, part, place)
            if len(data) != part:
                raise Damaged(f"{device.path}: ends within {place:#x} + {part:#x}")
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def data_ranges(self, offset, length):
        """Those parts of a range of the volume that are not holes of the image files: volume offset, length."""
        for device, place, part in self.pieces(offset, length):
            at = place
            while at < place + part:
                begin, end = _next_data(device.file, at, place + part)
                if begin < end:
                    yield offset + begin - place, end - begin
                at = end
            offset += part

    def check(self):
        """Everything the tables say twice must agree. Returns the problems."""
        problems = []
        for device in self.devices:
            problems += [f"{device.path}: {what}" for what in self._check_device(device)]
        first = self.segments[0].device
        if len(first.names()) != len(self.devices):
            problems.append(f"{first.path}: the device-name table has {len(first.names())} names "
                            f"of {len(self.devices)} devices")
        return problems

    def _check_device(self, device):
        used = device.used.bit_count()
        total = sum(segment.length for segment in device.segments)
        facts = {
            "the PE bitmap differs from the PE table": device.marked != device.used,
            f"{device.entries_used} PE entries in the header, {used} in the table": device.entries_used != used,
            f"{device.consumed} PE entries consumed, {used} in the table": device.consumed != used,
            f"the volume table says {device.volume_bytes:#x} bytes": device.volume_bytes != self.bytes,
            f"the volume name {device.volume_name!r} is not its UUID": device.volume_name != device.volume_uuid,
            "the device is locked": device.locked,
            f"the volume is in state {device.state}": device.state != 1,
            f"{total:#x} bytes in the PE table, {device.units} units in the header": total != device.units * UNIT,
            f"{device.entry_units} units in the volume table, {device.units} in the header":
                device.entry_units != device.units,
            f"units {device.first_unit} to {device.last_unit} are not {device.units}":
                device.last_unit - device.first_unit + 1 != device.units,
            f"unit {device.first_unit} is not where the device's first piece lies":
                device.first_unit * UNIT != min(segment.logical for segment in device.segments),
        }
        for segment in device.segments:
            facts[f"a piece of {segment.length:#x} bytes is not of whole units"] = segment.length % UNIT != 0
            facts[f"a piece ends at {segment.physical + segment.length:#x}, the device at {device.bytes:#x}"] = (
                segment.physical + segment.length > device.bytes)
            facts[f"a piece begins at {segment.physical:#x}, in front of the data"] = segment.physical < device.data_offset
        return [what for what, wrong in facts.items() if wrong]


def _next_data(file, begin, limit):
    """The next part of begin..limit that is no hole; empty at the limit. All of it where holes are unknown."""
    try:
        start = os.lseek(file, begin, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # only a hole up to the end of the file
            return limit, limit
        return begin, limit
    if start >= limit:
        return limit, limit
    return start, min(os.lseek(file, start, os.SEEK_HOLE), limit)
