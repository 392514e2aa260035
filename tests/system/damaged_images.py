#!/usr/bin/env python3
"""Damages images of a volume at random and lets the program loose on them, with little memory and little time.

Each image is described (volume info), checked, mounted read-only, listed and read; then repaired (fsck --repair --yes). No
program may crash, hang or take more memory than it is given, whatever it says of the volume. What repair calls repaired checks
clean, mounts for writing, and vmfs6-fuse shows the same names and bytes as Strata.
"""

import hashlib
import os
import random
import resource
import shutil
import subprocess

import strata_mount

MIB = 1 << 20
BLOCK = 4096
LVM_AREA = 0x100000
# Where mkfs puts the resource files and all that follows in a small volume.
METADATA_END = 100 * MIB
ADDRESS_SPACE = 4 << 30
SECONDS_MAX = 120
READ_MAX = 4 * MIB
EDGES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 63), (1 << 64) - 1)
CLEAN, REPAIRED = 0, 3
SIGNALS = range(128, 192)


class Crash(Exception):
    """A program died, hung or left a dead mount."""


def limited():
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def call(*command):
    """Runs the program under its limits. Returns exit code and output."""
    what = " ".join(os.path.basename(word) for word in command)
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS_MAX, check=False,
                              preexec_fn=limited, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise Crash(f"{what}: no end after {SECONDS_MAX} s") from error
    text = done.stdout + done.stderr
    if done.returncode < 0 or done.returncode in SIGNALS or "check failed" in text or "bad_alloc" in text:
        raise Crash(f"{what}: exit code {done.returncode}\n{text[-2000:]}")
    if done.returncode != CLEAN and not text.strip():
        raise Crash(f"{what}: exit code {done.returncode} without a word")
    return done.returncode, text


def make_volume(strata, work, seed):
    """A volume with a file of every map kind; its image is the pattern of all others."""
    chance = random.Random(seed)
    volume = strata_mount.Volume(strata, work)
    volume.format("256M")
    with volume.mounted() as root:
        for folder in ("a", "a/b", "empty"):
            os.mkdir(os.path.join(root, folder))
        sizes = {"empty-file": 0, "inline": 700, "small": 40_000, "blocks": 2 * MIB + 77, "a/one": 5000, "a/b/two": 100_000}
        for name, size in sizes.items():
            with open(os.path.join(root, name), "wb") as file:
                file.write(chance.randbytes(size))
        with open(os.path.join(root, "sparse"), "wb") as file:
            for offset in (0, 9 << 30, 3 << 40):
                file.seek(offset)
                file.write(chance.randbytes(3000))
        os.symlink("a/one", os.path.join(root, "link"))
        for number in range(60):
            with open(os.path.join(root, "a", f"entry-{number}"), "wb"):
                pass
    return volume


def metadata_blocks(image):
    blocks = []
    with open(image, "rb") as file:
        file.seek(LVM_AREA)
        for offset in range(LVM_AREA, METADATA_END, BLOCK):
            if any(file.read(BLOCK)):
                blocks.append(offset)
    return blocks


class Damage:
    """Damages an image as disks, cables and programs do."""

    def __init__(self, image, blocks, seed):
        self.chance = random.Random(seed)
        self.blocks = blocks
        self.image = image
        self.words = []

    def apply(self):
        if self.chance.randrange(40) == 0:
            size = self.chance.randrange(LVM_AREA, os.path.getsize(self.image)) // 512 * 512
            os.truncate(self.image, size)
            return f"the image ends at {size:#x}"
        with open(self.image, "r+b") as file:
            for _ in range(self.chance.randint(1, 6)):
                kind = self.chance.choice((self.flip, self.field, self.field, self.nonsense, self.zero, self.zero_many, self.swap,
                                           self.misdirect))
                kind(file)
        return "; ".join(self.words)

    def pick(self):
        """First a megabyte, then a block in it: else most damage would meet the thousand heartbeats."""
        region = self.chance.choice(sorted({block // MIB for block in self.blocks}))
        return self.chance.choice([block for block in self.blocks if block // MIB == region])

    def place(self):
        return self.pick() + (self.chance.randrange(160) if self.chance.randrange(3) else self.chance.randrange(BLOCK - 8))

    def read(self, file, offset, size=BLOCK):
        file.seek(offset)
        return file.read(size)

    def write(self, file, offset, data, words):
        file.seek(offset)
        file.write(data)
        self.words.append(f"{words} at {offset:#x}")

    def flip(self, file):
        offset = self.place()
        self.write(file, offset, bytes([self.read(file, offset, 1)[0] ^ 1 << self.chance.randrange(8)]), "a flipped bit")

    def field(self, file):
        size = self.chance.choice((1, 2, 4, 8))
        value = self.chance.choice(EDGES) % (1 << 8 * size)
        self.write(file, self.place() // 2 * 2, value.to_bytes(size, "little"), f"{size} bytes {value:#x}")

    def nonsense(self, file):
        self.write(file, self.place() // 64 * 64, self.chance.randbytes(64), "64 random bytes")

    def zero(self, file):
        size = self.chance.choice((512, BLOCK))
        self.write(file, self.pick(), bytes(size), f"{size} zeros")

    def zero_many(self, file):
        size = BLOCK << self.chance.randrange(7)
        self.write(file, self.pick(), bytes(size), f"{size} zeros")

    def swap(self, file):
        one, other = self.pick(), self.pick()
        first, second = self.read(file, one), self.read(file, other)
        self.write(file, one, second, f"block {other:#x}")
        self.write(file, other, first, f"block {one:#x}")

    def misdirect(self, file):
        other = self.pick()
        self.write(file, self.pick(), self.read(file, other), f"block {other:#x}")


def read_all(root):
    """{path: what is there}; what cannot be read is named as such. A dead daemon is a crash."""
    seen = {}
    for folder, folders, files in os.walk(root, onerror=lambda error: note(seen, root, error.filename, error)):
        for name in folders + files:
            place = os.path.join(folder, name)
            try:
                seen[os.path.relpath(place, root)] = describe(place)
            except OSError as error:
                note(seen, root, place, error)
    return seen


def note(seen, root, place, error):
    if error.errno in (107, 103):  # ENOTCONN, ECONNABORTED
        raise Crash(f"reading {place}: {error.strerror}")
    seen[os.path.relpath(place, root)] = f"error {error.strerror}"


def describe(place):
    if os.path.islink(place):
        return "link to " + os.readlink(place)
    if os.path.isdir(place):
        return "folder"
    size = os.lstat(place).st_size
    digest = hashlib.sha256()
    with open(place, "rb") as file:
        for offset in sorted({0, max(0, min(size, 9 << 30) - 4096), max(0, size - READ_MAX)}):
            file.seek(offset)
            digest.update(file.read(READ_MAX))
    return f"file of {size} bytes {digest.hexdigest()}"


def use(volume, *options):
    """Mounts under limits and reads everything. Returns what was seen, or None where it does not mount."""
    code, _ = call(volume.strata, "mount", volume.image, volume.mount_point, *options)
    if code != CLEAN:
        return None
    try:
        volumes = os.path.join(volume.mount_point, "volumes")
        return read_all(os.path.join(volumes, sorted(os.listdir(volumes))[0]))
    except OSError as error:
        raise Crash(f"reading the mount: {error}") from error
    finally:
        code, text = call(volume.strata, "umount", volume.mount_point)
        if code != CLEAN:
            call(volume.strata, "umount", "--lazy", volume.mount_point)
        if os.path.ismount(volume.mount_point):
            raise Crash(f"umount: {text}")


def has_repair(strata):
    return "--repair" in call(strata, "fsck", "--help")[1]


def judge_repaired(volume):
    """What is wrong with a volume that repair calls clean."""
    problems = []
    code, text = call(volume.strata, "fsck", volume.image)
    if code != CLEAN:
        problems.append(f"fsck after repair: {text[-600:]}")
    ours = use(volume)
    if ours is None:
        return problems + ["a repaired volume does not mount for writing"]
    problems += [f"{path!r}: {what}" for path, what in ours.items() if what.startswith("error")]
    with volume.read_by_vmfs6_fuse() as root:
        theirs = {path: what for path, what in read_all(root).items() if not is_system(path)}
    ours = {path: what for path, what in ours.items() if not is_system(path)}
    problems += [f"{path!r}: Strata {ours.get(path)}, vmfs6-fuse {theirs.get(path)}"
                 for path in sorted(ours.keys() | theirs.keys()) if ours.get(path) != theirs.get(path)]
    return problems


def is_system(path):
    return path.startswith(".") and path.endswith(".sf")


def try_one(volume, repairs, outcomes):
    call(volume.strata, "volume", "info", volume.image)
    call(volume.strata, "fsck", volume.image)
    if use(volume, "--read-only") is not None:
        outcomes["mounted"] += 1
    if not repairs:
        return []
    code, _ = call(volume.strata, "fsck", "--repair", "--yes", volume.image)
    if code not in (CLEAN, REPAIRED):
        outcomes["not repaired"] += 1
        return []
    outcomes["clean" if code == CLEAN else "repaired"] += 1
    return judge_repaired(volume)


def main():
    options = strata_mount.arguments(__doc__.splitlines()[0], rounds=20)
    strata_mount.require(options.strata, "vmfs6-fuse", "fusermount3")
    problems = []
    outcomes = dict.fromkeys(("mounted", "clean", "repaired", "not repaired"), 0)
    with strata_mount.work_folder(options.work) as work:
        volume = make_volume(options.strata, work, options.seed)
        pattern = os.path.join(work, "pattern.img")
        shutil.move(volume.image, pattern)
        blocks = metadata_blocks(pattern)
        repairs = has_repair(volume.strata)
        for seed in range(options.seed, options.seed + options.rounds):
            strata_mount.run("cp", "--sparse=always", pattern, volume.image)
            damage = Damage(volume.image, blocks, seed).apply()
            try:
                found = try_one(volume, repairs, outcomes)
            except (Crash, RuntimeError) as error:
                found = [str(error)]
            problems += [f"seed {seed} ({damage}): {problem}" for problem in found]
            if found and options.work:
                shutil.copyfile(volume.image, os.path.join(work, f"seed-{seed}.img"))
    print(f"{options.rounds} images: {', '.join(f'{count} {name}' for name, count in outcomes.items())}")
    strata_mount.finish(problems, f"{__file__} {options.strata} --seed {options.seed} --rounds {options.rounds}")


if __name__ == "__main__":
    main()
