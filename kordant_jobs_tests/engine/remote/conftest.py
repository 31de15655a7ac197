"""A Redis of the tests' own, which they stop and start."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from kordant_jobs.lab.redis import PROGRAM, RedisServer


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    if shutil.which(PROGRAM) is None:
        pytest.skip("no redis-server on this machine: apt-get install redis-server")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()
