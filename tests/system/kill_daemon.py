#!/usr/bin/env python3
"""Kills the daemon under mixed load and looks for what was promised.

Writers create, truncate, rename, fsync and remove files; another one writes to a virtual disk with direct I/O. After a random
time the daemon gets SIGKILL. The volume must then mount again at once, strata fsck must be clean, every file whose fsync had
returned before the kill must be there with all its bytes, what was removed before such an fsync must be gone, and each block of
the disk must hold what was last synced there, or something newer.
"""

import contextlib
import hashlib
import mmap
import multiprocessing
import os
import random
import signal
import struct
import time

import strata_mount

WRITERS = 3
KEPT_FILES = 25  # of each writer
BLOCK = 4096
DISK_BLOCKS = 8192
REPLAY_SECONDS_MAX = 14  # on a busy machine; waiting for the lease of a host that is not known to be dead takes longer


class Promises:
    """What a writer was promised, one line each: a file with its digest, a file that is gone, a block with its version."""

    def __init__(self, path):
        self.file = open(path, "a", encoding="ascii")  # noqa: SIM115

    def note(self, *words):
        self.file.write(" ".join(map(str, words)) + "\n")
        self.file.flush()


def write_files_for_ever(root, number, seed, path):
    """Makes files one after the other and notes each after its fsync. Ends with the mount."""
    chance = random.Random(seed * 100 + number)
    promises = Promises(path)
    names = []
    with contextlib.suppress(OSError):
        for count in range(1_000_000):
            data = chance.randbytes(chance.choice([0, 5, 3584, 3585, 65536, 65537, 700_000, 3_000_000]))
            name = f"writer-{number}-{seed}-{count}"
            removed = names.pop(0) if len(names) >= KEPT_FILES else None
            if removed:
                promises.note("maybe", removed)
                os.unlink(os.path.join(root, removed))
            data = _write_and_sync(os.path.join(root, name), data, chance)
            # The journal keeps the order: the fsync of a later file brings the removal too.
            if removed:
                promises.note("gone", removed)
            promises.note("file", name, hashlib.sha256(data).hexdigest())
            names.append(name)


def _write_and_sync(path, data, chance):
    """Gives what the file holds in the end. With a rename, the fsync comes after it and must bring the new name too."""
    via_rename = chance.random() < 0.5
    first = path + ".new" if via_rename else path
    descriptor = os.open(first, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    try:
        os.write(descriptor, data)
        if chance.random() < 0.3:
            size = chance.choice([0, len(data) // 2, len(data) + 100_000])
            os.ftruncate(descriptor, size)
            data = data[:size].ljust(size, b"\0")
        if via_rename:
            os.rename(first, path)
        os.fsync(descriptor)
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    return data


def write_disk_for_ever(disk, seed, path):
    """Writes versions of random blocks, and notes them after each fsync. A block holds its number and version throughout."""
    chance = random.Random(seed)
    promises = Promises(path)
    buffer = mmap.mmap(-1, BLOCK)
    with contextlib.suppress(OSError):
        descriptor = os.open(disk, os.O_RDWR | os.O_DIRECT)
        for version in range(seed << 32, (seed + 1) << 32):
            written = chance.sample(range(DISK_BLOCKS), chance.randrange(1, 20))
            for number in written:
                buffer[:] = struct.pack("<QQ", number, version) * (BLOCK // 16)
                os.pwrite(descriptor, buffer, number * BLOCK)
            os.fsync(descriptor)
            for number in written:
                promises.note("block", number, version)


def disk_place(volume):
    return os.path.join(volume.mount_point, "devices", "vdisks", strata_mount.LABEL, "disk.vmdk")


def kill_under_load(volume, seed, chance, promises):
    """Mounts, lets the writers run for a while, kills the daemon, and clears the dead mount away."""
    strata_mount.run(volume.strata, "mount", volume.image, volume.mount_point)
    root = os.path.join(volume.mount_point, "volumes", strata_mount.LABEL)
    writers = [multiprocessing.Process(target=write_files_for_ever, args=(root, number, seed, promises))
               for number in range(WRITERS)]
    writers.append(multiprocessing.Process(target=write_disk_for_ever, args=(disk_place(volume), seed, promises)))
    for writer in writers:
        writer.start()
    time.sleep(chance.uniform(0.3, 2.5))
    os.kill(volume.daemon_pid(), signal.SIGKILL)
    for writer in writers:
        writer.join(timeout=60)
    # A lazy unmount of the outer mount takes the inner one, devices, with it.
    strata_mount.run("fusermount3", "-u", "-z", volume.mount_point)


class Expected:
    """What must be there, from the promises of all rounds."""

    def __init__(self, promises):
        self.files, self.gone, self.blocks = {}, set(), {}
        with open(promises, encoding="ascii") as noted:
            for line in noted:
                if line.endswith("\n"):
                    self._add(*line.split())

    def _add(self, kind, name, value=None):
        if kind == "file":
            self.files[name] = value
        elif kind == "block":
            self.blocks[int(name)] = max(int(value), self.blocks.get(int(name), 0))
        else:
            self.files.pop(name, None)
            if kind == "gone":
                self.gone.add(name)

    def problems_in(self, root, disk):
        problems = [f"{name}: removed, and back" for name in self.gone & set(os.listdir(root))]
        for name, digest in self.files.items():
            problems += _check_file(os.path.join(root, name), name, digest)
        with open(disk, "rb") as file:
            for number, version in self.blocks.items():
                file.seek(number * BLOCK)
                problems += _check_block(file.read(BLOCK), number, version)
        return problems


def _check_file(path, name, digest):
    try:
        with open(path, "rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return [f"{name}: fsynced, but {error.strerror}"]
    return [] if actual == digest else [f"{name}: fsynced, but has other bytes"]


def _check_block(data, number, version):
    found_number, found_version = struct.unpack_from("<QQ", data)
    if data != data[:16] * (BLOCK // 16) or found_number != number:
        return [f"disk block {number}: is of no version"]
    if found_version < version:
        return [f"disk block {number}: version {found_version:#x}, but {version:#x} was synced"]
    return []


def broken_promises(volume, promises):
    """Mounts again and reads everything that was promised. Returns the problems."""
    started = time.monotonic()
    with volume.mounted() as root:
        waited = time.monotonic() - started
        expected = Expected(promises)
        problems = [f"mounting after a kill took {waited:.1f} s"] if waited > REPLAY_SECONDS_MAX else []
        problems += expected.problems_in(root, disk_place(volume))
    print(f"  {len(expected.files)} files and {len(expected.blocks)} disk blocks promised, {len(expected.gone)} files gone; "
          f"mounted again in {waited:.2f} s, {len(problems)} problems", flush=True)
    return problems


def main():
    options = strata_mount.arguments(__doc__.splitlines()[0], size="4G", rounds=3)
    strata_mount.require(options.strata, "fusermount3")
    chance = random.Random(options.seed)
    problems = []
    with strata_mount.work_folder(options.work) as work:
        volume = strata_mount.Volume(options.strata, work)
        volume.format(options.size)
        with volume.mounted() as root:
            strata_mount.run(options.strata, "disk", "create", os.path.join(root, "disk.vmdk"), "--size",
                             str(DISK_BLOCKS * BLOCK), "--format", "thin")
        promises = os.path.join(work, "promises")
        open(promises, "a", encoding="ascii").close()
        for number in range(options.rounds):
            print(f"seed {options.seed} round {number + 1}")
            kill_under_load(volume, options.seed * 1000 + number, chance, promises)
            problems = broken_promises(volume, promises) + volume.check(hosts_died=True)
            if problems:
                break
    strata_mount.finish(problems, f"{__file__} --seed {options.seed} --rounds {options.rounds}")


if __name__ == "__main__":
    main()
