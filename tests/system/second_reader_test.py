#!/usr/bin/env python3
"""Judges volumes that no other reader can open: over 18.8 TiB, over 40,792 descriptors, several devices.

The volume lies on sparse image files, one per extent (more than 16 TiB on one file needs tmpfs). It gets one wide folder, many
small ones and files of every map kind up to 62 TiB; then strata fsck must be clean, and the second decoder of tests/judge must
find every structure sound and every name, attribute and byte as written.
"""

import contextlib
import hashlib
import os
import time

import second_reader_view
import strata_mount
from fill_volume import GIB, KIB, MIB, TIB, Filler
from tree_model import compare

UNIT = 256 * MIB
IN_FRONT = 17 * MIB
FILES_PER_FOLDER = 100
SIZES = [0, 5, 700, 3584, 3584, 3584, 3585, 9000]
SPARSE_FILES = {
    "direct": (300 * MIB, [0, 299 * MIB]),
    "single": (2 * TIB, [0, 9 * GIB - 1, 2 * TIB - 100_000]),
    "double": (62 * TIB, [5, 3 * TIB + 17, 31 * TIB - 50_000, 62 * TIB - 100_000]),
}


class PlainBytes:
    """The content of a small file: what SparseBytes does, in as much memory as there are bytes."""

    def __init__(self, data):
        self.data, self.size = data, len(data)
        self.chunks = {}

    def read(self, offset, length):
        return self.data[offset:offset + length]

    def digest(self):
        return hashlib.sha256(self.data).hexdigest()

    def data_chunks(self):
        """None: small files have no holes to look for."""
        return []


class WideVolume(strata_mount.Volume):
    """A volume on several sparse image files."""

    def __init__(self, strata, work, extents):
        super().__init__(strata, work)
        self.images = [os.path.join(work, f"extent-{number}.img") for number in range(extents)]

    def format(self, size):
        """`size` in bytes, a whole number of units; the extents share it as evenly as can be."""
        for number, image in enumerate(self.images):
            units = size // UNIT * (number + 1) // len(self.images) - size // UNIT * number // len(self.images)
            with open(image, "wb") as file:
                file.truncate(units * UNIT + IN_FRONT)
        strata_mount.run(self.strata, "mkfs", *self.images, "--label", strata_mount.LABEL)

    @contextlib.contextmanager
    def mounted(self, *options):
        strata_mount.run(self.strata, "mount", *self.images, self.mount_point, *options)
        try:
            yield os.path.join(self.mount_point, "volumes", strata_mount.LABEL)
        finally:
            strata_mount.run(self.strata, "umount", self.mount_point)

    def check(self):
        try:
            strata_mount.run(self.strata, "fsck", *self.images)
        except RuntimeError as error:
            return [str(error)]
        return []


def fill(root, seed, entries, files):
    """Fills the volume and returns the tree it should show."""
    filler = Filler(root, seed)
    filler.folder("maps")
    filler.file("maps/dense", 5 * MIB + 7)
    filler.file("maps/sub-block", 64 * KIB)
    for name, (size, offsets) in SPARSE_FILES.items():
        filler.file(f"maps/{name}", size, offsets, length=100_000)
    filler.folder("wide")
    for number in range(entries):
        _small_file(filler, f"wide/entry number {number}", filler.chance.choice(SIZES) if number % 10 == 0 else number % 7)
    for number in range(files):
        folder = f"folder-{number // FILES_PER_FOLDER}"
        if number % FILES_PER_FOLDER == 0:
            filler.folder(folder)
        _small_file(filler, f"{folder}/file-{number}", filler.chance.choice(SIZES))
    for number in range(0, entries, 30):
        os.remove(filler.place(f"wide/entry number {number}"))
        del filler.tree.nodes[f"wide/entry number {number}"]
    for number in range(0, entries, 60):
        _small_file(filler, f"wide/again {number}", number % 11)
    filler.symlink("maps/link", "../wide")
    filler.tree.record_attributes(root)
    return filler.tree


def _small_file(filler, path, size):
    data = filler.chance.randbytes(size)
    with open(filler.place(path), "xb", buffering=0) as file:
        file.write(data)
    filler.tree.add(path, "file", content=PlainBytes(data))


def timed(what, ask):
    started = time.monotonic()
    answer = ask()
    print(f"{what}: {time.monotonic() - started:.1f} s", flush=True)
    return answer


def judge(volume, tree, seed):
    """Returns the problems that Strata's own check, a new mount and the second decoder see."""
    problems = [f"strata fsck: {problem}" for problem in timed("strata fsck", volume.check)]
    seen = timed("second reader", lambda: second_reader_view.compare(volume.images, tree))
    problems += [f"second reader: {problem}" for problem in seen]
    with volume.mounted("--read-only") as root:
        return problems + [f"strata: {problem}" for problem in timed("strata", lambda: compare(root, tree, seed))]


def main():
    options = strata_mount.arguments(__doc__.splitlines()[0], terabytes=20, extents=5, entries=6000, files=3000)
    strata_mount.require(options.strata, "fusermount3")
    replay = (f"{__file__} --terabytes {options.terabytes} --extents {options.extents} --entries {options.entries} "
              f"--files {options.files} --seed {options.seed}")
    with strata_mount.work_folder(options.work) as work:
        volume = WideVolume(options.strata, work, options.extents)
        timed("mkfs", lambda: volume.format(options.terabytes * TIB))
        with volume.mounted() as root:
            tree = timed("fill", lambda: fill(root, options.seed, options.entries, options.files))
        print(f"seed {options.seed}: {options.terabytes} TiB on {options.extents} devices, {len(tree.nodes)} names")
        problems = judge(volume, tree, options.seed)
    strata_mount.finish(problems, replay)


if __name__ == "__main__":
    main()
