"""Who owns what: every block, sub-block and PB2 item that a map names, held against the bitmaps and the affinity tables."""

from block_maps import PB2, SMALL, SUB, has_stray_bits, kind_of, resource_item, small_block
from damage import Damaged
from resources import CLUSTER_SIGNATURE

LOCK_TYPES = {b"small blocks": 0x10C00002, b".sbc.sf": 0x10C00003, b".pbc.sf": 0x10C00004, b".fdc.sf": 0x10C00005,
              b".pb2.sf": 0x10C00006, b".jbc.sf": 0x10C00007, b".fbb.sf": 0x10C00008}

# The second bit of each small block's code.
_UNMAP_BITS = int("10" * 512, 2)


class Claims:
    """What the maps name: per cluster the items, and how many of them each descriptor has."""

    def __init__(self):
        self.items, self.owners = {}, {}

    def claim(self, cluster, item, owner):
        """Returns whether nobody has claimed the item before."""
        taken = self.items.get(cluster, 0)
        if taken >> item & 1:
            return False
        self.items[cluster] = taken | 1 << item
        shares = self.owners.setdefault(cluster, {})
        shares[owner] = shares.get(owner, 0) + 1
        return True


class Allocation:
    """Collects the claims, then compares. `report` takes each problem as a sentence."""

    def __init__(self, file_system, report, generations):
        self.file_system, self.report, self.generations = file_system, report, generations
        self.strict = file_system.superblock.is_ours
        self.small, self.sub, self.pb2 = Claims(), Claims(), Claims()
        self.sub_owners, self.affinities = {}, {}

    def claim(self, address, owner, wanted_kind):
        """Notes that a descriptor's map names an address, which must be of one kind (None: file blocks)."""
        kind = kind_of(address)
        if kind != (wanted_kind or SMALL):
            self.report(f"descriptor {owner:#x}: address {address:#x} is not of kind {wanted_kind or SMALL}")
            return False
        if self.strict and has_stray_bits(address):
            self.report(f"descriptor {owner:#x}: address {address:#x} has bits of no meaning")
        try:
            self.file_system.place(address)
        except Damaged as error:
            self.report(f"descriptor {owner:#x}: {error}")
            return False
        if kind == SMALL:
            is_new = self.small.claim(*small_block(address), owner)
        elif kind == SUB:
            self.sub_owners[resource_item(address)] = owner
            is_new = self.sub.claim(*resource_item(address), owner)
        else:
            is_new = self.pb2.claim(*resource_item(address), owner)
        if not is_new:
            self.report(f"descriptor {owner:#x}: address {address:#x} has another owner too")
        return True

    def checked_clusters(self, name):
        """Every cluster of a resource, its header checked: yields number, place and cluster."""
        resource = self.file_system.resources[name]
        header = resource.header
        for number, place, cluster in resource.clusters():
            wanted = min(header.per_cluster, header.items - number * header.per_cluster)
            if (cluster.lock.type, cluster.lock.place) != (LOCK_TYPES[name], place):
                self.report(f"{_label(name)} cluster {number}: lock of type {cluster.lock.type:#x} for {cluster.lock.place:#x}")
            if fault := cluster.lock.fault(self.generations):
                self.report(f"{_label(name)} cluster {number}: {fault}")
            for problem in _cluster_problems(cluster, number, wanted, name == b".fbb.sf"):
                self.report(f"{_label(name)} cluster {number}: {problem}")
            yield number, place, cluster

    def compare(self):
        """Holds all claims against the cluster headers. Returns the number of small blocks allocated."""
        used = 0
        for name, claims in {b".sbc.sf": self.sub, b".pb2.sf": self.pb2, b"small blocks": self.small}.items():
            for number, _, cluster in self.checked_clusters(name):
                label = f"{_label(name)} cluster {number}"
                marked = cluster.allocated
                self._compare_items(label, marked, claims.items.get(number, 0))
                if name == b"small blocks":
                    used += marked.bit_count()
                    if self.strict and cluster.codes & _UNMAP_BITS:
                        self.report(f"{label}: unmap bits are set")
                    self._check_affinity_list(label, cluster, marked, claims.owners.get(number, {}))
                elif name == b".sbc.sf":
                    self._check_keys(label, number, cluster, marked)
        return used

    def _compare_items(self, label, marked, claimed):
        for what, items in {"leaked": marked & ~claimed, "used but marked free": claimed & ~marked}.items():
            if items:
                self.report(f"{label}: {items.bit_count()} {what}, the first is {(items & -items).bit_length() - 1}")

    def _check_affinity_list(self, label, cluster, marked, owners):
        entries = cluster.affinity_list()
        total = sum(count for _, count in entries)
        if total != marked.bit_count():
            self.report(f"{label}: the affinity list adds up to {total}, {marked.bit_count()} blocks are allocated")
        if not entries or entries[0][0] != 0:
            self.report(f"{label}: the affinity list does not begin with descriptor 0")
        named = [address for address, _ in entries[1:] if address]
        if len(named) != len(set(named)):
            self.report(f"{label}: a descriptor is listed twice for affinity")
        for address, count in entries[1:]:
            if self.strict and address and count > owners.get(address, 0):
                self.report(f"{label}: {count} blocks listed for descriptor {address:#x}, it has {owners.get(address, 0)}")

    def _check_keys(self, label, number, cluster, marked):
        keys = cluster.keys
        for item, key in enumerate(keys or ()):
            owner = self.sub_owners.get((number, item), 0)
            if key and not marked >> item & 1:
                self.report(f"{label}: the free item {item} has the affinity key {key:#x}")
            elif self.strict and key not in (0, owner, self.affinities.get(owner)):
                self.report(f"{label}: item {item} of descriptor {owner:#x} has the affinity key {key:#x}")


def _cluster_problems(cluster, number, wanted, has_other_codes):
    if cluster.signature != CLUSTER_SIGNATURE:
        yield f"signature {cluster.signature:#x}"
    if cluster.number != number:
        yield f"says it is cluster {cluster.number}"
    if cluster.total != wanted:
        yield f"{cluster.total} items in all, not {wanted}"
    if cluster.codes >> cluster.total * cluster.header.bits:
        yield "codes behind the last item"
    if has_other_codes:
        return
    free = cluster.total - cluster.allocated.bit_count()
    if cluster.free != free:
        yield f"{cluster.free} free items, the bitmap says {free}"


def _label(name):
    return name.decode()
