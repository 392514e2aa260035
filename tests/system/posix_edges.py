#!/usr/bin/env python3
"""Edges of POSIX on the mount: what a program gets when it does something unusual, on a VMFS volume and on a host folder.

Every mount is unmounted again, also after a failure.
"""

import ctypes
import errno
import fcntl
import mmap
import os

import strata_mount

_libc = ctypes.CDLL(None, use_errno=True)
NOREPLACE, EXCHANGE = 1, 2


class Edges:
    """The checks; each method that starts with check_ is one."""

    def __init__(self, root, is_vmfs):
        self.root = root
        self.is_vmfs = is_vmfs
        self.problems = []

    def path(self, name):
        return os.path.join(self.root, name)

    def make(self, name, content=b""):
        with open(self.path(name), "wb") as file:
            file.write(content)
        return self.path(name)

    def expect(self, what, actual, expected):
        if actual != expected:
            self.problems.append(f"{what}: {actual}, expected {expected}")

    def refuses(self, what, code, action, *arguments):
        try:
            action(*arguments)
            self.problems.append(f"{what}: succeeds, expected {errno.errorcode[code]}")
        except OSError as error:
            self.expect(what, errno.errorcode[error.errno], errno.errorcode[code])

    def renameat2(self, source, target, flags):
        if _libc.renameat2(-100, os.fsencode(source), -100, os.fsencode(target), flags) != 0:
            raise OSError(ctypes.get_errno(), "renameat2")

    def check_what_does_not_exist_on_a_datastore(self):
        file = self.make("plain", b"x")
        self.refuses("hard link", errno.EPERM, os.link, file, self.path("second"))
        self.refuses("fifo", errno.EPERM, os.mkfifo, self.path("fifo"))
        self.refuses("xattr", errno.ENOTSUP, os.setxattr, file, "user.a", b"x")
        self.refuses("exchange", errno.EINVAL, self.renameat2, file, self.make("other"), EXCHANGE)

    def check_names(self):
        if self.is_vmfs:
            self.refuses("name of 128 bytes", errno.ENAMETOOLONG, self.make, "n" * 128)
            self.refuses("name that is not UTF-8", errno.EILSEQ, os.mkdir, os.fsencode(self.path("")) + b"\xff")
            self.refuses("long symlink", errno.ENAMETOOLONG, os.symlink, "t" * 3584, self.path("long"))
            self.refuses("system file", errno.EPERM, os.unlink, self.path(".fbb.sf"))
        self.make("n" * 127)
        os.symlink("t" * 3583, self.path("link"))
        self.expect("symlink", os.readlink(self.path("link")), "t" * 3583)

    def check_rename(self):
        source, target = self.make("source", b"1"), self.make("target", b"2")
        self.refuses("no replace", errno.EEXIST, self.renameat2, source, target, NOREPLACE)
        self.refuses("across volumes", errno.EXDEV, os.rename, source, os.path.join(self.root, "..", "moved"))
        os.rename(source, target)
        self.expect("replaced", open(target, "rb").read(), b"1")
        os.makedirs(self.path("a/b"))
        self.refuses("below itself", errno.EINVAL, os.rename, self.path("a"), self.path("a/b/c"))

    def check_upper_levels(self):
        for place in ("..", "../..", "../../devices"):
            self.refuses(f"mkdir in {place}", errno.EPERM, os.mkdir, os.path.join(self.root, place, "new"))

    def check_unlinked_file(self):
        descriptor = os.open(self.path("gone"), os.O_CREAT | os.O_RDWR)
        os.unlink(self.path("gone"))
        os.write(descriptor, b"still here")
        os.ftruncate(descriptor, 5)
        self.expect("unlinked content", os.pread(descriptor, 100, 0), b"still")
        self.expect("unlinked links", os.fstat(descriptor).st_nlink, 0)
        os.close(descriptor)

    def check_sync_of_the_file_system_after_an_unlink(self):
        folder = os.open(self.root, os.O_RDONLY)
        try:
            for content in (b"", b"x" * 70_000):
                os.unlink(self.make("short-lived", content))
                result = _libc.syncfs(folder)
                self.expect("syncfs", result and errno.errorcode[ctypes.get_errno()], 0)
        finally:
            os.close(folder)

    def check_times_and_modes(self):
        file = self.make("times")
        os.utime(file, (1, 1_500_000_000))
        self.expect("mtime", os.stat(file).st_mtime, 1_500_000_000)
        os.mkdir(self.path("group"))
        os.chown(self.path("group"), os.getuid(), os.getgid())
        os.chmod(self.path("group"), 0o2755)
        os.mkdir(self.path("group/inner"))
        self.expect("setgid goes down", os.stat(self.path("group/inner")).st_mode & 0o2000, 0o2000)

    def check_append_from_two_handles(self):
        first = os.open(self.path("append"), os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        second = os.open(self.path("append"), os.O_APPEND | os.O_WRONLY)
        for descriptor, piece in ((first, b"1"), (second, b"2"), (first, b"3")):
            os.write(descriptor, piece)
        os.close(first)
        os.close(second)
        self.expect("append", open(self.path("append"), "rb").read(), b"123")

    def check_memory_map_and_direct_io_agree(self):
        descriptor = os.open(self.path("mapped"), os.O_CREAT | os.O_RDWR)
        os.ftruncate(descriptor, 1 << 20)
        with mmap.mmap(descriptor, 1 << 20) as memory:
            memory[4096:4099] = b"abc"
            memory.flush()
        direct = os.open(self.path("mapped"), os.O_RDONLY | os.O_DIRECT)
        page = mmap.mmap(-1, 4096)
        os.preadv(direct, [page], 4096)
        self.expect("mapped bytes read directly", page[:3], b"abc")
        os.close(direct)
        os.close(descriptor)

    def check_data_that_the_kernel_still_delays_is_no_hole(self):
        with open(self.path("delayed"), "w+b", buffering=0) as file:
            os.pwrite(file.fileno(), b"x" * 100_000, 3 << 20)
            with open(self.path("delayed"), "rb") as reader:
                for handle in (file.fileno(), reader.fileno()):
                    self.expect("data in front", os.lseek(handle, 5, os.SEEK_DATA), 3 << 20)
                    self.expect("the hole behind", os.lseek(handle, 3 << 20, os.SEEK_HOLE), (3 << 20) + 100_000)
                os.pwrite(file.fileno(), b"y" * 5000, 6 << 20)
                self.expect("data seen by another", os.lseek(reader.fileno(), 5 << 20, os.SEEK_DATA), 6 << 20)

    def check_locks_and_syncs(self):
        descriptor = os.open(self.path("locked"), os.O_CREAT | os.O_RDWR)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fsync(descriptor)
        os.close(descriptor)
        folder = os.open(self.root, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def run(self):
        for name in sorted(dir(self)):
            if name.startswith("check_"):
                try:
                    getattr(self, name)()
                except OSError as error:
                    self.problems.append(f"{name}: {error}")
        return self.problems


def main():
    options = strata_mount.arguments(__doc__.splitlines()[0])
    strata_mount.require(options.strata)
    problems = []
    with strata_mount.work_folder(options.work) as work:
        volume = strata_mount.Volume(options.strata, work)
        for cache in ("writeback", "writethrough"):
            volume.format("512M")
            with volume.mounted(f"--cache={cache}") as root:
                problems += [f"vmfs, {cache}: {text}" for text in Edges(root, True).run()]
        host = os.path.join(work, "host")
        os.mkdir(host)
        volume.image = "posix:" + host
        with volume.mounted() as root:
            problems += [f"posix: {text}" for text in Edges(root, False).run()]
    strata_mount.finish(problems, f"{__file__} {options.strata}")


if __name__ == "__main__":
    main()
