#!/usr/bin/env python3
"""Damages a volume that was filled through the mount, and lets strata fsck --repair mend it.

Each round writes seeded bytes into structures that carry enough redundancy to lose nothing: bitmaps, counts, headers of
directories and hash tables, descriptors of system files, heartbeats, the superblock. The check must find it, without --yes
nothing may change, the repair must end with a clean check, and vmfs6-fuse and the mount must show every byte as before.
"""

import errno
import hashlib
import json
import os
import random
import re
import subprocess

import strata_mount
from fill_volume import fill
from judge_compare import judge

LVM_DATA = 0x1100000
BLOCK = 4096
EXIT_REPAIRED = 3
EXIT_PROBLEMS = 4


def structures(volume):
    """Volume addresses and lengths of what may be damaged; from strata dump, which knows nothing of repairs."""
    places = [(0x2000D1, 0x1C), (0x200200, 0x100), (0x203000, 8), (0x300000, 64), (0x305000, 64)]
    for number in range(2):
        for kind in ("fd", "sub-block", "small-block", "journal", "pb2"):
            done = subprocess.run([volume.strata, "dump", volume.image, "--cluster", f"{kind}:{number}"],
                                  capture_output=True, text=True, check=False)
            found = re.search(r" at (0x[0-9a-f]+)", done.stdout)
            if found:
                places.append((int(found[1], 16) + BLOCK + 0x10, 0x100))
    places += [(0x720000 + item * 2 * BLOCK + BLOCK, 0x40) for item in range(9)]
    # The root's header and hash table: its block follows the first one of `.fdc.sf`.
    places += [(0x800000, 0x20), (0x8005F8, 0x8000)]
    return places


def damage(volume, chance, places):
    """A few seeded writes. Returns what was written where, in words."""
    told = []
    with open(volume.image, "r+b") as image:
        for _ in range(chance.randint(1, 6)):
            begin, length = chance.choice(places)
            count = chance.randint(1, 8)
            address = begin + chance.randrange(max(1, length - count))
            image.seek(LVM_DATA + address)
            image.write(bytes(chance.randrange(256) for _ in range(count)))
            told.append(f"{count} bytes at {address:#x}")
    return ", ".join(told)


def fsck(volume, *options):
    done = subprocess.run([volume.strata, "fsck", volume.image, *options], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout + done.stderr


def digest(path):
    """Of everything that is not a hole: a sparse image of gigabytes is soon read."""
    whole = hashlib.sha256()
    size = os.path.getsize(path)
    with open(path, "rb", buffering=0) as image:
        offset = 0
        while True:
            try:
                offset = os.lseek(image.fileno(), offset, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                return whole.hexdigest()
            end = min(os.lseek(image.fileno(), offset, os.SEEK_HOLE), size)
            while offset < end:
                piece = os.pread(image.fileno(), min(1 << 20, end - offset), offset)
                whole.update(offset.to_bytes(8, "little") + piece)
                offset += len(piece)


def mend(volume, what):
    """Repairs once, in every way the command has. Returns the problems."""
    problems = []
    code, text = fsck(volume)
    if code == 0:
        return []
    before = digest(volume.image)
    code, text = fsck(volume, "--repair")
    if code != EXIT_PROBLEMS or "--yes" not in text:
        problems.append(f"{what}: without --yes: exit code {code}: {text}")
    if digest(volume.image) != before:
        problems.append(f"{what}: without --yes the image changed")
    code, text = fsck(volume, "--repair", "--yes", "--json")
    if code != EXIT_REPAIRED:
        problems.append(f"{what}: repair: exit code {code}: {text}")
    elif json.loads(text)["outcome"] != "repaired":
        problems.append(f"{what}: repair: {text}")
    code, text = fsck(volume)
    if code != 0:
        problems.append(f"{what}: after the repair: exit code {code}: {text}")
    return problems


def main():
    options = strata_mount.arguments(__doc__.splitlines()[0], size="4G", entries=120, rounds=5)
    strata_mount.require(options.strata, "vmfs6-fuse", "debugvmfs6", "blkid", "fusermount3")
    problems = []
    with strata_mount.work_folder(options.work) as work:
        volume = strata_mount.Volume(options.strata, work)
        volume.format(options.size)
        with volume.mounted() as root:
            tree = fill(root, options.seed, options.entries)
        places = structures(volume)
        chance = random.Random(options.seed)
        repaired = 0
        for number in range(options.rounds):
            what = f"round {number}: {damage(volume, chance, places)}"
            found = mend(volume, what)
            repaired += 1
            problems += found
            if found:
                break
        print(f"seed {options.seed}: {repaired} rounds over {len(places)} structures")
        problems += judge(volume, tree, options.seed)
        with volume.mounted() as root:
            with open(f"{root}/written behind the repair", "wb") as file:
                file.write(b"x" * 3_000_000)
        problems += volume.check()
    strata_mount.finish(problems, f"{__file__} --seed {options.seed} --rounds {options.rounds}")


if __name__ == "__main__":
    main()
