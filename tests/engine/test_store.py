"""The contract of a store, held by every one of them: folder and S3."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventmill.errors import CorruptOutput, StoreError
from eventmill.store import Store, Stored, open_store
from tests.servers import S3Server, environment

TEXT = b"forty-two events"


@pytest.fixture(params=["folder", "rclone", "moto"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store: in a folder, on a server that ignores conditions, on one that heeds them."""
    if request.param == "folder":
        yield open_store(str(tmp_path / "store"))
        return
    server: S3Server = request.getfixturevalue(f"{request.param}_server")
    with environment(server.environment):
        yield open_store(f"s3://out/{tmp_path.name}/store")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "scratch.bin"
    path.write_bytes(TEXT)
    return path


def put(store: Store, key: str, content: bytes, scratch: Path) -> Stored:
    scratch.write_bytes(content)
    return store.put(key, scratch)


def content(store: Store, key: str) -> bytes:
    with store.open(key) as reader:
        return reader.read()


# The contract


def test_what_was_put_is_there_with_size_and_checksum(store: Store, source: Path) -> None:
    """What comes out is what went in, and the store says what it weighs."""
    stored = store.put("runs/7/a.parquet", source)
    assert stored == Stored("runs/7/a.parquet", len(TEXT), hashlib.sha256(TEXT).hexdigest())
    assert content(store, stored.key) == TEXT
    assert store.size(stored.key) == len(TEXT)
    store.verify(stored.key, bytes=stored.bytes, sha256=stored.sha256)
    assert source.read_bytes() == TEXT


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3_000_000])
def test_any_size_is_stored(store: Store, tmp_path: Path, size: int) -> None:
    """Nothing is lost where one piece of the copy ends and the next begins."""
    data = os.urandom(size)
    stored = put(store, "a", data, tmp_path / "scratch")
    assert (stored.bytes, stored.sha256) == (size, hashlib.sha256(data).hexdigest())
    assert content(store, "a") == data


def test_what_is_opened_can_be_sought(store: Store, source: Path) -> None:
    """A Parquet reader begins at the end."""
    store.put("a", source)
    with store.open("a") as reader:
        reader.seek(-6, os.SEEK_END)
        assert reader.read() == b"events"


def test_a_key_is_never_overwritten(store: Store, source: Path, tmp_path: Path) -> None:
    """A second put is refused and the first stays."""
    store.put("a", source)
    with pytest.raises(StoreError, match=r"a cannot be stored in .*: it already exists"):
        put(store, "a", b"other", tmp_path / "other")
    assert content(store, "a") == TEXT


@pytest.mark.parametrize("store", ["folder", "moto"], indirect=True)  # rclone ignores the condition
def test_of_many_puts_of_one_key_exactly_one_wins(store: Store, tmp_path: Path) -> None:
    """Also when they come at once, and the object is the winner's."""

    def attempt(number: int) -> str | None:
        with contextlib.suppress(StoreError):
            return put(store, "a/b", b"%d" % number * 1000, tmp_path / f"scratch{number}").sha256
        return None

    with ThreadPoolExecutor(8) as pool:
        won = [sha256 for sha256 in pool.map(attempt, range(32)) if sha256]
    assert len(won) == 1
    store.verify("a/b", bytes=store.size("a/b") or 0, sha256=won[0])


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "..", "a/../b", "../a", ".", "a/./b", ".a", "a/.b", "a\0"]
)
def test_what_is_no_key_is_refused(store: Store, source: Path, key: str) -> None:
    """No key leads out of the store, or to what the store hides."""
    with pytest.raises(StoreError, match="is not a valid key"):
        store.put(key, source)
    with pytest.raises(StoreError, match="is not a valid key"):
        store.delete([key])


def test_a_missing_object_is_corrupt_output(store: Store) -> None:
    """Opening and verifying say the same, looking at its size says None."""
    with pytest.raises(CorruptOutput, match=r"a/b is missing in .*store"):
        store.open("a/b")
    with pytest.raises(CorruptOutput, match="missing"):
        store.verify("a/b", bytes=1, sha256="00")
    assert store.size("a/b") is None


def test_verify_names_what_was_expected_and_found(store: Store, source: Path) -> None:
    """The size is compared first, then the checksum."""
    stored = store.put("a", source)
    with pytest.raises(CorruptOutput, match="has 16 bytes, but 17 were recorded"):
        store.verify("a", bytes=17, sha256=stored.sha256)
    with pytest.raises(CorruptOutput, match=f"has SHA-256 {stored.sha256}, but 00ff"):
        store.verify("a", bytes=16, sha256="00ff")


def test_publishing_moves_an_object_and_is_harmless_twice(store: Store, source: Path) -> None:
    """After it, only the final key is there; a second time nothing changes."""
    store.put("staged/1", source)
    for _ in range(2):
        store.publish("staged/1", "merged/one.parquet")
        assert list(store.keys()) == ["merged/one.parquet"]
        assert content(store, "merged/one.parquet") == TEXT


def test_publishing_the_same_content_again_drops_the_second(store: Store, source: Path) -> None:
    """Two mergers may both have made the file."""
    for staged in ("staged/1", "staged/2"):
        store.put(staged, source)
        store.publish(staged, "merged")
    assert list(store.keys()) == ["merged"]


def test_publishing_over_something_else_is_refused(store: Store, source: Path, tmp_path: Path) -> None:
    """Neither object is touched."""
    store.put("merged", source)
    put(store, "staged", b"other", tmp_path / "other")
    with pytest.raises(StoreError, match="staged cannot be published as merged"):
        store.publish("staged", "merged")
    assert (content(store, "merged"), content(store, "staged")) == (TEXT, b"other")


def test_publishing_what_was_never_staged_is_an_error(store: Store) -> None:
    """Neither key exists, and that is said."""
    with pytest.raises(StoreError, match=r"staged/1 cannot be published as merged/1 .*neither"):
        store.publish("staged/1", "merged/1")
    assert list(store.keys()) == []


def test_many_may_publish_at_once(store: Store, source: Path) -> None:
    """Whoever comes second finds it done."""
    store.put("staged/1", source)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.publish("staged/1", "merged/1"), range(32)))
    assert list(store.keys()) == ["merged/1"]


def test_deleting_forgives_what_is_missing(store: Store, source: Path) -> None:
    """Deleting twice, or what never was, is no error; the rest stays."""
    for key in ("a/1", "a/2", "b/1"):
        store.put(key, source)
    store.delete(["a/1", "a/1", "never/was", "a/2", "b/2/below"])
    assert list(store.keys()) == ["b/1"]


def test_keys_lists_what_is_below_a_prefix(store: Store, source: Path) -> None:
    """Prefixes are whole parts, and a prefix that is nowhere has nothing below it."""
    for key in ("ab/c", "a/b/c", "a/b/d", "a-b/c", "a/z"):
        store.put(key, source)
    assert list(store.keys()) == ["a-b/c", "a/b/c", "a/b/d", "a/z", "ab/c"]
    assert list(store.keys("a")) == ["a/b/c", "a/b/d", "a/z"]
    assert list(store.keys("a/b/")) == ["a/b/c", "a/b/d"]
    assert list(store.keys("nowhere")) == list(store.keys("a/z")) == []


PART = st.text(alphabet="ab-.0é ", min_size=1, max_size=3).filter(lambda part: not part.startswith("."))
FOLDERS = st.lists(PART, max_size=2)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.sets(st.tuples(FOLDERS.map(tuple), PART), max_size=8))
def test_a_store_is_a_sorted_set_of_keys(
    store: Store, source: Path, places: set[tuple[tuple[str, ...], str]]
) -> None:
    """Whatever was put is listed once and sorted, and after deleting it nothing is left."""
    # Folders and objects are told apart here: on a disk no name can be both.
    keys = {"/".join((*(f"{part}d" for part in folders), f"{name}f")) for folders, name in places}
    for key in keys:
        store.put(key, source)
    assert list(store.keys()) == sorted(keys)
    store.delete(keys)
    assert list(store.keys()) == []


def test_unknown_stores_are_refused_by_name(source: Path) -> None:
    """The message says which there are."""
    with pytest.raises(StoreError, match=r"gopher://x: there is no store for 'gopher://'; use file://, s3://"):
        open_store("gopher://x")
