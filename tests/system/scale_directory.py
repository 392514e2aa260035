#!/usr/bin/env python3
"""One directory with very many names: made, listed, looked up, thinned out, filled again, renamed, emptied.

With --entries beyond the format's limit (8,063 blocks, about 107,000 names) the directory is filled until it says ENOSPC.
"""

import errno
import os
import random

import strata_mount
from scale_support import ScaleVolume, drop_caches, list_with_attributes, timed

OTHER_READER_FILES_MAX = 40_000
NAMES_MIN_AT_LIMIT = 100_000


def name_of(number):
    return f"entry-{number:06}"


def create(folder, numbers, sizes):
    """Creates files of a few bytes each until the directory is full; notes their sizes. Returns whether all fitted."""
    for number in numbers:
        try:
            descriptor = os.open(os.path.join(folder, name_of(number)), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return False
        if number % 10 == 0:
            os.write(descriptor, name_of(number).encode())
        os.close(descriptor)
        sizes[name_of(number)] = len(name_of(number)) if number % 10 == 0 else 0
    return True


def list_twice(volume, folder, sizes):
    cold = drop_caches()
    for what in ("cold" if cold else "first", "warm"):
        with timed(f"list {len(sizes):,} with attributes, {what}", len(sizes)):
            seen = list_with_attributes(folder)
        volume.expect(seen == sizes, f"the {what} listing has {len(seen)} entries instead of {len(sizes)}, or other sizes")


def look_up(volume, folder, sizes, chance):
    names = chance.sample(sorted(sizes), min(5000, len(sizes)))
    drop_caches()
    with timed(f"stat of {len(names):,} random names, cold", len(names)):
        sizes_seen = [os.stat(os.path.join(folder, name)).st_size for name in names]
    volume.expect(sizes_seen == [sizes[name] for name in names], "random names have other sizes")
    with timed("stat of 5,000 missing names", 5000):
        found = [number for number in range(5000) if os.path.exists(os.path.join(folder, f"missing-{number}"))]
    volume.expect(not found, f"{len(found)} names exist that were never made")


def thin_out(folder, sizes):
    names = sorted(sizes)[::2]
    with timed(f"unlink every second of {len(sizes):,}", len(names)):
        for name in names:
            os.unlink(os.path.join(folder, name))
            del sizes[name]


def rename_some(folder, sizes, chance):
    names = chance.sample(sorted(sizes), min(5000, len(sizes)))
    with timed(f"rename {len(names):,}", len(names)):
        for name in names:
            os.rename(os.path.join(folder, name), os.path.join(folder, "renamed-" + name))
            sizes["renamed-" + name] = sizes.pop(name)


def fill(volume, root, entries, chance):
    """The life of the directory. Returns the sizes of its files by name."""
    folder, sizes = os.path.join(root, "wide"), {}
    os.mkdir(folder)
    with timed(f"create {entries:,}", entries):
        volume.expect(create(folder, range(entries), sizes), f"the directory was full after {len(sizes)} names")
    list_twice(volume, folder, sizes)
    look_up(volume, folder, sizes, chance)
    thin_out(folder, sizes)
    more = range(entries, entries + entries // 2 + (20_000 if entries >= NAMES_MIN_AT_LIMIT else 0))
    with timed("create as many again"):
        fitted = create(folder, more, sizes)
    if entries >= NAMES_MIN_AT_LIMIT:
        volume.expect(not fitted, "a directory took more than its 8,063 blocks hold")
        volume.expect(len(sizes) > NAMES_MIN_AT_LIMIT, f"the directory was full at {len(sizes)} names")
        print(f"  full at {len(sizes):,} names")
        os.unlink(os.path.join(folder, name_of(entries)))
        del sizes[name_of(entries)]
        volume.expect(create(folder, [entries], sizes), "no room after one name was removed")
        # A rename within a full directory needs room for the new name, and perhaps a link group, beside the old one.
        for number in range(entries, entries + 3000):
            os.unlink(os.path.join(folder, name_of(number)))
            del sizes[name_of(number)]
    rename_some(folder, sizes, chance)
    return sizes


def empty(folder, sizes):
    with timed(f"unlink all {len(sizes):,}", len(sizes)):
        for name in sizes:
            os.unlink(os.path.join(folder, name))
    os.rmdir(folder)


def main():
    chosen = strata_mount.arguments(__doc__, entries=8000)
    strata_mount.require(chosen.strata, "vmfs6-fuse")
    with strata_mount.work_folder(chosen.work) as work:
        volume = ScaleVolume(chosen.strata, work)
        volume.format("4G")
        with volume.mounted() as root:
            sizes = fill(volume, root, chosen.entries, random.Random(chosen.seed))
        volume.check()
        if len(sizes) < OTHER_READER_FILES_MAX:
            volume.check_by_other_reader("wide", sizes)
        with volume.mounted() as root:
            list_twice(volume, os.path.join(root, "wide"), sizes)
            empty(os.path.join(root, "wide"), sizes)
        volume.check()
    strata_mount.finish(volume.problems, f"SEED={chosen.seed} {__file__} {chosen.strata} --entries {chosen.entries}")


if __name__ == "__main__":
    main()
