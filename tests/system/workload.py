"""Random operations on a mounted folder and, at the same time, on a model of it.

Every choice comes from one seed. An operation that fails where the model says it works, or works where the model says it
fails, is a found fault; the caller compares the two trees from time to time to find the rest.
"""

import errno
import os
import random

from fallocate import KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, fallocate
from tree_model import Tree

KIB, MIB = 1 << 10, 1 << 20
MAX_NODES = 400
MAX_DATA = 300 * MIB

# Where map kinds change: inline, sub-block, file block, direct map, pointer blocks, double indirect.
EDGES = [0, 1, 3584, 3585, 4096, 64 * KIB, 64 * KIB + 1, MIB, MIB + 1, 20 * MIB, 320 * MIB, 321 * MIB, 8 << 30, 3 << 40]


class Workload:
    """Operations below a folder, as a model tree remembers them."""

    def __init__(self, root, seed):
        self.root = root
        self.chance = random.Random(seed)
        self.tree = Tree()
        self.names = 0
        self.counts = {}
        self.weights = {
            self.create: 16, self.append: 16, self.overwrite: 18, self.truncate: 12, self.punch_hole: 8,
            self.zero_range: 4, self.allocate: 4, self.rename: 10, self.unlink: 7, self.make_folder: 6,
            self.remove_folder: 4, self.symlink: 3, self.read_back: 10, self.sync: 3, self.use_after_unlink: 3,
            self.refused: 3,
        }

    def run(self, operations):
        actions, weights = list(self.weights), list(self.weights.values())
        for _ in range(operations):
            action = self.chance.choices(actions, weights)[0]
            self.counts[action.__name__] = self.counts.get(action.__name__, 0) + 1
            action()

    # --- choices

    def place(self, path):
        return os.path.join(self.root, path)

    def new_path(self):
        folder = self.chance.choice([""] + self.tree.paths("folder"))
        self.names += 1
        tail = self.chance.choice(["", ".vmdk", "-ü", "-" + "n" * self.chance.randrange(80)])
        return (folder + "/" if folder else "") + f"n{self.names}{tail}"

    def some(self, kind):
        paths = self.tree.paths(kind)
        return self.chance.choice(paths) if paths else None

    def some_offset(self):
        """Mostly small, often at an edge between map kinds, sometimes far out."""
        dice = self.chance.random()
        if dice < 0.5:
            return self.chance.randrange(3 * MIB)
        if dice < 0.9:
            return max(0, self.chance.choice(EDGES[:11]) + self.chance.randrange(-4096, 4096))
        return self.chance.choice(EDGES) + self.chance.randrange(MIB)

    def some_length(self):
        return self.chance.choice([1, 100, 3584, 4096, 9000, 64 * KIB, 200_000, self.chance.randrange(1, 2 * MIB)])

    def some_file(self):
        """A file to change, as (open descriptor, model content), or nothing."""
        path = self.some("file")
        if path is None:
            return None
        return os.open(self.place(path), os.O_RDWR), self.tree.nodes[path].content

    def data_is_full(self):
        return sum(len(self.tree.nodes[path].content.chunks) for path in self.tree.paths("file")) * 64 * KIB > MAX_DATA

    # --- operations

    def create(self):
        if len(self.tree.nodes) >= MAX_NODES:
            return self.unlink()
        path = self.new_path()
        node = self.tree.add(path, "file")
        data = self.chance.randbytes(self.chance.choice([0, 5, 3584, 3585, 20_000, 64 * KIB, 64 * KIB + 1]))
        with open(self.place(path), "xb") as file:
            file.write(data)
        node.content.write(0, data)

    def append(self):
        self._change(lambda content: (content.size, self.some_length()))

    def overwrite(self):
        self._change(lambda content: (self.some_offset(), self.some_length()))

    def _change(self, choose):
        if self.data_is_full():
            return self.unlink()
        if chosen := self.some_file():
            descriptor, content = chosen
            offset, length = choose(content)
            data = self.chance.randbytes(length)
            os.pwrite(descriptor, data, offset)
            os.close(descriptor)
            content.write(offset, data)

    def truncate(self):
        if chosen := self.some_file():
            descriptor, content = chosen
            size = self.chance.choice([0, content.size // 2, self.some_offset()])
            os.ftruncate(descriptor, size)
            os.close(descriptor)
            content.resize(size)

    def punch_hole(self):
        self._zero(PUNCH_HOLE | KEEP_SIZE)

    def zero_range(self):
        self._zero(ZERO_RANGE | KEEP_SIZE)

    def _zero(self, mode):
        if chosen := self.some_file():
            descriptor, content = chosen
            offset, length = self.chance.randrange(content.size + 1), self.some_length()
            fallocate(descriptor, mode, offset, length)
            os.close(descriptor)
            content.zero(offset, length)

    def allocate(self):
        """Takes space; the file grows unless its size is to be kept. What was there stays."""
        if chosen := self.some_file():
            descriptor, content = chosen
            offset, length = self.chance.randrange(4 * MIB), self.some_length()
            keep = self.chance.random() < 0.5
            fallocate(descriptor, KEEP_SIZE if keep else 0, offset, length)
            os.close(descriptor)
            if not keep:
                content.resize(max(content.size, offset + length))

    def rename(self):
        """Moves a file, symlink or folder, sometimes over an existing file."""
        kind = self.chance.choice(["file", "file", "folder", "symlink"])
        old = self.some(kind)
        if old is None:
            return
        new = self.some("file") if kind == "file" and self.chance.random() < 0.4 else self.new_path()
        if new == old or new.startswith(old + "/"):
            return
        os.rename(self.place(old), self.place(new))
        self.tree.nodes.pop(new, None)
        self.tree.rename(old, new)

    def unlink(self):
        path = self.some(self.chance.choice(["file", "file", "symlink"]))
        if path is not None:
            os.unlink(self.place(path))
            del self.tree.nodes[path]

    def make_folder(self):
        if len(self.tree.paths("folder")) < 60:
            path = self.new_path()
            os.mkdir(self.place(path))
            self.tree.add(path, "folder")

    def remove_folder(self):
        path = self.some("folder")
        if path is not None and not self.tree.children(path):
            os.rmdir(self.place(path))
            del self.tree.nodes[path]

    def symlink(self):
        path, target = self.new_path(), "to/" * self.chance.randrange(1, 300)
        os.symlink(target, self.place(path))
        self.tree.add(path, "symlink", target=target)

    def read_back(self):
        if chosen := self.some_file():
            descriptor, content = chosen
            offset = self.chance.randrange(content.size + 1)
            actual = os.pread(descriptor, 128 * KIB, offset)
            os.close(descriptor)
            if actual != content.read(offset, 128 * KIB):
                raise AssertionError(f"read at {offset} of a file of {content.size} bytes gives other bytes than written")

    def sync(self):
        if chosen := self.some_file():
            os.fsync(chosen[0])
            os.close(chosen[0])

    def use_after_unlink(self):
        """An open file lives on without its name."""
        path = self.some("file")
        if path is None:
            return
        descriptor = os.open(self.place(path), os.O_RDWR)
        os.unlink(self.place(path))
        del self.tree.nodes[path]
        os.pwrite(descriptor, b"still here", 100_000)
        if os.pread(descriptor, 10, 100_000) != b"still here":
            raise AssertionError("an unlinked open file lost a write")
        os.close(descriptor)

    def refused(self):
        """What must fail, with the right error."""
        folder = self.some("folder")
        if folder is not None and self.tree.children(folder):
            _expect(errno.ENOTEMPTY, os.rmdir, self.place(folder))
        if folder is not None:
            _expect(errno.EEXIST, os.mkdir, self.place(folder))
            _expect(errno.EINVAL, os.rename, self.place(folder), self.place(folder + "/inside"))
        _expect(errno.ENOENT, os.unlink, self.place("no such name"))
        _expect(errno.ENAMETOOLONG, os.mkdir, self.place("l" * 128))


def _expect(code, call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        if error.errno == code:
            return
        raise
    raise AssertionError(f"{call.__name__}{arguments} should fail with {errno.errorcode[code]}")
