"""One set of people in every form: every address is found, and nobody else; the rest in nearly all."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from kordant_jobs.adapters.dumps import DumpLimits, open_dump
from kordant_jobs.lab.world.forms import Form, forms, people
from kordant_jobs.lab.world.more_forms import more_forms

PEOPLE = people()
FORMS = [*forms(PEOPLE), *more_forms(PEOPLE)]
LIMITS = DumpLimits(max_bytes=1 << 30, max_ratio=1_000)


def read(form: Form, folder: Path) -> pl.DataFrame:
    path = folder / "dump"
    path.write_bytes(form.content)
    with open_dump(path, limits=LIMITS, phone_region="US") as dump:
        return pl.concat([batch.records for batch in dump.batches()])


def of_kind(records: pl.DataFrame, kind: str) -> set[str]:
    return set(records.filter(pl.col("kind") == kind)["identifier"].to_list())


def test_there_are_enough_forms() -> None:
    assert len(FORMS) >= 120
    assert len({form.name for form in FORMS}) == len(FORMS)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_every_address_is_found_and_no_other(form: Form, tmp_path: Path) -> None:
    records = read(form, tmp_path)
    assert of_kind(records, "email") == {one.email.lower() for one in PEOPLE}


@pytest.mark.parametrize("form", [form for form in FORMS if form.phones], ids=lambda form: form.name)
def test_every_phone_is_found_and_no_other(form: Form, tmp_path: Path) -> None:
    assert of_kind(read(form, tmp_path), "phone") == {one.phone for one in PEOPLE}


@pytest.mark.parametrize("form", [form for form in FORMS if form.usernames], ids=lambda form: form.name)
def test_every_user_name_is_found_and_no_other(form: Form, tmp_path: Path) -> None:
    assert of_kind(read(form, tmp_path), "username") == {one.username for one in PEOPLE}


@pytest.mark.parametrize("form", [form for form in FORMS if not form.usernames], ids=lambda form: form.name)
def test_no_word_is_made_a_user_name(form: Form, tmp_path: Path) -> None:
    assert of_kind(read(form, tmp_path), "username") <= {one.username for one in PEOPLE}


@pytest.mark.parametrize("form", [form for form in FORMS if form.secret], ids=lambda form: form.name)
def test_what_lay_beside_each_address_is_known(form: Form, tmp_path: Path) -> None:
    records = read(form, tmp_path).filter(pl.col("kind") == "email")
    assert set(records.group_by("identifier").agg(pl.col("secret").max())["secret"].to_list()) == {form.secret}
