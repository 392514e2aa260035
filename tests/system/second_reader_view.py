"""An unmounted volume as the second decoder of tests/judge sees it, held against what a test expects of it."""

import bisect
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "judge"))

from checker import Checker  # noqa: E402
from damage import Damaged  # noqa: E402
from descriptors import FILE, FOLDER, SYMLINK  # noqa: E402
from file_system import FileSystem  # noqa: E402
from sparse_bytes import CHUNK, ZEROS  # noqa: E402

KINDS = {FOLDER: "folder", FILE: "file", SYMLINK: "symlink"}


def check(images, hosts_died=False):
    """Every structure of the volume, on which locks may be left if hosts died. Returns the problems."""
    return examine(images, lambda file_system: [], hosts_died)


def compare(images, tree):
    """Every structure, and every name, attribute and byte against the tree. Returns the problems."""
    return examine(images, lambda file_system: _differences(file_system, tree))


def examine(images, inspect, hosts_died=False):
    """Opens and checks a volume, then inspects it further. Returns all problems."""
    try:
        file_system = FileSystem(images)
        try:
            checker = Checker(file_system, hosts_died)
            checker.run()
            return checker.problems + list(inspect(file_system))
        finally:
            file_system.close()
    except (Damaged, struct.error, IndexError) as error:
        return [f"cannot be read further: {error}"]


def describe(file_system):
    """All there is to know about every path, without the volume's own files."""
    described = {}
    for path, descriptor in file_system.walk():
        if not file_system.is_ordinary(path, descriptor):
            continue
        facts = described[path] = {"uid": descriptor.uid, "gid": descriptor.gid, "mtime": descriptor.mtime,
                                   "size": descriptor.length}
        if descriptor.type == SYMLINK:
            facts["target"] = descriptor.target
        else:
            facts["mode"] = f"{descriptor.mode & 0o7777:04o}"
        if descriptor.type == FILE:
            facts["sha256"] = file_system.sha256(descriptor)
        if descriptor.type == FOLDER:
            facts["nlink"] = descriptor.links
    return described


def _differences(file_system, tree):
    missing = set(tree.nodes)
    for path, descriptor in file_system.walk():
        if not file_system.is_ordinary(path, descriptor):
            continue
        if path not in missing:
            yield f"{path!r}: should not be there"
            continue
        missing.remove(path)
        yield from (f"{path!r}: {what}" for what in compare_node(file_system, descriptor, tree.nodes[path]))
    yield from (f"{path!r}: is missing" for path in sorted(missing))


def compare_node(file_system, descriptor, node):
    """Yields what differs between a descriptor and an expected node."""
    kind = KINDS.get(descriptor.type)
    if kind != node.kind:
        yield f"is a {kind}, not a {node.kind}"
        return
    yield from attribute_differences(descriptor, node.attributes)
    if kind == "symlink" and descriptor.target != node.target:
        yield f"points to {descriptor.target!r}, not {node.target!r}"
    if kind == "file":
        yield from _content_differences(file_system.map(descriptor), descriptor.length, node.content)


def attribute_differences(descriptor, wanted):
    """Yields each of the wanted attributes that the descriptor has not."""
    actual = {"mode": f"{descriptor.mode & 0o7777:04o}", "uid": descriptor.uid, "gid": descriptor.gid,
              "mtime": descriptor.mtime, "nlink": descriptor.links}
    yield from (f"{name} is {actual[name]}, not {value}" for name, value in wanted.items() if actual[name] != value)


def _content_differences(block_map, length, content):
    if length != content.size:
        yield f"has {length} bytes, not {content.size}"
        return
    data = [offset for offset in content.data_chunks() if content.chunks[offset // CHUNK] != ZEROS]
    for offset, piece in block_map.pieces():
        if isinstance(piece, bytes):
            if piece != content.read(offset, len(piece)):
                yield f"differs between {offset} and {offset + len(piece)}"
        elif (at := bisect.bisect_left(data, offset)) < len(data) and data[at] < offset + piece:
            yield f"has a hole where data begins at {data[at]}"
