#!/usr/bin/env python3
"""What users complain of in virtual disks, played through the program.

A parent that was changed behind its child's back; storms of TRIM on a delta; bursts of tiny scattered writes into seSparse;
descriptors as other programs and hands leave them. Each time qemu-img and the check say what is there.
"""

import concurrent.futures
import hashlib
import os
import random
import subprocess

import strata_mount

MIB = 1 << 20
DISK_BYTES = 32 * MIB
HEAD = '# Disk DescriptorFile\nversion=1\nCID=1234abcd\nparentCID=ffffffff\ncreateType="{kind}"\n{extent}\n'


class Scenario:
    """The program, a folder with disks, and what was found wrong."""

    def __init__(self, volume, work, chance):
        self.volume, self.chance = volume, chance
        self.folder = os.path.join(work, "folder")
        self.raw = os.path.join(work, "by-qemu.raw")
        os.makedirs(self.folder, exist_ok=True)
        self.problems = []

    def path(self, name):
        return os.path.join(self.folder, name)

    def disk(self, *words):
        """Runs `strata disk`; gives its exit code and what it said."""
        done = subprocess.run([self.volume.strata, "disk", *words], capture_output=True, text=True, timeout=300, check=False)
        return done.returncode, done.stdout + done.stderr

    def must(self, *words):
        code, said = self.disk(*words)
        if code != 0:
            raise RuntimeError(f"strata disk {' '.join(words)}: {said}")
        return said

    def expect(self, what, good):
        if not good:
            self.problems.append(what)

    def refused(self, what, words, *command):
        """The command fails, and says all the words."""
        code, said = self.disk(*command)
        self.expect(f"{what}: not refused with {words}: {code} {said}", code in (1, 2) and all(word in said for word in words))

    def expect_bytes(self, path, model, what):
        """Strata and qemu-img read just these bytes; qemu's own check and ours are clean."""
        wanted = hashlib.sha256(model).hexdigest()
        self.expect(f"{what}: Strata reads other bytes", self.must("hash", path).split()[0] == wanted)
        strata_mount.run("qemu-img", "convert", "-f", "vmdk", "-O", "raw", path, self.raw)
        with open(self.raw, "rb") as file:
            self.expect(f"{what}: qemu-img reads other bytes", hashlib.file_digest(file, "sha256").hexdigest() == wanted)
        code, said = self.disk("check", path)
        self.expect(f"{what}: the check says {said}", code == 0)


def changed_parent(scenario):
    """Another program writes a parent: refused, explained, and put together only when it is asked for by name."""
    base, leaf = scenario.path("p.vmdk"), scenario.path("p-000001.vmdk")
    scenario.must("create", base, "--size", str(DISK_BYTES))
    strata_mount.run("qemu-io", "-f", "vmdk", "-c", "write -P 1 0 8M", base)
    scenario.disk("check", base, "--repair")  # qemu leaves ddb.longContentID behind
    scenario.must("snapshot", "create", base, "before")
    strata_mount.run("qemu-io", "-f", "vmdk", "-c", "write -P 2 4M 1M", base)
    model = bytearray(b"\1" * (8 * MIB) + bytes(DISK_BYTES - 8 * MIB))
    model[4 * MIB : 5 * MIB] = b"\2" * MIB
    scenario.refused("a changed parent", ["p-000001.vmdk"], "hash", leaf)
    code, said = scenario.disk("check", leaf, "--explain")
    scenario.expect(f"a changed parent: the check says {code} {said}", code == 4 and "C1" in said and "p.vmdk" in said)
    code, said = scenario.disk("check", leaf, "--repair")
    scenario.expect(f"a changed parent: repaired without being asked: {said}", code == 4 and "C1" in said)
    scenario.refused("a changed parent, still", ["p-000001.vmdk"], "hash", leaf)
    code, said = scenario.disk("check", leaf, "--repair", "--fix", "C1")
    scenario.expect(f"a changed parent: not repaired when asked by name: {code} {said}", code == 3)
    scenario.expect_bytes(leaf, model, "a changed parent, taken as it is")


def write_all(image, writes, model):
    """The writes, several at a time, in any order: no two touch the same sector."""
    descriptor = os.open(image, os.O_RDWR)
    try:
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda write: os.pwrite(descriptor, write[1], write[0]), writes))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    for at, data in writes:
        model[at : at + len(data)] = data


def trim_storm(scenario, files, images, place_name):
    """Ranges of every size are trimmed all over a delta: its file shrinks, its bytes stay."""
    disk, image = os.path.join(files, "t.vmdk"), os.path.join(images, "t.vmdk")
    model = bytearray(DISK_BYTES)
    scenario.must("create", disk, "--size", str(DISK_BYTES))
    write_all(image, [(at, scenario.chance.randbytes(MIB)) for at in range(0, 8 * MIB, MIB)], model)
    scenario.must("snapshot", "create", disk, "before")
    write_all(image, [(at, scenario.chance.randbytes(MIB)) for at in range(0, 28 * MIB, MIB)], model)
    data_file = os.path.join(files, "t-000001-sesparse.vmdk")
    full = os.stat(data_file).st_blocks * 512
    descriptor = os.open(image, os.O_RDWR)
    for at in sorted(range(0, 24 * MIB, MIB), key=lambda _: scenario.chance.random()):
        for start, length in ((at, 700_001), (at + 500_000, MIB - 500_000)):
            strata_mount.run("fallocate", "--punch-hole", "-o", str(start), "-l", str(length), image)
            model[start : start + length] = bytes(length)
    os.fsync(descriptor)
    os.close(descriptor)
    with open(image, "rb") as file:
        scenario.expect(f"a trimmed delta {place_name}: other bytes", file.read() == model)
    return model, full, data_file


def trim_storms(scenario):
    with mounted(scenario, f"posix:{scenario.folder}") as (files, images):
        model, full, data_file = trim_storm(scenario, files, images, "in a folder")
    left = os.stat(scenario.path(os.path.basename(data_file))).st_blocks * 512
    scenario.expect(f"a trimmed delta in a folder: {left} of {full} bytes are left", left < full // 2)
    scenario.expect_bytes(scenario.path("t-000001.vmdk"), model, "a trimmed delta in a folder")
    scenario.volume.format("1G")
    with mounted(scenario, scenario.volume.image) as (files, images):
        model, full, data_file = trim_storm(scenario, files, images, "on a volume")
    with mounted(scenario, scenario.volume.image) as (files, images):
        left = os.stat(os.path.join(files, os.path.basename(data_file))).st_blocks * 512
        scenario.expect(f"a trimmed delta on a volume: {left} of {full} bytes are left", left < full // 2)
    with scenario.volume.read_by_vmfs6_fuse() as root:
        strata_mount.run("qemu-img", "convert", "-f", "vmdk", "-O", "raw", os.path.join(root, "t-000001.vmdk"), scenario.raw)
    with open(scenario.raw, "rb") as file:
        scenario.expect("a trimmed delta on a volume: qemu-img reads other bytes", file.read() == model)
    scenario.problems += scenario.volume.check()


class mounted:  # pylint: disable=invalid-name
    """A source under the mount point; gives the folders of files and of virtual disks."""

    def __init__(self, scenario, source):
        self.volume, self.source = scenario.volume, source

    def __enter__(self):
        strata_mount.run(self.volume.strata, "mount", self.source, self.volume.mount_point)
        roots = [os.path.join(self.volume.mount_point, part) for part in ("volumes", "devices/vdisks")]
        return [os.path.join(root, sorted(os.listdir(root))[0]) for root in roots]

    def __exit__(self, *_):
        strata_mount.run(self.volume.strata, "umount", self.volume.mount_point)


def tiny_bursts(scenario):
    """Bursts of tiny writes that never touch each other, many at a time; tables and bitmap are checked after each."""
    model = bytearray(DISK_BYTES)
    scenario.must("create", scenario.path("s.vmdk"), "--size", str(DISK_BYTES))
    scenario.must("snapshot", "create", scenario.path("s.vmdk"), "before")
    for burst in range(4):
        with mounted(scenario, f"posix:{scenario.folder}") as (_, images):
            places = scenario.chance.sample(range(DISK_BYTES // 1024), 400)
            writes = [(place * 1024, scenario.chance.randbytes(scenario.chance.choice([512, 700, 1024]))) for place in places]
            write_all(os.path.join(images, "s.vmdk"), writes, model)
        scenario.expect_bytes(scenario.path("s-000001.vmdk"), model, f"burst {burst} of tiny writes")


def descriptors(scenario):
    """Descriptors as others leave them: taken where nothing is lost by that, else refused in words."""
    with open(scenario.path("d-flat.vmdk"), "wb") as file:
        file.truncate(MIB)
    flat = HEAD.format(kind="vmfs", extent='RW 2048 VMFS "d-flat.vmdk"')
    taken = {
        "plain": flat,
        "CRLF": flat.replace("\n", "\r\n"),
        "padded with NUL": flat + "\0" * 700,
        "a short content id": flat.replace("1234abcd", "1ab"),
        "its own folder through ..": flat.replace('"d-flat', '"sub/../d-flat'),
    }
    os.makedirs(scenario.path("sub"), exist_ok=True)
    wanted = hashlib.sha256(bytes(MIB)).hexdigest()
    for what, text in taken.items():
        write_text(scenario.path("d.vmdk"), text)
        code, said = scenario.disk("hash", scenario.path("d.vmdk"))
        scenario.expect(f"{what}: {said}", code == 0 and said.split()[0] == wanted)
    child = flat.replace("parentCID=ffffffff", 'parentCID=1234abcd\nparentFileNameHint="d.vmdk"')
    refused = {
        "outside the datastore": (flat.replace('"d-flat', '"../d-flat'), ["leaves the datastore"]),
        "an absolute name": (flat.replace('"d-flat', '"/etc/d-flat'), ["is absolute"]),
        "a missing extent": (flat.replace("d-flat", "gone-flat"), ["d.vmdk", "gone-flat.vmdk"]),
        "a short extent": (flat.replace("2048", "4096"), ["d.vmdk", "d-flat.vmdk"]),
        "its own ancestor": (child, ["d.vmdk"]),
        "a raw device map": (HEAD.format(kind="vmfsRDM", extent='RW 2048 VMFSRDM "d-flat.vmdk"'),
                             ["d.vmdk", "copied off its volume"]),
        "a device node": (HEAD.format(kind="fullDevice", extent='RW 2048 FLAT "/dev/zero" 0'), ["--allow-outside"]),
        "a raw device of another host": (HEAD.format(kind="vmfsRaw", extent='RW 2048 VMFSRAW "vmhba1:0:0"'),
                                         ["d.vmdk", "another host"]),
        "vSAN": (HEAD.format(kind="vsanSparse", extent='RW 2048 VSANSPARSE "d-flat.vmdk"'), ["d.vmdk", "vSAN"]),
        "encryption": (flat.replace("createType", 'keyID="k"\nencryptionKeys="vmware:key/list/x"\ncreateType'),
                       ["d.vmdk", "encrypt"]),
        "too large": (flat.replace("2048", str((63 << 40) // 512)), ["d.vmdk"]),
    }
    for what, (text, words) in refused.items():
        write_text(scenario.path("d.vmdk"), text)
        scenario.refused(what, words, "hash", scenario.path("d.vmdk"))
    largest(scenario)


def largest(scenario):
    """62 TiB, written at both ends."""
    path = scenario.path("l.vmdk")
    scenario.must("create", path, "--size", "62T", "--format", "seSparse")
    with mounted(scenario, f"posix:{scenario.folder}") as (_, images):
        image = os.path.join(images, "l.vmdk")
        descriptor = os.open(image, os.O_RDWR)
        for at in (0, (2 << 40) - 4096, (62 << 40) - 4096):
            os.pwrite(descriptor, b"L" * 4096, at)
        os.fsync(descriptor)
        scenario.expect("62 TiB: the size", os.fstat(descriptor).st_size == 62 << 40)
        os.close(descriptor)
    said = strata_mount.run("qemu-io", "-r", "-f", "vmdk", "-c", f"read -P 76 {(62 << 40) - 4096} 4096",
                            "-c", f"read -P 76 {(2 << 40) - 4096} 4096", "-c", f"read -P 0 {3 << 40} 4096", path)
    scenario.expect(f"62 TiB: qemu-io says {said}", "failed" not in said)
    scenario.refused("63 TiB", ["62 TiB"], "create", scenario.path("m.vmdk"), "--size", "63T", "--format", "seSparse")
    scenario.refused("vmfsSparse of 3 TiB", ["seSparse"], "create", scenario.path("m.vmdk"), "--size", "3T",
                     "--format", "vmfsSparse")


def write_text(path, text):
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(text)


def main():
    options = strata_mount.arguments(__doc__.splitlines()[0])
    strata_mount.require(options.strata, "fusermount3", "vmfs6-fuse", "qemu-img", "qemu-io")
    with strata_mount.work_folder(options.work) as work:
        scenario = Scenario(strata_mount.Volume(options.strata, work), work, random.Random(options.seed))
        for part in (changed_parent, tiny_bursts, trim_storms, descriptors):
            try:
                part(scenario)
            except RuntimeError as error:
                scenario.problems.append(f"{part.__name__}: {error}")
            print(f"{part.__name__.replace('_', ' ')}: {len(scenario.problems)} problems so far", flush=True)
    strata_mount.finish(scenario.problems, f"{__file__} --seed {options.seed}")


if __name__ == "__main__":
    main()
