"""The chunk index: tables from a 32-byte chunk id to (pack number, ordinal); see chunkindex.pyi and store/INDEX.md."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "chunkindex.h" nogil:
    const uint32_t LCI_NONE

    ctypedef struct lci_column:
        const uint8_t *ids
        uint64_t count

    ctypedef struct lci_columns:
        pass

    ctypedef struct lci_table:
        const uint8_t *slots
        uint64_t nslots
        uint64_t homes
        uint64_t multiplier
        uint32_t reach
        const uint32_t *pack_map
        uint32_t npacks

    ctypedef struct lci_delta:
        uint32_t entries
        uint32_t dead
        uint64_t multiplier

    int lci_columns_put(lci_columns *, uint32_t, const uint8_t *, uint64_t)
    void lci_columns_free(lci_columns *)
    int64_t lci_fill(uint8_t *, uint64_t, uint64_t, uint64_t, uint32_t, const uint8_t *, uint64_t, uint32_t *)
    uint64_t lci_lookup(const lci_table *, const lci_columns *, const uint8_t *, uint64_t,
                        uint32_t *, uint32_t *, uint32_t *)
    void lci_delta_lookup(const lci_delta *, const uint8_t *, uint64_t, uint32_t *, uint32_t *)
    int lci_delta_insert(lci_delta *, const uint8_t *, uint64_t, uint32_t, uint32_t)
    int lci_delta_drop(lci_delta *, const uint32_t *, uint64_t)
    void lci_delta_clear(lci_delta *)
    uint64_t lci_delta_bytes(const lci_delta *)
    int64_t lci_repeats(const uint8_t *, uint64_t, const uint32_t *, uint64_t, uint32_t *)

NONE = LCI_NONE
SLOT_BYTES = 24

cdef uint8_t NOTHING[32]  # what an empty column points to: registered, but without rows


cdef Py_ssize_t count_ids(const uint8_t[:, ::1] ids) except -1:
    if ids.shape[1] != 32:
        raise ValueError("ids must have 32 columns")
    if ids.shape[0] >= <Py_ssize_t>LCI_NONE:
        raise OverflowError("more than 2^32 - 2 ids in one call")
    return ids.shape[0]


cdef int need_rows(Py_ssize_t n, Py_ssize_t have) except -1:
    if n != have:
        raise ValueError("the output columns must have one row for each id")
    return 0


cdef class PackIds:
    """The id columns of packs, by pack number: what confirms a hit."""

    cdef lci_columns columns
    cdef dict held

    def __cinit__(self):
        self.held = {}

    def __dealloc__(self):
        lci_columns_free(&self.columns)

    def __len__(self):
        return len(self.held)

    def __contains__(self, pack):
        return pack in self.held

    def add(self, uint32_t pack, const uint8_t[:, ::1] ids):
        """Registers the id column of a pack; its memory is referred to until it is dropped."""
        cdef Py_ssize_t n = count_ids(ids)
        if pack == LCI_NONE:
            raise ValueError("2^32 - 1 is no pack number")
        if lci_columns_put(&self.columns, pack, &ids[0, 0] if n else NOTHING, n):
            raise MemoryError
        self.held[pack] = ids

    def drop(self, uint32_t pack):
        """Lets go of the id column of a pack, if it is registered."""
        if self.held.pop(pack, None) is not None:
            lci_columns_put(&self.columns, pack, NULL, 0)

    def oldest(self, Py_ssize_t count):
        """Pack numbers of the first `count` columns in order of registration."""
        return [pack for pack, _ in zip(self.held, range(count))]


def fill_table(uint8_t[::1] slots, uint64_t homes, uint64_t multiplier, uint32_t row, const uint8_t[:, ::1] ids):
    """Puts the ids of one pack row into a table under construction; (ids put, reach), or None when it is full."""
    cdef Py_ssize_t n = count_ids(ids)
    cdef uint64_t nslots = slots.shape[0] // 24
    cdef uint32_t reach = 0
    cdef int64_t put = 0
    if not 0 < homes <= nslots or not multiplier & 1 or row == LCI_NONE:
        raise ValueError("homes must be within the slots, the multiplier odd, the row below 2^32 - 1")
    if n:
        with nogil:
            put = lci_fill(&slots[0], nslots, homes, multiplier, row, &ids[0, 0], n, &reach)
    return None if put < 0 else (put, reach)


def lookup_table(const uint8_t[::1] slots, uint64_t homes, uint64_t multiplier, uint32_t reach,
                 const uint32_t[::1] pack_map, PackIds columns, const uint8_t[:, ::1] ids,
                 uint32_t[::1] packs, uint32_t[::1] ordinals, uint32_t[::1] unmapped):
    """Looks up the rows whose pack is NONE; the number of rows that wait for the id column in `unmapped`."""
    cdef Py_ssize_t n = count_ids(ids)
    cdef lci_table table
    cdef uint64_t waiting
    need_rows(n, packs.shape[0])
    need_rows(n, ordinals.shape[0])
    need_rows(n, unmapped.shape[0])
    table.nslots = slots.shape[0] // 24
    if not 0 < homes <= table.nslots:
        raise ValueError("homes must be within the slots")
    if n == 0:
        return 0
    table.slots = &slots[0]
    table.homes = homes
    table.multiplier = multiplier
    table.reach = reach
    table.npacks = <uint32_t>min(<uint64_t>pack_map.shape[0], <uint64_t>LCI_NONE)
    table.pack_map = &pack_map[0] if table.npacks else NULL
    with nogil:
        waiting = lci_lookup(&table, &columns.columns, &ids[0, 0], n, &packs[0], &ordinals[0], &unmapped[0])
    return waiting


def mark_repeats(const uint8_t[:, ::1] ids, const uint32_t[::1] packs, uint64_t multiplier, uint32_t[::1] first):
    """Finds the ids that occur again among the rows whose pack is NONE; the number of new ones."""
    cdef Py_ssize_t n = count_ids(ids)
    cdef int64_t fresh
    need_rows(n, packs.shape[0])
    need_rows(n, first.shape[0])
    if n == 0:
        return 0
    with nogil:
        fresh = lci_repeats(&ids[0, 0], n, &packs[0], multiplier, &first[0])
    if fresh < 0:
        raise MemoryError
    return fresh


cdef class DeltaTable:
    """Chunks that no index file covers, in memory, with their whole ids."""

    cdef lci_delta delta

    def __cinit__(self, uint64_t multiplier):
        if not multiplier & 1:
            raise ValueError("the multiplier must be odd")
        self.delta.multiplier = multiplier

    def __dealloc__(self):
        lci_delta_clear(&self.delta)

    def __len__(self):
        return self.delta.entries - self.delta.dead

    @property
    def nbytes(self):
        """Bytes of memory held."""
        return lci_delta_bytes(&self.delta)

    def insert(self, const uint8_t[:, ::1] ids, uint32_t pack, uint32_t first_ordinal):
        """Row i becomes (pack, first_ordinal + i); an id that the pack has already keeps its place."""
        cdef Py_ssize_t n = count_ids(ids)
        cdef int failed
        if pack == LCI_NONE:
            raise ValueError("2^32 - 1 is no pack number")
        if <uint64_t>first_ordinal + <uint64_t>n > LCI_NONE:
            raise OverflowError("ordinals go to 2^32 - 2")
        if n == 0:
            return
        with nogil:
            failed = lci_delta_insert(&self.delta, &ids[0, 0], n, pack, first_ordinal)
        if failed:
            raise MemoryError

    def lookup(self, const uint8_t[:, ::1] ids, uint32_t[::1] packs, uint32_t[::1] ordinals):
        """Fills the rows whose pack is NONE."""
        cdef Py_ssize_t n = count_ids(ids)
        need_rows(n, packs.shape[0])
        need_rows(n, ordinals.shape[0])
        if n == 0:
            return
        with nogil:
            lci_delta_lookup(&self.delta, &ids[0, 0], n, &packs[0], &ordinals[0])

    def drop_packs(self, const uint32_t[::1] packs):
        """Entries of these packs (ascending numbers) match no more; their memory is given back in bulk."""
        cdef Py_ssize_t i
        cdef int failed
        for i in range(1, packs.shape[0]):
            if packs[i - 1] >= packs[i]:
                raise ValueError("pack numbers must ascend")
        if packs.shape[0] == 0:
            return
        with nogil:
            failed = lci_delta_drop(&self.delta, &packs[0], packs.shape[0])
        if failed:
            raise MemoryError

    def clear(self):
        """Empties the table."""
        lci_delta_clear(&self.delta)
