#!/usr/bin/env python3
"""Changes behind the kernel's back while it is busy in the same folder: nothing hangs, nothing stale is seen.

Workers create, rename and write without pause; meanwhile disks are created, extended, renamed and deleted by the daemon, which
has to make the kernel forget names and sizes. Each step looks at the result at once through the mount.
"""

import contextlib
import multiprocessing
import os

import strata_mount

MIB = 1 << 20


def create_and_remove(root, stop):
    count = 0
    while not stop.is_set():
        path = os.path.join(root, f"made-{count % 7}")
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        os.unlink(path)
        count += 1


def rename(root, stop):
    names = [os.path.join(root, "left"), os.path.join(root, "right")]
    os.close(os.open(names[0], os.O_CREAT | os.O_WRONLY))
    while not stop.is_set():
        os.rename(names[0], names[1])
        names.reverse()


def write(root, stop):
    with open(os.path.join(root, "dirty"), "wb", buffering=0) as file:
        while not stop.is_set():
            os.pwrite(file.fileno(), os.urandom(70_000), 0)
            os.fsync(file.fileno())


class Steps:
    """What the daemon does, and what must be seen of it."""

    def __init__(self, strata, root):
        self.strata = strata
        self.root = root
        self.problems = []

    def disk(self, *words):
        strata_mount.run(self.strata, "disk", *words)

    def sees(self, what, name, size):
        path = os.path.join(self.root, name)
        actual = os.stat(path).st_size if os.path.exists(path) else None
        if actual != size:
            self.problems.append(f"{what}: {name} has {actual} bytes, expected {size}")

    def round(self):
        path = os.path.join(self.root, "storm.vmdk")
        moved = os.path.join(self.root, "moved.vmdk")
        self.disk("create", path, "--size", "4M")
        self.sees("after create", "storm-flat.vmdk", 4 * MIB)
        self.disk("extend", path, "8M")
        self.sees("after extend", "storm-flat.vmdk", 8 * MIB)
        self.disk("rename", path, moved)
        self.sees("after rename", "storm.vmdk", None)
        self.sees("after rename", "moved-flat.vmdk", 8 * MIB)
        self.disk("delete", moved)
        self.sees("after delete", "moved-flat.vmdk", None)


def main():
    options = strata_mount.arguments(__doc__.splitlines()[0], rounds=15)
    strata_mount.require(options.strata)
    with strata_mount.work_folder(options.work) as work:
        volume = strata_mount.Volume(options.strata, work)
        volume.format("512M")
        with volume.mounted() as root:
            stop = multiprocessing.Event()
            workers = [multiprocessing.Process(target=target, args=(root, stop))
                       for target in (create_and_remove, rename, write)]
            steps = Steps(volume.strata, root)
            for worker in workers:
                worker.start()
            try:
                for _ in range(options.rounds):
                    steps.round()
            finally:
                stop.set()
                for worker in workers:
                    with contextlib.suppress(ValueError):
                        worker.join(timeout=30)
            steps.problems += ["a worker failed" for worker in workers if worker.exitcode != 0]
        steps.problems += volume.check()
    strata_mount.finish(steps.problems, f"{__file__} {options.strata}")


if __name__ == "__main__":
    main()
