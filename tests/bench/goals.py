"""What the virtual disk, or the file where there is none, is meant to reach: a ratio to a peer of the same run.

Each goal is for a place, a pattern, a block size, a depth and a way of I/O; None stands for any.
"""

GOALS = [
    ("RAM-backed", "randread", "4k", 32, True, "qemu", 2.0),
    ("RAM-backed", "randwrite", "4k", 32, True, "qemu", 3.0),
    ("RAM-backed", "randread", "4k", 1, True, "qemu", 2.5),
    ("RAM-backed", "randwrite", "4k", 1, True, "qemu", 2.5),
    ("RAM-backed", "read", "1M", None, True, "qemu", 4.0),
    ("RAM-backed", "write", "1M", None, True, "qemu", 2.0),
    ("on the disk", "randread", "4k", 32, True, "qemu", 1.3),
    ("on the disk", "randwrite", "4k", 32, True, "qemu", 1.3),
    ("on the disk", None, "1M", None, None, "backing", 0.8),
]


def goal_of(place, job):
    """The peer and the ratio aimed at; None without a goal."""
    for name, pattern, block, depth, direct, peer, ratio in GOALS:
        wanted = ((name, place), (pattern, job.pattern), (block, job.block), (depth, job.depth), (direct, job.direct))
        if all(want is None or want == actual for want, actual in wanted):
            return peer, ratio
    return None


def verdict(place, job, figures):
    """The goal and how far it was reached, in a few words."""
    goal = goal_of(place, job)
    ours = figures.get("vdisk") or figures.get("volumes")
    if not goal or not ours or not figures.get(goal[0]):
        return ""
    peer, ratio = goal
    reached = ours / figures[peer]
    return f"{ratio} x {peer}: " + ("reached" if reached >= ratio else f"missed, {reached:.2f}")
