from __future__ import annotations

import json

from kordant_jobs.adapters.breach_catalogue import parse_catalogue
from kordant_jobs.lab.world.catalogue import make_catalogue
from kordant_jobs.lab.world.dump_shapes import FILES


def test_every_entry_is_a_breach_to_the_importer() -> None:
    found, rejected = parse_catalogue(json.dumps(make_catalogue(1)).encode())
    assert (len(found), rejected) == (12, 0)


def test_each_flag_that_a_rule_judges_is_set_once() -> None:
    entries = make_catalogue(1)
    for flag in ("IsSensitive", "IsSpamList", "IsFabricated", "IsRetired", "IsMalware"):
        assert sum(entry[flag] for entry in entries) == 1, flag


def test_scripts_in_descriptions_do_not_survive_the_import() -> None:
    raw = json.dumps(make_catalogue(1))
    assert all(word in raw for word in ("<script>", "javascript:", "onclick"))
    for breach in parse_catalogue(raw.encode())[0]:
        assert not any(word in breach.description for word in ("script", "onclick"))


def test_a_key_that_hibp_does_not_document_is_kept() -> None:
    assert [breach.name for breach in parse_catalogue(json.dumps(make_catalogue(1)).encode())[0] if breach.extra] == [
        "CrumbleCloud"
    ]


def test_all_dumps_but_one_belong_to_a_catalogued_breach() -> None:
    names = {entry["Name"] for entry in make_catalogue(1)}
    assert [spec.name for spec in FILES if spec.breach_name not in names] == ["found-on-a-forum.txt"]
    assert all(spec.name.startswith(f"{spec.breach_name}.") for spec in FILES if spec.breach_name)


def test_the_same_seed_gives_the_same_catalogue() -> None:
    assert make_catalogue(3) == make_catalogue(3) != make_catalogue(4)
