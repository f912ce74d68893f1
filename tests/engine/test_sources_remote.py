"""Inputs over HTTP and S3: the same events as on a disk, in few requests, and what is wrong is said."""

from __future__ import annotations

import itertools
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stamina
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventmill import access
from eventmill.access.retries import few_retries
from eventmill.access.s3 import Bucket
from eventmill.core.work_order import SourceSpec
from eventmill.errors import InputError
from eventmill.sources import find_inputs, inspect_input, open_source
from eventmill.sources.remote_file import GAP_BYTES, joined
from tests.engine.input_files import EDGES, EVENTS, WRITERS, expected, plain, write_parquet
from tests.servers import S3Server, environment
from tests.web_server import Web, serve_web

KINDS = list(WRITERS)


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """Retries happen at once, and there are two."""
    with stamina.set_testing(True, attempts=3):
        yield


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with serve_web(tmp_path) as server:
        yield server


@pytest.fixture(params=["rclone", "moto"])
def s3(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    server: S3Server = request.getfixturevalue(f"{request.param}_server")
    with environment(server.environment):
        yield server


def spec_of(kind: str, **values: object) -> SourceSpec:
    return replace(SourceSpec("parquet" if kind == "parquet" else "root"), **values)  # type: ignore[arg-type]


def upload(path: str, key: str) -> str:
    """The url of a copy in the bucket `data`."""
    Bucket("data").call("put_object", Key=key, Body=Path(path).read_bytes())
    return f"s3://data/{key}"


# Every range of every format is what a local file gives


@dataclass(frozen=True)
class Remote:
    url: str
    spec: SourceSpec


@pytest.fixture(scope="module")
def kept_web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with serve_web(tmp_path_factory.mktemp("web")) as server:
        yield server


@pytest.fixture(scope="module", params=[(place, kind) for place in ("http", "s3") for kind in KINDS], ids="-".join)
def remote(request: pytest.FixtureRequest, kept_web: Web, rclone_server: S3Server) -> Iterator[Remote]:
    place, kind = request.param
    path = WRITERS[kind](kept_web.folder / f"law.{kind}")
    with environment(rclone_server.environment):
        url = f"{kept_web.url}/law.{kind}" if place == "http" else upload(path, f"law.{kind}")
        yield Remote(url, spec_of(kind))


def find_urls(files: list[str]) -> tuple[str, ...]:
    return find_inputs(files).urls


RANGES = st.tuples(st.integers(0, EVENTS - 1), st.integers(1, EVENTS)).map(lambda r: (r[0], min(sum(r), EVENTS)))


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ranges=st.lists(RANGES, min_size=1, max_size=4))
def test_any_ranges_in_any_order_are_pieces_of_the_whole(remote: Remote, ranges: list[tuple[int, int]]) -> None:
    """Whatever was read before, a range holds exactly its events, with every column."""
    source = open_source(remote.url, remote.spec)
    assert (source.events, source.boundaries) == (EVENTS, EDGES)
    for start, stop in ranges:
        assert plain(source.read(start, stop)) == expected()[start:stop]


def test_threads_share_a_source(remote: Remote) -> None:
    """Reads at once disturb each other in nothing."""

    def read(start: int) -> bool:
        source = open_source(remote.url, remote.spec)
        return plain(source.read(start, start + 7)) == expected()[start : start + 7]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(0, EVENTS - 7, 20)))


def test_a_forked_child_reads_too(remote: Remote) -> None:
    """It has neither the connections of its parent nor the thread that serves them; and it leaves them intact."""
    open_source(remote.url, remote.spec).read(0, 5)
    child = os.fork()
    if child == 0:
        try:
            good = plain(open_source(remote.url, remote.spec).read(3, 50)) == expected()[3:50]
            os._exit(0 if good else 1)
        finally:
            os._exit(2)  # an error must not go on as a second run of all tests
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert plain(open_source(remote.url, remote.spec).read(60, 70)) == expected()[60:70]


def test_threads_that_begin_together_share_a_filesystem() -> None:
    """With its connections; another host, or another environment, has another one."""
    with ThreadPoolExecutor(8) as pool:
        for url in ("http://a/b", "memory://a/b", "s3://a/b"):
            assert len({id(made) for made in pool.map(access.filesystem, [url] * 8)}) == 1
    first = access.filesystem("s3://a/b")
    with environment({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}):
        assert access.filesystem("s3://a/b") is not first
    assert access.filesystem("s3://c/d") is first


def test_another_filesystem_of_fsspec_is_read_as_well(tmp_path: Path) -> None:
    """Anything that fsspec can open by a url; here, memory."""
    import fsspec

    fsspec.filesystem("memory").pipe("/a.parquet", Path(write_parquet(tmp_path / "a.parquet")).read_bytes())
    source = open_source("memory://a.parquet", SourceSpec("parquet"))
    assert plain(source.read(30, 50)) == expected()[30:50]
    with pytest.raises(InputError, match=r"memory://b\.parquet cannot be opened: it does not exist there"):
        inspect_input("memory://b.parquet", SourceSpec("parquet"))


# Few requests


def large(folder: Path, kind: str) -> str:
    """A file of eight clusters of 20,000 events in five columns of noise, too large to be fetched whole."""
    import uproot

    rng = np.random.default_rng(1)
    names = [f"c{n}" for n in range(5)]
    clusters = [{name: rng.normal(size=20_000) for name in names} for _ in range(8)]
    path = folder / f"large.{kind}"
    if kind == "parquet":
        with pq.ParquetWriter(path, pa.table(clusters[0]).schema, use_dictionary=False) as writer:
            for cluster in clusters:
                writer.write_table(pa.table(cluster))
        return str(path)
    with uproot.recreate(path) as file:
        make = file.mktree if kind == "root" else file.mkrntuple
        tree = make("events", dict.fromkeys(names, "float64"))
        for cluster in clusters:
            tree.extend(cluster)
    return str(path)


@pytest.mark.parametrize("kind", KINDS)
def test_opening_and_reading_cost_few_requests(web: Web, kind: str) -> None:
    """Opening asks for the size and both ends; a cluster costs a request a column at most, a kept one none."""
    local = open_source(large(web.folder, kind), spec_of(kind))
    source = open_source(f"{web.url}/large.{kind}", spec_of(kind, columns=("c1", "c3")))
    # An RNTuple written in eight pieces has eight lists of pages, fetched side by side.
    assert web.count() <= (3 + 8 if kind == "rntuple" else 6)
    here, there = (one.read(25_000, 26_000)["c3"].to_numpy() for one in (local, source))
    assert here.tolist() == there.tolist()
    assert web.count() <= (4 if kind == "rntuple" else 2)  # uproot decodes the next cluster as well
    source.read(26_000, 30_000)
    assert web.count() == 0
    source.read(0, 160_000)
    assert web.count() <= 2 * 8


def test_a_kept_input_is_not_asked_about(web: Web) -> None:
    """Who knows what it must be, opens it for nothing; who does not, asks once."""
    spec = spec_of("parquet")
    write_parquet(web.folder / "a.parquet")
    source = open_source(f"{web.url}/a.parquet", spec)
    web.count()
    assert open_source(f"{web.url}/a.parquet", spec, expected=source.identity) is source
    assert web.count() == 0
    assert open_source(f"{web.url}/a.parquet", spec) is source
    assert web.count() == 1


@given(spans=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 10**5)).map(lambda s: (s[0], sum(s)))))
def test_joined_spans_cover_all_and_lie_apart(spans: list[tuple[int, int]]) -> None:
    """Nothing that was asked for is missing, and no two are so close that one would do."""
    whole = joined(spans)
    assert all(any(a <= start and stop <= b for a, b in whole) for start, stop in spans)
    assert all(b[0] - a[1] > GAP_BYTES for a, b in itertools.pairwise(whole))


# What is wrong is said


def change_one_bit(path: Path) -> None:
    """In the middle of a file, where there is noise; its size stays."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("kind", KINDS)
def test_a_remote_input_that_is_replaced_is_an_error(web: Web, kind: str) -> None:
    """Never mixed data; opened anew it is read."""
    path = Path(large(web.folder, kind))
    url = f"{web.url}/{path.name}"
    source = open_source(url, spec_of(kind))
    source.read(0, 10)
    change_one_bit(path)
    said = rf"^{url} changed while it was being read: from size=\d+ etag=.* to size=\d+ etag=.*\.$"
    with pytest.raises(InputError, match=said):
        source.read(100_000, 100_010)
    assert open_source(url, spec_of(kind)).identity != source.identity


def test_a_replaced_object_is_noticed(s3: S3Server, tmp_path: Path) -> None:
    """By its ETag, though it has the same size."""
    path = Path(large(tmp_path, "parquet"))
    source = open_source(upload(str(path), "replaced.parquet"), spec_of("parquet"))
    change_one_bit(path)
    upload(str(path), "replaced.parquet")
    with pytest.raises(InputError, match="changed while it was being read"):
        source.read(100_000, 100_010)


def test_without_an_etag_the_time_of_change_tells(web: Web) -> None:
    """As plain web servers do."""
    web.etags = False
    path = Path(large(web.folder, "parquet"))
    source = open_source(f"{web.url}/large.parquet", spec_of("parquet"))
    assert "changed=" in source.identity
    os.utime(path, (1, 1))
    with pytest.raises(InputError, match="changed while it was being read"):
        source.read(100_000, 100_010)


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_remote_file_is_named(web: Web, kind: str) -> None:
    """As a local one is."""
    path = Path(WRITERS[kind](web.folder / f"a.{kind}"))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match=r"is not a readable \w+ file \(\d+ bytes\)"):
        inspect_input(f"{web.url}/a.{kind}", spec_of(kind))


def test_what_a_web_server_refuses_is_said(web: Web) -> None:
    """Missing, forbidden, whole files only, an end too early, nobody there: one line each."""
    spec = spec_of("parquet")
    url = f"{web.url}/a.parquet"
    with pytest.raises(InputError, match=r"a\.parquet cannot be opened: it does not exist there\.$"):
        inspect_input(url, spec)
    write_parquet(web.folder / "a.parquet")
    web.refusals = [403, 403]
    with pytest.raises(InputError, match=r"cannot be opened: the server denies it \(403\)"):
        inspect_input(url, spec)
    web.ranges = False
    with pytest.raises(InputError, match="the server gives whole files only, no ranges of bytes"):
        inspect_input(url, spec)
    web.ranges, web.cut_short = True, True
    with pytest.raises(InputError, match="cannot be read: the answer ended too early"):
        inspect_input(url, spec)
    with pytest.raises(InputError, match=r"cannot be opened: the server cannot be reached .*Check the url"):
        inspect_input("http://127.0.0.1:9/a.parquet", spec)


def test_a_server_that_is_busy_is_asked_again(web: Web) -> None:
    """What passes by itself is not told."""
    write_parquet(web.folder / "a.parquet")
    web.refusals = [503, 500]
    assert inspect_input(f"{web.url}/a.parquet", spec_of("parquet")).events == EVENTS


def test_a_name_server_that_is_busy_is_asked_again(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that does not exist is final."""
    write_parquet(web.folder / "a.parquet")
    url, real = f"{web.url.replace('127.0.0.1', 'localhost')}/a.parquet", socket.getaddrinfo
    answers = [socket.EAI_AGAIN, socket.EAI_NONAME]

    def look_up(host: str, *args: Any, **values: Any) -> Any:
        if host == "localhost" and answers:
            raise socket.gaierror(answers.pop(0), "refused")
        return real(host, *args, **values)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(InputError, match=r"the server cannot be reached .*\[refused\]"):
        inspect_input(url, spec_of("parquet"))
    assert not answers
    answers.append(socket.EAI_AGAIN)
    assert inspect_input(url, spec_of("parquet")).events == EVENTS


def test_who_waits_is_told_of_the_second_failure(web: Web) -> None:
    """Also by what runs in the event loop of fsspec; all others wait for half a minute."""
    url = f"{web.url}/{Path(write_parquet(web.folder / 'a.parquet')).name}"
    with stamina.set_testing(True, attempts=8, cap=True):
        web.refusals = [503, 503]
        assert inspect_input(url, spec_of("parquet")).events == EVENTS
        web.refusals = [503, 503]
        with few_retries(), pytest.raises(InputError, match="cannot be opened: the server answered 503"):
            inspect_input(url, spec_of("parquet"))


def test_what_s3_refuses_is_said(rclone_server: S3Server) -> None:
    """A missing object, no such bucket, a wrong secret, an unknown key, nobody there."""
    spec, right = spec_of("parquet"), rclone_server.environment

    def refused(url: str, **changed: str) -> str:
        with environment(right | changed), pytest.raises(InputError) as error:
            inspect_input(url, spec)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "s3://data/no.parquet cannot be opened: there is no such object" in refused("s3://data/no.parquet")
    assert "cannot be opened: there is no such object in bucket 'nowhere'" in refused("s3://nowhere/a.parquet")
    assert "the secret key is wrong" in refused("s3://data/a.parquet", AWS_SECRET_ACCESS_KEY="wrong")
    assert "does not know this access key" in refused("s3://data/a.parquet", AWS_ACCESS_KEY_ID="nobody")
    assert "cannot reach http://127.0.0.1:9" in refused(
        "s3://data/a.parquet", AWS_ENDPOINT_URL="http://127.0.0.1:9"
    )


def test_a_protocol_without_its_package_says_what_to_install() -> None:
    """For XRootD and all others."""
    with pytest.raises(
        InputError, match=r"'root://' needs a package that is not installed: pip install fsspec-xrootd"
    ):
        inspect_input("root://host//a.root", SourceSpec("root"))


# What a user writes


def test_globs_folders_and_files_on_s3(s3: S3Server, tmp_path: Path) -> None:
    """Sorted, whole parts, and a data set's own extras left out."""
    path = write_parquet(tmp_path / "a.parquet")
    for key in (
        "set/x=2/b.parquet",
        "set/x=1/a.parquet",
        "set/_SUCCESS",
        "set/_metadata.parquet",
        "setting.parquet",
    ):
        upload(path, f"glob/{key}")
    assert find_urls(["s3://data/glob/*.parquet"]) == ("s3://data/glob/setting.parquet",)
    assert find_urls(["s3://data/glob/**/a.parquet"]) == ("s3://data/glob/set/x=1/a.parquet",)
    assert find_urls(["s3://data/glob/set/x=?/*.parquet"]) == find_urls(["s3://data/glob/set"])
    assert find_urls(["s3://data/glob/set/"]) == (
        "s3://data/glob/set/x=1/a.parquet",
        "s3://data/glob/set/x=2/b.parquet",
    )
    assert find_urls(["s3://data/glob/setting.parquet"]) == ("s3://data/glob/setting.parquet",)
    with pytest.raises(InputError, match=r"s3://data/glob/\*\.root matches no object at http://127"):
        find_urls(["s3://data/glob/*.root"])
    with pytest.raises(InputError, match=r"s3://data/glob/sett does not exist at http://127"):
        find_urls(["s3://data/glob/sett"])
    with pytest.raises(InputError, match=r"s3://nowhere/\* cannot be listed: there is no bucket 'nowhere'"):
        find_urls(["s3://nowhere/*"])


def test_a_folder_of_partitions_gives_their_columns(tmp_path: Path, s3: S3Server) -> None:
    """As pandas does: numbers where all values are numbers, text else; on a disk as on S3."""
    from eventmill.sources import partition_types

    for year, kind, start in ((2016, "data", 0), (2017, "mc%20a", EVENTS)):
        name = f"set/year={year}/kind={kind}/part.parquet"
        upload(write_parquet(tmp_path / name, start=start), f"hive/{name}")
    for place in (str(tmp_path / "set"), "s3://data/hive/set"):
        urls = find_urls([place])
        assert [url.rpartition("set/")[2] for url in urls] == [
            "year=2016/kind=data/part.parquet",
            "year=2017/kind=mc%20a/part.parquet",
        ]
        spec = SourceSpec("parquet", partitions=partition_types(urls, None))
        assert spec.partitions == (("year", "int64"), ("kind", "string"))
        read = open_source(urls[1], spec).read(10, 12)
        assert read.column_names == ["number", "square", "hits", "year", "kind"]
        assert read.to_pylist()[0] == {
            "number": 210, "square": 44_100, "hits": [105.0, 105.0], "year": 2017, "kind": "mc a",
        }  # fmt: skip
        chosen = open_source(urls[0], replace(spec, columns=("year", "number"))).read(0, 1)
        assert chosen.to_pylist() == [{"year": 2016, "number": 0}]
        assert open_source(urls[0], replace(spec, columns=("year",))).read(0, 3)["year"].to_pylist() == [2016] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_reading_ahead_holds_no_more_than_it_needs(web: Web, kind: str) -> None:
    """Once a cluster is decoded its bytes are let go."""
    source = open_source(f"{web.url}/{Path(large(web.folder, kind)).name}", spec_of(kind))
    source.read(0, 10)
    held = source._file.handle._held  # type: ignore[attr-defined]
    assert held == []


def test_a_source_read_in_one_thread_may_be_closed_in_another(web: Web) -> None:
    """Closing is harmless twice."""
    write_parquet(web.folder / "a.parquet")
    source = open_source(f"{web.url}/a.parquet", spec_of("parquet"))
    closing = threading.Thread(target=source.close)
    closing.start()
    closing.join()
    source.close()
    with pytest.raises(InputError, match="is closed"):
        source.read(0, 1)
