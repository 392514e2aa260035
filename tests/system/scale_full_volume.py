#!/usr/bin/env python3
"""A volume filled to the last block and emptied again, in several rounds; every way to run out of space must be clean.

Each round fills the free blocks with large files, what is left with ever smaller ones, then makes directories, symbolic links and
empty files until nothing of any kind fits; nothing that was stored may be lost. Then everything goes, and the free count must be
what it was, but for what resource files have grown by, which they keep.
"""

import contextlib
import errno
import hashlib
import os
import random

import strata_mount
from scale_support import MIB, ScaleVolume, say, timed

SIZES = [16 * MIB, MIB, 64 << 10, 3000]
ROOMY_FOLDERS = 12


def no_space_as_false(action, *arguments):
    """Whether it succeeded; false for ENOSPC, any other error is one."""
    try:
        action(*arguments)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
    return True


def store(path, data):
    with open(path, "xb", buffering=0) as file:
        written = file.write(data)
        os.fsync(file.fileno())
        if written != len(data):
            raise OSError(errno.ENOSPC, "a short write")


class Filler:
    """Fills one folder, and remembers what must be there."""

    def __init__(self, root, chance):
        self.chance = chance
        self.digests = {}
        self.others = []
        self.count = 0
        # Folders grow by sub-blocks; those made in time have room for names when there are none left.
        self.folders = [os.path.join(root, f"part-{number}") for number in range(ROOMY_FOLDERS)]
        for folder in self.folders:
            os.mkdir(folder)

    def next_path(self, kind):
        self.count += 1
        return os.path.join(self.folders[self.count % ROOMY_FOLDERS], f"{kind}-{self.count}")

    def fill_with_files(self, size):
        """Files of this size until one does not fit; what remains of that one is removed."""
        while True:
            path, data = self.next_path("file"), self.chance.randbytes(size)
            if not no_space_as_false(store, path, data):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
                return
            self.digests[path] = hashlib.sha256(data).hexdigest()

    def fill_with(self, kind, make):
        while True:
            path = self.next_path(kind)
            if not no_space_as_false(make, path):
                return
            self.others.append(path)

    def fill(self):
        for size in SIZES:
            with timed(f"  fill with files of {size:,} bytes"):
                self.fill_with_files(size)
        with timed("  fill with folders, links and empty files"):
            self.fill_with("folder", os.mkdir)
            self.fill_with("link", lambda path: os.symlink("nowhere", path))
            self.fill_with("empty", lambda path: os.close(os.open(path, os.O_CREAT | os.O_EXCL)))

    def problems(self):
        for path, digest in self.digests.items():
            with open(path, "rb") as file:
                if hashlib.sha256(file.read()).hexdigest() != digest:
                    yield f"{path} has other contents"
        names = {os.path.join(folder, name) for folder in self.folders for name in os.listdir(folder)}
        for path in sorted(names ^ (set(self.digests) | set(self.others)))[:5]:
            yield f"{path} is missing, or should not be there"

    def empty(self):
        for path in list(self.digests) + self.others:
            (os.rmdir if "/folder-" in path else os.unlink)(path)
        for folder in self.folders:
            os.rmdir(folder)


def resource_blocks(root):
    return sum(-(-os.stat(os.path.join(root, name)).st_size // MIB) for name in (".fdc.sf", ".sbc.sf", ".pb2.sf"))


def live_one_round(volume, chance, number):
    with volume.mounted() as root:
        free = os.statvfs(root).f_bfree
        before = resource_blocks(root)
        os.mkdir(os.path.join(root, "full"))
        filler = Filler(os.path.join(root, "full"), chance)
        with timed(f"round {number}: fill {free} blocks"):
            filler.fill()
        say("files, others", f"{len(filler.digests):9} {len(filler.others)}")
        volume.expect(os.statvfs(root).f_bfree == 0, f"{os.statvfs(root).f_bfree} blocks were not to be had")
        for problem in filler.problems():
            volume.expect(False, f"full: {problem}")
    volume.check()
    with volume.mounted() as root:
        for problem in filler.problems():
            volume.expect(False, f"after a remount: {problem}")
        with timed("empty it"):
            filler.empty()
            os.rmdir(os.path.join(root, "full"))
    volume.check()
    with volume.mounted() as root:
        left, kept = os.statvfs(root).f_bfree, resource_blocks(root) - before
        say("blocks free again, kept by resource files", f"{left:9} {kept}")
        volume.expect(left + kept == free, f"{free} blocks were free, now {left}, and resource files kept {kept}")


def main():
    chosen = strata_mount.arguments(__doc__, rounds=2, size="512M")
    strata_mount.require(chosen.strata)
    chance = random.Random(chosen.seed)
    with strata_mount.work_folder(chosen.work) as work:
        volume = ScaleVolume(chosen.strata, work)
        volume.format(chosen.size)
        for number in range(1, chosen.rounds + 1):
            live_one_round(volume, chance, number)
        with volume.mounted() as root:
            store(os.path.join(root, "usable again"), b"yes")
        volume.check()
    again = f"SEED={chosen.seed} ROUNDS={chosen.rounds} {__file__} {chosen.strata} --size {chosen.size}"
    strata_mount.finish(volume.problems, again)


if __name__ == "__main__":
    main()
