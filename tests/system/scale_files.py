#!/usr/bin/env python3
"""Very many files on one volume, in a tree of directories: the rate of creates must not decay, mount and check stay quick.

From 40,793 descriptors on .fdc.sf is mapped through .pb2.sf, which vmfs6-fuse cannot read: the second decoder judges then.
"""

import os
import random

import strata_mount
from scale_support import MIB, ScaleVolume, drop_caches, say, timed

FILES_PER_FOLDER = 1000
FOLDERS_PER_PARENT = 100
OTHER_READER_FILES_MAX = 40_000  # with the folders


def folder_of(number):
    return f"part-{number // FOLDERS_PER_PARENT:03}/folder-{number:05}"


def file_of(number):
    return f"{folder_of(number // FILES_PER_FOLDER)}/file-{number:07}"


def content_of(number):
    return f"contents of {number}\n".encode() * (number % 3)


def make(root, numbers):
    for number in numbers:
        if number % FILES_PER_FOLDER == 0:
            os.makedirs(os.path.join(root, folder_of(number // FILES_PER_FOLDER)))
        descriptor = os.open(os.path.join(root, file_of(number)), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        if content := content_of(number):
            os.write(descriptor, content)
        os.close(descriptor)


def make_all(root, count):
    """Makes the files in ten parts, and prints the rate of each."""
    part = max(count // 10, 1)
    for first in range(0, count, part):
        last = min(first + part, count)
        with timed(f"create {first:,} to {last:,}", last - first):
            make(root, range(first, last))


def read_some(volume, root, count, chance):
    numbers = chance.sample(range(count), min(count, 5000))
    drop_caches()
    with timed(f"stat of {len(numbers):,} random files, cold", len(numbers)):
        sizes = [os.stat(os.path.join(root, file_of(number))).st_size for number in numbers]
    volume.expect(sizes == [len(content_of(number)) for number in numbers], "files have other sizes")
    for number in numbers[:1000]:
        with open(os.path.join(root, file_of(number)), "rb") as file:
            volume.expect(file.read() == content_of(number), f"{file_of(number)} has other contents")


def remove_all(root, count):
    with timed(f"unlink {count:,}", count):
        for number in range(count):
            os.unlink(os.path.join(root, file_of(number)))
    with timed("rmdir of every folder"):
        for part in [name for name in os.listdir(root) if name.startswith("part-")]:
            for folder in os.listdir(os.path.join(root, part)):
                os.rmdir(os.path.join(root, part, folder))
            os.rmdir(os.path.join(root, part))


def main():
    chosen = strata_mount.arguments(__doc__, files=42_000, size="6G")
    strata_mount.require(chosen.strata, "vmfs6-fuse")
    chance = random.Random(chosen.seed)
    with strata_mount.work_folder(chosen.work) as work:
        volume = ScaleVolume(chosen.strata, work)
        volume.format(chosen.size)
        with volume.mounted() as root:
            make_all(root, chosen.files)
            read_some(volume, root, chosen.files, chance)
        say("image", f"{os.stat(volume.image).st_blocks * 512 / MIB:9,.0f} MiB")
        volume.check()
        if chosen.files < OTHER_READER_FILES_MAX:
            names = [os.path.basename(file_of(number)) for number in range(FILES_PER_FOLDER)]
            volume.check_by_other_reader(folder_of(0), names)
        with volume.mounted() as root:
            read_some(volume, root, chosen.files, chance)
            remove_all(root, chosen.files)
        volume.check()
    again = f"SEED={chosen.seed} {__file__} {chosen.strata} --files {chosen.files} --size {chosen.size}"
    strata_mount.finish(volume.problems, again)


if __name__ == "__main__":
    main()
