"""What a folder tree should look like, and the comparison of a real one with it."""

import hashlib
import os
import random
import stat
from dataclasses import dataclass, field

from sparse_bytes import CHUNK, SparseBytes

# Larger files that are mostly holes are not hashed whole: all their data and a sample of their holes is read.
HASHED_WHOLE = 16 << 20
SAMPLED_HOLES = 24

# The volume's own files, which live in its root.
SYSTEM_NAMES = {".fbb.sf", ".fdc.sf", ".pbc.sf", ".sbc.sf", ".vh.sf", ".pb2.sf", ".sdd.sf", ".jbc.sf",
                ".unmap.sf", ".dfd.sf"}


@dataclass
class Node:
    """A file, a folder or a symlink."""
    kind: str
    content: SparseBytes = field(default_factory=SparseBytes)
    target: str = ""
    attributes: dict = field(default_factory=dict)


class Tree:
    """Nodes by path relative to the root."""

    def __init__(self):
        self.nodes = {}

    def add(self, path, kind, **details):
        self.nodes[path] = Node(kind, **details)
        return self.nodes[path]

    def paths(self, kind):
        return [path for path, node in self.nodes.items() if node.kind == kind]

    def children(self, folder):
        prefix = folder + "/" if folder else ""
        return [path for path in self.nodes if path.startswith(prefix) and path != folder
                and "/" not in path[len(prefix):]]

    def rename(self, old, new):
        moved = {path: node for path, node in self.nodes.items()
                 if path == old or path.startswith(old + "/")}
        for path in moved:
            del self.nodes[path]
        for path, node in moved.items():
            self.nodes[new + path[len(old):]] = node

    def record_attributes(self, root):
        """Takes over modes, owners, times and link counts from a mounted tree, to be found again later."""
        for path, node in self.nodes.items():
            node.attributes = attributes_of(os.lstat(os.path.join(root, path)))

    def forget_attributes(self):
        """For a tree that is about to change: the recorded times and link counts hold no longer."""
        for node in self.nodes.values():
            node.attributes = {}


def attributes_of(status):
    attributes = {"mode": f"{stat.S_IMODE(status.st_mode):04o}", "uid": status.st_uid, "gid": status.st_gid,
                  "mtime": int(status.st_mtime)}
    if stat.S_ISDIR(status.st_mode):
        attributes["nlink"] = status.st_nlink
    if stat.S_ISLNK(status.st_mode):
        del attributes["mode"]
    return attributes


def compare(root, tree, seed=0):
    """Compares the tree under root with the expected one. Returns the differences, one sentence each."""
    problems = []
    found = set(list_tree(root))
    problems += [f"{path!r}: is missing" for path in sorted(tree.nodes.keys() - found)]
    problems += [f"{path!r}: should not be there" for path in sorted(found - tree.nodes.keys())]
    chance = random.Random(seed)
    for path in sorted(tree.nodes.keys() & found):
        problems += [f"{path!r}: {what}" for what in _compare_node(os.path.join(root, path), tree.nodes[path], chance)]
    return problems


def list_tree(root):
    """Relative paths of everything under root, without the volume's own files."""
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                if not folder and entry.name in SYSTEM_NAMES:
                    continue
                path = f"{folder}/{entry.name}" if folder else entry.name
                yield path
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)


def _compare_node(place, node, chance):
    try:
        status = os.lstat(place)
        kind = {stat.S_IFDIR: "folder", stat.S_IFLNK: "symlink", stat.S_IFREG: "file"}.get(stat.S_IFMT(status.st_mode))
        if kind != node.kind:
            return [f"is a {kind}, not a {node.kind}"]
        return _compare_attributes(status, node) + _compare_content(place, status, node, chance)
    except OSError as error:
        return [f"cannot be read: {error.strerror}"]


def _compare_attributes(status, node):
    actual = attributes_of(status)
    return [f"{name} is {actual[name]}, not {wanted}" for name, wanted in node.attributes.items()
            if actual[name] != wanted]


def _compare_content(place, status, node, chance):
    if node.kind == "symlink":
        target = os.readlink(place)
        return [] if target == node.target else [f"points to {target!r}, not {node.target!r}"]
    if node.kind == "folder":
        return []
    if status.st_size != node.content.size:
        return [f"has {status.st_size} bytes, not {node.content.size}"]
    if node.content.size > HASHED_WHOLE and len(node.content.chunks) * CHUNK < node.content.size // 4:
        return _compare_samples(place, node.content, chance)
    if _digest(place) != node.content.digest():
        return [f"SHA-256 differs{_first_difference(place, node.content)}"]
    return []


def _digest(place):
    with open(place, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_difference(place, content):
    with open(place, "rb", buffering=0) as file:
        for offset in range(0, content.size, CHUNK):
            if difference := _difference_at(file, content, offset):
                return ", first at " + difference
    return ", but a second reading agrees"


def _compare_samples(place, content, chance):
    blocks = (content.size + CHUNK - 1) // CHUNK
    offsets = {0, (blocks - 1) * CHUNK}
    for offset in content.data_chunks():
        offsets |= {offset, max(offset - CHUNK, 0), min(offset + CHUNK, (blocks - 1) * CHUNK)}
    offsets |= {chance.randrange(blocks) * CHUNK for _ in range(SAMPLED_HOLES)}
    with open(place, "rb", buffering=0) as file:
        differences = [_difference_at(file, content, offset) for offset in sorted(offsets)]
    return ["differs at " + difference for difference in differences if difference]


def _difference_at(file, content, offset):
    """Names the first differing byte of a chunk, or returns nothing."""
    actual, wanted = os.pread(file.fileno(), CHUNK, offset), content.read(offset, CHUNK)
    if actual == wanted:
        return ""
    if len(actual) != len(wanted):
        return f"offset {offset}: {len(actual)} bytes instead of {len(wanted)}"
    at = next(i for i in range(len(wanted)) if actual[i] != wanted[i])
    where = "data" if wanted.strip(b"\0") else "a hole"
    after = " after a hole" if content.has_hole_before(offset) else ""
    return f"offset {offset + at} in {where}{after}: {actual[at]:#04x} instead of {wanted[at]:#04x}"
