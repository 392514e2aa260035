"""What every module of this decoder says when the bytes do not mean what they must, and little-endian helpers."""

import array
import struct
import sys


class Damaged(Exception):
    """The structure cannot be read any further."""


def u16(data, offset):
    return struct.unpack_from("<H", data, offset)[0]


def u32(data, offset):
    return struct.unpack_from("<I", data, offset)[0]


def u64(data, offset):
    return struct.unpack_from("<Q", data, offset)[0]


def text(data):
    """A zero-terminated string; names are bytes on disk, shown as UTF-8 where they are."""
    return bytes(data).split(b"\0", 1)[0].decode(errors="surrogateescape")


def uuid_text(data):
    """Three numbers and the bytes of a MAC address, as ESX prints them."""
    seconds, processor, chance = struct.unpack_from("<IIH", data)
    return f"{seconds:08x}-{processor:08x}-{chance:04x}-{bytes(data[10:16]).hex()}"


def numbers(data, width):
    """All little-endian numbers of 4 or 8 bytes that lie back to back in data."""
    found = array.array({4: "I", 8: "Q"}[width])
    found.frombytes(data)
    if sys.byteorder == "big":
        found.byteswap()
    return found


def crc32c(data):
    """CRC-32C as of RFC 3720, appendix B.4."""
    remainder = 0xFFFFFFFF
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = (remainder >> 1) ^ (0x82F63B78 if remainder & 1 else 0)
    return remainder ^ 0xFFFFFFFF
