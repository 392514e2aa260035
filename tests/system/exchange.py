#!/usr/bin/env python3
"""Disks and machines go out and come back the same: to a host folder, a mount and an unmounted volume.

    exchange.py [STRATA] [--work FOLDER] [--seed N]

Judges are not ours: sha256sum of raw images, tar and sha256sum for packages, qemu-img and libvmdk for streams.
"""
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

import strata_mount as support

SECTOR = 512
MIB = 1 << 20

# The system's Python has the binding of libvmdk, others may not.
BY_LIBVMDK = ["/usr/bin/python3", "-c", """
import hashlib, pyvmdk, sys
handle = pyvmdk.handle()
handle.open(sys.argv[1])
handle.open_extent_data_files()
digest = hashlib.sha256()
left = handle.get_media_size()
while left > 0:
    piece = handle.read_buffer(min(left, 1 << 20))
    digest.update(piece)
    left -= len(piece)
print(digest.hexdigest())
"""]


def make_raw(path, size, seed):
    """A raw image with holes, zeros that are written, and data at odd places. Answers its SHA-256, as a disk."""
    generator = random.Random(seed)
    with open(path, "wb") as image:
        image.truncate(size)
        for _ in range(40):
            offset = generator.randrange(size)
            length = min(generator.choice([1, 511, 4096, 65536, 300_001]), size - offset)
            image.seek(offset)
            image.write(bytes(length) if generator.random() < 0.2 else generator.randbytes(length))
    return disk_hash(path)


def disk_hash(path):
    """SHA-256 of a raw file, filled up to a whole sector as a disk is."""
    digest = hashlib.sha256()
    with open(path, "rb") as image:
        while piece := image.read(MIB):
            digest.update(piece)
    digest.update(bytes(-os.path.getsize(path) % SECTOR))
    return digest.hexdigest()


class Test:
    def __init__(self, options, work):
        self.strata = os.path.abspath(options.strata)
        self.work = work
        self.seed = options.seed
        self.failures = []
        self.inside = []

    def path(self, *names):
        return os.path.join(self.work, *names)

    def run(self, *words):
        return json.loads(support.run(self.strata, *words, "--json"))

    def check(self, is_so, what):
        print(f"{'ok  ' if is_so else 'FAIL'} {what}", flush=True)
        if not is_so:
            self.failures.append(what)

    def refuses(self, words, pattern, what):
        done = subprocess.run([self.strata, *words], capture_output=True, text=True, timeout=120, check=False)
        self.check(done.returncode == 1 and re.search(pattern, done.stderr), f"{what}: {done.stderr.strip()}")

    def round_trip(self, raw, wanted, folder, place):
        """raw -> disk -> every export -> disk again, in a folder that the words of `place` name."""
        done = self.run("import", raw, place + "/a.vmdk")
        self.check(done["disks"][0]["source_sha256"] == wanted == done["disks"][0]["target_sha256"],
                   f"{folder}: import of a raw image")
        for kind, suffix in (("raw", "raw"), ("streamOptimized", "vmdk"), ("flat", "vmdk"), ("ova", "ova")):
            out = self.path(f"{folder}-{kind}.{suffix}")
            made = self.run("export", place + "/a.vmdk", out, "--format", kind)
            self.check(made["disks"][0]["source_sha256"] == wanted == made["disks"][0]["target_sha256"],
                       f"{folder}: export as {kind}")
            target = place + ("/back" if kind == "ova" else f"/back-{kind}.vmdk")
            back = self.run("import", out, target)
            self.check(back["disks"][0]["target_sha256"] == wanted, f"{folder}: import of the {kind}")
        self.check(disk_hash(self.path(f"{folder}-raw.raw")) == wanted, f"{folder}: the raw file is the disk")
        self.check_archive(self.path(f"{folder}-ova.ova"), wanted)

    def check_archive(self, path, wanted):
        """What tar and sha256sum, which know nothing of us, find in an OVA."""
        folder = tempfile.mkdtemp(dir=self.work)
        support.run("tar", "--extract", "--file", path, "--directory", folder)
        with tarfile.open(path) as archive:
            names = archive.getnames()
        self.check([name.rsplit(".", 1)[1] for name in names] == ["ovf", "mf", "vmdk"], f"order of {names}")
        with open(os.path.join(folder, names[1]), encoding="utf-8") as manifest:
            for line in manifest:
                found = re.fullmatch(r"SHA256\((.+)\)= ([0-9a-f]{64})\n", line)
                summed = found and support.run("sha256sum", os.path.join(folder, found[1])).split()[0]
                self.check(found and summed == found[2], f"manifest: {line.strip()}")
        disk = os.path.join(folder, names[2])
        with open(disk, "rb") as stream:
            head = stream.read(8)
            stream.seek(-SECTOR, os.SEEK_END)
            self.check(head == b"KDMV\3\0\0\0" and stream.read() == bytes(SECTOR),
                       "the stream is of version 3 and ends with its end")
        if shutil.which("qemu-img"):
            raw = os.path.join(folder, "by-qemu.raw")
            support.run("qemu-img", "convert", "-f", "vmdk", "-O", "raw", disk, raw)
            self.check(disk_hash(raw) == wanted, "qemu-img reads the same from the package's disk")
        self.check_by_libvmdk(disk, wanted)
        shutil.rmtree(folder)

    def check_by_libvmdk(self, disk, wanted):
        if subprocess.run([*BY_LIBVMDK[:2], "import pyvmdk"], capture_output=True, check=False).returncode != 0:
            print("     libvmdk's Python binding is not installed")
            return
        found = support.run(*BY_LIBVMDK, disk).strip()
        self.check(found == wanted, "libvmdk reads the same from the package's disk")

    def foreign_images(self, raw, wanted):
        """What qemu-img makes comes in, and what goes out by it is the same."""
        for kind, options in (("qcow2", []), ("vdi", []), ("vpc", ["-o", "force_size=on"]), ("vhdx", []),
                              ("vmdk", ["-o", "subformat=streamOptimized"]),
                              ("vmdk", ["-o", "subformat=monolithicSparse"]),
                              ("vmdk", ["-o", "subformat=twoGbMaxExtentSparse"]),
                              ("vmdk", ["-o", "subformat=twoGbMaxExtentFlat"]),
                              ("vmdk", ["-o", "subformat=monolithicFlat"])):
            name = (options[-1].split("=")[1] if kind == "vmdk" else kind)
            image = self.path(f"foreign-{name}.{'img' if kind != 'vmdk' else 'vmdk'}")
            support.run("qemu-img", "convert", "-f", "raw", "-O", kind, *options, raw, image)
            done = self.run("import", image, self.path(f"from-{name}.vmdk"))
            self.check(done["disks"][0]["target_sha256"] == wanted, f"import of {name} as qemu-img makes it")
        image = self.path("out.qcow2")
        self.run("export", self.path("from-qcow2.vmdk"), image, "--format", "qcow2")
        back = self.path("out.raw")
        support.run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, back)
        self.check(disk_hash(back) == wanted, "export as qcow2")
        stranger = self.path("stranger.qcow2")
        support.run("qemu-img", "create", "-f", "qcow2", "-b", "/etc/hostname", "-F", "raw", stranger, "1M")
        self.refuses(["import", stranger, self.path("stranger.vmdk")], "not whole without", "an image over another file")
        left = [name for name in os.listdir(self.work) if "unfinished" in name]
        self.check(not left, f"nothing is left of conversions {left}")

    def hostile_packages(self):
        """Damaged packages are named and leave nothing."""
        source = self.path("folder-ova.ova")
        with open(source, "rb") as package:
            good = package.read()
        at = good.rindex(b"KDMV")
        damaged = bytearray(good)
        damaged[at + 70_000] ^= 1
        self.bad_package(bytes(damaged), r"disk1\.vmdk: its SHA256", "a flipped bit in a disk")
        at = good.index(b"<Envelope")
        damaged = bytearray(good)
        damaged[at + 1] ^= 0x20
        self.bad_package(bytes(damaged), r"\.ovf: its SHA256", "a flipped bit in the envelope")
        self.bad_package(good[:len(good) // 2], "ends behind the file", "a package that ends early")
        with tarfile.open(self.path("bad.ova"), "w") as archive:
            member = tarfile.TarInfo("../up.ovf")
            archive.addfile(member)
        self.bad_package(None, "not a plain file name", "a name that leads out")
        with tarfile.open(self.path("bad.ova"), "w") as archive:
            member = tarfile.TarInfo("a.ovf")
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(member)
        self.bad_package(None, "not a plain file", "a link")

    def bad_package(self, content, pattern, what):
        path = self.path("bad.ova")
        if content is not None:
            with open(path, "wb") as package:
                package.write(content)
        self.refuses(["import", path, self.path("bad")], pattern, what)
        self.check(not [name for name in os.listdir(self.work) if name.startswith("bad") and name != "bad.ova"],
                   f"{what}: nothing is left")

    def machine(self):
        """A machine of two disks goes out by its .vmx and comes back as a folder."""
        folder = self.path("vm")
        os.mkdir(folder)
        wanted = []
        for number, size in enumerate((5 * MIB, 3 * MIB)):
            raw = self.path(f"disk{number}.raw")
            wanted.append(make_raw(raw, size, self.seed + number))
            self.run("import", raw, os.path.join(folder, f"d{number}.vmdk"))
        with open(os.path.join(folder, "vm.vmx"), "w", encoding="utf-8") as file:
            file.write('displayName = "web 1"\nmemSize = "2048"\nnumvcpus = "3"\nguestOS = "debian11-64"\n'
                       'scsi0.present = "TRUE"\nscsi0.virtualDev = "pvscsi"\n'
                       'scsi0:0.present = "TRUE"\nscsi0:0.fileName = "d0.vmdk"\n'
                       'scsi0:1.present = "TRUE"\nscsi0:1.fileName = "d1.vmdk"\n'
                       'ethernet0.present = "TRUE"\nethernet0.virtualDev = "vmxnet3"\nethernet0.networkName = "LAN"\n')
        self.run("export", os.path.join(folder, "vm.vmx"), self.path("vm.ova"))
        done = self.run("import", self.path("vm.ova"), self.path("again"))
        self.check([disk["target_sha256"] for disk in done["disks"]] == wanted, "both disks of a machine come back")
        self.check(sorted(name for name in os.listdir(self.path("again")) if not name.endswith("-flat.vmdk")) ==
                   ["web 1.vmdk", "web 1.vmsd", "web 1.vmx", "web 1_1.vmdk"], "the folder is a machine's")
        with open(self.path("again", "web 1.vmx"), encoding="utf-8") as file:
            text = file.read()
        for line in ('displayName = "web 1"', 'memSize = "2048"', 'numvcpus = "3"', 'guestOS = "debian11-64"',
                     'scsi0.virtualDev = "pvscsi"', 'scsi0:1.fileName = "web 1_1.vmdk"',
                     'ethernet0.networkName = "LAN"'):
            self.check(line in text, f"the .vmx says {line}")
        inside = self.run("import", self.path("vm.ova"), folder)
        self.check(inside["machine"].endswith("/web 1/web 1.vmx"), "into a folder that is there")
        self.refuses(["import", self.path("vm.ova"), folder], "in the way", "a second time")

    def in_place(self, folder, place):
        """A machine with snapshots goes on in new disks; the old ones stay as they are."""
        vm = place + "/old"
        support.run(self.strata, "import", self.path("vm.ova"), vm)
        machine = vm + "/web 1.vmx"
        for layout in ("vmfsSparse", "seSparse"):
            support.run(self.strata, "disk", "snapshot", "create", machine, layout, "--format", layout)
        # In a folder of the host names lead no further than said.
        self.inside = ["--datastore", place] if folder == "folder" else []
        wanted = [self.content(f"{vm}/{name}-000002.vmdk") for name in ("web 1", "web 1_1")]
        before = self.old_files(vm)
        done = self.run("import", "--in-place", vm, place + "/new")
        self.check(done["machine"].endswith("/new/web 1.vmx"), f"{folder}: in place: {done['machine']}")
        children = [disk["disk"] for disk in done["disks"]]
        self.check([self.content(child) for child in children] == wanted, f"{folder}: the children read as the old disks")
        support.run(self.strata, "disk", "zero", children[0], *self.inside)
        zeros = hashlib.sha256(bytes(5 * MIB)).hexdigest()
        self.check(self.content(children[0]) == zeros, f"{folder}: the child is written")
        self.check(self.content(vm + "/web 1-000002.vmdk") == wanted[0], f"{folder}: the old disk is not")
        self.check(self.old_files(vm) == before, f"{folder}: every file of the old machine is as it was")
        self.refuses(["import", "--in-place", vm, vm + "/inside"], "own folder", f"{folder}: a target in the source")
        self.refuses(["import", "--in-place", vm, children[0]], "in the way", f"{folder}: a target that is a file")

    def content(self, disk):
        """SHA-256 of what a guest would read."""
        return self.run("disk", "hash", disk, *self.inside)["sha256"]

    def old_files(self, folder):
        """Every file of a folder with its SHA-256."""
        if ":/" not in folder:
            return {name: disk_hash(os.path.join(folder, name)) for name in os.listdir(folder)}
        names = [entry["name"] for entry in self.run("ls", folder)]
        return {name: hashlib.sha256(subprocess.run([self.strata, "cat", f"{folder}/{name}"], check=True, timeout=120,
                                                    capture_output=True).stdout).hexdigest() for name in names}

    def interrupted(self):
        """Ctrl-C in the middle leaves nothing under a final name."""
        raw = self.path("large.raw")
        with open(raw, "wb") as image:
            for _ in range(600):
                image.write(os.urandom(MIB))
        target = self.path("stopped.vmdk")
        with subprocess.Popen([self.strata, "import", raw, target], stderr=subprocess.PIPE, text=True) as process:
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            complaint = process.communicate(timeout=120)[1]
        left = [name for name in os.listdir(self.work) if name.startswith("stopped")]
        self.check(process.returncode == 1 and not left, f"Ctrl-C: {complaint.strip()} {left}")
        os.remove(raw)

    def all(self):
        raw = self.path("source.raw")
        wanted = make_raw(raw, 12 * MIB + 100, self.seed)
        os.mkdir(self.path("folder"))
        self.round_trip(raw, wanted, "folder", self.path("folder"))
        self.hostile_packages()
        self.machine()
        self.in_place("folder", self.path("folder"))
        self.interrupted()
        if shutil.which("qemu-img"):
            with open(raw, "ab") as image:
                image.truncate(13 * MIB)
            self.foreign_images(raw, disk_hash(raw))
            with open(raw, "ab") as image:
                image.truncate(12 * MIB + 100)
        volume = support.Volume(self.strata, self.work)
        volume.format("256M")
        support.run(self.strata, "mkdir", f"{volume.image}:/vm")
        self.round_trip(raw, wanted, "volume", f"{volume.image}:/vm")
        self.in_place("volume", f"{volume.image}:/vm")
        if not os.path.exists("/dev/fuse"):
            return
        volume.format("256M")
        with volume.mounted():
            place = os.path.join(volume.mount_point, "volumes", support.LABEL)
            self.round_trip(raw, wanted, "mount", place)
            self.in_place("mount", place)
            shown = os.path.join(volume.mount_point, "devices", "vdisks", support.LABEL, "new", "web 1_1-000002.vmdk")
            self.check(disk_hash(shown) == self.content(place + "/old/web 1_1-000002.vmdk"),
                       "the mount shows the disk of the machine in place")
            with open(shown, "r+b") as vdisk:
                vdisk.write(b"new")
            self.check(disk_hash(shown) != self.content(place + "/old/web 1_1-000002.vmdk"), "and writes it")
            vdisk = os.path.join(volume.mount_point, "devices", "vdisks", support.LABEL, "a.vmdk")
            self.check(disk_hash(vdisk) == wanted, "the mount shows the imported disk")


def main():
    options = support.arguments(__doc__.splitlines()[0])
    work = options.work or tempfile.mkdtemp(prefix="strata-exchange-")
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
