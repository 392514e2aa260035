#!/usr/bin/env python3
"""Requests over io_uring instead of /dev/fuse: the same bytes, and an end that leaves nobody waiting.

    fuse_ring.py STRATA                       this test
    fuse_ring.py STRATA --over SCRIPT ...     another test of this folder, with the transport switched on

The kernel offers the transport to new mounts while /sys/module/fuse/parameters/enable_uring is Y; only root may set that. The
test restores what it found.
"""

import contextlib
import json
import mmap
import os
import random
import signal
import subprocess
import sys
import time

import strata_mount

SWITCH = "/sys/module/fuse/parameters/enable_uring"
MIB = 1 << 20
END_SECONDS = 60


@contextlib.contextmanager
def switched_on():
    """The kernel's offer, for as long as the test runs."""
    if not os.access(SWITCH, os.W_OK):
        strata_mount.skip(f"{SWITCH} cannot be written (this kernel has no FUSE over io_uring, or the user is not root)")
    with open(SWITCH, encoding="ascii") as file:
        before = file.read().strip()
    try:
        set_switch("Y")
        yield
    finally:
        set_switch(before)


def set_switch(value):
    with open(SWITCH, "w", encoding="ascii") as file:
        file.write(value)


def transports(volume):
    status = json.loads(strata_mount.run(volume.strata, "status", volume.mount_point, "--json"))
    return sorted({session["transport"] for session in status[0]["sessions"].values()})


def check_bytes(path, seed):
    """Writes pieces of every size, directly and through the cache, and reads them back both ways. Returns the problems."""
    generator = random.Random(seed)
    expected = bytearray(8 * MIB)
    problems = []
    with open(path, "wb", buffering=0) as file:
        file.truncate(len(expected))
    for flags in (0, os.O_DIRECT):
        descriptor = os.open(path, os.O_RDWR | flags)
        for _ in range(60):
            write_piece(descriptor, generator, expected, bool(flags))
        os.fsync(descriptor)
        os.close(descriptor)
    for flags in (os.O_DIRECT, 0):
        if read_all(path, flags, len(expected)) != bytes(expected):
            problems.append(f"{path}: other bytes than were written (seed {seed}, {'direct' if flags else 'buffered'})")
    return problems


def write_piece(descriptor, generator, expected, is_direct):
    unit = 4096 if is_direct else 1
    length = min(generator.choice([1, 512, 4096, 5000, 70_000, MIB, 3 * MIB]), len(expected)) // unit * unit or unit
    offset = generator.randrange((len(expected) - length) // unit + 1) * unit
    data = generator.randbytes(length)
    memory = mmap.mmap(-1, length)  # page aligned
    memory.write(data)
    os.pwritev(descriptor, [memory], offset)
    expected[offset:offset + length] = data


def read_all(path, flags, size):
    descriptor = os.open(path, os.O_RDONLY | flags)
    memory = mmap.mmap(-1, size)
    done = os.preadv(descriptor, [memory], 0)
    os.close(descriptor)
    return memory[:done]


def check_abort(volume):
    """A daemon told to end twice while a file is open cuts its users off and ends. Returns the problems."""
    with volume.mounted() as root:
        pid = volume.daemon_pid()
        with open(os.path.join(root, "held"), "wb", buffering=0) as file:
            file.write(b"x" * MIB)
            os.fsync(file.fileno())
            os.kill(pid, signal.SIGTERM)
            time.sleep(1)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            if not wait_for_end(pid):
                return [f"the daemon {pid} did not end"]
            try:
                os.pread(file.fileno(), 1, 0)
                file.write(b"y")
                os.fsync(file.fileno())
                return ["a file of a mount that has ended can still be written"]
            except OSError:
                return []


def wait_for_end(pid):
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        if not os.path.exists(f"/proc/{pid}"):
            return True
        time.sleep(0.1)
    return False


def own_test(options):
    problems = []
    with strata_mount.work_folder(options.work) as work, switched_on():
        volume = strata_mount.Volume(options.strata, work)
        volume.format("512M")
        for transport, expected in (("auto", ["io_uring"]), ("device", ["device"])):
            with volume.mounted("--transport", transport) as root:
                if transports(volume) != expected:
                    problems.append(f"--transport {transport}: {transports(volume)}, expected {expected}")
                problems += check_bytes(os.path.join(root, transport), options.seed)
        try:
            problems += check_abort(volume)
        except RuntimeError as error:  # the unmount finds no daemon any more
            if "nothing of Strata" not in str(error):
                problems.append(str(error))
        problems += volume.check()
    strata_mount.finish(problems, f"{__file__} {options.strata} --seed {options.seed}")


def other_test(strata, script, rest):
    folder = os.path.dirname(os.path.abspath(__file__))
    with switched_on():
        return subprocess.run([os.path.join(folder, script), strata, *rest], check=False).returncode


def main():
    if len(sys.argv) > 3 and sys.argv[2] == "--over":
        sys.exit(other_test(sys.argv[1], sys.argv[3], sys.argv[4:]))
    options = strata_mount.arguments(__doc__.splitlines()[0])
    strata_mount.require(options.strata)
    own_test(options)


if __name__ == "__main__":
    main()
