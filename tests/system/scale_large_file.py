#!/usr/bin/env python3
"""The largest virtual disk, 62 TiB thin: written at its beginning, middle and end, searched for data, punched, removed."""

import os
import random

import strata_mount
from fallocate import KEEP_SIZE, PUNCH_HOLE, fallocate
from scale_support import GIB, MIB, TIB, ScaleVolume, run, say, timed

DISK = 62 * TIB
PIECE = 64 << 10
SCATTERED = [index * (DISK // 500) // PIECE * PIECE + GIB for index in range(500)]
PLACES = [0, 3 * MIB + 512, 8 * GIB - PIECE // 2, TIB + 4096, 31 * TIB, 61 * TIB + 123 * GIB, DISK - PIECE]


def write_pieces(path, places, chance):
    """Random data at each place, durable. Returns the data by place."""
    pieces = {place: chance.randbytes(PIECE) for place in places}
    with open(path, "r+b", buffering=0) as disk:
        for place, data in pieces.items():
            os.pwrite(disk.fileno(), data, place)
        os.fsync(disk.fileno())
    return pieces


def compare(volume, path, pieces):
    with open(path, "rb", buffering=0) as disk:
        for place, data in pieces.items():
            volume.expect(os.pread(disk.fileno(), PIECE, place) == data, f"{path} differs at {place}")
        for place in (5 * TIB, 40 * TIB + 7 * MIB):
            volume.expect(not any(os.pread(disk.fileno(), PIECE, place)), f"{path} is not zero at {place}")


def data_ranges(path):
    """All ranges that SEEK_DATA and SEEK_HOLE tell apart."""
    ranges, at = [], 0
    with open(path, "rb", buffering=0) as file:
        while True:
            try:
                begin = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return ranges
            at = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            ranges.append((begin, at))


def search(volume, path, places):
    with timed("SEEK_DATA and SEEK_HOLE over 62 TiB"):
        ranges = data_ranges(path)
    for place in places:
        inside = any(begin <= place and place + PIECE <= end for begin, end in ranges)
        volume.expect(inside, f"SEEK_DATA does not find {place}")
    volume.expect(sum(end - begin for begin, end in ranges) <= len(places) * 2 * MIB, f"too much is data: {ranges}")


def punch(volume, path, pieces):
    with timed("punch everything but the last megabyte"), open(path, "r+b", buffering=0) as file:
        fallocate(file.fileno(), PUNCH_HOLE | KEEP_SIZE, 0, DISK - MIB)
        os.fsync(file.fileno())
    for place in [place for place in pieces if place < DISK - MIB]:
        pieces[place] = bytes(PIECE)
    volume.expect(len(data_ranges(path)) == 1, "other data than the end is left")


def live_with_disk(volume, seed):
    chance = random.Random(seed)
    with volume.mounted() as root:
        disk = os.path.join(volume.mount_point, "devices", "vdisks", "scale", "large.vmdk")
        with timed("disk create --size 62T"):
            run(volume.strata, "disk", "create", os.path.join(root, "large.vmdk"), "--size", "62T")
        volume.expect(os.stat(disk).st_size == DISK, f"the disk shows {os.stat(disk).st_size} bytes")
        with timed(f"write and fsync {len(PLACES)} pieces"):
            pieces = write_pieces(disk, PLACES, chance)
        with timed("write and fsync 500 scattered pieces", 500):
            write_pieces(disk, SCATTERED, chance)
        compare(volume, disk, pieces)
    volume.check()
    with volume.mounted() as root:
        compare(volume, disk, pieces)
        flat = os.path.join(root, "large-flat.vmdk")
        search(volume, flat, PLACES + SCATTERED)
        punch(volume, flat, pieces)
        compare(volume, flat, pieces)
    volume.check()


def main():
    chosen = strata_mount.arguments(__doc__)
    strata_mount.require(chosen.strata)
    with strata_mount.work_folder(chosen.work) as work:
        volume = ScaleVolume(chosen.strata, work)
        volume.format("4G")
        with volume.mounted() as root:
            free = os.statvfs(root).f_bfree
        live_with_disk(volume, chosen.seed)
        with volume.mounted() as root:
            with timed("remove the disk"):
                run(volume.strata, "disk", "delete", os.path.join(root, "large.vmdk"))
            left = os.statvfs(root).f_bfree
        with volume.mounted() as root:
            left = os.statvfs(root).f_bfree
            grown = os.stat(os.path.join(root, ".sbc.sf")).st_size // MIB
            say("blocks that .sbc.sf kept", f"{free - left:9}")
            volume.expect(free - left <= grown, f"{free - left} blocks are lost")
        volume.check()
    strata_mount.finish(volume.problems, f"SEED={chosen.seed} {__file__} {chosen.strata}")


if __name__ == "__main__":
    main()
