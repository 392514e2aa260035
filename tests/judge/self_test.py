#!/usr/bin/env python3
"""Tests the second decoder itself: its name hash against bytes that ESXi wrote, and its check against damaged volumes.

    self_test.py STRATA [SAMPLE]

STRATA makes the volume that is damaged. SAMPLE is an image that ESXi made, perhaps packed by gzip; without it that
part is left out.
"""

import gzip
import os
import shutil
import sys
import unittest

from checker import Checker
from damage import crc32c
from damages import DAMAGES, Damager, hold_a_lock
from directories import SYSTEM_NAMES, bucket_of, name_hash
from file_system import FileSystem

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))

import second_reader_view  # noqa: E402
import strata_mount  # noqa: E402
import tree_model  # noqa: E402

STRATA = SAMPLE = ""

# Names in a volume that ESXi made, and the low half of the hash it noted beside each.
ESXI_HASHES = {b"directory": 0x0DBC9F66, b"file1": 0xD2B970EB, b"file2": 0x38CF07B1, b"file3": 0x56528F47,
               b"file4": 0x7490219A, b"file5": 0x048D0480, b"symlink": 0xFCDD1580}


def problems_of(image, hosts_died=False):
    file_system = FileSystem([image])
    checker = Checker(file_system, hosts_died)
    checker.run()
    file_system.close()
    return checker.problems


class NameHash(unittest.TestCase):
    def test_is_what_esxi_wrote_beside_its_names(self):
        for name, wanted in ESXI_HASHES.items():
            self.assertEqual(name_hash(name) & 0xFFFFFFFF, wanted, name)

    def test_gives_the_system_names_the_last_buckets_of_the_root(self):
        self.assertEqual([bucket_of(name, True) for name in SYSTEM_NAMES], list(range(0x3E66, 0x3E70)))

    def test_of_any_other_name_never_meets_those_buckets(self):
        self.assertLess(max(bucket_of(b"name-%d" % number, True) for number in range(2000)), 15973)

    def test_takes_names_of_every_length(self):
        hashes = {name_hash(b"x" * length) for length in range(1, 128)}
        self.assertEqual(len(hashes), 127)


class Crc32c(unittest.TestCase):
    def test_is_that_of_the_standard(self):
        self.assertEqual(crc32c(bytes(32)), 0x8A9136AA)
        self.assertEqual(crc32c(bytes(range(32))), 0x46DD794E)


class Sample(unittest.TestCase):
    def test_of_esxi_has_no_problems(self):
        if not os.path.exists(SAMPLE):
            self.skipTest("no volume made by ESXi")
        with strata_mount.work_folder(None) as work:
            image = os.path.join(work, "sample.img")
            with (gzip.open if SAMPLE.endswith(".gz") else open)(SAMPLE, "rb") as packed, open(image, "wb") as plain:
                shutil.copyfileobj(packed, plain, 1 << 20)
            self.assertEqual(problems_of(image), [])


class Damages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        strata_mount.require(STRATA, "fusermount3")
        work = strata_mount.work_folder(None)
        cls.addClassCleanup(work.__exit__, None, None, None)
        volume = strata_mount.Volume(STRATA, work.__enter__())
        volume.format("512M")
        with volume.mounted() as root:
            fill(root)
        cls.image = volume.image

    def test_are_not_found_on_a_sound_volume(self):
        self.assertEqual(problems_of(self.image), [])

    def test_in_contents_are_found_too(self):
        file_system = FileSystem([self.image])
        for path in ("blocks", "sub-block", "small/inline", "hole"):
            descriptor = file_system.lookup(path)
            node = tree_model.Node("file")
            node.content.write(0, file_system.map(descriptor).read(0, descriptor.length))
            self.assertEqual(list(second_reader_view.compare_node(file_system, descriptor, node)), [])
            node.content.write(descriptor.length - 50, b"other")
            self.assertEqual(len(list(second_reader_view.compare_node(file_system, descriptor, node))), 1, path)
        file_system.close()

    def test_leave_the_locks_of_dead_hosts_alone(self):
        file_system = FileSystem([self.image])
        damager = Damager(file_system, self.image)
        hold_a_lock(damager)
        self.assertEqual(problems_of(self.image, hosts_died=True), [])
        self.assertEqual(len(problems_of(self.image)), 1)
        damager.undo()
        file_system.close()

    def test_are_each_found_by_name(self):
        for name, (damage, words) in DAMAGES.items():
            with self.subTest(damage=name):
                file_system = FileSystem([self.image])
                damager = Damager(file_system, self.image)
                try:
                    damage(damager)
                    found = problems_of(self.image)
                finally:
                    damager.undo()
                    file_system.close()
                self.assertTrue(any(words in problem for problem in found), f"{words!r} is not in {found}")
        self.assertEqual(problems_of(self.image), [])


def fill(root):
    """One of everything that a damage needs: enough names for link groups, blocks, a sub-block, bytes inline."""
    for folder in ("wide", "small"):
        os.mkdir(os.path.join(root, folder))
    for number in range(1500):
        open(os.path.join(root, "wide", f"name-{number}"), "wb").close()
    for path, size in {"small/inline": 100, "sub-block": 50_000, "blocks": 5 << 20, "other": 2 << 20}.items():
        with open(os.path.join(root, path), "wb") as file:
            file.write(os.urandom(size))
    with open(os.path.join(root, "hole"), "wb") as file:
        file.write(b"in front of the hole")
        file.truncate(3 << 20)


if __name__ == "__main__":
    STRATA = sys.argv.pop(1)
    SAMPLE = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else ""
    unittest.main()
