"""Whose a store is, on each store: the mark, what stands there unknown, and the names that count."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventmill.core.keys import is_merged_name, merged_name
from eventmill.core.records import CampaignRow, Rules
from eventmill.core.work_order import PayloadCode
from eventmill.errors import StoreTaken
from eventmill.ledger import Ledger, create_ledger
from eventmill.store import FolderStore, Store
from eventmill.work.store_mark import (
    check_store_is_free,
    check_store_is_ours,
    clear_store,
    hold_store,
    mark_key,
    merged_sizes,
    read_mark,
    shared_with,
)
from tests.engine.test_store import put, store

__all__ = ["store"]  # the fixture: a folder, and S3 servers that heed conditions and that ignore them

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)


def begun(folder: Path, ledger: str, name: str = "stars") -> tuple[Ledger, CampaignRow]:
    made = create_ledger(str(folder / f"{ledger}.sqlite"))
    code = PayloadCode("p.py:f", "p:f", "00", None)
    return made, made.open_campaign(
        name,
        spec={},
        rules=Rules(failures=2, losses=5, lease=timedelta(seconds=60), target=1.0),
        code=code,
        store_url="anywhere",
    )


def test_the_first_campaign_has_the_store_and_another_of_its_name_is_refused(store: Store, tmp_path: Path) -> None:
    """Both ledgers say that the campaign is their first; the store tells them apart."""
    mine, stars = begun(tmp_path, "mine")
    other, same_name = begun(tmp_path, "other")
    assert stars.uid != same_name.uid
    hold_store(mine, store, stars)
    hold_store(mine, store, stars)
    for refused in (hold_store, lambda *of: check_store_is_ours(*of, suffix="parquet")):
        with pytest.raises(
            StoreTaken,
            match=r"has the results of a campaign 'stars' that .* begun .*mine\.sqlite.*restart",
        ):
            refused(other, store, same_name)
    with pytest.raises(StoreTaken, match="results of a campaign"):
        check_store_is_free(store, "stars", suffix="parquet")
    check_store_is_free(store, "starsky", suffix="parquet")


def test_of_many_that_begin_at_once_one_has_the_store(store: Store, tmp_path: Path) -> None:
    """Where the server ignores conditions, each looks again before it shows a file, and one of them goes on."""
    all_begun = [begun(tmp_path, f"ledger{n}") for n in range(6)]

    def holds(one: tuple[Ledger, CampaignRow]) -> bool:
        try:
            hold_store(one[0], store, one[1])
        except StoreTaken:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(holds, all_begun))
    assert [holds(one) for one in all_begun].count(True) == 1


def test_a_mark_that_nobody_can_read_is_nobodys(store: Store, tmp_path: Path) -> None:
    """Half a file, or something else of that name: refused, not taken for ours, and no traceback."""
    ledger, stars = begun(tmp_path, "ledger")
    for text in (
        b"",
        b"{",
        b"[1]",
        b"\xff\xfe",
        b'{"campaign": "stars"}',
        b'{"id": 7, "more": 1}',
        b"null",
        b"[" * 90_000,
    ):
        store.delete([mark_key("stars")])
        put(store, mark_key("stars"), text, tmp_path / "scratch")
        with pytest.raises(StoreTaken, match="results of a campaign 'stars'"):
            hold_store(ledger, store, stars)


def test_merged_files_that_the_ledger_does_not_know_are_named(store: Store, tmp_path: Path) -> None:
    """Those of this campaign's names only: none of campaigns whose names begin alike, nor notes beside them."""
    ledger, stars = begun(tmp_path, "ledger")
    strangers = [merged_name("stars", 0, 10, "parquet"), merged_name("stars", 10, 20, "7.parquet")]
    others = [
        merged_name("stars-2", 0, 10, "parquet"),
        merged_name("stars-000000000000", 0, 10, "parquet"),
        f"deeper/{strangers[0]}",
        f"{strangers[0]}.md5",
        "stars-notes.txt",
        "_stars-manifest.json",
    ]
    for key in [*strangers, *others]:
        put(store, key, b"content", tmp_path / "scratch")
    assert merged_sizes(store, "stars", suffix="parquet") == dict.fromkeys(strangers, 7)
    with pytest.raises(StoreTaken, match=r"2 merged files of campaign 'stars' that this ledger does not know"):
        check_store_is_ours(ledger, store, stars, suffix="parquet")
    with pytest.raises(StoreTaken, match=r"2 merged files of a campaign 'stars'"):
        check_store_is_free(store, "stars", suffix="parquet")

    clear_store(store, "stars", suffix="parquet")
    check_store_is_ours(ledger, store, stars, suffix="parquet")
    assert sorted(store.keys()) == sorted(set(others) - {"_stars-manifest.json"})
    assert read_mark(store, "stars") is None


def test_outputs_newer_than_the_ledger_show_that_it_is_an_old_copy(store: Store, tmp_path: Path) -> None:
    """An attempt that this ledger never drew can only be another history's."""
    ledger, stars = begun(tmp_path, "ledger")
    attempt = ledger.acquire_leadership(stars.id, "somebody", is_gone=lambda holder: True).attempt
    put(store, f"_ranges/stars/{attempt}/0-0-5-aa.arrow", b"content", tmp_path / "scratch")
    for name in ("²-aa", "notes", "1" * 200):  # of nobody's attempt
        put(store, f"_ranges/stars/{name}/0-0-5-aa.arrow", b"content", tmp_path / "scratch")
    check_store_is_ours(ledger, store, stars, suffix="parquet")
    put(store, f"_staged/stars/{attempt + 1}-aa.parquet", b"content", tmp_path / "scratch")
    with pytest.raises(
        StoreTaken, match=rf"attempt {attempt + 1} of campaign 'stars', .* knows only {attempt} attempts"
    ):
        check_store_is_ours(ledger, store, stars, suffix="parquet")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    one=NAMES,
    other=NAMES,
    start=st.integers(0, 10**13),
    events=st.integers(1, 10**6),
    suffix=st.sampled_from(["parquet", "root", "zip", "jsonl.gz"]),
    again=st.none() | st.integers(1, 10**9),
)
def test_a_merged_file_bears_the_name_of_its_campaign_alone(
    one: str, other: str, start: int, events: int, suffix: str, again: int | None
) -> None:
    """The law of names: whatever two campaigns are called, a file of one is never taken for one of the other."""
    ending = suffix if again is None else f"{again}.{suffix}"
    key = merged_name(one, start, start + events, ending)
    assert is_merged_name(key, campaign=one, suffix=suffix)
    assert one == other or not is_merged_name(key, campaign=other, suffix=suffix)
    assert not is_merged_name(merged_name(f"{one}-{start:012d}", 0, 1, ending), campaign=one, suffix=suffix)


def test_the_sizes_at_the_top_of_a_store(store: Store, tmp_path: Path) -> None:
    """One listing: what begins so, not what stands deeper, nothing of a store that is not there yet."""
    assert store.sizes("a") == {}
    for key, size in {"a": 0, "ab": 3, "b": 1, "ac/c": 2, "_a": 1}.items():
        put(store, key, b"x" * size, tmp_path / "scratch")
    assert store.sizes("a") == {"a": 0, "ab": 3}
    assert store.sizes("") == {"a": 0, "ab": 3, "b": 1, "_a": 1}


def test_campaigns_of_other_names_in_a_store_are_a_warning(tmp_path: Path) -> None:
    """They overwrite nothing, but who reads the whole folder reads both."""
    store = FolderStore(tmp_path / "out")
    assert shared_with(store, "a") is None
    (tmp_path / "out").mkdir(exist_ok=True)
    for name in ("a", "a-b"):
        (tmp_path / "out" / f"_{name}-campaign.json").write_text("{}")
    told = shared_with(store, "a")
    assert (
        told is not None
        and "has results of the campaign 'a-b', too" in told
        and told.endswith("or read a-[0-9]*.")
    )
    assert "campaigns 'a', 'a-b', too" in (shared_with(store, "c") or "")
