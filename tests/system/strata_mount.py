"""Runs the strata program and the independent readers for the tests of this folder."""

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import second_reader_view

SKIPPED = 77
LABEL = "judge"


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(SKIPPED)


def arguments(description, **defaults):
    """The options every test here has; the environment's SEED and ROUNDS stand in for missing ones."""
    root = os.path.join(os.path.dirname(__file__), "..", "..")
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("strata", nargs="?", default=os.path.join(root, "build", "release", "strata"))
    parser.add_argument("--work", help="folder for the image and the mounts, kept afterwards (default: a temporary one)")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", 1)))
    for name, value in defaults.items():
        value = type(value)(os.environ.get(name.upper(), value))
        parser.add_argument("--" + name, type=type(value), default=value)
    return parser.parse_args()


def run(*command, **options):
    """Runs a program to its end, which must be good, and returns what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=300, check=False, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Volume:
    """An image file with a volume, and its mount points."""

    def __init__(self, strata, work):
        self.strata = os.path.abspath(strata)
        self.image = os.path.join(work, "volume.img")
        self.mount_point = os.path.join(work, "mnt")
        self.reader_point = os.path.join(work, "reader")
        for folder in (self.mount_point, self.reader_point):
            os.makedirs(folder, exist_ok=True)

    def format(self, size):
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.image)
        run(self.strata, "mkfs", self.image, "--label", LABEL, "--size", size)

    @contextlib.contextmanager
    def mounted(self, *options):
        """Mounted through Strata; gives the folder of the volume's files."""
        run(self.strata, "mount", self.image, self.mount_point, *options)
        try:
            volumes = os.path.join(self.mount_point, "volumes")
            yield os.path.join(volumes, sorted(os.listdir(volumes))[0])
        finally:
            run(self.strata, "umount", self.mount_point)

    def read_by_vmfs6_fuse(self):
        return self.read_by("vmfs6-fuse")

    @contextlib.contextmanager
    def read_by(self, program):
        """Mounted through an independent reader; gives the folder of the volume's files."""
        run(program, self.image, self.reader_point)
        try:
            yield self.reader_point
        finally:
            run("fusermount3", "-u", self.reader_point)

    def daemon_pid(self):
        """The daemon's process, as strata status tells it."""
        pids = list(_values_of("pid", json.loads(run(self.strata, "status", self.mount_point, "--json"))))
        if not pids:
            raise RuntimeError("strata status --json names no pid")
        return pids[0]

    def check(self, hosts_died=False):
        """Runs strata fsck and the second decoder's check, which allows for locks left if hosts died. Returns the problems."""
        problems = [f"second decoder: {problem}" for problem in second_reader_view.check([self.image], hosts_died)]
        try:
            run(self.strata, "fsck", self.image)
        except RuntimeError as error:
            problems.append(str(error))
        return problems

    def recognised(self, names):
        """Whether blkid and debugvmfs6 know the volume and the names in its root. Returns the problems."""
        problems = []
        kind = run("blkid", "-p", "-o", "export", self.image)
        if "TYPE=VMFS_volume_member" not in kind or not re.search(r"^VERSION=6$", kind, re.MULTILINE):
            problems.append(f"blkid: does not see a VMFS-6 volume but {kind!r}")
        listed = set(run("debugvmfs6", self.image, "ls", "/").splitlines())
        problems += [f"debugvmfs6 ls: {name!r} is missing" for name in sorted(set(names) - listed)]
        return problems


def _values_of(key, value):
    """The values under a key of nested JSON, however deep."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from [inner] if name == key else _values_of(key, inner)
    if isinstance(value, list):
        for inner in value:
            yield from _values_of(key, inner)


@contextlib.contextmanager
def work_folder(given):
    """The folder given, or a temporary one that goes away unless something is still mounted there."""
    if given:
        os.makedirs(given, exist_ok=True)
        yield os.path.abspath(given)
        return
    folder = tempfile.mkdtemp(prefix="strata-judge.")
    try:
        yield folder
    finally:
        if not any(os.path.ismount(os.path.join(folder, name)) for name in ("mnt", "reader")):
            shutil.rmtree(folder)


def require(strata, *programs):
    """Skips the test where it cannot run."""
    if not os.access(strata, os.X_OK):
        skip(f"no program at {strata}")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        skip("/dev/fuse cannot be opened")
    for program in programs:
        if not shutil.which(program):
            skip(f"{program} is not installed")


def finish(problems, replay):
    """Prints the outcome and ends the test."""
    for problem in problems[:40]:
        print("DIFFERS:", problem)
    if problems:
        print(f"FAIL: {len(problems)} differences; again with: {replay}")
        sys.exit(1)
    print("PASS")
