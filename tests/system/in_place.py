#!/usr/bin/env python3
"""A machine of a read-only volume runs where it lies, its writes on another volume of the same mount.

    in_place.py [STRATA] [--work FOLDER] [--seed N]

The old volume is one that Strata may not write: the mark that says it may is taken off the image. Judges: the SHA-256 of the
whole old image before and after, and of what a guest would read.
"""
import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

import strata_mount as support

MIB = 1 << 20
MARK = 0x1100000 + 0x200200  # vmfs/FORMAT.md, "Regions": our mark in the superblock's block
MACHINE = ('displayName = "web"\nmemSize = "64"\nscsi0.present = "TRUE"\nscsi0:0.present = "TRUE"\nscsi0:0.fileName = "{}"\n'
           'scsi0:1.present = "TRUE"\nscsi0:1.fileName = "data.vmdk"\n')


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Test:
    def __init__(self, options, work):
        self.strata = os.path.abspath(options.strata)
        self.work = work
        self.random = random.Random(options.seed)
        self.failures = []
        self.old, self.new = (os.path.join(work, name) for name in ("old.img", "new.img"))
        self.mount_point = os.path.join(work, "mnt")
        os.makedirs(self.mount_point, exist_ok=True)

    def path(self, *names):
        return os.path.join(self.mount_point, *names)

    def strata_run(self, *words):
        return support.run(self.strata, *words)

    def check(self, is_so, what):
        print(f"{'ok  ' if is_so else 'FAIL'} {what}", flush=True)
        if not is_so:
            self.failures.append(what)

    def refuses(self, words, pattern, what, programs=None):
        done = subprocess.run([*(programs or [self.strata]), *words], capture_output=True, text=True, timeout=120, check=False)
        self.check(done.returncode != 0 and re.search(pattern, done.stderr + done.stdout),
                   f"{what}: {(done.stderr or done.stdout).strip()}")

    def hash_of(self, disk):
        return self.strata_run("disk", "hash", disk).split()[0]

    def mount(self, *images):
        self.strata_run("mount", *images, self.mount_point)

    def umount(self):
        self.strata_run("umount", self.mount_point)

    def make_old(self):
        """A machine with a flat base, two snapshots, .vmsd and .vmx, on a volume that is not ours to write."""
        self.strata_run("mkfs", self.old, "--label", "old", "--size", "300M")
        self.strata_run("mkdir", f"{self.old}:/web")
        for name, size in (("web", 9 * MIB), ("data", 3 * MIB)):
            raw = os.path.join(self.work, "raw")
            with open(raw, "wb") as file:
                file.write(self.random.randbytes(size))
            self.strata_run("import", raw, f"{self.old}:/web/{name}.vmdk")
        machine = os.path.join(self.work, "web.vmx")
        with open(machine, "w", encoding="utf-8") as file:
            file.write(MACHINE.format("web.vmdk"))
        self.strata_run("put", machine, f"{self.old}:/web/web.vmx")
        for number, layout in enumerate(("vmfsSparse", "seSparse"), 1):
            self.strata_run("disk", "snapshot", "create", f"{self.old}:/web/web.vmx", f"s{number}", "--format", layout)
            self.mount(self.old)
            with open(self.path("devices", "vdisks", "old", "web", "web.vmdk"), "r+b") as disk:
                for _ in range(20):
                    disk.seek(self.random.randrange(9 * MIB - 70_000))
                    disk.write(self.random.randbytes(self.random.choice([512, 5_000, 65_536])))
            self.umount()
        with open(self.old, "r+b") as image:
            image.seek(MARK)
            image.write(bytes(256))

    def uuid_of(self, label):
        volumes = self.path("volumes")
        return next(name for name in os.listdir(volumes)
                    if os.path.islink(os.path.join(volumes, name)) and os.readlink(os.path.join(volumes, name)) == label)

    def import_both(self):
        old, new = self.path("volumes", "old", "web"), self.path("volumes", "new")
        self.refuses(["import", "--in-place", self.work, new], "lies elsewhere than", "a host folder as source")
        done = self.strata_run("import", "--in-place", old, new)
        self.check(f"stands on  {old}/web-000002.vmdk" in done, "the report names the old disks where they are shown")
        self.refuses(["import", "--in-place", old, new], "in the way", "a second time")
        with open(os.path.join(new, "web", "web-000002.vmdk"), encoding="utf-8") as file:
            text = file.read()
        self.uuid = self.uuid_of("old")
        self.check(f'parentFileNameHint="/vmfs/volumes/{self.uuid}/web/web-000002.vmdk"' in text,
                   "the child names the volume by its UUID")
        for name in ("web-000002", "data-000002"):
            self.check(self.hash_of(f"{new}/web/{name}.vmdk") == self.hash_of(f"{old}/{name}.vmdk"),
                       f"{name} reads as the old one")

    def write(self, disk):
        """Random writes beside a model. Answers what the disk holds now."""
        with open(disk, "r+b", buffering=0) as file:
            model = bytearray(file.read())
            for _ in range(40):
                piece = self.random.randbytes(self.random.choice([1, 512, 4_096, 70_001]))
                offset = self.random.randrange(len(model) - len(piece))
                os.pwrite(file.fileno(), piece, offset)
                model[offset:offset + len(piece)] = piece
            os.fsync(file.fileno())
        return hashlib.sha256(model).hexdigest()

    def use(self):
        """Everything a machine does with its disks, with the old volume beside."""
        new = self.path("volumes", "new", "web")
        child = f"{new}/web-000002.vmdk"
        shown = self.path("devices", "vdisks", "new", "web", "web-000002.vmdk")
        wanted = self.write(shown)
        self.check(self.hash_of(child) == wanted, "what was written through the mount is there")
        info = self.strata_run("disk", "info", child)
        self.check(info.count("\nlink ") == 4 and f"/vmfs/volumes/{self.uuid}/web/web.vmdk vmfs" in info,
                   "disk info shows all links")
        self.check("consistent" in self.strata_run("disk", "check", child), "disk check")
        self.check("consistent" in self.strata_run("disk", "check", "--folder", new), "disk check --folder")
        self.strata_run("disk", "snapshot", "create", f"{new}/web.vmx", "own")
        self.check("own" in self.strata_run("disk", "snapshot", "list", f"{new}/web.vmx"), "a snapshot of our own")
        wanted = self.write(shown)
        self.strata_run("disk", "snapshot", "delete", f"{new}/web.vmx", "own")
        self.check(self.hash_of(child) == wanted and os.listdir(new).count("web-000002.vmdk") == 1 and
                   not os.path.exists(f"{new}/web-000002-000001.vmdk"), "and its delete merges into our own link")
        self.refuses(["disk", "consolidate", child], "another datastore.*only read.*strata disk clone",
                     "a commit into the old disk")
        return wanted

    def leave(self, wanted):
        """The ways out of the old volume: a clone, an export."""
        child, alone = (self.path("volumes", "new", *names) for names in (("web", "web-000002.vmdk"), ("alone.vmdk",)))
        self.strata_run("disk", "clone", child, alone, "--format", "thin")
        self.check(self.hash_of(alone) == wanted, "a clone holds everything")
        raw = os.path.join(self.work, "out.raw")
        self.strata_run("export", child, raw, "--format", "raw")
        self.check(digest(raw) == wanted, "an export, too")

    def held(self):
        """While the disk is open its parents' volume stays, and says who has it."""
        shown = self.path("devices", "vdisks", "new", "web", "web-000002.vmdk")
        with open(shown, "rb"):
            status = self.strata_run("status", self.mount_point)
            self.check(re.search(r"/web/web-000002\.vmdk stands on it", status),
                       "the old volume lists the disk that stands on it")
            self.refuses(["umount", self.mount_point], r"disk \S*/web/web-000002\.vmdk", "an unmount meanwhile")
            self.refuses([self.path("volumes", "old", "web", "web.vmdk")], "Read-only|Device or resource busy",
                         "a change to the old folder", ["truncate", "-s", "1"])
            with open(shown, "r+b", buffering=0) as disk:
                os.pwrite(disk.fileno(), os.pread(disk.fileno(), 1, 0), 0)
            status = self.strata_run("status", self.mount_point)
            self.check("stands on it" in status, "and still does when the reader's disk became writable")
        deadline = time.monotonic() + 10  # the kernel tells of the last close in its own time
        while "stands on it" in self.strata_run("status", self.mount_point) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.check("stands on it" not in self.strata_run("status", self.mount_point), "a closed disk holds nothing there")

    def grow(self, wanted):
        """A larger size goes on in a new leaf, over links on both volumes."""
        shown = self.path("devices", "vdisks", "new", "web", "web-000002.vmdk")
        os.truncate(shown, 12 * MIB)
        with open(shown, "rb") as disk:
            content = disk.read()
        self.check(len(content) == 12 * MIB and hashlib.sha256(content[:9 * MIB]).hexdigest() == wanted and
                   not any(content[9 * MIB:]), "a larger disk reads as before, and zeros behind")
        self.check("consistent" in self.strata_run("disk", "check", self.path("volumes", "new", "web", "web-000002.vmdk")),
                   "and checks clean")

    def without_old(self, wanted):
        """The new volume alone: refused in words, and whole again with the old one."""
        self.mount(self.new)
        child = self.path("volumes", "new", "web", "web-000002.vmdk")
        missing = f"/vmfs/volumes/{self.uuid}/web/(web|data)-000002.vmdk: the datastore {self.uuid} is not mounted here"
        for words in (["disk", "hash", child], ["disk", "snapshot", "list", child],
                      ["export", child, os.path.join(self.work, "no.raw")]):
            self.refuses(words, missing, " ".join(words[:-1]) + " without the old volume")
        self.refuses(["disk", "check", child], f"C1:.*web-000002.vmdk is on the datastore {self.uuid}", "disk check without it")
        self.refuses([self.path("devices", "vdisks", "new", "web", "web-000002.vmdk")], "No such device", "reading without it",
                     ["cat"])
        self.check(self.hash_of(self.path("volumes", "new", "alone.vmdk")) == wanted, "the clone needs no old volume")
        self.umount()
        self.mount(self.new, self.old)
        self.check(self.hash_of(child) == wanted, "with it again, in another order, everything is there")
        self.umount()

    def host_folder(self):
        """A host folder has no id of its own that lasts."""
        folder = os.path.join(self.work, "folder")
        os.makedirs(folder, exist_ok=True)
        self.strata_run("mount", f"posix:{folder}", self.new, self.mount_point)
        names = [name for name in os.listdir(self.path("volumes")) if not os.path.islink(self.path("volumes", name))]
        other = next(name for name in names if name != "new")
        self.refuses(["import", "--in-place", self.path("volumes", other), self.path("volumes", "new", "x")],
                     "host folder.*copy the disks", "a host folder in the mount as source")
        self.umount()
        # The other way it works: what is named is the volume of ESX.
        self.strata_run("mount", f"posix:{folder}", self.old, self.mount_point)
        self.strata_run("import", "--in-place", self.path("volumes", "old", "web"), self.path("volumes", other))
        self.check(self.hash_of(self.path("volumes", other, "web", "web-000002.vmdk")) ==
                   self.hash_of(self.path("volumes", "old", "web", "web-000002.vmdk")), "new writes in a host folder")
        self.umount()

    def all(self):
        self.make_old()
        before = digest(self.old)
        self.strata_run("mkfs", self.new, "--label", "new", "--size", "300M")
        self.mount(self.old, self.new)
        try:
            self.import_both()
            wanted = self.use()
            self.leave(wanted)
            self.held()
            self.grow(wanted)
        finally:
            self.umount()
        self.check(digest(self.old) == before, "the old image is as it was, to the byte")
        self.without_old(wanted)
        self.host_folder()
        self.check(digest(self.old) == before, "and still is")
        self.strata_run("fsck", self.new)


def main():
    options = support.arguments(__doc__.splitlines()[0])
    if not os.path.exists("/dev/fuse"):
        support.skip("no /dev/fuse")
    work = options.work or tempfile.mkdtemp(prefix="strata-in-place-")
    os.makedirs(work, exist_ok=True)
    test = Test(options, work)
    try:
        test.all()
    finally:
        if not options.work:
            shutil.rmtree(work, ignore_errors=True)
    print(f"{len(test.failures)} failures; seed {options.seed}")
    return 1 if test.failures else 0


if __name__ == "__main__":
    sys.exit(main())
