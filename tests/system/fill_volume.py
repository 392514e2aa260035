"""Fills a mounted volume with files of every map kind, from a seed, and returns the tree it should then show."""

import os
import random

from fallocate import KEEP_SIZE, PUNCH_HOLE, fallocate
from tree_model import Tree

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
DENSE_SIZES = {
    "empty": 0, "inline-5": 5, "inline-3584": 3584,
    "sub-block-3585": 3585, "sub-block-64k": 64 * KIB,
    "file-block-64k-and-1": 64 * KIB + 1, "file-blocks-5m-and-7": 5 * MIB + 7,
    "direct-320m": 320 * MIB, "single-indirect-321m": 321 * MIB,
}

# Name: size, and the offsets where 100,000 bytes of data lie.
SPARSE_FILES = {
    "hole-in-front": (4 * MIB, [2 * MIB + 11]),
    "hole-in-the-middle": (6 * MIB, [0, 4 * MIB + 5]),
    "hole-at-the-end": (90 * MIB + 1, [0]),
    "only-a-hole": (70 * MIB, []),
    "sparse-321m": (321 * MIB, [0, 150 * MIB - 50_000, 321 * MIB - 100_000]),
    "sparse-20g": (20 * GIB, [7 * MIB, 8 * GIB - 50_000, 19 * GIB + 1]),
    "double-indirect-3t": (3 * TIB, [0, 8 * GIB - 1, TIB + 12345, 2 * TIB + 512 * GIB - 99_999, 3 * TIB - 100_000]),
}


class Filler:
    """Creates things below a folder and notes them in a tree."""

    def __init__(self, root, seed):
        self.root = root
        self.chance = random.Random(seed)
        self.tree = Tree()

    def place(self, path):
        return os.path.join(self.root, path)

    def folder(self, path):
        os.mkdir(self.place(path))
        self.tree.add(path, "folder")

    def symlink(self, path, target):
        os.symlink(target, self.place(path))
        self.tree.add(path, "symlink", target=target)

    def file(self, path, size, offsets=(0,), length=None):
        """A file of this size with random data of this length at each offset; without a length it is dense."""
        node = self.tree.add(path, "file")
        with open(self.place(path), "wb", buffering=0) as file:
            for offset in offsets:
                self._write(file, node.content, offset, size if length is None else length)
            os.ftruncate(file.fileno(), size)
            node.content.resize(size)

    def _write(self, file, content, offset, length):
        while length > 0:
            data = self.chance.randbytes(min(length, MIB))
            os.pwrite(file.fileno(), data, offset)
            content.write(offset, data)
            offset += len(data)
            length -= len(data)

    def punch(self, path, offset, length):
        with open(self.place(path), "r+b", buffering=0) as file:
            fallocate(file.fileno(), PUNCH_HOLE | KEEP_SIZE, offset, length)
        self.tree.nodes[path].content.zero(offset, length)


def fill(root, seed, entries=3000):
    """Fills the volume below root. Times come last, since creating entries changes those of folders."""
    filler = Filler(root, seed)
    _map_kinds(filler)
    _wide_folder(filler, entries)
    _deep_folders(filler)
    _names(filler)
    _symlinks(filler)
    _modes_and_times(filler)
    filler.tree.record_attributes(root)
    return filler.tree


def _map_kinds(filler):
    filler.folder("maps")
    for name, size in DENSE_SIZES.items():
        filler.file(f"maps/{name}", size)
    for name, (size, offsets) in SPARSE_FILES.items():
        filler.file(f"maps/{name}", size, offsets, length=100_000)
    filler.file("maps/punched", 40 * MIB)
    for offset, length in [(MIB, 3 * MIB), (10 * MIB + 5000, 9000), (20 * MIB - 1, 2 * MIB + 2), (39 * MIB, MIB)]:
        filler.punch("maps/punched", offset, length)


def _wide_folder(filler, entries):
    filler.folder("wide")
    for number in range(entries):
        size = filler.chance.choice([0, 5, 700, 3584, 3585, 9000])
        filler.file(f"wide/entry-{number:05}.dat", size)


def _deep_folders(filler):
    path = "deep"
    filler.folder(path)
    for level in range(40):
        path += f"/level-{level}"
        filler.folder(path)
        filler.file(path + "/here", level * 100)


def _names(filler):
    filler.folder("names")
    names = ["x" * 127, "é" * 63 + "x", "日本語" * 14 + "a", "🐧" * 31, " leading and trailing ", "a\\b", "tab\there",
             ".hidden", "...", "UPPER", "upper", "-rf", "e\u0301"]
    for name in names:
        filler.file(f"names/{name}", filler.chance.randrange(5000))


def _symlinks(filler):
    filler.folder("links")
    targets = {"relative": "../maps/empty", "absolute": "/etc/hostname", "dangling": "nowhere", "folder": "../deep",
               "long": "/".join(["step"] * 200), "utf8": "../names/日本語"}
    for name, target in targets.items():
        filler.symlink(f"links/{name}", target)


def _modes_and_times(filler):
    modes = [0o644, 0o600, 0o444, 0o755, 0o640, 0o4711, 0o2755, 0o1777]
    times = [1, 86400, 1_000_000_000, 1_234_567_890, 2**31 - 1]
    for path in sorted(filler.tree.nodes, key=lambda path: -path.count("/")):
        if filler.tree.nodes[path].kind == "symlink":
            continue
        if filler.tree.nodes[path].kind == "file":
            os.chmod(filler.place(path), filler.chance.choice(modes))
        when = filler.chance.choice(times)
        os.utime(filler.place(path), (when, when))
