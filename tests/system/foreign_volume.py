#!/usr/bin/env python3
"""Mounts a volume that ESXi made, read-only, and compares all of it with what vmfs6-fuse shows of it.

The image is the second argument: raw, or packed by gzip. Nothing may be written: its bytes are the same afterwards, and every
attempt to change the mounted tree is refused.
"""

import argparse
import errno
import gzip
import hashlib
import os
import shutil

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
        problems += [f"{path!r}: {name} is {ours[path].get(name)}, vmfs6-fuse says {value}"
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("strata")
    parser.add_argument("sample")
    options = parser.parse_args()
    strata_mount.require(options.strata, "vmfs6-fuse", "fusermount3")
    if not os.path.exists(options.sample):
        strata_mount.skip(f"no sample at {options.sample}")
    with strata_mount.work_folder(None) as work:
        volume = strata_mount.Volume(options.strata, work)
        unpack = gzip.open if options.sample.endswith(".gz") else open
        with unpack(options.sample, "rb") as packed, open(volume.image, "wb") as image:
            shutil.copyfileobj(packed, image, 1 << 20)
        before = digest(volume.image)
        with volume.read_by_vmfs6_fuse() as root:
            theirs = describe(root)
        with volume.mounted("--read-only") as root:
            ours = describe(root)
            problems = accepted_changes(root)
        problems += differences(ours, theirs)
        if digest(volume.image) != before:
            problems.append("the image was changed")
        print(f"{len(theirs)} entries compared")
    strata_mount.finish(problems, f"{__file__} {options.strata} {options.sample}")


if __name__ == "__main__":
    main()
