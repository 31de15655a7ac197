"""Joins swept spans with understood cells: the cell and row of each span."""

import numpy as np
from numba import njit

from kordant_jobs.adapters.kernels.machine import hex_masks_at, lowest_bit

_ONE, _ZERO = np.uint64(1), np.uint64(0)
NONE, HASHED, CLEAR, UNSURE = 0, 1, 2, 3


@njit(nogil=True, cache=True)
def cells_of(starts, count, cell_starts, cell_ends, cells):
    """The cell that holds the start of each span, or -1. Spans and cells are both in the order of the text."""
    cell, size = 0, len(cell_starts)
    for span in range(count):
        start = starts[span]
        while cell < size and cell_ends[cell] <= start:
            cell += 1
        cells[span] = cell if cell < size and cell_starts[cell] <= start else -1


@njit(nogil=True, cache=True)
def has_sign(text, starts, ends, found):
    """Sets `found` to True for each span that contains an '@'."""
    for span in range(len(starts)):
        found[span] = False
        for at in range(starts[span], ends[span]):
            if text[at] == 64:
                found[span] = True
                break


@njit(nogil=True, cache=True)
def judge_cells(text, starts, ends, codes):
    """The kind of secret in each span: a hash, clear text, or UNSURE where `adapters.dumps.secrets` must decide.

    A value that begins with a short run of base64 characters is not a hash, and it is empty only if it is a word such
    as 'null'.
    """
    for span in range(len(starts)):
        start, size = starts[span], ends[span] - starts[span]
        if size <= 0:
            codes[span] = NONE
            continue
        _newline, base64, lower, upper = hex_masks_at(text, start)
        run = min(lowest_bit(~base64), size)
        first, second = text[start] | 32, text[start + 1] | 32
        says_so = first == 110 and (second == 117 or second == 111 or text[start + 1] == 47)
        if run == 0 or says_so:
            codes[span] = UNSURE
        elif run < 16:
            codes[span] = UNSURE if run < size and (text[start + run] == 36 or text[start + run] == 95) else CLEAR
        elif run == size and run < 64 and not (text[start] == 48 and second == 120):
            within = (_ONE << np.uint64(run)) - _ONE
            is_hex = (lower & within) == within or (upper & within) == within
            codes[span] = HASHED if is_hex and run in (32, 40, 56) else CLEAR
        else:
            codes[span] = UNSURE


@njit(nogil=True, cache=True)
def row_secrets(cell_rows, codes, secrets, counts):
    """The strongest secret of each row, and the number of its secrets."""
    for cell in range(len(cell_rows)):
        row = cell_rows[cell]
        if row >= 0 and codes[cell]:
            counts[row] += 1
            secrets[row] = max(secrets[row], codes[cell])


@njit(nogil=True, cache=True)
def record_secrets(parents, has_cell, secrets, counts, roots):
    """Gives rows without a secret the secret of their record, if that has just one. A row's record is the outermost row
    around it that has cells."""
    for row in range(len(parents)):
        parent = parents[row]
        roots[row] = roots[parent] if parent >= 0 and roots[parent] >= 0 else row if has_cell[row] else -1
    total = np.zeros(len(parents), np.int64)
    strongest = np.zeros(len(parents), np.uint8)
    for row in range(len(parents)):
        root = roots[row]
        if root >= 0:
            total[root] += counts[row]
            strongest[root] = max(strongest[root], secrets[row])
    for row in range(len(parents)):
        root = roots[row]
        if root >= 0 and not counts[row] and total[root] == 1:
            secrets[row] = strongest[root]
