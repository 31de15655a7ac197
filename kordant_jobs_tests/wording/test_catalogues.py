"""Every language says all that the jobs say, and nothing else."""

from __future__ import annotations

import tomllib
from importlib.resources import files

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from kordant_jobs import api, jobs, pages, wording
from kordant_jobs.domain.people.subscriptions import Locale


@pytest.mark.parametrize("locale", [locale for locale in Locale if locale is not Locale.EN])
def test_every_text_is_translated_and_no_translation_is_left_over(locale: Locale) -> None:
    with files(wording).joinpath("locale", f"{locale}.po").open("rb") as file:
        catalogue = read_po(file, locale=locale.replace("-", "_"))
    translated = set()
    for message in catalogue:
        if message.id:
            assert all(message.string if isinstance(message.string, tuple) else (message.string,)), message.id
            assert not list(message.check(catalogue)), message.id
            translated.add(message.id if isinstance(message.id, str) else message.id[0])
    found = [
        one
        for package in (api, jobs, pages, wording)
        for one in extract_from_dir(
            str(files(package)),
            method_map=[("**.py", "python"), ("**.html", "jinja2"), ("**.txt", "jinja2")],
            keywords={"say": None, "count": (1, 2)},
        )
    ]
    said = {message if isinstance(message, str) else message[0] for _, _, message, _, _ in found}
    assert translated == said


def test_every_data_class_that_calls_for_advice_has_a_name_in_every_language_however_it_is_written() -> None:
    raw = tomllib.loads(files(wording).joinpath("data_classes.toml").read_text("utf-8"))
    classes = {name for advice in raw["advice"] for name in advice["classes"]} | {"Years of birth", "Health records"}
    for locale in Locale:
        if locale is Locale.EN:
            continue
        names = {name.lower() for name in raw["names"][locale]}
        assert {name for name in classes if name.lower() not in names} == set()
        said = wording.wording(locale)
        assert said.data_classes(["health records", "YEARS OF BIRTH"]) == said.data_classes(
            ["Health records", "Years of birth"]
        )
