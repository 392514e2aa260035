"""The content of a file as a test expects it: data here and there, zeros elsewhere, of any size."""

import hashlib

CHUNK = 64 * 1024
ZEROS = bytes(CHUNK)


class SparseBytes:
    """Bytes 0 to size - 1, kept as 64 KiB chunks; a chunk that is not kept reads as zeros."""

    def __init__(self):
        self.size = 0
        self.chunks = {}

    def write(self, offset, data):
        self.size = max(self.size, offset + len(data))
        for index, start, piece in _pieces(offset, data):
            chunk = self.chunks.setdefault(index, bytearray(CHUNK))
            chunk[start:start + len(piece)] = piece

    def zero(self, offset, length):
        """Zeros a range; the size stays."""
        end = min(offset + length, self.size)
        for index in [i for i in self.chunks if i * CHUNK < end and (i + 1) * CHUNK > offset]:
            first = max(offset - index * CHUNK, 0)
            last = min(end - index * CHUNK, CHUNK)
            if first == 0 and last == CHUNK:
                del self.chunks[index]
            else:
                self.chunks[index][first:last] = bytes(last - first)

    def resize(self, size):
        if size < self.size:
            self.zero(size, self.size - size)
            for index in [i for i in self.chunks if i * CHUNK >= size]:
                del self.chunks[index]
        self.size = size

    def read(self, offset, length):
        end = min(offset + length, self.size)
        parts = []
        while offset < end:
            index, start = divmod(offset, CHUNK)
            count = min(CHUNK - start, end - offset)
            parts.append(bytes(self.chunks.get(index, ZEROS)[start:start + count]))
            offset += count
        return b"".join(parts)

    def digest(self):
        whole = hashlib.sha256()
        for index in range((self.size + CHUNK - 1) // CHUNK):
            whole.update(memoryview(self.chunks.get(index, ZEROS))[:self.size - index * CHUNK])
        return whole.hexdigest()

    def data_chunks(self):
        """Offsets of the kept chunks, ascending."""
        return sorted(index * CHUNK for index in self.chunks)

    def has_hole_before(self, offset):
        """True when some 1 MiB block before the offset holds no data, as far as the writes tell."""
        blocks = {index // 16 for index in self.chunks}
        return any(block not in blocks for block in range(offset >> 20))


def _pieces(offset, data):
    """Cuts data at chunk borders: (chunk number, offset in the chunk, bytes)."""
    view = memoryview(data)
    while view:
        index, start = divmod(offset, CHUNK)
        count = min(CHUNK - start, len(view))
        yield index, start, view[:count]
        view = view[count:]
        offset += count
