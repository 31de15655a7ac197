"""What every drop place does: a folder, fsspec's memory, and an S3 server."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from kordant_jobs.adapters.drop_folder import (
    BLOCK_BYTES,
    DropFolder,
    DropPlace,
    DropStore,
    open_clip_place,
    open_dump_place,
)
from kordant_jobs.errors import SettingsError, TransientError
from kordant_jobs.settings import Settings

Write = Callable[[str, bytes], None]
"""Drops a file, as an upload program does."""


def store(url: str, work: Path) -> DropStore:
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    return DropStore(url, setting="KORDANT_DROP_URL", work=work)


def write_to(url: str) -> Write:
    return lambda name, content: fsspec.url_to_fs(url)[0].pipe_file(f"{url}/{name}", content)


@pytest.fixture(params=["local", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[DropPlace, Write]:
    if request.param == "local":
        folder = tmp_path / "drop"
        folder.mkdir()
        return DropFolder(folder), write_to(str(folder))
    url = f"{request.getfixturevalue('s3_bucket')}/drop" if request.param == "s3" else f"memory://{uuid4().hex}"
    return store(url, tmp_path / "work"), write_to(url)


def test_what_was_dropped_is_listed_by_name_and_what_is_unfinished_is_not(place: tuple[DropPlace, Write]) -> None:
    at, write = place
    assert at.files() == []
    for name in ("b.csv", "a.csv", ".a.csv", "c.csv.part"):
        write(name, b"12345")
    assert [(one.name, one.size) for one in at.files()] == [("a.csv", 5), ("b.csv", 5)]
    assert {one.name for one in at.entries()} == {"b.csv", "a.csv", ".a.csv", "c.csv.part"}
    assert at.files() == at.files(), "the same facts at every listing"


def test_a_file_is_fetched_whole_and_removed_once(place: tuple[DropPlace, Write]) -> None:
    at, write = place
    content = os.urandom(2 * BLOCK_BYTES + 17)
    write("a [1]*?.csv", content)
    [file] = at.files()
    with at.fetch(file) as path:
        assert path.stat().st_size == len(content)
        assert path.read_bytes() == content
    at.remove(file)
    at.remove(file)
    assert at.files() == []


def test_a_file_that_is_put_is_seen_under_its_final_name_only(place: tuple[DropPlace, Write], tmp_path: Path) -> None:
    at, _ = place
    source = tmp_path / "dump.csv"
    source.write_bytes(b"ann@example.com:a\n")
    draft = at.put(source, ".dump.csv.part")
    assert at.files() == []
    final = at.rename(draft, "dump.csv")
    assert at.files() == [final]
    with at.fetch(final) as path:
        assert path.read_bytes() == source.read_bytes()


def test_the_id_of_a_place_is_the_same_on_every_machine(s3_bucket: str, tmp_path: Path) -> None:
    assert store(f"{s3_bucket}/drop", tmp_path / "a").id() == store(f"{s3_bucket}/drop/", tmp_path / "b").id()
    assert store(f"{s3_bucket}/drop", tmp_path / "a").id() != store(f"{s3_bucket}/other", tmp_path / "a").id()
    assert DropFolder(tmp_path).id() == DropFolder(tmp_path).id()


def test_a_fetched_object_is_private_and_nothing_of_it_stays(s3_bucket: str, tmp_path: Path) -> None:
    url, work = f"{s3_bucket}/drop", tmp_path / "work"
    write_to(url)("a.csv", b"secret")
    at = store(url, work)
    with at.fetch(at.files()[0]) as path:
        assert path.stat().st_mode & 0o777 == 0o600
        assert list(work.iterdir()) == [], "it has no name, so a killed process leaves nothing"
    assert work.stat().st_mode & 0o777 == 0o700


def test_an_object_that_was_replaced_is_neither_given_out_nor_removed(s3_bucket: str, tmp_path: Path) -> None:
    url = f"{s3_bucket}/drop"
    write, at = write_to(url), store(url, tmp_path)
    write("a.csv", b"one")
    [before] = at.files()
    write("a.csv", b"two")  # within the second, and of the same size
    with pytest.raises(TransientError), at.fetch(before):
        pass
    at.remove(before)
    [after] = at.files()
    assert after != before
    with at.fetch(after) as path:
        assert path.read_bytes() == b"two"


def test_objects_in_folders_below_are_no_dropped_files(s3_bucket: str, tmp_path: Path) -> None:
    url = f"{s3_bucket}/drop"
    for name in ("a.csv", "done/b.csv", ""):
        write_to(url)(name, b"x")
    write_to(f"{s3_bucket}/dropped")("c.csv", b"x")
    assert [one.name for one in store(url, tmp_path).files()] == ["a.csv"]


@contextmanager
def answering(status: int) -> Iterator[str]:
    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("status", [403, 503, None])
def test_a_store_that_refuses_fails_or_is_away_is_transient_and_holds_no_empty_list(
    s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int | None
) -> None:
    url = f"{s3_bucket}/drop"
    write_to(url)("Ann Example 536-90-4399.csv", b"x")
    [file] = store(url, tmp_path).files()
    with answering(status or 500) as address:
        pass  # nothing listens there any more
    with answering(status) if status else nullcontext(address) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        at = store(url, tmp_path)
        with pytest.raises(TransientError, match="KORDANT_DROP_URL") as told:
            at.files()
        with pytest.raises(TransientError) as read, at.fetch(file):
            pass
    assert "Ann" not in f"{told.value} {read.value} {file!r}"


def test_a_bucket_that_is_not_there_is_transient(s3_bucket: str, tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="KORDANT_DROP_URL"):
        store(f"{s3_bucket}-absent/drop", tmp_path).files()


def test_the_settings_choose_the_place(tmp_path: Path) -> None:
    assert open_dump_place(Settings(drop_dir=tmp_path)) == DropFolder(tmp_path)
    assert open_dump_place(Settings(drop_url=f"file://{tmp_path}/volume")) == DropFolder(tmp_path / "volume")
    assert isinstance(open_clip_place(Settings(voice_drop_url="memory://clips")), DropStore)
    with pytest.raises(SettingsError, match="KORDANT_VOICE_DROP_URL"):
        open_clip_place(Settings(voice_drop_url="nowhere://clips"))
    assert Settings(drop_url="s3://b/d", voice_drop_dir=tmp_path).watched_drops == (tmp_path,)
