#!/usr/bin/env python3
"""Fills a volume through the mount and lets independent readers judge it.

More than 3,000 files of every map kind are written; then strata fsck must be clean, blkid and debugvmfs6 must recognise
the volume, and vmfs6-fuse must show every name, attribute and byte. So must the second decoder of tests/judge, which also
checks every structure of the volume. vmfs6-fuse has two known faults: it loses data after a
hole in a direct block map, and shows stale bytes in blocks marked to be zeroed. Volumes of ours avoid both shapes, so no
difference is allowed here; a message that says "after a hole" points to the first one.
"""

import time

import second_reader_view
import strata_mount
from fill_volume import fill
from tree_model import compare


def judge(volume, tree, seed):
    """Every judge's view of an unmounted volume, against the expected tree. Returns the problems."""
    judges = {
        "check": volume.check,
        "recognition": lambda: volume.recognised([path for path in tree.nodes if "/" not in path]),
        "second reader": lambda: second_reader_view.compare([volume.image], tree),
        "vmfs6-fuse": lambda: _seen_through(volume.read_by_vmfs6_fuse(), tree, seed),
        "strata": lambda: _seen_through(volume.mounted("--read-only"), tree, seed),
    }
    problems = []
    for name, ask in judges.items():
        try:
            problems += [f"{name}: {problem}" for problem in ask()]
        except RuntimeError as error:
            problems.append(f"{name}: {error}")
    return problems


def _seen_through(mounting, tree, seed):
    with mounting as root:
        return compare(root, tree, seed)


def summary(tree):
    files = [tree.nodes[path] for path in tree.paths("file")]
    return (f"{len(files)} files, {len(tree.paths('folder'))} folders, {len(tree.paths('symlink'))} symlinks, "
            f"{sum(len(node.content.chunks) for node in files) // 16} MiB of data")


def main():
    options = strata_mount.arguments(__doc__.splitlines()[0], size="4G", entries=3000)
    strata_mount.require(options.strata, "vmfs6-fuse", "debugvmfs6", "blkid", "fusermount3")
    with strata_mount.work_folder(options.work) as work:
        volume = strata_mount.Volume(options.strata, work)
        volume.format(options.size)
        started = time.monotonic()
        with volume.mounted() as root:
            tree = fill(root, options.seed, options.entries)
        print(f"seed {options.seed}: {summary(tree)}, written in {time.monotonic() - started:.1f} s")
        problems = judge(volume, tree, options.seed)
    strata_mount.finish(problems, f"{__file__} --seed {options.seed} --size {options.size}")


if __name__ == "__main__":
    main()
