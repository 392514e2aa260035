#!/usr/bin/env python3
"""Kills the daemon under load and looks for what was promised.

Several writers create, rename and fsync files. After a random time the daemon gets SIGKILL. The volume must then mount again at
once, strata fsck must be clean, and every file whose fsync had returned before the kill must be there with all its bytes.
"""

import contextlib
import hashlib
import multiprocessing
import os
import random
import signal
import time

import strata_mount

WRITERS = 3


def write_for_ever(root, number, seed, promises):
    """Makes files one after the other and notes each in the promises file after its fsync. Ends with the mount."""
    chance = random.Random(seed * 100 + number)
    with open(promises, "a", encoding="ascii") as noted, contextlib.suppress(OSError):
        for count in range(1_000_000):
            data = chance.randbytes(chance.choice([0, 5, 3584, 3585, 65536, 65537, 700_000, 3_000_000]))
            name = f"writer-{number}-{seed}-{count}"
            _write_and_sync(os.path.join(root, name), data, via_rename=chance.random() < 0.5)
            noted.write(f"{name} {hashlib.sha256(data).hexdigest()}\n")
            noted.flush()


def _write_and_sync(path, data, via_rename):
    """With a rename, the fsync comes after it and must bring the new name too."""
    first = path + ".new" if via_rename else path
    descriptor = os.open(first, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    try:
        os.write(descriptor, data)
        if via_rename:
            os.rename(first, path)
        os.fsync(descriptor)
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def kill_under_load(volume, seed, chance, promises):
    """Mounts, lets the writers run for a while, kills the daemon, and clears the dead mount away."""
    strata_mount.run(volume.strata, "mount", volume.image, volume.mount_point)
    root = os.path.join(volume.mount_point, "volumes", strata_mount.LABEL)
    writers = [multiprocessing.Process(target=write_for_ever, args=(root, number, seed, promises))
               for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    time.sleep(chance.uniform(0.3, 2.5))
    os.kill(volume.daemon_pid(), signal.SIGKILL)
    for writer in writers:
        writer.join(timeout=30)
    # A lazy unmount of the outer mount takes the inner one, devices, with it.
    strata_mount.run("fusermount3", "-u", "-z", volume.mount_point)


def broken_promises(volume, promises):
    """Mounts again and reads every promised file. Returns the problems."""
    started = time.monotonic()
    with volume.mounted() as root:
        waited = time.monotonic() - started
        problems = [f"mounting after a kill took {waited:.1f} s"] if waited > 5 else []
        with open(promises, encoding="ascii") as noted:
            lines = [line.split() for line in noted if line.endswith("\n")]
        for name, digest in lines:
            problems += _check_file(os.path.join(root, name), name, digest)
    print(f"  {len(lines)} promised files, mounted again in {waited:.2f} s, {len(problems)} problems")
    return problems


def _check_file(path, name, digest):
    try:
        with open(path, "rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return [f"{name}: fsynced, but {error.strerror}"]
    return [] if actual == digest else [f"{name}: fsynced, but has other bytes"]


def main():
    options = strata_mount.arguments(__doc__.splitlines()[0], size="4G", rounds=3)
    strata_mount.require(options.strata, "fusermount3")
    chance = random.Random(options.seed)
    problems = []
    with strata_mount.work_folder(options.work) as work:
        volume = strata_mount.Volume(options.strata, work)
        volume.format(options.size)
        promises = os.path.join(work, "promises")
        for number in range(options.rounds):
            print(f"seed {options.seed} round {number + 1}")
            kill_under_load(volume, options.seed * 1000 + number, chance, promises)
            problems = broken_promises(volume, promises) + volume.check(hosts_died=True)
            if problems:
                break
    strata_mount.finish(problems, f"{__file__} --seed {options.seed} --rounds {options.rounds}")


if __name__ == "__main__":
    main()
