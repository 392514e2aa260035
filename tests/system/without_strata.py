#!/usr/bin/env python3
"""The way out: a chain's data is read without Strata, by vmfs6-fuse and qemu-img, as the README shows.

A disk of four links (flat, vmfsSparse, seSparse, seSparse) is written on a volume. Then only stock tools touch the volume:
vmfs6-fuse shows the files, `qemu-img convert` joins the chain of the leaf and of every frozen link, and each result must have
the digest of the bytes that were written.
"""

import hashlib
import os
import random

import strata_mount

MIB = 1 << 20
DISK_BYTES = 64 * MIB
LINKS = (("base", "vmfsSparse"), ("first", "seSparse"), ("second", "seSparse"))


def digest_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_some(path, model, chance):
    """Into the disk and the model; flushed. Gives the digest of all that the disk holds then."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        for _ in range(40):
            data = chance.randbytes(chance.choice([512, 4096, 6000, 70_000, 500_000]))
            at = chance.randrange(DISK_BYTES - len(data))
            os.pwrite(descriptor, data, at)
            model[at : at + len(data)] = data
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return hashlib.sha256(model).hexdigest()


def build(volume, chance):
    """Gives the digest of each state by the descriptor that holds it."""
    model, digests = bytearray(DISK_BYTES), {}
    with volume.mounted() as root:
        descriptor = os.path.join(root, "vm", "disk.vmdk")
        image = os.path.join(volume.mount_point, "devices", "vdisks", strata_mount.LABEL, "vm", "disk.vmdk")
        os.mkdir(os.path.dirname(descriptor))
        strata_mount.run(volume.strata, "disk", "create", descriptor, "--size", str(DISK_BYTES))
        for number, (name, kind) in enumerate(LINKS):
            name_of_link = f"disk-{number:06}.vmdk" if number else "disk.vmdk"
            digests[name_of_link] = write_some(image, model, chance)
            strata_mount.run(volume.strata, "disk", "snapshot", "create", descriptor, name, "--format", kind)
        digests[f"disk-{len(LINKS):06}.vmdk"] = write_some(image, model, chance)
    return digests


def read_by_others(volume, digests, work):
    problems = []
    with volume.read_by_vmfs6_fuse() as root:
        for name, wanted in digests.items():
            copy = os.path.join(work, "copy.raw")
            strata_mount.run("qemu-img", "convert", "-f", "vmdk", "-O", "raw", os.path.join(root, "vm", name), copy)
            if digest_of(copy) != wanted:
                problems.append(f"{name}: qemu-img joins other bytes than were written")
            os.remove(copy)
    return problems


def main():
    options = strata_mount.arguments(__doc__.splitlines()[0])
    strata_mount.require(options.strata, "fusermount3", "vmfs6-fuse", "qemu-img")
    with strata_mount.work_folder(options.work) as work:
        volume = strata_mount.Volume(options.strata, work)
        volume.format("2G")
        digests = build(volume, random.Random(options.seed))
        print(f"{len(digests)} links written")
        problems = read_by_others(volume, digests, work) + volume.check()
    strata_mount.finish(problems, f"{__file__} --seed {options.seed}")


if __name__ == "__main__":
    main()
