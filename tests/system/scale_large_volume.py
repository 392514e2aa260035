#!/usr/bin/env python3
"""A very large volume, in one sparse file and in several sparse extents: made, mounted, written, checked, mounted again.

A volume of more than 1 TiB is mounted before its free blocks are counted; statfs waits for them. 64 TiB take 1.1 GiB of memory
on tmpfs, where one file may be that large; as five extents they fit on ext4 too.
"""

import hashlib
import os
import random

import strata_mount
from scale_support import GIB, MIB, TIB, ScaleVolume, list_with_attributes, say, timed

UNIT = 256 * MIB
DATA_START = 17 * MIB
FOLDERS = 40


def make_images(volume, size, extents):
    """Extents that already have their sizes; a single image is made by mkfs itself."""
    if extents == 1:
        volume.format(f"{size // GIB}G")
        return
    part = size // extents // UNIT * UNIT
    for path in volume.images:
        size -= part
        part += size if path == volume.images[-1] else 0
        with open(path, "wb") as file:
            file.truncate(part + DATA_START)
    with timed(f"mkfs of {extents} extents"):
        strata_mount.run(volume.strata, "mkfs", *volume.images, "--label", "scale")


def write(root, chance):
    """Small files in many folders, and one that reaches over more than one. Returns the digests by name."""
    digests = {}
    for number in range(FOLDERS):
        os.mkdir(os.path.join(root, f"folder-{number}"))
        path = f"folder-{number}/file"
        data = chance.randbytes(chance.choice([10, 5000, 3 * MIB]))
        digests[path] = hashlib.sha256(data).hexdigest()
        with open(os.path.join(root, path), "wb") as file:
            file.write(data)
    with open(os.path.join(root, "sparse"), "wb") as file:
        file.truncate(TIB + TIB // 2)
        for offset in (0, TIB - 12345, TIB + TIB // 2 - MIB):
            os.pwrite(file.fileno(), b"here" * 1000, offset)
    return digests


def contents(volume, root, digests):
    for path, digest in digests.items():
        with open(os.path.join(root, path), "rb") as file:
            volume.expect(hashlib.sha256(file.read()).hexdigest() == digest, f"{path} has other contents")
    with open(os.path.join(root, "sparse"), "rb") as file:
        for offset in (0, TIB - 12345, TIB + TIB // 2 - MIB):
            volume.expect(os.pread(file.fileno(), 4000, offset) == b"here" * 1000, f"sparse differs at {offset}")
    volume.expect(len(list_with_attributes(root)) >= FOLDERS, "folders are missing")


def measure_space(volume, root, size):
    with timed("statfs, which waits for the count"):
        space = os.statvfs(root)
    total = space.f_blocks * space.f_frsize
    volume.expect(total == size, f"statfs shows {total} bytes instead of {size}")
    return space.f_bfree


def live(strata, work, size, extents, seed):
    """The life of one such volume. Returns the problems."""
    print(f"{size / TIB:g} TiB in {extents} image{'s' * (extents > 1)}")
    volume = ScaleVolume(strata, work, extents)
    make_images(volume, size, extents)
    with volume.mounted() as root:
        digests = write(root, random.Random(seed))
        free = measure_space(volume, root, size)
    with volume.mounted() as root:
        contents(volume, root, digests)
        again = measure_space(volume, root, size)
        volume.expect(again == free, f"{again} blocks are free after a remount, {free} were before")
    say("images", f"{sum(os.stat(path).st_blocks for path in volume.images) * 512 / MIB:9,.0f} MiB")
    volume.check()
    for path in volume.images:
        os.remove(path)
    return volume.problems


def can_hold(folder, size):
    path = os.path.join(folder, "probe")
    with open(path, "wb") as file:
        try:
            file.truncate(size)
        except OSError:
            return False
        finally:
            os.remove(path)
    return True


def main():
    chosen = strata_mount.arguments(__doc__, tebibytes=2)
    strata_mount.require(chosen.strata)
    size = chosen.tebibytes * TIB
    with strata_mount.work_folder(chosen.work) as work:
        problems = live(chosen.strata, work, size, 5, chosen.seed)
        if can_hold(work, size + UNIT):
            problems += live(chosen.strata, work, size, 1, chosen.seed)
        else:
            print("one image: no file can be that large here")
    strata_mount.finish(problems, f"SEED={chosen.seed} {__file__} {chosen.strata} --tebibytes {chosen.tebibytes}")


if __name__ == "__main__":
    main()
