#!/usr/bin/env python3
"""Virtual disks in every format, and chains of up to 32 links, judged by programs that are not ours.

Strata writes random bytes at odd places, beside a model; qemu-img, libvmdk (where it knows the format) and, on a volume,
vmfs6-fuse below them, must show the model. Then the other way: what qemu-io and qemu-img write, in every format they can write,
Strata reads, changes, and qemu reads that.
"""

import contextlib
import hashlib
import os
import random
import re
import struct
import subprocess

import strata_mount

MIB = 1 << 20
DISK_BYTES = 22 * MIB + 7 * 512  # no whole grain at the end
CHAIN_BYTES = 6 * MIB + 7 * 512
SYSTEM_PYTHON = "/usr/bin/python3"  # has the binding of libvmdk where the package is installed
READ_BY_LIBVMDK = """
import hashlib, sys, pyvmdk
links = []
for path in sys.argv[1:]:
    link = pyvmdk.handle()
    link.open(path)
    link.open_extent_data_files()
    if links:
        link.set_parent(links[-1])
    links.append(link)
digest, left = hashlib.sha256(), links[-1].get_media_size()
while left:
    piece = links[-1].read_buffer(min(left, 1 << 20))
    digest.update(piece)
    left -= len(piece)
print(digest.hexdigest())
"""
# Words of `strata disk create`, and whether libvmdk can read what they make.
FORMATS = (
    ("thin", True),
    ("zeroedthick", True),
    ("eagerzeroedthick", True),
    ("thin --layout monolithicFlat", True),
    ("thin --layout twoGbMaxExtentFlat", True),
    ("monolithicSparse", True),
    ("twoGbMaxExtentSparse", True),
    ("vmfsSparse --grain 512", True),
    ("vmfsSparse --grain 4096", True),
    ("vmfsSparse --grain 1048576 --all-tables", True),
    ("seSparse", False),
)
QEMU_FORMATS = (
    "subformat=monolithicSparse",
    "subformat=monolithicSparse,zeroed_grain=on",
    "subformat=monolithicSparse,compat6,adapter_type=lsilogic",
    "subformat=monolithicFlat",
    "subformat=twoGbMaxExtentSparse,adapter_type=buslogic",
    "subformat=twoGbMaxExtentFlat",
)
# What a check finds where qemu wrote: it leaves ddb.longContentID and freeSector behind, and gaps before its grains.
LEFT_BY_QEMU = ("D6", "V4", "V5")
DEPTHS = (1, 2, 8, 32)


def digest_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def has_libvmdk():
    found = subprocess.run([SYSTEM_PYTHON, "-c", "import pyvmdk"], capture_output=True, check=False)
    return found.returncode == 0


class Judge:
    """The program, a folder of the host with disks in it, and what was found wrong."""

    def __init__(self, volume, work, chance):
        self.volume, self.work, self.chance = volume, work, chance
        self.folder = os.path.join(work, "folder")
        os.makedirs(self.folder, exist_ok=True)
        self.problems = []
        self.libvmdk = has_libvmdk()

    def path(self, name):
        return os.path.join(self.folder, name)

    def clear(self):
        for name in os.listdir(self.folder):
            os.remove(self.path(name))

    def strata(self, *words):
        return strata_mount.run(self.volume.strata, "disk", *words)

    @contextlib.contextmanager
    def mounted(self, source):
        """Gives the folders of files and of virtual disks."""
        strata_mount.run(self.volume.strata, "mount", source, self.volume.mount_point)
        try:
            roots = [os.path.join(self.volume.mount_point, part) for part in ("volumes", "devices/vdisks")]
            yield [os.path.join(root, sorted(os.listdir(root))[0]) for root in roots]
        finally:
            strata_mount.run(self.volume.strata, "umount", self.volume.mount_point)

    def expect(self, what, good):
        if not good:
            self.problems.append(what)

    def scribble(self, image, model, count=12, largest=300_000, hole=150_001):
        """Random bytes at odd places of a virtual disk, a hole, and the same in the model."""
        descriptor = os.open(image, os.O_RDWR)
        try:
            for _ in range(count):
                data = self.chance.randbytes(self.chance.choice([1, 511, 513, 4096, 5001, largest]))
                at = self.chance.randrange(len(model) - len(data))
                os.pwrite(descriptor, data, at)
                model[at : at + len(data)] = data
            data = self.chance.randbytes(900)
            os.pwrite(descriptor, data, len(model) - 900)  # the last bytes
            model[-900:] = data
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if hole:
            at = self.chance.randrange(len(model) // 2)
            strata_mount.run("fallocate", "--punch-hole", "-o", str(at), "-l", str(hole), image)
            model[at : at + hole] = bytes(hole)

    def expect_in_qemu(self, path, model, what):
        """qemu-img converts it to just these bytes, and compares it with them."""
        raw = os.path.join(self.work, "by-qemu.raw")
        strata_mount.run("qemu-img", "convert", "-f", "vmdk", "-O", "raw", path, raw)
        self.expect(f"{what}: qemu-img converts it to other bytes", digest_of(raw) == hashlib.sha256(model).hexdigest())
        with open(raw, "wb") as file:
            file.write(model)
        compared = subprocess.run(["qemu-img", "compare", "-f", "vmdk", "-F", "raw", path, raw],
                                  capture_output=True, text=True, check=False)
        self.expect(f"{what}: qemu-img compare: {compared.stdout}{compared.stderr}", compared.returncode == 0)
        os.remove(raw)

    def expect_in_libvmdk(self, paths, model, what):
        if not self.libvmdk:
            return
        said = subprocess.run([SYSTEM_PYTHON, "-c", READ_BY_LIBVMDK, *paths], capture_output=True, text=True, check=False)
        self.expect(f"{what}: libvmdk shows other bytes {said.stderr[-300:]}",
                    said.stdout.strip() == hashlib.sha256(model).hexdigest())

    def expect_in_strata(self, path, model, what, allowed=()):
        """Strata reads just these bytes, and its check finds nothing but what is allowed."""
        found = self.strata("hash", path).split()[0]
        self.expect(f"{what}: Strata reads other bytes", found == hashlib.sha256(model).hexdigest())
        checked = subprocess.run([self.volume.strata, "disk", "check", path], capture_output=True, text=True, check=False)
        found = set(re.findall(r"^(?:error|warning|leak): (\w+)", checked.stdout, re.MULTILINE))
        self.expect(f"{what}: the check says {checked.stdout}{checked.stderr}",
                    found <= set(allowed) and checked.returncode in ({0, 4} if found else {0}))


def judge_formats(judge):
    """What Strata wrote, in every format."""
    models = {}
    with judge.mounted(f"posix:{judge.folder}") as (files, images):
        for number, (words, _) in enumerate(FORMATS):
            name = f"format{number}.vmdk"
            judge.strata("create", os.path.join(files, name), "--size", str(DISK_BYTES), "--format", *words.split())
            models[name] = bytearray(DISK_BYTES)
            # Not every host file system can take zeros and keep the space of a thick disk.
            judge.scribble(os.path.join(images, name), models[name], hole=0 if "thick" in words else 150_001)
    for number, (words, known) in enumerate(FORMATS):
        name = f"format{number}.vmdk"
        judge.expect_in_qemu(judge.path(name), models[name], words)
        if known:
            judge.expect_in_libvmdk([judge.path(name)], models[name], words)
        judge.expect_in_strata(judge.path(name), models[name], words)
    print(f"{len(FORMATS)} formats: {len(judge.problems)} problems", flush=True)


def build_chain(judge, files, images, kinds):
    """A disk of 32 links whose formats take turns. Gives the names of its links and what it held at the depths we look at."""
    model, names, states = bytearray(CHAIN_BYTES), ["chain.vmdk"], {}
    judge.strata("create", os.path.join(files, names[0]), "--size", str(CHAIN_BYTES))
    for depth in range(1, max(DEPTHS) + 1):
        judge.scribble(os.path.join(images, "chain.vmdk"), model, count=4, largest=100_000, hole=70_001)
        if depth in DEPTHS:
            states[depth] = bytes(model)
        if depth < max(DEPTHS):
            kind = kinds[depth % len(kinds)]
            judge.strata("snapshot", "create", os.path.join(files, "chain.vmdk"), f"s{depth}", "--format", kind)
            names.append(f"chain-{depth:06}.vmdk")
    return names, states


def judge_chain(judge, folder, names, states, what):
    for depth in DEPTHS:
        judge.expect_in_qemu(os.path.join(folder, names[depth - 1]), states[depth], f"{what}, {depth} links")


def judge_chains(judge):
    """Mixed chains in a folder, on a volume, and one that libvmdk knows."""
    with judge.mounted(f"posix:{judge.folder}") as (files, images):
        names, states = build_chain(judge, files, images, ("seSparse", "vmfsSparse"))
    judge_chain(judge, judge.folder, names, states, "a mixed chain in a folder")
    judge.clear()
    with judge.mounted(f"posix:{judge.folder}") as (files, images):
        names, states = build_chain(judge, files, images, ("vmfsSparse",))
    paths = [judge.path(name) for name in names]
    judge_chain(judge, judge.folder, names, states, "a vmfsSparse chain")
    for depth in DEPTHS[1:3]:
        judge.expect_in_libvmdk(paths[:depth], states[depth], f"a vmfsSparse chain of {depth} links")
    judge.volume.format("2G")
    with judge.mounted(judge.volume.image) as (files, images):
        names, states = build_chain(judge, files, images, ("vmfsSparse", "seSparse", "seSparse"))
    with judge.volume.read_by_vmfs6_fuse() as root:
        judge_chain(judge, root, names, states, "a mixed chain on a volume")
    judge.problems += judge.volume.check()
    print(f"chains of {DEPTHS} links: {len(judge.problems)} problems", flush=True)


def judge_hosted_children(judge):
    """Linked clones in hosted formats, on each other."""
    model, below = bytearray(DISK_BYTES), "hosted0.vmdk"
    with judge.mounted(f"posix:{judge.folder}") as (files, images):
        judge.strata("create", os.path.join(files, below), "--size", str(DISK_BYTES), "--format", "monolithicSparse")
        judge.scribble(os.path.join(images, below), model)
        for number, kind in enumerate(("monolithicSparse", "vmfsSparse", "twoGbMaxExtentSparse", "seSparse"), start=1):
            name = f"hosted{number}.vmdk"
            judge.strata("clone", os.path.join(files, below), os.path.join(files, name), "--linked", "--format", kind)
            judge.scribble(os.path.join(images, name), model)
            below = name
    judge.expect_in_qemu(judge.path(below), model, "linked clones of every format")
    judge.expect_in_strata(judge.path(below), model, "linked clones of every format")
    print(f"linked clones of every format: {len(judge.problems)} problems", flush=True)


def written_by_qemu(path, model, chance):
    """Patterns at odd places by qemu-io, and the same in the model."""
    commands = []
    for value in range(1, 13):
        length = chance.choice([512, 4096 + 512, 70_144, 300_032])
        at = chance.randrange((len(model) - length) // 512) * 512
        commands += ["-c", f"write -P {value} {at} {length}"]
        model[at : at + length] = bytes([value]) * length
    strata_mount.run("qemu-io", "-f", "vmdk", *commands, path)


def exchange_with_qemu(judge, name, model, what):
    """qemu writes, we read and write, qemu reads; then once more, since each allocates behind the other."""
    for turn in ("first", "second"):
        written_by_qemu(judge.path(name), model, judge.chance)
        judge.expect_in_strata(judge.path(name), model, f"{what}, written by qemu, {turn} turn", LEFT_BY_QEMU)
        with judge.mounted(f"posix:{judge.folder}") as (_, images):
            judge.scribble(os.path.join(images, name), model)
        judge.expect_in_qemu(judge.path(name), model, f"{what}, written by both, {turn} turn")
    subprocess.run([judge.volume.strata, "disk", "check", judge.path(name), "--repair"], capture_output=True, check=False)
    judge.expect_in_strata(judge.path(name), model, f"{what}, repaired", allowed=("V5",))
    judge.expect_in_qemu(judge.path(name), model, f"{what}, repaired")


def judge_qemu_as_writer(judge):
    """Images that qemu-img made, and formats of ours that it writes."""
    for number, options in enumerate(QEMU_FORMATS):
        name = f"qemu{number}.vmdk"
        size = str(DISK_BYTES // 65536 * 65536)
        strata_mount.run("qemu-img", "create", "-q", "-f", "vmdk", "-o", options, judge.path(name), size)
        exchange_with_qemu(judge, name, bytearray(int(size)), options)
    for words in ("thin", "monolithicSparse", "twoGbMaxExtentSparse", "vmfsSparse --all-tables",
                  "thin --layout twoGbMaxExtentFlat"):
        name = f"both-{words.split()[-1].strip('-')}.vmdk"
        judge.strata("create", judge.path(name), "--size", str(DISK_BYTES), "--format", *words.split())
        exchange_with_qemu(judge, name, bytearray(DISK_BYTES), words)
    print(f"written by qemu and by us in turn: {len(judge.problems)} problems", flush=True)


def judge_streams(judge):
    """streamOptimized: what qemu made is read and never written; what we make ends as importers want it."""
    model = bytearray(DISK_BYTES // 65536 * 65536)
    for _ in range(20):
        at = judge.chance.randrange(len(model) - 200_000)
        model[at : at + 200_000] = judge.chance.randbytes(100_000) * 2
    with open(judge.path("stream.raw"), "wb") as file:
        file.write(model)
    theirs, ours = judge.path("theirs.vmdk"), judge.path("ours.vmdk")
    strata_mount.run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized",
                     judge.path("stream.raw"), theirs)
    judge.expect_in_strata(theirs, model, "a stream of qemu's", allowed=("S2",))  # zero sectors behind its end
    strata_mount.run(judge.volume.strata, "export", theirs, ours, "--format", "streamOptimized")
    judge.expect_in_qemu(ours, model, "a stream of ours")
    judge.expect_in_libvmdk([ours], model, "a stream of ours")
    judge.expect("our stream does not end as importers want it", ends_with_its_end(ours))
    print(f"streams: {len(judge.problems)} problems", flush=True)


def ends_with_its_end(path):
    """Whether it is of version 3, and the first end-of-stream marker is its last sector."""
    with open(path, "rb") as file:
        data = file.read()
    magic, version = struct.unpack_from("<4sI", data, 0)
    at = struct.unpack_from("<Q", data, 64)[0] * 512
    while at < len(data):
        sectors, size, kind = struct.unpack_from("<QII", data, at)
        if size:
            at += (12 + size + 511) // 512 * 512
        elif kind:
            at += 512 + sectors * 512
        else:
            break
    return (magic, version, at) == (b"KDMV", 3, len(data) - 512)


def main():
    options = strata_mount.arguments(__doc__.splitlines()[0])
    strata_mount.require(options.strata, "fusermount3", "vmfs6-fuse", "qemu-img", "qemu-io")
    with strata_mount.work_folder(options.work) as work:
        judge = Judge(strata_mount.Volume(options.strata, work), work, random.Random(options.seed))
        if not judge.libvmdk:
            print(f"without libvmdk: {SYSTEM_PYTHON} has no pyvmdk")
        for part in (judge_formats, judge_chains, judge_hosted_children, judge_qemu_as_writer, judge_streams):
            part(judge)
            if judge.problems:
                break
            judge.clear()
    strata_mount.finish(judge.problems, f"{__file__} --seed {options.seed}")


if __name__ == "__main__":
    main()
