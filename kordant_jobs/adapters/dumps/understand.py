"""Joins the results of sweep and structure: the persons found in a part, and the secrets beside them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from kordant_jobs.adapters.dumps.bulk import canonical_rows
from kordant_jobs.adapters.dumps.cells import Cells, texts
from kordant_jobs.adapters.dumps.columns import betrays_itself
from kordant_jobs.adapters.dumps.model import IDENTIFYING, SECRET, SITES, DumpShape, Role, identifies
from kordant_jobs.adapters.dumps.parts import CODES, ROLES, Part, flags
from kordant_jobs.adapters.dumps.persons import persons
from kordant_jobs.adapters.dumps.phones import phones
from kordant_jobs.adapters.dumps.secrets import secret_codes
from kordant_jobs.adapters.dumps.sweep import GAPS, Addresses
from kordant_jobs.adapters.dumps.window import Places, Window
from kordant_jobs.domain.identifiers import IdentifierKind, normalise

MENTIONED, BARE = 0, 1
"""Codes of the secret beside an identifier: unknown, none. The codes of `secrets` follow, each one higher."""
Codes = npt.NDArray[np.uint8]
_KIND_OF = {
    Role.USERNAME: IdentifierKind.USERNAME,
    Role.DOMAIN: IdentifierKind.DOMAIN,
    Role.NATIONAL_ID: IdentifierKind.NATIONAL_ID,
    Role.IBAN: IdentifierKind.IBAN,
    Role.CARD: IdentifierKind.CARD,
}
_BY_ADDRESS = flags((Role.EMAIL, Role.LOGIN))
_BY_OTHERS = flags(IDENTIFYING - {Role.EMAIL})
_GROUPED = (Role.NATIONAL_ID, Role.IBAN, Role.CARD)
_PERSON_ROLES = (Role.NAME, Role.FIRST_NAME, Role.LAST_NAME, Role.BORN)
_AROUND_SIGN = re.compile(r"\s*@\s*")
_WINDOWS_DOMAIN = r"^[\w.-]+\\+"
_PHONE_LOGIN = r"^[\s]*(?:\+[0-9 ().-]{7,24}|[0-9 ().-]{10,24})$"

Others = tuple[IdentifierKind, pl.Series, Places, Codes]
"""Persons of one kind: canonical identifiers, their lines, and the codes of their secrets."""


@dataclass(kw_only=True)
class Found:
    """The persons found in a part. Plain addresses are spans of the window; others are listed by kind."""

    starts: Places = field(default_factory=lambda: np.empty(0, np.int64))
    ends: Places = field(default_factory=lambda: np.empty(0, np.int64))
    lines: Places = field(default_factory=lambda: np.empty(0, np.int64))
    codes: Codes = field(default_factory=lambda: np.empty(0, np.uint8))
    others: list[Others] = field(default_factory=list)
    sites: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SITES))
    """The sites where the person of a line logged in: `line` in the window from 0, `site`."""
    row_found: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, bool))
    only_swept: int = 0
    """The number of addresses that no reader understood."""


_OF_COLUMNS = frozenset(
    (DumpShape.CSV, DumpShape.DELIMITED, DumpShape.SQL_INSERT, DumpShape.JSON_LINES, DumpShape.LABELS)
)
"""Shapes whose rows count as understood even if an address is in a column that identifies no person."""


class Understanding:
    """One part with the addresses in it."""

    def __init__(self, window: Window, part: Part, swept: Addresses, *, phone_region: str) -> None:
        self._window, self.part, self._region = window, part, phone_region
        first, last = np.searchsorted(swept.starts, [part.start, part.end]).tolist()
        self._first = first
        self._starts, self._ends = swept.starts[first:last], swept.ends[first:last]
        self._lines, self._odd = swept.lines[first:last], swept.odd[first:last]
        self._canonical = swept.canonical
        self._cell = self._cells_of()
        self._in_role = self._roles_at()

    def _cells_of(self) -> Places:
        from kordant_jobs.adapters.kernels.attach import cells_of

        cells = np.full(len(self._starts), -1, np.int64)
        if len(self.part.cell_starts):
            cells_of(self._starts, len(self._starts), self.part.cell_starts, self.part.cell_ends, cells)
        return cells

    def _roles_at(self) -> npt.NDArray[np.bool_]:
        if not len(self.part.cell_roles):
            return np.zeros(len(self._cell), bool)
        at_address: npt.NDArray[np.bool_] = _BY_ADDRESS[self.part.cell_roles[self._cell]] & (self._cell >= 0)
        return at_address

    def fits(self) -> npt.NDArray[np.bool_]:
        """For each row: True when a person is found where the reader expects one, or the row has no address at all."""
        part = self.part
        good = np.zeros(part.rows, bool)
        good[part.cell_rows[self._cell[self._in_role]]] = True
        good[part.cell_rows[_BY_OTHERS[part.cell_roles]]] = True
        if part.fits is not None:
            good &= part.fits
        return good

    def found(self) -> Found:
        """All persons in the part."""
        part = self.part
        secrets = self._secrets()
        codes = np.zeros(len(self._starts), np.uint8)
        at_role = np.flatnonzero(self._in_role)
        codes[at_role] = secrets[part.cell_rows[self._cell[at_role]]] + 1
        found = Found(row_found=np.zeros(part.rows, bool))
        found.row_found[part.cell_rows[self._cell[at_role]]] = True
        kept, odd = ~self._odd, self._odd.copy()
        self._whole_cells(found, secrets, kept, odd)
        found.starts, found.ends = self._starts[kept], self._ends[kept]
        found.lines, found.codes = self._lines[kept], codes[kept]
        if odd.any():
            at = np.flatnonzero(odd)
            names = [self._canonical[self._first + place] for place in at.tolist()]
            found.others.append((IdentifierKind.EMAIL, pl.Series(names), self._lines[at], codes[at]))
        if len(part.cell_roles):
            self._other_kinds(found, secrets)
            self._persons(found, secrets)
            found.sites = self._sites()
        if part.headers is not None:
            found.row_found[part.headers] = True
        found.only_swept = self._only_swept(found)
        return found

    def _sites(self) -> pl.DataFrame:
        """The hosts of the sites in rows, by the lines of the persons in these rows."""
        from kordant_jobs.adapters.kernels.hosts import find_hosts, number_distinct

        part = self.part
        cells = np.flatnonzero(part.cell_roles == CODES[Role.SITE])
        if not len(cells):
            return pl.DataFrame(schema=SITES)
        hosts = Cells.of(part, cells)
        starts, ends = np.empty(len(cells), np.int64), np.empty(len(cells), np.int64)
        find_hosts(self._window.bytes, hosts.starts, hosts.ends, starts, ends)
        codes, firsts = np.empty(len(cells), np.int64), np.empty(len(cells), np.int64)
        firsts = firsts[: number_distinct(self._window.bytes, starts, ends, codes, firsts)]
        plain = np.zeros(len(firsts), np.uint8)
        names = texts(self._window, replace(hosts, starts=starts[firsts], ends=ends[firsts], forms=plain))
        of_row, filled = np.full(part.rows, -1, np.int64), codes >= 0
        of_row[part.cell_rows[cells[filled]]] = codes[filled]
        rows, lines = part.cell_rows[self._cell[self._in_role]], self._lines[self._in_role]
        elsewhere = lines != part.row_lines[rows]
        rows = np.concatenate([np.arange(part.rows), rows[elsewhere]])
        lines = np.concatenate([part.row_lines, lines[elsewhere]])
        held = of_row[rows] >= 0
        sites = names.str.to_lowercase().gather(of_row[rows[held]])
        return pl.DataFrame({"line": lines[held].astype(np.uint64), "site": sites})

    def _only_swept(self, found: Found) -> int:
        """The number of addresses outside the rows that the reader understood."""
        rest = np.flatnonzero(~self._in_role)
        if not len(rest) or not self.part.rows:
            return len(rest)
        row = np.searchsorted(self.part.row_starts, self._starts[rest], "right") - 1
        sense = found.row_found.copy()
        if self.part.reader in _OF_COLUMNS:
            sense |= True if self.part.fits is None else self.part.fits
        return int(np.count_nonzero((row < 0) | ~sense[row]))

    def _secrets(self) -> Codes:
        """The secret beside the identifier of each row: 0 nothing, 1 a hash, 2 clear text."""
        from kordant_jobs.adapters.kernels import attach as kernel

        part = self.part
        secrets, counts = np.zeros(part.rows, np.uint8), np.zeros(part.rows, np.int64)
        if not len(part.cell_roles):
            return secrets
        for role in SECRET:
            cells = np.flatnonzero(part.cell_roles == CODES[role])
            if not len(cells):
                continue
            codes = np.empty(len(cells), np.uint8)
            kernel.judge_cells(self._window.bytes, part.cell_starts[cells], part.cell_ends[cells], codes)
            unsure = codes == kernel.UNSURE
            if unsure.any():
                values = texts(self._window, Cells.of(part, cells[unsure]))
                codes[unsure] = secret_codes(values, role).to_numpy()
            if role is Role.HASH:
                codes = np.minimum(codes, 1)
            kernel.row_secrets(part.cell_rows[cells], codes, secrets, counts)
        if part.parents is not None:
            has_cell = np.zeros(part.rows, bool)
            has_cell[part.cell_rows[part.cell_rows >= 0]] = True
            kernel.record_secrets(part.parents, has_cell, secrets, counts, np.empty(part.rows, np.int64))
        return secrets

    def _whole_cells(
        self, found: Found, secrets: Codes, kept: npt.NDArray[np.bool_], odd: npt.NDArray[np.bool_]
    ) -> None:
        """Adds the addresses of cells in which the sweep found none, or not from the start: the whole cell is
        parsed."""
        from kordant_jobs.adapters.kernels import attach as kernel

        part = self.part
        seen = np.flatnonzero(self._in_role)
        cell_of_seen = self._cell[seen]
        whole = (self._starts[seen] == part.cell_starts[cell_of_seen]) & (
            self._ends[seen] == part.cell_ends[cell_of_seen]
        )
        open_cells = _BY_ADDRESS[part.cell_roles]
        open_cells[cell_of_seen[whole]] = False
        rest = np.flatnonzero(open_cells)
        if not len(rest):
            return
        sign = np.zeros(len(rest), bool)
        kernel.has_sign(self._window.bytes, part.cell_starts[rest], part.cell_ends[rest], sign)
        coded = part.cell_forms[rest] >= 3
        asked = rest[sign | coded]
        if not len(asked):
            return
        values = texts(self._window, Cells.of(part, asked)).to_list()
        first_seen = np.searchsorted(cell_of_seen, asked)
        seen, cell_of_seen = np.append(seen, -1)[first_seen], np.append(cell_of_seen, -1)[first_seen]
        names, rows, dropped = list[str](), list[int](), list[int]()
        for cell, value, seen_in, place in zip(
            asked.tolist(), values, cell_of_seen.tolist(), seen.tolist(), strict=True
        ):
            canonical = whole_address(value)
            if canonical is None:
                continue
            if seen_in == cell:
                if self._odd[place]:
                    if self._canonical[self._first + place] == canonical:
                        continue
                    dropped.append(place)
                elif (
                    swept := self._window.text(int(self._starts[place]), int(self._ends[place])).lower()
                ) == canonical or canonical.endswith((f"={swept}", f"='{swept}")):
                    continue
                else:
                    kept[place] = False
            names.append(canonical)
            rows.append(int(part.cell_rows[cell]))
        odd[dropped] = False
        if names:
            at = np.array(rows, np.int64)
            found.row_found[at] = True
            found.others.append((IdentifierKind.EMAIL, pl.Series(names), part.row_lines[at], secrets[at] + np.uint8(1)))

    def _other_kinds(self, found: Found, secrets: Codes) -> None:
        part = self.part
        present = {ROLES[code - 1] for code in np.unique(part.cell_roles).tolist()}
        for role in present & IDENTIFYING - {Role.EMAIL}:
            cells = np.flatnonzero(part.cell_roles == CODES[role])
            if role is Role.LOGIN:
                self._logins(found, secrets, cells)
                continue
            values = texts(self._window, Cells.of(part, cells))
            if role is Role.PHONE:
                self._add(found, secrets, IdentifierKind.PHONE, phones(values, region=self._region), cells)
            else:
                kind = _KIND_OF[role]
                values = values.str.strip_chars(" \t\"'“”„")
                if role in _GROUPED:
                    values = values.str.replace_all(GAPS, " ")
                rows = canonical_rows(kind, values, phone_region=self._region)
                self._add(found, secrets, kind, rows, cells)

    def _logins(self, found: Found, secrets: Codes, cells: Places) -> None:
        """Adds logins that are no addresses: phone numbers, else user names."""
        from kordant_jobs.adapters.kernels.attach import has_sign

        part = self.part
        sign = np.zeros(len(cells), bool)
        has_sign(self._window.bytes, part.cell_starts[cells] + 1, part.cell_ends[cells], sign)  # '@handle' is a name
        seen = np.zeros(len(part.cell_roles), bool)
        seen[self._cell[self._in_role]] = True
        cells = cells[~sign & ~seen[cells]]
        if not len(cells):
            return
        values = texts(self._window, Cells.of(part, cells)).str.strip_chars(" \t\"'<>,;“”„")
        values = values.str.replace(_WINDOWS_DOMAIN, "")
        numeric = values.str.contains(_PHONE_LOGIN).fill_null(value=False).to_numpy()
        taken = np.zeros(len(cells), bool)
        if numeric.any():
            at = np.flatnonzero(numeric)
            rows = phones(values.filter(numeric), region=self._region)
            self._add(found, secrets, IdentifierKind.PHONE, rows, cells[at])
            taken[at[rows["row"].to_numpy()]] = True
        left = np.flatnonzero(~taken)
        if betrays_itself(values.gather(left)):
            return
        rows = canonical_rows(IdentifierKind.USERNAME, values.gather(left), phone_region=self._region)
        self._add(found, secrets, IdentifierKind.USERNAME, rows, cells[left])

    def _add(self, found: Found, secrets: Codes, kind: IdentifierKind, rows: pl.DataFrame, cells: Places) -> None:
        if rows.is_empty():
            return
        at = self.part.cell_rows[cells[rows["row"].to_numpy()]]
        found.row_found[at] = True
        found.others.append((kind, rows["identifier"], self.part.row_lines[at], secrets[at] + np.uint8(1)))

    def _persons(self, found: Found, secrets: Codes) -> None:
        part = self.part
        held = [role for role in _PERSON_ROLES if (part.cell_roles == CODES[role]).any()]
        if not identifies(held):
            return
        columns = {"row": pl.int_range(part.rows, dtype=pl.Int64, eager=True)}
        frame = pl.DataFrame(columns)
        for role in held:
            cells = np.flatnonzero(part.cell_roles == CODES[role])
            column = pl.DataFrame(
                {"row": part.cell_rows[cells], role.value: texts(self._window, Cells.of(part, cells))}
            )
            frame = frame.join(column.unique("row", keep="first"), on="row", how="left", maintain_order="left")
        values = persons(
            frame.with_columns(pl.col(role.value).fill_null("") for role in held),
            {r.value: r for r in held},
            self._region,
        )
        if values is None:
            return
        rows = canonical_rows(IdentifierKind.PERSON, values, phone_region=self._region)
        at = rows["row"].to_numpy().astype(np.int64)
        if len(at):
            found.row_found[at] = True
            found.others.append(
                (IdentifierKind.PERSON, rows["identifier"], part.row_lines[at], secrets[at] + np.uint8(1))
            )


def whole_address(text: str) -> str | None:
    """The address that a whole cell consists of, without quotes, `mailto:` and blanks around the '@'.

    >>> whole_address(" 'ann @mail.example'"), whole_address("write to ann @mail.example")
    ('ann@mail.example', None)
    """
    value = _AROUND_SIGN.sub("@", text.strip(" \t\"'<>,;"))
    if value.lower().startswith("mailto:"):
        value = value[7:]
    return normalise(IdentifierKind.EMAIL, value)
