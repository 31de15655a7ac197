"""Repairs the structure of WeasyPrint's PDFs, which screen readers use.

WeasyPrint tags page by page: the foot of a page is text without an element, and a table over several pages becomes a
separate table on each, with its header read again. Here feet and repeated headers become artifacts, and such a table
becomes one again.
"""

from collections.abc import Iterator
from typing import Any


def complete_structure(document: Any, pdf: Any) -> None:
    """Change the objects of a tagged PDF (pydyf's) before it is written; `document` is the document in layout."""
    objects = {one.number: one for one in pdf.objects}
    elements = {number: one for number, one in objects.items() if _is(one, "/StructElem")}
    tables = [one for _, one in sorted(elements.items()) if one["S"] == "/Table"]
    sources = [table for page in document.pages for table in _tables(page._page_box)]
    if len(tables) == len(sources):
        first: dict[int, Any] = {}
        for table, source in zip(tables, sources, strict=True):
            if first.setdefault(id(source), table) is not table:
                _go_on(first[id(source)], table, elements)
    root = next(one for one in objects.values() if _is(one, "/StructTreeRoot"))
    held = set(_held(root, objects))
    _make_artifacts([one for number, one in elements.items() if number not in held], root, objects)


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, dict) and value.get("Type") == kind


def _number(reference: Any) -> int:
    return int(reference.split()[0])


def _tables(box: Any) -> Iterator[Any]:
    """The HTML elements of the tables in a box, in the order in which WeasyPrint tags them."""
    box = getattr(box, "_box", box)
    if getattr(box, "is_table_wrapper", False) and box.element_tag == "table":
        yield box.element
        return
    for child in getattr(box, "children", ()):
        yield from _tables(child)


def _go_on(first: Any, table: Any, elements: dict[int, Any]) -> None:
    """Move the rows of a table on a later page into the first page's table."""
    renamed = {}
    for reference in table["K"]:
        part = elements[_number(reference)]
        if part["S"] == "/THead":
            for cell in _cells(part, elements):
                if "ID" in cell:
                    old = cell["ID"].string
                    renamed[old] = old.replace(f"{table.number}-", f"{first.number}-", 1)
        else:
            part["P"] = first.reference
            first["K"].append(reference)
            for cell in _cells(part, elements):
                for head in cell.get("A", {}).get("Headers", ()):
                    head.string = renamed.get(head.string, head.string)
    elements[_number(table["P"])]["K"].remove(table.reference)


def _cells(element: Any, elements: dict[int, Any]) -> Iterator[Any]:
    for reference in element["K"]:
        child = elements.get(_number(reference)) if isinstance(reference, bytes) else None
        if child is not None:
            yield child
            yield from _cells(child, elements)


def _held(element: Any, objects: dict[int, Any]) -> Iterator[int]:
    """The numbers of all elements below an element."""
    for child in element.get("K", ()):
        if isinstance(child, bytes):
            yield _number(child)
            yield from _held(objects[_number(child)], objects)


def _make_artifacts(elements: list[Any], root: Any, objects: dict[int, Any]) -> None:
    """Mark the content of these elements as decoration, and empty them."""
    marks: dict[int, set[int]] = {}
    for one in elements:
        marks.setdefault(_number(one["Pg"]), set()).update(kid for kid in one["K"] if isinstance(kid, int))
        one.clear()
    numbers = objects[_number(root["ParentTree"])]["Nums"]
    by_page = dict(zip(numbers[::2], numbers[1::2], strict=True))
    for number, found in marks.items():
        page = objects[number]
        parents, text = by_page[page["StructParents"]], objects[_number(page["Contents"])].stream
        for mark in found:
            parents[mark] = b"null"
        for at, value in enumerate(text):
            if isinstance(value, dict) and value.get("MCID") in found:
                text[at - 1 : at + 2] = [b"/Artifact", b"", b"BMC"]
