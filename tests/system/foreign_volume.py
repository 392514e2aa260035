#!/usr/bin/env python3
"""Mounts a volume that ESXi made, read-only, and compares all of it with what an independent reader shows of it.

The image is the second argument: raw, or packed by gzip. Nothing may be written: its bytes are the same afterwards, and every
attempt to change the mounted tree is refused. The reader is vmfs6-fuse, or vmfs-fuse for VMFS-5; VMFS-6 is also read and checked
by the second decoder of tests/judge. --pointer-blocks turns a small file of the VMFS-5 sample into one that is mapped through a
pointer block, with holes, as ESXi does above 256 MiB.
"""

import argparse
import errno
import gzip
import hashlib
import os
import shutil
import struct

import second_reader_view
import strata_mount
from tree_model import attributes_of, list_tree


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(root):
    """Everything there is to know about every path below root, without the volume's own files."""
    described = {}
    for path in list_tree(root):
        place = os.path.join(root, path)
        status = os.lstat(place)
        facts = dict(attributes_of(status), size=status.st_size)
        if os.path.islink(place):
            facts["target"] = os.readlink(place)
        elif os.path.isfile(place):
            facts["sha256"] = digest(place)
        described[path] = facts
    return described


def differences(ours, theirs):
    problems = [f"{path!r}: only in one of the two" for path in sorted(ours.keys() ^ theirs.keys())]
    for path in sorted(ours.keys() & theirs.keys()):
        problems += [f"{path!r}: {name} is {ours[path].get(name)}, the reader says {value}"
                     for name, value in theirs[path].items() if ours[path].get(name) != value]
    return problems


def accepted_changes(root):
    """Tries to write. Returns what was not refused as on any read-only file system."""
    problems = []
    for what, change in {"mkdir": lambda: os.mkdir(os.path.join(root, "new")),
                         "create": lambda: open(os.path.join(root, "new"), "xb")}.items():
        try:
            change()
            problems.append(f"{what}: is not refused")
        except OSError as error:
            if error.errno != errno.EROFS:
                problems.append(f"{what}: {error.strerror} instead of a read-only file system")
    return problems


def use_pointer_block(image):
    """Gives directory/file5 of the VMFS-5 sample a map through the first item of .pbc.sf."""
    volume = 0x1100000
    descriptor = volume + 0x420000 + 13 * 2048
    pointer_block = volume + 0x720000
    size = 300 * 2**20 + 100
    with open(image, "r+b") as file:
        def put(offset, form, *values):
            file.seek(offset)
            file.write(struct.pack(form, *values))

        file.seek(descriptor + 1024)
        block, = struct.unpack("<I", file.read(4))
        put(descriptor + 512 + 0x14, "<Q", size)
        put(descriptor + 512 + 0x44, "<I", 3)
        put(descriptor + 1024, "<I", 0x3)
        put(pointer_block, "<4I", block, 0, block | 0x20, block)
        put(pointer_block + 4 * 299, "<2I", block, 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("strata")
    parser.add_argument("sample")
    parser.add_argument("--reader", default="vmfs6-fuse", help="the independent reader")
    parser.add_argument("--pointer-blocks", action="store_true", help="change the VMFS-5 sample to use one")
    options = parser.parse_args()
    strata_mount.require(options.strata, options.reader, "fusermount3")
    if not os.path.exists(options.sample):
        strata_mount.skip(f"no sample at {options.sample}")
    with strata_mount.work_folder(None) as work:
        volume = strata_mount.Volume(options.strata, work)
        unpack = gzip.open if options.sample.endswith(".gz") else open
        with unpack(options.sample, "rb") as packed, open(volume.image, "wb") as image:
            shutil.copyfileobj(packed, image, 1 << 20)
        if options.pointer_blocks:
            use_pointer_block(volume.image)
        before = digest(volume.image)
        with volume.read_by(options.reader) as root:
            theirs = describe(root)
        with volume.mounted("--read-only") as root:
            ours = describe(root)
            problems = accepted_changes(root)
        problems += differences(ours, theirs)
        if options.reader == "vmfs6-fuse":
            problems += second_reader_view.examine(
                [volume.image], lambda seen: differences(ours, second_reader_view.describe(seen)))
        if digest(volume.image) != before:
            problems.append("the image was changed")
        print(f"{len(theirs)} entries compared")
    strata_mount.finish(problems, f"{__file__} {options.strata} {options.sample}")


if __name__ == "__main__":
    main()
