#!/usr/bin/env python3
"""Resource files growing: descriptors and sub-blocks far beyond those of a new volume, and with --limit to the end of .sbc.sf.

.sbc.sf ends at 65,536 sub-blocks, which is what other readers can address. Its last 1,024 serve folders and pointer blocks only:
files that are too large for their descriptor then start on a file block of 1 MiB.
"""

import contextlib
import os

import strata_mount
from scale_support import MIB, ScaleVolume, say, timed

SUB_BLOCK = 64 << 10
SUB_BLOCKS_MAX = 65536
SUB_BLOCKS_KEPT = 1024
FOLDER_SUB_BLOCKS = 2
FILES_PER_FOLDER = 1000
DESCRIPTOR = 8192


def resource_items(root):
    """About how many sub-blocks and descriptors there are, by the sizes of their files."""
    sizes = [os.stat(os.path.join(root, name)).st_size for name in (".sbc.sf", ".fdc.sf")]
    return sizes[0] // SUB_BLOCK, sizes[1] // DESCRIPTOR


def content_of(number):
    return f"{number:08}".encode() * 500


def path_of(root, number):
    return os.path.join(root, f"folder-{number // FILES_PER_FOLDER}", f"file-{number}")


def make_file(root, number):
    """A file that needs a sub-block. Returns how many bytes it occupies."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(os.path.dirname(path_of(root, number)))
    with open(path_of(root, number), "xb", buffering=0) as file:
        file.write(content_of(number))
    return os.stat(path_of(root, number)).st_blocks * 512


def grow(root, count):
    """Files of one sub-block each. Returns how many there are."""
    with timed(f"create {count:,} files of a sub-block each", count):
        for number in range(count):
            make_file(root, number)
    return count


def reach_limit(volume, root, count):
    """From there on to the last sub-block. Returns how many files and folders there are."""
    occupied = 0
    while occupied < MIB:
        occupied = make_file(root, count)
        count += 1
    say("files when the first got a file block", f"{count:9}")
    folders = 0
    with timed("make folders to the last sub-block"), contextlib.suppress(OSError):
        while True:
            os.mkdir(os.path.join(root, f"late-{folders}"))
            folders += 1
    say("folders after that", f"{folders:9}")
    volume.expect(folders >= SUB_BLOCKS_KEPT // FOLDER_SUB_BLOCKS // 2, f"only {folders} folders found room")
    volume.expect(make_file(root, count) >= MIB, "a file got a sub-block that there is not")
    return count + 1, folders


def compare_growth(volume, root, before, limit):
    """The kernel keeps what it knows of a system file's size, so this is for a mount that has not looked yet."""
    after = resource_items(root)
    say("sub-blocks and descriptors at first", f"{before[0]:9,} {before[1]:9,}")
    say("sub-blocks and descriptors now", f"{after[0]:9,} {after[1]:9,}")
    volume.expect(after[0] > before[0] and after[1] > before[1], f"resource files went from {before} to {after}")
    volume.expect(not limit or after[0] >= SUB_BLOCKS_MAX, f"{after[0]} sub-blocks are not all")


def main():
    chosen = strata_mount.arguments(__doc__, files=3000, limit=0)
    strata_mount.require(chosen.strata)
    with strata_mount.work_folder(chosen.work) as work:
        volume = ScaleVolume(chosen.strata, work)
        volume.format("8G" if chosen.limit else "1G")
        folders = 0
        with volume.mounted("--cache", "writethrough") as root:
            before = resource_items(root)
            count = grow(root, chosen.files)
            if chosen.limit:
                count, folders = reach_limit(volume, root, count)
        volume.check()
        with volume.mounted("--cache", "writethrough") as root:
            compare_growth(volume, root, before, chosen.limit)
            for number in range(0, count, 1 + count // 3000):
                with open(path_of(root, number), "rb") as file:
                    volume.expect(file.read() == content_of(number), f"file {number} has other contents")
            with timed(f"remove {count + folders:,} files and folders", count + folders):
                for number in range(count):
                    os.unlink(path_of(root, number))
                for number in range(folders):
                    os.rmdir(os.path.join(root, f"late-{number}"))
            again = make_file(root, count)
            volume.expect(again <= SUB_BLOCK, f"a new file occupies {again} bytes though sub-blocks are free")
        volume.check()
    again = f"{__file__} {chosen.strata} --files {chosen.files} --limit {chosen.limit}"
    strata_mount.finish(volume.problems, again)


if __name__ == "__main__":
    main()
