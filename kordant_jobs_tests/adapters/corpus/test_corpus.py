"""What went into the corpus is found in it, by whoever has the whole blind index; killed writers are gone on with."""

from __future__ import annotations

import os
import signal
import zlib
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kordant_jobs.adapters.corpus import Corpus, Items
from kordant_jobs.adapters.corpus.shards import NARROW_LINES
from kordant_jobs.adapters.dumps.model import BlindBatch
from kordant_jobs.errors import DumpUnreadable, PermanentError

DUMP = UUID(int=7)
KINDS = ("mentioned", "none", "hashed", "clear")
Row = tuple[bytes, int, int]
"""Blind index, line, secret."""


def batch(rows: Sequence[Row]) -> BlindBatch:
    index = np.frombuffer(b"".join(row[0] for row in rows), np.uint64).reshape(-1, 2)
    line, secret = np.array([row[1] for row in rows], np.uint64), np.array([row[2] for row in rows], np.uint8)
    return BlindBatch(line=line, index=index, secret=secret, lines=len(rows), bad_lines={"too_long": 1})


def ingest(corpus: Corpus, batches: Sequence[Sequence[Row]], run_records: int = 50, **options: int) -> None:
    with corpus.write(DUMP, origin="a", run_records=run_records, **options) as writer:
        for rows in batches[writer.done.blocks :]:
            writer.add(batch(rows))


def watched(*indexes: bytes) -> Items:
    return Items.of(pl.DataFrame({"item_id": [one.hex() for one in indexes], "blind_index": list(indexes)}))


def expected(rows: Sequence[Row], indexes: Sequence[bytes]) -> list[tuple[str, int, int, str]]:
    found = []
    for one in sorted(set(indexes)):
        mine = [row for row in rows if row[0] == one]
        if mine:
            lines = {row[1] for row in mine}
            found.append((one.hex(), min(lines), len(lines), KINDS[max(row[2] for row in mine)]))
    return sorted(found)


def _index(kept: bytes) -> bytes:
    """An index of eight bytes that a small dump keeps, and eight that it does not."""
    left_out = zlib.crc32(kept).to_bytes(4, "little")
    return left_out + kept[:4] + left_out + kept[4:]


# Few different bytes, so that indexes share keys and differ in what confirms them, or the other way round.
_indexes = st.lists(st.sampled_from([0, 1, 255]), min_size=8, max_size=8).map(bytes).map(_index)
_rows = st.tuples(_indexes, st.integers(1, 9) | st.integers(1, NARROW_LINES * 2), st.integers(0, 2))


@given(batches=st.lists(st.lists(_rows, max_size=40), max_size=5), others=st.lists(_indexes, max_size=5))
@settings(max_examples=60)
def test_found_is_what_went_in(
    batches: list[list[Row]], others: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    corpus = Corpus(tmp_path_factory.mktemp("corpus"))
    rows = [row for rows in batches for row in rows]
    ingest(corpus, batches)
    wanted = list({row[0] for row in rows} | set(others))
    assert corpus.find(DUMP, watched(*wanted)).rows() == expected(rows, wanted)
    assert (corpus.facts(DUMP) or {})["records"] == len(rows)


def random_rows(count: int, seed: int = 1) -> list[Row]:
    draw = np.random.default_rng(seed)
    indexes = draw.bytes(16 * count)
    return [(indexes[16 * at : 16 * at + 16], at + 1, at % 3) for at in range(count)]


@pytest.mark.parametrize("same", [1, 600, 3_000], ids=["distinct", "one often", "one very often"])
def test_many_records_and_many_of_one(same: int, tmp_path: Path) -> None:
    """Large buckets, which many equal records make, are put in order too."""
    rows = random_rows(6_000)
    rows += [(rows[0][0], line, 2) for line in range(10_000, 10_000 + same)]
    corpus = Corpus(tmp_path)
    ingest(corpus, [rows[at : at + 700] for at in range(0, len(rows), 700)], run_records=2_000)
    strangers = [row[0] for row in random_rows(6_000, seed=2)]
    wanted = [row[0] for row in rows[:6_000:7]]
    assert corpus.find(DUMP, watched(*wanted, *strangers)).rows() == expected(rows, wanted)


def test_shares_of_machines_add_up(tmp_path: Path) -> None:
    rows = random_rows(6_000)
    corpus = Corpus(tmp_path)
    ingest(corpus, [rows], run_records=2_000, shard_records=500)
    items = watched(*(row[0] for row in rows))
    assert len(list((tmp_path / str(DUMP)).glob("shard-*"))) == 16
    shares = [corpus.find(DUMP, items, share=(at, 3)) for at in range(3)]
    assert all(share.height for share in shares)
    assert pl.concat(shares).sort("item_id").equals(corpus.find(DUMP, items))


@pytest.mark.parametrize("where", ["memory", "s3"])
def test_a_corpus_may_be_elsewhere(where: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    rows = random_rows(300)
    place = f"{request.getfixturevalue('s3_bucket')}/corpus" if where == "s3" else f"memory://{uuid4()}"
    here, there = Corpus(tmp_path / "here"), Corpus(place, work=tmp_path / "work")
    for corpus in (here, there):
        ingest(corpus, [rows])
    items = watched(*(row[0] for row in rows[::2]))
    assert there.find(DUMP, items).equals(here.find(DUMP, items))
    assert there.dumps() == here.dumps() == [DUMP]
    assert there.size().bytes == here.size().bytes
    there.remove(DUMP)
    assert not there.has(DUMP)


@pytest.mark.parametrize("kill_at", range(0, 12, 2))
def test_a_killed_writer_is_gone_on_with(kill_at: int, tmp_path: Path) -> None:
    """SIGKILL after so many blocks: the next one reads no block of a finished run again, and the result is the same."""
    rows = random_rows(1_000)
    batches = [rows[at : at + 100] for at in range(0, 1_000, 100)]
    pid = os.fork()
    if not pid:
        with Corpus(tmp_path).write(DUMP, origin="a", run_records=200) as writer:
            for number, part in enumerate(batches):
                if number == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                writer.add(batch(part))
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    corpus = Corpus(tmp_path)
    assert not corpus.has(DUMP)
    with corpus.write(DUMP, origin="a", run_records=200) as writer:
        assert writer.done.blocks == min(kill_at, 10) // 2 * 2
        for part in batches[writer.done.blocks :]:
            writer.add(batch(part))
    items = watched(*(row[0] for row in rows))
    assert corpus.find(DUMP, items).rows() == expected(rows, [row[0] for row in rows])
    assert (corpus.facts(DUMP) or {})["bad_lines"] == {"too_long": 10}
    assert corpus.size().drafts == 0


def test_what_was_begun_of_another_file_is_dropped(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path)
    rows = random_rows(200)
    begun = corpus.write(DUMP, origin="a", run_records=50)
    begun.add(batch(rows[:100]))
    assert corpus.write(DUMP, origin="a").done.blocks == 1
    assert corpus.write(DUMP, origin="b").done.blocks == 0


def test_of_an_unreadable_dump_nothing_is_kept(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path)
    begun = corpus.write(DUMP, origin="a", run_records=1)
    begun.add(batch(random_rows(10)))
    begun.__exit__(DumpUnreadable, DumpUnreadable("damaged"), None)
    assert corpus.size() == Corpus(tmp_path / "empty").size()


def test_no_part_of_a_record_can_be_read_without_its_whole_index(tmp_path: Path) -> None:
    """Half of the index is nowhere in the files, and neither are lines: not even equal ones look alike."""
    rows = [(row[0], 77, 2) for row in random_rows(500)]
    corpus = Corpus(tmp_path)
    ingest(corpus, [rows])
    content = b"".join(path.read_bytes() for path in (tmp_path / str(DUMP)).glob("shard-*"))
    assert not any(row[0][8:12] in content and row[0][:8] in content for row in rows)
    places = np.frombuffer(content[-4 * len(rows) :], np.uint32)
    assert len(np.unique(places)) == len(rows)
    nearly = [row[0][:8] + bytes(4) + row[0][12:] for row in rows]
    found = corpus.find(DUMP, watched(*nearly))
    assert set(found["line"].to_list()) != {77}


def test_what_an_earlier_version_left_is_adopted(tmp_path: Path) -> None:
    """It kept Parquet files in the order of reading."""
    rows = random_rows(300)
    (tmp_path / str(DUMP)).mkdir()
    for number in range(3):
        part = rows[100 * number : 100 * number + 100]
        columns = {"line": [row[1] for row in part], "blind_index": [row[0] for row in part]}
        secrets = pl.Series("secret", [KINDS[row[2]] for row in part], dtype=pl.Enum(KINDS))
        frame = pl.DataFrame(columns, schema={"line": pl.UInt64, "blind_index": pl.Binary}).with_columns(secrets)
        frame.write_parquet(tmp_path / str(DUMP) / f"part-{number:06d}.parquet")
    corpus, indexes = Corpus(tmp_path), [row[0] for row in rows]
    for _ in range(2):
        corpus.adopt(DUMP)
        assert corpus.find(DUMP, watched(*indexes)).rows() == expected(rows, indexes)
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_damaged_or_missing_shard_is_reported(tmp_path: Path) -> None:
    corpus, items = Corpus(tmp_path), watched(bytes(16))
    with pytest.raises(PermanentError, match="not in the corpus"):
        corpus.find(DUMP, items)
    ingest(corpus, [random_rows(100)])
    shard = tmp_path / str(DUMP) / "shard-000"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    with pytest.raises(PermanentError, match="cut short"):
        corpus.find(DUMP, items)
    shard.write_bytes(b"x" + whole[1:])
    with pytest.raises(PermanentError, match="no shard"):
        corpus.find(DUMP, items)
    shard.unlink()
    with pytest.raises(PermanentError, match="missing"):
        corpus.find(DUMP, items)
