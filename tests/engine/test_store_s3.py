"""What only a store on S3 has to say: parts, conditions, batches, retries, and who one is."""

from __future__ import annotations

import base64
import hashlib
import os
import pickle
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import stamina

from eventmill import access
from eventmill.access.s3 import Bucket
from eventmill.errors import StoreError
from eventmill.store import Store, open_store, s3, s3_multipart, s3_stream
from tests.servers import KEY, SECRET, S3Server, environment

MIB = 1 << 20


@pytest.fixture(params=["rclone", "moto"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    server: S3Server = request.getfixturevalue(f"{request.param}_server")
    with environment(server.environment), stamina.set_testing(True, attempts=2):
        yield open_store(f"s3://out/{tmp_path.name}")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts as small as S3 allows, so that 12 MiB are large."""
    monkeypatch.setattr(s3, "ONE_PUT_BYTES", 6 * MIB)
    monkeypatch.setattr(s3, "ONE_COPY_BYTES", 6 * MIB)
    monkeypatch.setattr(s3_multipart, "PART_BYTES", 5 * MIB)
    monkeypatch.setattr(s3_multipart, "COPIED_BYTES", 5 * MIB)
    monkeypatch.setattr(s3_stream, "FIRST_BYTES", MIB)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "scratch.bin"
    path.write_bytes(os.urandom(12 * MIB))
    return path


@pytest.mark.usefixtures("small_parts")
def test_a_large_file_goes_in_parts_and_is_read_by_ranges(store: Store, source: Path) -> None:
    """With size and checksum of the whole; a seek costs what is read, not what lies between."""
    stored = store.put("large", source)
    store.verify("large", bytes=stored.bytes, sha256=stored.sha256)
    with store.open("large") as reader:
        reader.seek(-10, os.SEEK_END)
        assert reader.read() == source.read_bytes()[-10:]
        reader.seek(7 * MIB)
        assert reader.read(100) == source.read_bytes()[7 * MIB : 7 * MIB + 100]
    with pytest.raises(StoreError, match="it already exists"):
        store.put("large", source)


@pytest.mark.usefixtures("small_parts")
def test_each_body_goes_with_its_md5(
    moto_server: S3Server, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also that of a part, so that a server can refuse what was damaged on its way."""
    from s3fs import S3FileSystem

    real = S3FileSystem._call_s3
    sent: list[tuple[str, bool]] = []

    async def call(self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        if "Body" in kwargs:
            body = kwargs["Body"] if isinstance(kwargs["Body"], bytes) else kwargs["Body"].read()
            digest = hashlib.md5(body, usedforsecurity=False).digest()
            sent.append((name, base64.b64decode(kwargs["ContentMD5"]) == digest))
            kwargs["Body"] = body
        return await real(self, name, *args, **kwargs)

    monkeypatch.setattr(S3FileSystem, "call_s3", _waiting(call))
    (tmp_path / "small").write_bytes(b"x")
    with environment(moto_server.environment):
        store = open_store(f"s3://out/{tmp_path.name}")
        store.put("large", source)
        store.put("small", tmp_path / "small")
    assert len(sent) >= 3
    assert {name for name, _ in sent} >= {"put_object", "upload_part"}
    assert all(right for _, right in sent)


@pytest.mark.usefixtures("small_parts")
def test_a_large_object_is_published_in_parts(moto_server: S3Server, source: Path, tmp_path: Path) -> None:
    """With its metadata, and harmless twice."""
    with environment(moto_server.environment):
        store = open_store(f"s3://out/{tmp_path.name}")
        stored = store.put("staged", source)
        for _ in range(2):
            store.publish("staged", "merged")
        store.verify("merged", bytes=stored.bytes, sha256=stored.sha256)
        head = Bucket("out").call("head_object", Key=f"{tmp_path.name}/merged")
        assert head["Metadata"]["eventmill-sha256"] == stored.sha256
        assert list(store.keys()) == ["merged"]


def failing(monkeypatch: pytest.MonkeyPatch, method: str, status: int, code: str, *, after: int = 0) -> list[str]:
    """Refuse every call of `method` but the first `after`, in a server's words; gives the calls that were made."""
    from botocore.exceptions import ClientError
    from s3fs import S3FileSystem

    made: list[str] = []
    real = S3FileSystem._call_s3

    async def call(self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        made.append(name)
        if name == method and made.count(name) > after:
            answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
            raise OSError("refused") from ClientError(answer, name)  # type: ignore[arg-type]
        return await real(self, name, *args, **kwargs)

    monkeypatch.setattr(S3FileSystem, "_call_s3", call)
    monkeypatch.setattr(S3FileSystem, "call_s3", _waiting(call))
    return made


def _waiting(call: Any) -> Any:
    from fsspec.asyn import sync

    return lambda self, *args, **kwargs: sync(self.loop, call, self, *args, **kwargs)


@pytest.mark.usefixtures("small_parts")
def test_an_upload_that_fails_is_aborted(
    moto_server: S3Server, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No object appears, and no part of one stays."""
    with environment(moto_server.environment), stamina.set_testing(True, attempts=2):
        store = open_store(f"s3://out/{tmp_path.name}")
        made = failing(monkeypatch, "upload_part", 500, "InternalError", after=1)
        with pytest.raises(StoreError, match=r"large cannot be stored in .* answered 500 InternalError"):
            store.put("large", source)
        assert made.count("abort_multipart_upload") == 1
        assert list(store.keys()) == []
        assert not Bucket("out").call("list_multipart_uploads", Prefix=tmp_path.name).get("Uploads")


def test_only_stale_uploads_are_swept(  # moto says of every upload that it began in 2010
    rclone_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that began just now has a living writer; below another prefix it is somebody else's."""
    with environment(rclone_server.environment):
        store, bucket = open_store(f"s3://out/{tmp_path.name}"), Bucket("out")
        bucket.call("create_multipart_upload", Key=f"{tmp_path.name}/a")
        other = bucket.call("create_multipart_upload", Key=f"{tmp_path.name}-other/a")
        assert store.sweep_temporaries() == 0
        monkeypatch.setattr(s3, "STALE", timedelta(days=-1))
        assert store.sweep_temporaries() == 1
        assert store.sweep_temporaries() == 0
        bucket.call("abort_multipart_upload", Key=f"{tmp_path.name}-other/a", UploadId=other["UploadId"])


@pytest.mark.parametrize(("status", "code"), [(501, "NotImplemented"), (400, "InvalidArgument")])
def test_a_server_that_refuses_conditions_still_stores(
    store: Store, source: Path, monkeypatch: pytest.MonkeyPatch, status: int, code: str
) -> None:
    """It is asked once with a condition, and from then on without."""
    from s3fs import S3FileSystem

    monkeypatch.setattr(s3, "_unconditional", set())
    conditions: list[object] = []
    failing(monkeypatch, "nothing", 500, "")
    real = S3FileSystem._call_s3

    async def call(self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        from botocore.exceptions import ClientError

        if name == "put_object":
            conditions.append(kwargs.get("IfNoneMatch"))
            if "IfNoneMatch" in kwargs:
                answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
                raise OSError("refused") from ClientError(answer, name)  # type: ignore[arg-type]
        return await real(self, name, *args, **kwargs)

    monkeypatch.setattr(S3FileSystem, "call_s3", _waiting(call))
    for key in ("a", "b"):
        store.put(key, source)
    assert conditions == ["*", None, None]
    with pytest.raises(StoreError, match="it already exists"):
        store.put("a", source)


def test_a_server_without_batches_deletes_one_by_one(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some want a Content-MD5 that botocore no longer sends."""
    (tmp_path / "small").write_bytes(b"x")
    keys = [f"k/{n}" for n in range(5)]
    for key in keys:
        store.put(key, tmp_path / "small")
    made = failing(monkeypatch, "delete_objects", 400, "InvalidRequest")
    store.delete([*keys, "k/never"])
    assert list(store.keys()) == []
    assert made.count("delete_object") == 6


def test_more_keys_than_fit_into_one_answer(moto_server: S3Server, tmp_path: Path) -> None:
    """Listed page by page, deleted in batches."""
    (tmp_path / "small").write_bytes(b"x")
    with environment(moto_server.environment):
        store = open_store(f"s3://out/{tmp_path.name}")
        bucket = Bucket("out")
        for n in range(1005):
            bucket.call("put_object", Key=f"{tmp_path.name}/{n:04}", Body=b"")
        assert list(store.keys()) == [f"{n:04}" for n in range(1005)]
        store.delete(list(store.keys()))
        assert list(store.keys()) == []


def test_a_key_that_the_server_lists_twice_is_there_once(
    store: Store, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rclone does, for a moment, with an object that several have just made."""
    store.put("a", source)
    real = Bucket.call

    def twice(self: Bucket, method: str, **values: Any) -> dict[str, Any]:
        answer = real(self, method, **values)
        return {**answer, "Contents": 2 * answer["Contents"]} if "Contents" in answer else answer

    monkeypatch.setattr(Bucket, "call", twice)
    assert list(store.keys()) == ["a"]


def test_publishing_what_another_one_publishes_meanwhile(
    store: Store, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both objects are there when it looks; when it compares them, the other one has dropped the first."""
    store.put("staged", source)
    store.put("merged", source)
    real = s3.S3Store._same

    def late(self: s3.S3Store, *objects: Any) -> bool:
        self.delete(["staged"])
        return real(self, objects[0], {**objects[1], "Metadata": {}}, *objects[2:])  # compared by reading

    monkeypatch.setattr(s3.S3Store, "_same", late)
    store.publish("staged", "merged")
    assert list(store.keys()) == ["merged"]


def test_a_repeated_put_recognises_its_own_work(
    store: Store, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first request arrived, its answer did not: the second finds the object, and whose it is."""
    from s3fs import S3FileSystem

    real = S3FileSystem._call_s3
    lost: list[str] = []

    async def call(self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        answer = await real(self, name, *args, **kwargs)
        if name == "put_object" and not lost:
            lost.append(name)
            raise ConnectionResetError("the answer was lost")
        return answer

    monkeypatch.setattr(S3FileSystem, "call_s3", _waiting(call))
    stored = store.put("a", source)
    store.verify("a", bytes=stored.bytes, sha256=stored.sha256)


# What is wrong is said on one line, and never with a secret

WRONG = [
    ({"AWS_SECRET_ACCESS_KEY": "not-" + SECRET}, "s3://out/x", "the secret key is wrong for http://127"),
    ({"AWS_ACCESS_KEY_ID": "nobody"}, "s3://out/x", "does not know this access key. Check AWS_ACCESS_KEY_ID"),
    ({}, "s3://nowhere/x", "there is no bucket 'nowhere' at http://127"),
    ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "s3://out/x", "cannot reach http://127.0.0.1:9"),
    ({"AWS_PROFILE": "nobody"}, "s3://out/x", "ProfileNotFound"),
]


@pytest.mark.parametrize(("changed", "url", "said"), WRONG)
def test_what_is_wrong_is_one_clear_line(
    rclone_server: S3Server, tmp_path: Path, changed: dict[str, str], url: str, said: str
) -> None:
    """By every verb, with the endpoint or the bucket and what to check."""
    (tmp_path / "small").write_bytes(b"x")
    with environment(rclone_server.environment | changed), stamina.set_testing(True, attempts=2):
        store = open_store(url)
        for verb in (
            store.check,
            lambda: store.put("a", tmp_path / "small"),
            lambda: store.publish("a", "b") if "bucket" not in said else store.check(),
            lambda: list(store.keys()),
        ):
            with pytest.raises(StoreError) as error:
                verb()
            assert said in str(error.value) and "\n" not in str(error.value)
            assert SECRET not in str(error.value)


def test_checking_leaves_nothing_behind(store: Store) -> None:
    """It puts and deletes; nothing less tells whether one may write."""
    assert store.check().startswith(f"{store.url} at http://127")
    assert list(store.keys()) == []


# Credentials by name


def test_credentials_are_used_by_name_and_do_not_travel(rclone_server: S3Server, tmp_path: Path) -> None:
    """The store, its pickle and its words hold the name alone."""
    (tmp_path / "small").write_bytes(b"x")
    access.grant("secret/mine", {"key": KEY, "secret": SECRET, "endpoint_url": rclone_server.endpoint})
    access.grant("secret/bad", {"key": KEY, "secret": "x" + SECRET, "endpoint_url": rclone_server.endpoint})
    with environment({}):
        store = open_store(f"s3://out/{tmp_path.name}", credentials="secret/mine")
        pickled = pickle.dumps(store)
        assert SECRET.encode() not in pickled
        pickle.loads(pickled).put("a", tmp_path / "small")
        assert list(store.keys()) == ["a"]
        with pytest.raises(StoreError, match=r"the secret key is wrong for .*Check 'secret/bad'") as error:
            open_store("s3://out/a", credentials="secret/bad").put("a", tmp_path / "small")
        assert SECRET not in str(error.value)
    held = access.credentials("secret/mine")
    assert SECRET not in repr(held) and SECRET not in str(held)
    with pytest.raises(TypeError, match="credentials are never sent"):
        pickle.dumps(held)


def test_names_that_nobody_knows_and_values_that_nobody_reads_are_refused() -> None:
    """By name, never with a value."""
    with pytest.raises(access.AccessError, match=r"unknown keys: passwrd; known: key, secret") as error:
        access.grant("secret/mine", {"passwrd": SECRET})
    assert SECRET not in str(error.value)
    with pytest.raises(StoreError, match="secret/nobody"):
        open_store("s3://out/a", credentials="secret/nobody").size("a")


def test_a_url_with_a_secret_inside_is_refused_and_not_repeated() -> None:
    """It would end in logs and ledgers."""
    with pytest.raises(StoreError, match="contains a password or secret key") as error:
        open_store(f"s3://{KEY}:{SECRET}@out/a")
    assert SECRET not in str(error.value)
