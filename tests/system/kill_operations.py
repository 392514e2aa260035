#!/usr/bin/env python3
"""SIGKILL in the middle of an operation on a virtual disk, round after round.

A disk is written and flushed, with two snapshots where the operation wants them. Then the operation runs, and the process that
does the work dies at a random moment: the daemon of a mounted volume, that of a mounted folder of the host, or the program
itself in a folder. Afterwards every disk is in one of its legal states and holds what was flushed; the same operation run again
succeeds, or says that it was done; the chain checks clean, and so does the volume, to both checkers.
"""

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import time
from typing import NamedTuple

import strata_mount

MIB = 1 << 20
DISK_BYTES = 24 * MIB
WRITES = 16  # into each link
GRAIN_BYTES = 4096
LEAF = "a-000002.vmdk"
PLACES = ("volume", "mounted folder", "folder")


class Operation(NamedTuple):
    """Words of `strata disk`, with the names of disks as @NAME; the states each disk may have after a cut and at the end."""

    words: str
    cut: dict
    end: dict
    again: str = "never"  # what it says when it is asked for what was done
    format: str = ""  # a disk without snapshots, made so; else thin with two
    further: tuple = ()  # what makes more disks beside one without snapshots: words of `strata disk`, and "write @NAME"


def cloned(words):
    return Operation(f"clone @{LEAF} @b.vmdk {words}", {"a.vmdk": "now", "b.vmdk": "now none"},
                     {"a.vmdk": "now", "b.vmdk": "now"}, "exists")


def kept(words, again="never", form=""):
    return Operation(words, {"a.vmdk": "now"}, {"a.vmdk": "now"}, again, form)


# b.vmdk stands on a.vmdk, of which c.vmdk is a copy.
LINKED = ("clone @a.vmdk @b.vmdk --linked", "clone @a.vmdk @c.vmdk --format seSparse", "write @b.vmdk")


def moved(words, *further, end="b.vmdk"):
    """Another parent for b.vmdk. Disks have a state of their name; "b-over-c" is what b.vmdk holds itself, and else c.vmdk."""
    others = {name: name for name in ("a.vmdk", "c.vmdk") if name == "a.vmdk" or name in words}
    return Operation(words, {"b.vmdk": f"b.vmdk {end}", **others}, {"b.vmdk": end, **others}, "has no parent", "thin",
                     further)


OPERATIONS = {
    "snapshot create": kept("snapshot create @a.vmdk third"),
    "snapshot create, vmfsSparse": kept("snapshot create @a.vmdk third --format vmfsSparse"),
    "snapshot revert": Operation("snapshot revert @a.vmdk first", {"a.vmdk": "now first"}, {"a.vmdk": "first"}),
    "snapshot delete": kept("snapshot delete @a.vmdk first", "first"),
    "snapshot delete, newest": kept("snapshot delete @a.vmdk second", "second"),
    "snapshot delete, reclaiming": kept("snapshot delete @a.vmdk second --reclaim", "second"),
    "snapshot delete-all": kept("snapshot delete-all @a.vmdk", "no snapshot"),
    "consolidate": kept("consolidate @a-000001.vmdk", "a-000001"),
    "clone to thin": cloned("--format thin"),
    "clone to seSparse": cloned("--format seSparse"),
    "clone to vmfsSparse": cloned("--format vmfsSparse"),
    "clone to split files": cloned("--format twoGbMaxExtentSparse"),
    "clone to one file": cloned("--format monolithicSparse"),
    "clone, linked": cloned("--linked"),
    "defragment": kept(f"defragment @{LEAF}"),
    "punch a leaf": kept(f"punch @{LEAF}"),
    "delete-all": Operation("delete @a.vmdk --all-snapshots", {"a.vmdk": "now second first none refused"},
                            {"a.vmdk": "none"}, "a.vmdk"),
    "extend": kept(f"extend @a.vmdk {2 * DISK_BYTES}", form="thin"),
    "extend, hosted sparse": kept(f"extend @a.vmdk {2 * DISK_BYTES}", form="twoGbMaxExtentSparse"),
    "extend, over snapshots": kept(f"extend @a.vmdk {2 * DISK_BYTES}"),
    "inflate": kept("inflate @a.vmdk", form="thin"),
    "eager-zero": kept("eager-zero @a.vmdk", form="zeroedthick"),
    "punch": kept("punch @a.vmdk", form="eagerzeroedthick"),
    "zero": Operation("zero @a.vmdk", {"a.vmdk": "now partly zeros"}, {"a.vmdk": "zeros"}, format="thin"),
    "rename": Operation("rename @a.vmdk @b.vmdk", {"a.vmdk": "now none", "b.vmdk": "now none"},
                        {"a.vmdk": "none", "b.vmdk": "now"}, "exists|a.vmdk", "thin"),
    "attach": moved("attach @b.vmdk @c.vmdk", *LINKED),
    "detach": moved("detach @b.vmdk", "zero @a.vmdk", "clone @a.vmdk @b.vmdk --linked", "write @b.vmdk"),
    "rebase": moved("rebase @b.vmdk @c.vmdk", *LINKED),
    "rebase, copying": moved("rebase @b.vmdk @c.vmdk --copy", *LINKED, "write @c.vmdk"),
    "rebase, forced": moved("rebase @b.vmdk @c.vmdk --force", *LINKED, "write @c.vmdk", end="b-over-c"),
    "delete": Operation("delete @a.vmdk", {"a.vmdk": "now none"}, {"a.vmdk": "none"}, "a.vmdk", "seSparse"),
}


class Place:
    """A datastore that is mounted, killed and mounted again."""

    def __init__(self, volume, kind, work):
        self.volume, self.kind = volume, kind
        self.folder = os.path.join(work, "folder")

    def make(self):
        if self.kind == "volume":
            self.volume.format("1G")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
            os.makedirs(self.folder)

    def mount(self):
        source = self.volume.image if self.kind == "volume" else f"posix:{self.folder}"
        strata_mount.run(self.volume.strata, "mount", source, self.volume.mount_point)

    def unmount(self):
        strata_mount.run(self.volume.strata, "umount", self.volume.mount_point)

    @contextlib.contextmanager
    def mounted(self):
        self.mount()
        try:
            yield
        finally:
            self.unmount()

    def works_mounted(self):
        return self.kind != "folder"

    def root(self, part):
        parent = os.path.join(self.volume.mount_point, part)
        return os.path.join(parent, sorted(os.listdir(parent))[0])

    def path(self, name, mounted):
        base = self.root("volumes") if mounted else self.folder
        return os.path.join(base, "vm", name)

    def image(self, name):
        return os.path.join(self.root("devices/vdisks"), "vm", name)

    def command(self, words, mounted=False):
        """The command line of an operation; in a folder that is not mounted, if this is the place and no one says else."""
        named = [self.path(word[1:], mounted or self.works_mounted()) if word.startswith("@") else word for word in words.split()]
        return [self.volume.strata, "disk", *named]

    def disk(self, words, mounted=False):
        """Runs `strata disk`; gives its exit code and what it said."""
        done = subprocess.run(self.command(words, mounted), capture_output=True, text=True, timeout=300, check=False)
        return done.returncode, done.stdout + done.stderr

    def must(self, words, mounted=False):
        code, said = self.disk(words, mounted)
        if code != 0:
            raise RuntimeError(f"strata disk {words}: {said}")

    def content(self, name):
        """What a guest would read; None without such a disk, b"" of one that does not open."""
        path = self.image(name)
        if not os.path.exists(path):
            return None
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            return b""
        try:
            size = os.fstat(descriptor).st_size
            return b"".join(os.pread(descriptor, 2 * MIB, at) for at in range(0, size, 2 * MIB))
        finally:
            os.close(descriptor)


def write_some(path, model, chance):
    """Into the disk and the model; flushed. Gives the places."""
    places = []
    descriptor = os.open(path, os.O_RDWR)
    try:
        for _ in range(WRITES):
            data = chance.randbytes(chance.choice([512, 4096, 5000, 65536, 500_000, 1_000_000]))
            at = chance.randrange(DISK_BYTES - len(data))
            os.pwrite(descriptor, data, at)
            model[at : at + len(data)] = data
            places.append((at, at + len(data)))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return places


def make_further(place, operation, model, chance):
    """The other disks; gives the contents by name."""
    models = {"a.vmdk": model}
    for words in operation.further:
        verb, *names = (word.removeprefix("@") for word in words.split())
        if verb != "write":
            place.must(words, mounted=True)
            models[names[1] if verb == "clone" else names[0]] = bytearray(DISK_BYTES if verb == "zero" else models[names[0]])
            continue
        written = write_some(place.image(names[0]), models[names[0]], chance)
        if names[0] == "b.vmdk":
            places_of_b = written
    if "c.vmdk" in models:
        mixed = models["b-over-c"] = bytearray(models["c.vmdk"])
        for start, end in places_of_b:  # whole grains of a new link
            start, end = start // GRAIN_BYTES * GRAIN_BYTES, -(-end // GRAIN_BYTES) * GRAIN_BYTES
            mixed[start:end] = models["b.vmdk"][start:end]
    return {name: bytes(content) for name, content in models.items()}


def build(place, operation, chance):
    """The disk; gives the contents that its states have."""
    model, states = bytearray(DISK_BYTES), {}
    with place.mounted():
        mounted_folder = os.path.join(place.root("volumes"), "vm")
        os.mkdir(mounted_folder)
        place_of_create = [place.volume.strata, "disk", "create", os.path.join(mounted_folder, "a.vmdk")]
        strata_mount.run(*place_of_create, "--size", str(DISK_BYTES), "--format", operation.format or "thin")
        # A vmfsSparse leaf has no way to give zeros back.
        kind_of_leaf = "seSparse" if operation.words.startswith("punch") else chance.choice(["seSparse", "vmfsSparse"])
        frozen = () if operation.format else (("first", "seSparse"), ("second", kind_of_leaf))
        for name, kind in frozen:
            write_some(place.image("a.vmdk"), model, chance)
            states[name] = bytes(model)
            strata_mount.run(place.volume.strata, "disk", "snapshot", "create", os.path.join(mounted_folder, "a.vmdk"), name,
                             "--format", kind)
        write_some(place.image("a.vmdk"), model, chance)
        states["now"] = bytes(model)
        states |= make_further(place, operation, model, chance)
        if operation.words.startswith("consolidate"):
            os.remove(os.path.join(mounted_folder, "a.vmsd"))  # a lost record: its links are needed by no snapshot
    return states


def is_in(state, content, states):
    """Whether a disk with this content is in the state."""
    if state in ("none", "refused") or not content:
        return content == {"none": None, "refused": b""}.get(state, 0)
    rest = content[DISK_BYTES:]
    content = content[:DISK_BYTES]
    if rest.strip(b"\0"):
        return False
    if state == "zeros":
        return not content.strip(b"\0")
    if state == "partly":
        return all(byte in (0, old) for byte, old in zip(content, states["now"], strict=True))
    return content == states[state]


def differences(place, legal, states, when):
    """The disks that are in none of their legal states."""
    problems = []
    for name, allowed in legal.items():
        content = place.content(name)
        if not any(is_in(state, content, states) for state in allowed.split()):
            found = {None: "is missing", b"": "does not open"}.get(content, "has other bytes")
            problems.append(f"{when}, {name} {found}; legal: {allowed}")
    return problems


def cut(place, operation, chance):
    """Starts the operation and kills who does the work. Says whether the operation had ended before."""
    if place.works_mounted():
        place.mount()
        victim = place.volume.daemon_pid()
    running = subprocess.Popen(place.command(operation.words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(chance.uniform(0.005, 0.02) * 2 ** chance.uniform(0, 5))
    if running.poll() is None or place.works_mounted():
        os.kill(victim if place.works_mounted() else running.pid, signal.SIGKILL)
    code = running.wait(timeout=60)
    if place.works_mounted():
        strata_mount.run("fusermount3", "-u", "-z", place.volume.mount_point)
    return code == 0


def run_again(place, operation):
    """What is wrong with the second run and with the chains after it."""
    problems = []
    with place.mounted() if place.works_mounted() else contextlib.nullcontext():
        code, said = place.disk(operation.words)
        if code != 0 and not re.search(operation.again, said):
            problems.append(f"run again it fails: {said}")
        for name in (name for name, states in operation.end.items() if "none" not in states):
            leaf = name
            listed = re.search(r"now on (?:vm/)?(\S+),", place.disk(f"snapshot list @{name}")[1])
            if listed and not operation.format:
                leaf = os.path.basename(listed[1])
            code, said = place.disk(f"check @{leaf}")
            if not is_sound(code, said):
                problems.append(f"the check of {leaf} ends with {code}: {said}")
    return problems


def is_sound(code, said):
    """Whether a check found nothing but space that belongs to nobody, as a cut may leave it, and links that stand beside
    each other, as they do after going back to a snapshot."""
    found = set(re.findall(r"^(?:warning|error): (\w+)", said, re.MULTILINE))
    return code == 0 or (code == 4 and "Disk chain is consistent." in said and found <= {"C6"})


def one_round(place, operation, chance):
    """Gives whether the operation was cut, and the problems."""
    place.make()
    states = build(place, operation, chance)
    ended = cut(place, operation, chance)
    with place.mounted():
        problems = differences(place, operation.cut, states, "after the cut")
    problems += run_again(place, operation)
    with place.mounted():
        problems += differences(place, operation.end, states, "run again")
    if place.kind == "volume":
        problems += place.volume.check(hosts_died=True)
    return not ended, problems


def in_some_order(chance, rounds):
    """Operations and places: every operation before any comes twice, and each time somewhere else."""
    names = sorted(OPERATIONS, key=lambda _: chance.random())
    shift = chance.randrange(len(PLACES))
    for number in range(rounds):
        turn, index = divmod(number, len(names))
        yield names[index], PLACES[(index + turn + shift) % len(PLACES)]


def main():
    options = strata_mount.arguments(__doc__.splitlines()[0], rounds=len(OPERATIONS))
    strata_mount.require(options.strata, "fusermount3")
    chance = random.Random(options.seed)
    problems, cuts = [], 0
    with strata_mount.work_folder(options.work) as work:
        volume = strata_mount.Volume(options.strata, work)
        for name, kind in in_some_order(chance, options.rounds):
            started = time.monotonic()
            was_cut, found = one_round(Place(volume, kind, work), OPERATIONS[name], random.Random(chance.random()))
            print(f"{name} on a {kind}: {'cut' if was_cut else 'had ended'}, {time.monotonic() - started:.1f} s", flush=True)
            problems += [f"{name} on a {kind}: {problem}" for problem in found]
            cuts += was_cut
            if problems:
                break
    print(f"{cuts} of {options.rounds} operations were cut")
    strata_mount.finish(problems, f"{__file__} --seed {options.seed} --rounds {options.rounds}")


if __name__ == "__main__":
    main()
