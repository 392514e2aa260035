#!/usr/bin/env python3
"""A long random workload on a mounted volume, with remounts, judged at the end by the independent readers.

Each round does the given number of operations, unmounts, checks the volume, mounts it again and compares all of it with the
model. The seed decides everything, so a failing run can be had again.
"""

import time

import strata_mount
from judge_compare import judge, summary
from tree_model import compare
from workload import Workload


def play_round(volume, workload, operations):
    """One mount with operations. Returns the problems found while it was mounted."""
    with volume.mounted() as root:
        workload.root = root
        problems = compare(root, workload.tree)
        workload.tree.forget_attributes()
        try:
            workload.run(operations)
        except (OSError, AssertionError) as error:
            problems.append(f"operation {sum(workload.counts.values())}: {error}")
        else:
            problems += compare(root, workload.tree) if workload.chance.random() < 0.3 else []
            workload.tree.record_attributes(root)
    return problems + volume.check()


def main():
    options = strata_mount.arguments(__doc__.splitlines()[0], size="1G", operations=600, rounds=5)
    strata_mount.require(options.strata, "vmfs6-fuse", "debugvmfs6", "blkid", "fusermount3")
    replay = f"{__file__} --seed {options.seed} --rounds {options.rounds} --operations {options.operations}"
    with strata_mount.work_folder(options.work) as work:
        volume = strata_mount.Volume(options.strata, work)
        volume.format(options.size)
        workload = Workload("", options.seed)
        problems = []
        for number in range(1, options.rounds + 1):
            started = time.monotonic()
            problems = play_round(volume, workload, options.operations)
            print(f"seed {options.seed} round {number}: {summary(workload.tree)}, {time.monotonic() - started:.1f} s")
            if problems:
                break
        else:
            problems = judge(volume, workload.tree, options.seed)
        print("operations:", ", ".join(f"{name} {count}" for name, count in sorted(workload.counts.items())))
    strata_mount.finish(problems, replay)


if __name__ == "__main__":
    main()
