"""The places an I/O benchmark runs on: each context manager sets one up and gives the path of a file to read and write."""

import contextlib
import json
import os
import signal
import subprocess
import time

LABEL = "bench"


def run(*command, timeout=600):
    """Runs a program to its end, which must be good, and returns what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


@contextlib.contextmanager
def backing_file(folder, size, name="backing.bin"):
    """A plain file: what the machine itself can do."""
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.truncate(size)
    try:
        yield path
    finally:
        os.remove(path)


@contextlib.contextmanager
def qemu_export(folder, size):
    """A plain file behind qemu-storage-daemon's FUSE export."""
    with backing_file(folder, size, "export.raw") as store, _exported(store, os.path.join(folder, "export.bin")) as path:
        yield path


@contextlib.contextmanager
def _exported(store, path):
    with open(path, "wb"):
        pass
    daemon = subprocess.Popen([
        "qemu-storage-daemon",
        "--blockdev", f"driver=file,node-name=f0,filename={store},cache.direct=on,aio=io_uring",
        "--blockdev", "driver=raw,node-name=d0,file=f0",
        "--export", f"type=fuse,id=e0,node-name=d0,mountpoint={path},writable=on"])
    try:
        _wait_until(lambda: os.path.getsize(path) > 0, "the export of qemu-storage-daemon")
        yield path
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(timeout=20)
        os.remove(path)


def _wait_until(condition, what):
    for _ in range(100):
        if condition():
            return
        time.sleep(0.1)
    raise RuntimeError(f"{what} did not appear")


class StrataMount:
    """A mounted volume in an image file."""

    def __init__(self, strata, folder):
        self.strata = strata
        self.image = os.path.join(folder, "volume.img")
        self.point = os.path.join(folder, "mnt")
        self.volume = os.path.join(self.point, "volumes", LABEL)
        self.disks = os.path.join(self.point, "devices", "vdisks", LABEL)

    def format(self, size):
        run(self.strata, "mkfs", self.image, "--label", LABEL, "--size", size)

    def mount(self):
        os.makedirs(self.point, exist_ok=True)
        run(self.strata, "mount", self.image, self.point)

    def unmount(self):
        run(self.strata, "umount", self.point)

    def remount(self):
        self.unmount()
        self.mount()

    def make_disk(self, name, size):
        """A thin disk; gives the path of its raw image."""
        run(self.strata, "disk", "create", os.path.join(self.volume, name), "--size", f"{size >> 20}M", "--format", "thin")
        return os.path.join(self.disks, name)

    def transport(self):
        """How requests reach the daemon: "device" or "io_uring"."""
        status = json.loads(run(self.strata, "status", self.point, "--json"))
        return status[0]["sessions"]["volumes"]["transport"]

    def daemon_pid(self):
        return _find_pid(json.loads(run(self.strata, "status", self.point, "--json")))


@contextlib.contextmanager
def fuse_ring():
    """The kernel's offer of FUSE over io_uring for new mounts, which root may switch on."""
    switch = "/sys/module/fuse/parameters/enable_uring"
    with open(switch, encoding="ascii") as file:
        before = file.read().strip()
    _write(switch, "Y")
    try:
        yield
    finally:
        _write(switch, before)


def _write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _find_pid(status):
    """The first number under the key pid, however deep."""
    if isinstance(status, dict):
        if isinstance(status.get("pid"), int):
            return status["pid"]
        status = list(status.values())
    if isinstance(status, list):
        for item in status:
            if pid := _find_pid(item):
                return pid
    return None


@contextlib.contextmanager
def strata_mount(strata, folder, size):
    """A formatted and mounted volume, removed afterwards."""
    mount = StrataMount(strata, folder)
    mount.format(size)
    mount.mount()
    try:
        yield mount
    finally:
        mount.unmount()
        os.remove(mount.image)
        os.rmdir(mount.point)


@contextlib.contextmanager
def ext4_mount(folder, size):
    """An ext4 file system to compare with: in an image of its own where loop mounts are possible.

    Gives (folder, what it is); the folder is None where there is no ext4 to be had.
    """
    image, point = os.path.join(folder, "ext4.img"), os.path.join(folder, "ext4")
    os.makedirs(point, exist_ok=True)
    with open(image, "wb") as file:
        file.truncate(size)
    try:
        run("mkfs.ext4", "-q", "-F", image)
        run("mount", "-o", "loop", image, point)
    except (OSError, RuntimeError):
        yield (folder, "ext4 of this machine") if _is_ext4(folder) else (None, "no ext4 here")
    else:
        try:
            yield point, "ext4 on a loop device"
        finally:
            run("umount", point)
    finally:
        os.remove(image)
        os.rmdir(point)


def _is_ext4(folder):
    return run("stat", "-f", "-c", "%T", folder).strip() == "ext2/ext3"
