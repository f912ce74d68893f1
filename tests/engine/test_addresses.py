"""Addresses of inputs: any two spellings of one object are one input, and no object is ever left out."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from eventmill import access
from eventmill.core.work_order import SourceSpec
from eventmill.errors import InputError
from eventmill.sources import find_inputs, object_of, open_source, partition_types
from eventmill.sources.addresses import canonical, path_of
from eventmill.sources.patterns import told_format
from eventmill.work.block import locate
from tests.servers import S3Server, environment

ODD = "ab.?#%[]*!~@ =é+&:;,'\\"
NAMES = st.text(st.sampled_from(ODD), min_size=1, max_size=8).filter(
    lambda name: not name.startswith((".", "_")) and name.strip() == name
)
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def found(*files: str, **choices: bool) -> tuple[str, ...]:
    return find_inputs(list(files), **choices).urls  # type: ignore[arg-type]


def respelled(url: str, luck: random.Random) -> str:
    """The same web address as somebody else might write it: RFC 3986 calls them equivalent."""
    protocol, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    port = {"http": "80", "https": "443", "davs": "443"}[protocol]
    host = "".join(luck.choice([c.lower(), c.upper()]) for c in host)
    host += luck.choice(["", ":", f":{port}", f":0{port}"])
    path, question, query = path.partition("?")

    def spelled(character: str) -> str:
        reserved = character in "/+,;=@"
        if reserved or luck.random() < 0.5:
            return character
        return "".join(luck.choice([f"%{byte:02x}", f"%{byte:02X}"]) for byte in character.encode())

    dots = luck.choice(["", "./", "x/../", "./y/.././"])
    fragment = luck.choice(["", "#", "#part-2"])
    protocol = "".join(luck.choice([c.lower(), c.upper()]) for c in protocol)
    return f"{protocol}://{host}/{dots}{''.join(map(spelled, path))}{question}{query}{fragment}"


WEB_PATHS = st.lists(
    st.text(st.sampled_from("abZ09-._~é ü+,;=@"), min_size=1, max_size=6).filter(lambda s: s not in (".", "..")),
    min_size=1,
    max_size=4,
).map("/".join)


@settings(max_examples=300, deadline=None)
@given(
    protocol=st.sampled_from(["http", "https", "davs"]),
    host=st.from_regex(r"[a-z]{1,8}(\.[a-z]{2,3}){0,2}", fullmatch=True),
    path=WEB_PATHS,
    query=st.sampled_from(["", "?", "?a=1&b=%2F", "?sig=a%20b"]),
    luck=st.randoms(use_true_random=False),
)
def test_spellings_of_one_web_address_are_one_input(
    protocol: str, host: str, path: str, query: str, luck: random.Random
) -> None:
    """Capitals, the usual port, dots, needless percent signs and fragments change nothing."""
    url = f"{protocol}://{host}/{path}{query}"
    assert canonical(respelled(url, luck)) == canonical(url)
    assert canonical(canonical(url)) == canonical(url)
    assert path_of(canonical(url)) == path


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("HTTP://HOST:80/./x.parquet#y", "http://host/x.parquet"),
        ("s3a://bucket/a", "S3://bucket/a"),
        ("gcs://bucket/a", "gs://bucket/a"),
        ("https://[::1]:443/a", "https://[::1]/a"),
        ("root://Host:1094//data/a.root", "root://host//data/a.root"),
        ("http://bücher.example/a", "http://xn--bcher-kva.example/a"),
        ("http://host", "http://host/"),
        ("./a.root", "a.root"),
        ("b/../a.root", "a.root"),
        ("file:///data//a.root", "/data/a.root"),
        ("FILE:///data/./a.root", "/data/a.root"),
    ],
)
def test_spellings_that_people_use(one: str, other: str) -> None:
    """Each pair is one input."""
    assert canonical(one) == canonical(other)
    assert object_of(one) == object_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("s3://b/a?x", "s3://b/a"),
        ("s3://b/a#x", "s3://b/a"),
        ("s3://b/a%20b", "s3://b/a b"),
        ("s3://b/./a", "s3://b/a"),
        ("s3://b//a", "s3://b/a"),
        ("s3://b/A", "s3://b/a"),
        ("http://h/a%2Fb", "http://h/a/b"),
        ("http://h/A", "http://h/a"),
        ("http://h/a?x=1", "http://h/a?x=2"),
        ("http://h:8080/a", "http://h/a"),
        ("https://h/a", "http://h/a"),
        ("a?.root", "a.root"),
    ],
)
def test_what_differs_stays_apart(one: str, other: str) -> None:
    """A key is a key, a path is a path."""
    assert canonical(one) != canonical(other)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://host:web/a", "'web' is not a port"),
        ("http:///a", "does not name a host"),
        ("s3://b/a\0b", "zero byte"),
        ("a\0b", "zero byte"),
        ("s3://b/\ud800", "is not "),
        ("a\udcff.root", "is not UTF-8"),
        ("http://k:s@host/a", "contains a password"),
    ],
)
def test_what_is_no_address_is_told(url: str, told: str) -> None:
    """In one line, without a traceback."""
    with pytest.raises(InputError, match=told) as refused:
        canonical(url)
    assert "\n" not in str(refused.value)


def write(path: Path, first: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"i": [first]}), path.absolute())
    return path


def content(url: str, spec: SourceSpec, folder: Path) -> int:
    return int(open_source(locate(url, folder=str(folder)), spec).read(0, 1)["i"][0].as_py())


@SLOW
@given(folder=NAMES, names=st.lists(NAMES, min_size=1, max_size=5, unique=True), decoy=NAMES)
def test_no_file_of_a_folder_is_left_out_whatever_it_is_called(
    folder: str, names: list[str], decoy: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """By the folder, by a pattern in it, by each name, relative and absolute: always just these."""
    assume(decoy != folder)
    root = tmp_path_factory.mktemp("root")
    write(root / decoy / "other.parquet", -1)
    paths = [write(root / folder / f"{name}.parquet", number) for number, name in enumerate(names)]
    expected = {str(path) for path in paths}
    assert set(found(str(root / folder))) == expected
    # A file that is called so is what such a pattern means.
    matched = {str(root / folder / "*.parquet")} if "*" in names else expected
    assert set(found(str(root / folder / "*.parquet"))) == matched
    assert found(*map(str, paths)) == tuple(map(str, paths))
    before = os.getcwd()
    os.chdir(root)
    try:
        relative = found(folder)
        again = found(*relative)
        spec = SourceSpec("parquet", partitions=partition_types(relative, None))
        assert sorted(content(url, spec, root) for url in relative) == list(range(len(names)))
    finally:
        os.chdir(before)
    assert sorted(again) == sorted(relative)
    assert {str(root / url) for url in relative} == {str(root / p) for p in map(os.path.normpath, relative)}
    assert len(relative) == len(names)


@pytest.fixture
def bucket(moto_server: S3Server, tmp_path: Path) -> Iterator[str]:
    with environment(moto_server.environment):
        yield f"out/{tmp_path.name}"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(folder=NAMES, names=st.lists(NAMES, min_size=1, max_size=4, unique=True), decoy=NAMES, number=st.uuids())
def test_no_object_of_a_prefix_is_left_out_whatever_its_key(
    folder: str, names: list[str], decoy: str, number: object, bucket: str, tmp_path: Path
) -> None:
    """The same on S3, where a key may hold anything."""
    assume(decoy != folder)
    name, _, prefix = bucket.partition("/")
    fs = access.filesystem("s3://")
    data = write(tmp_path / "a.parquet").read_bytes()

    def put(key: str) -> str:
        fs.call_s3("put_object", Bucket=name, Key=f"{prefix}/{number}/{key}", Body=data)
        return f"s3://{bucket}/{number}/{key}"

    put(f"{decoy}/other.parquet")
    expected = [put(f"{folder}/{each}.parquet") for each in names]
    base = f"s3://{bucket}/{number}/{folder}"
    assert set(found(base)) == set(expected)
    assert set(found(f"{base}/*.parquet")) == ({f"{base}/*.parquet"} if "*" in names else set(expected))
    assert found(*expected) == tuple(expected)
    assert found(*(url.replace("s3://", "S3A://") for url in expected), *expected) == tuple(expected)
    spec = SourceSpec("parquet", partitions=partition_types(expected, None))
    assert [open_source(url, spec).events for url in expected] == [1] * len(expected)


def test_partition_columns_are_found_behind_any_folder(tmp_path: Path) -> None:
    """A question mark above them is a part of a name, but in a web address."""
    url = str(write(tmp_path / "what?#%41" / "year=2016" / "tag=a%20b" / "x.parquet"))
    assert partition_types([url], None) == (("year", "int64"), ("tag", "string"))
    assert partition_types(["s3://b/a?b/year=7/x.parquet"], None) == (("year", "int64"),)
    assert partition_types(["http://h/year=7/x.parquet?sig=/n=1/"], None) == (("year", "int64"),)
    assert told_format("s3://b/a?b.parquet") == told_format("http://h/a.parquet?b") == "parquet"
    assert told_format("http://h/a%2Eparquet") == "parquet"


def test_what_exists_literally_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a pattern, a tree, a list, a home folder, a comment, or a scheme."""
    monkeypatch.chdir(tmp_path)
    for name in ("x1/a.parquet", "x[1]/a.parquet", "x[1]/b.parquet", "~root/a.parquet", "@list.parquet"):
        write(Path(name))
    for name in ("generated:0-5.parquet", "f.root:Events", "a #b.parquet", "s3:/b/c.parquet"):
        write(Path(name))
    assert found("x[1]/*.parquet") == ("x[1]/a.parquet", "x[1]/b.parquet")
    assert found("x[12]/*.parquet") == ("x1/a.parquet",)
    assert found("~root/*.parquet") == found("~root") == ("./~root/a.parquet",)
    assert found("@list.parquet") == ("./@list.parquet",)
    assert found("generated:*.parquet") == ("./generated:0-5.parquet",)
    assert found("s3:/b/c.parquet") == ("./s3:/b/c.parquet",)
    assert find_inputs(["f.root:Events"]).tree is None
    assert find_inputs(["f.root:Events"]).urls == ("f.root:Events",)
    Path("list.txt").write_text("a #b.parquet\nx1/a.parquet # a comment\n# and more\n")
    assert found("@list.txt") == ("a #b.parquet", "x1/a.parquet")
    assert found(f"file://{tmp_path}/x[1]/a.parquet") == (str(tmp_path / "x[1]/a.parquet"),)
    assert found(f"file://localhost{tmp_path}/a%20%23b.parquet") == (str(tmp_path / "a #b.parquet"),)
    for name in found("*.parquet", "~root", "s3:/b"):
        assert content(name, SourceSpec("parquet"), tmp_path) == 0


def test_one_file_by_two_names_is_refused_by_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A symbolic link, a hard link, a linked folder: unless somebody wants its events twice."""
    monkeypatch.chdir(tmp_path)
    write(Path("data/a.parquet"))
    Path("soft.parquet").symlink_to("data/a.parquet")
    os.link("data/a.parquet", "hard.parquet")
    Path("folder").symlink_to("data")
    for link in ("soft.parquet", "hard.parquet", "folder/a.parquet"):
        assert found(link) == (link,)
        told = rf"data/a\.parquet and {link} are the same file \(a link\).*inputs\.duplicates: keep"
        with pytest.raises(InputError, match=told):
            found("data/a.parquet", link)
        assert found("data/a.parquet", link, keep_duplicates=True) == ("data/a.parquet", link)
    spelled = ("./data/a.parquet", "data//a.parquet", f"file://{tmp_path}/data/a.parquet", "data/../data/*")
    assert found(*spelled) == ("data/a.parquet",)


def test_a_folder_that_holds_other_files_too_asks_which_are_meant(tmp_path: Path) -> None:
    """To leave one out silently would be a smaller result; hidden ones are no part of a data set."""
    for name in ("a.parquet", "deep/b.PARQUET", "_SUCCESS", ".crc/x", "_temporary/c.parquet"):
        write(tmp_path / name)
    assert len(found(str(tmp_path))) == 2
    (tmp_path / "part-00002").touch()
    with pytest.raises(InputError, match=r"2 Parquet files, and 1 others, such as \S+part-00002\. Say which"):
        found(str(tmp_path))


@pytest.mark.parametrize("pattern", ["data/*.parquet", "data", "data/**", "d*/*.parquet", "**/b.parquet"])
def test_a_link_to_nothing_is_told_and_not_left_out(
    pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was not fetched, or a disk that is not there: its events would be missing without a word."""
    monkeypatch.chdir(tmp_path)
    write(Path("data/a.parquet"))
    Path("data/b.parquet").symlink_to("gone")
    with pytest.raises(
        InputError, match=r"matches data/b\.parquet, which .*: it is a broken link\. Repair or remove it"
    ):
        found(pattern)
    Path("data/b.parquet").unlink()
    Path("data/_b.parquet").symlink_to("gone")  # no part of a data set
    assert found("data") == found("data/a*") == ("data/a.parquet",)


@pytest.mark.parametrize("pattern", ["data", "data/**", "data/**/*.parquet", "data/*/*.parquet"])
def test_a_folder_that_cannot_be_listed_is_told_and_not_left_out(
    pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's glob goes on without it."""
    monkeypatch.chdir(tmp_path)
    write(Path("data/open/a.parquet"))
    write(Path("data/closed/b.parquet"))
    monkeypatch.setattr(os, "access", lambda path, mode: not os.fspath(path).rstrip("/").endswith("closed"))
    with pytest.raises(InputError, match=r"matches data/closed/?, which cannot be read: Permission denied"):
        found(pattern)


def test_a_pattern_means_the_parts_of_a_data_set_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spark calls a folder `x.parquet`, and beside files such a one was left out."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.parquet", "b.parquet/part-0.parquet", "b.parquet/_x=1/part-1.parquet", "c/d.parquet"):
        write(Path("data") / name)
    Path("data/b.parquet/_SUCCESS").touch()
    parts = ("data/b.parquet/_x=1/part-1.parquet", "data/b.parquet/part-0.parquet")
    assert found("data/*.parquet") == ("data/a.parquet", *parts)
    assert found("data/*") == ("data/a.parquet", *parts)
    assert found("data/**/*.parquet") == found("data") == ("data/a.parquet", *parts, "data/c/d.parquet")


def test_a_pattern_means_the_parts_of_a_data_set_on_s3_too(bucket: str, tmp_path: Path) -> None:
    """The same, where folders are only names."""
    name, _, prefix = bucket.partition("/")
    fs, data = access.filesystem("s3://"), write(tmp_path / "a.parquet").read_bytes()
    keys = ("a.parquet", "b.parquet/part-0.parquet", "b.parquet/_x=1/part-1.parquet", "c/d.parquet")
    for key in (*keys, "b.parquet/_SUCCESS"):
        fs.call_s3("put_object", Bucket=name, Key=f"{prefix}/set/{key}", Body=data)
    urls = {key: f"s3://{bucket}/set/{key}" for key in keys}
    assert set(found(f"s3://{bucket}/set/*.parquet")) == {url for key, url in urls.items() if key != "c/d.parquet"}
    assert set(found(f"s3://{bucket}/set")) == set(urls.values())


def test_a_link_to_a_folder_above_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was followed in circles, in as many ways as there are folders."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "c"):
        write(Path("data") / name / "x.parquet")
        Path("data", name, "up").symlink_to("..")
    assert found("data") == ("data/a/x.parquet", "data/b/x.parquet", "data/c/x.parquet")
