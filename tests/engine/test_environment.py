"""What software a campaign may ask for, how its lock file is read, and what is missing where it is looked for."""

from __future__ import annotations

import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmill.campaign.environment import environment_changes
from eventmill.config.campaign_spec import parse_campaign
from eventmill.config.lock_file import as_pin, read_lock
from eventmill.core.environment import Environment
from eventmill.errors import CampaignError, EventmillError
from eventmill.runtime.software import IMAGE_VARIABLES, in_one_line, lacking
from tests.engine.test_campaign_file import SMALLEST, refused

NUMPY = version("numpy")

REQUIREMENTS = """\
# made by uv
--index-url https://pypi.org/simple
NumPy==2.1.0 \\
    --hash=sha256:94edc256424af38762eb31306eed28beb9f0efc50a8837492c9d6fd6004aed79 \\
    --hash=sha256:d7193f7c8e4e93f444fde0262bf90af30e16fa0ad0ad44cb553c87339b23cd1c
    # via pandas

pywin32==306 ; sys_platform == 'win32' --hash=sha256:94ed
scikit_learn[extra]==1.5.2  # the models
"""

PYLOCK = """\
lock-version = "1.0"
created-by = "uv"
[[packages]]
name = "numpy"
version = "2.1.0"
[[packages]]
name = "pywin32"
version = "306"
marker = "sys_platform == 'win32'"
"""


def lock(folder: Path, text: str, name: str = "requirements.lock") -> tuple[str, ...]:
    (folder / name).write_text(text)
    return read_lock(name, folder=folder)


def test_a_requirements_file_is_its_pins(tmp_path: Path) -> None:
    """Hashes, comments and where packages come from mean nothing here; names are written in one way."""
    wanted = ("numpy==2.1.0", 'pywin32==306; sys_platform == "win32"', "scikit-learn==1.5.2")
    assert lock(tmp_path, REQUIREMENTS) == wanted
    assert lock(tmp_path, PYLOCK, "pylock.toml") == wanted[:2]


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("a==1\n\nb>=2\n", "r.txt", r"r\.txt:3: 'b>=2' does not pin one version; write name==version"),
        ("a==1.*\n", "r.txt", r"r\.txt:1: 'a==1\.\*' does not pin one version"),
        ("a==1\nb==2,!=3\n", "r.txt", r"r\.txt:2: 'b==2,!=3' does not pin one version"),
        ("a\n", "r.txt", r"r\.txt:1: 'a' does not pin one version"),
        ("what is this\n", "r.txt", r"r\.txt:1: 'what is this' is no package with a version: "),
        ("a==1; what == 'b'\n", "r.txt", r"r\.txt:1: "),
        ("a @ https://example.org/a.whl\n", "r.txt", r"r\.txt:1: .* names an address, not a version"),
        ("a==1\n-r other.txt\n", "r.txt", r"r\.txt:2: '-r other\.txt' is not followed; give one file .*uv export"),
        ("-e .\n", "r.txt", r"r\.txt:1: '-e \.' is not followed"),
        ("# nothing\n", "r.txt", "pins no package"),
        ("version = 1\n", "uv.lock", "cannot be read; give a requirements file: 'uv export"),
        ("version = 1\n", "pylock.toml", "is no pylock.toml: it has no list 'packages'"),
        ("packages =\n", "pylock.toml", "is not valid TOML"),
        ("a==1\nb==1\na[x]==2\n", "r.txt", "r.txt: a cannot be 1 and 2 at once; pin one version"),
        ("a==1+cu118\na==1+cu121\n", "r.txt", r"a cannot be 1\+cu118 and 1\+cu121 at once"),
        ("[[packages]]\nname = 'mine'\n", "pylock.toml", r"packages\[0\] \(mine\) has no version to be checked"),
        (
            "[[packages]]\nname = 'a'\nversion = '1'\nmarker = \"what == 'b'\"\n",
            "pylock.toml",
            r"packages\[0\]: .*what",
        ),
    ],
)
def test_what_is_no_pin_is_told_with_its_line(text: str, name: str, said: str, tmp_path: Path) -> None:
    """One line, with the key, the file and the line."""
    with pytest.raises(CampaignError, match=said) as error:
        lock(tmp_path, text, name)
    assert "\n" not in str(error.value) and "'payload.environment.packages': " in str(error.value)


def test_a_lock_file_from_windows_is_read(tmp_path: Path) -> None:
    """It may begin with a byte order mark, and its lines end in another way."""
    (tmp_path / "r.txt").write_bytes(b"\xef\xbb\xbfa==1\r\nb==2 \\\r\n  --hash=sha256:00\r\n")
    assert read_lock("r.txt", folder=tmp_path) == ("a==1", "b==2")


def test_versions_that_one_place_may_have_do_not_contradict_each_other(tmp_path: Path) -> None:
    """Of other places, of the same version written in two ways, and of a build of it."""
    text = "a==1; python_version < '3'\na==2; python_version >= '3'\nb==1\nb==1.0\nc==1\nc==1+cu118\nd==1!2\n"
    assert len(lock(tmp_path, text)) == 7


def test_a_lock_file_must_be_there_and_be_text(tmp_path: Path) -> None:
    """The path is told, and what is wrong with it."""
    with pytest.raises(EventmillError, match=r"the lock file .*gone\.txt does not exist"):
        read_lock("gone.txt", folder=tmp_path)
    (tmp_path / "r.txt").write_bytes(b"a==1\n\xff")
    with pytest.raises(CampaignError, match="is not text: byte 5 is not UTF-8"):
        read_lock("r.txt", folder=tmp_path)
    with pytest.raises(CampaignError, match="cannot be read: Is a directory"):
        read_lock(".", folder=tmp_path)


@given(st.text(max_size=40))
def test_whatever_a_line_has_is_a_pin_or_told(text: str) -> None:
    """And a pin is read as itself."""
    try:
        pin = as_pin(text)
    except ValueError:
        return
    assert as_pin(pin) == pin


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("lock.txt", {"packages": "lock.txt", "path": None, "image": None}),
        (Path("lock.txt"), {"packages": "lock.txt", "path": None, "image": None}),
        (["b==2", "A==1", "b==2"], {"packages": ["a==1", "b==2"], "path": None, "image": None}),
        ({"path": "/cvmfs/x"}, {"packages": None, "path": "/cvmfs/x", "image": None}),
        ({"image": "i:1"}, {"packages": None, "path": None, "image": "i:1"}),
    ],
)
def test_any_part_of_an_environment_is_enough(given: Any, wanted: dict[str, Any]) -> None:
    """A text is a lock file, a list has the pins themselves."""
    payload = SMALLEST["payload"] | {"environment": given}
    made = parse_campaign(SMALLEST | {"payload": payload}, source="c.yaml").model_dump(mode="json")
    assert made["payload"]["environment"] == wanted
    assert parse_campaign(made, source="c.yaml").model_dump(mode="json") == made


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"environment": {}}, "'payload.environment': give 'packages', 'path' or 'image'"),
        ({"environment": ["a>1"]}, "'payload.environment.packages': 'a>1' does not pin one version"),
        ({"environment": ["a==1", "A==2"]}, "a cannot be 1 and 2 at once; pin one version"),
        ({"environment": {"path": "data"}}, "'data' would be another place on each host; give an absolute path"),
        ({"environment": {"images": "x"}}, "'payload.environment.images' (did you mean 'image'?)"),
        ({"environment": {"packages": 7}}, "'payload.environment.packages' must be a text, not 7"),
        ({"needs": {"gpus": 0}}, "'payload.needs.gpus' must be more than 0, not 0"),
        ({"needs": {"cores": "many"}}, "'payload.needs.cores' must be a whole number, not 'many'"),
        ({"needs": {"memory": 2}}, "'payload.needs.memory': 2 bytes is too little"),
        ({"needs": {"sites": []}}, "'payload.needs.sites' must have at least 1 item"),
        ({"needs": {"gpu": 1}}, "unknown key 'payload.needs.gpu' (did you mean 'gpus'?)"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(change: dict[str, Any], said: str) -> None:
    """With the key, and what may stand there."""
    assert said in refused(SMALLEST | {"payload": SMALLEST["payload"] | change})


def test_packages_are_here_in_their_versions_or_told_with_what_is() -> None:
    """A pin whose marker is for another place does not count."""
    here = Environment((f"numpy=={NUMPY}", 'pywin32==1; sys_platform == "win32"'))
    assert lacking(here) == ()
    asked = Environment(("numpy==0.1", "no-such-package==1.2.3", f"pyarrow=={version('pyarrow')}"))
    assert lacking(asked) == (f"numpy 0.1 (found {NUMPY})", "no-such-package 1.2.3 (not installed)")
    assert lacking(asked) == lacking(asked)
    assert lacking(None) == ()


def test_a_build_of_a_version_is_that_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As PEP 440 has it: torch 2.1.0+cu121 is torch 2.1.0."""
    folder = tmp_path / "trch-2.1.0+cu121.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: trch\nVersion: 2.1.0+cu121\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert lacking(Environment(("trch==2.1",))) == ()
    assert lacking(Environment(("trch==2.1.1",))) == ("trch 2.1.1 (found 2.1.0+cu121)",)


def test_a_path_is_there_or_not(tmp_path: Path) -> None:
    """Looked for again as long as it is missing."""
    view = tmp_path / "view"
    assert lacking(Environment(path=str(view))) == (f"{view} (not there)",)
    view.write_text("")
    assert lacking(Environment(path=str(view))) == ()


def test_a_path_that_hangs_is_missing_until_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount whose server is gone: whoever waited for it would wait for ever, with a block that nobody has."""
    answers, asked = threading.Event(), list[str]()

    def exists(path: str) -> bool:
        asked.append(path)
        return answers.wait(60)

    monkeypatch.setattr("eventmill.runtime.software.os.path.exists", exists)
    wanted = Environment(path="/net/gone")
    for _ in range(2):
        assert lacking(wanted, path_seconds=0.01) == ("/net/gone (no answer for 0.01 s)",)
    answers.set()
    assert lacking(wanted) == ()
    assert asked == ["/net/gone"], "each look that hangs would cost a thread"


@pytest.mark.parametrize("name", IMAGE_VARIABLES)
def test_an_image_is_what_the_process_is_told(name: str) -> None:
    """By whoever starts it, or by Apptainer."""
    wanted = Environment(image=f"ghcr.io/{name.lower()}:1")
    (missing,) = lacking(wanted, variables={})
    assert missing == f"the container image {wanted.image} (EVENTMILL_IMAGE is not set)"
    (missing,) = lacking(wanted, variables={name: "other"})
    assert missing == f"the container image {wanted.image} ({name} is other)"
    assert lacking(wanted, variables={name: f"docker://{wanted.image}"}) == ()


def test_much_that_is_missing_is_counted() -> None:
    """One line stays one that people read."""
    assert in_one_line([str(n) for n in range(13)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, and 3 more"


def spec(environment: dict[str, Any] | None) -> dict[str, Any]:
    return {"payload": {"environment": environment}}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (None, None, []),
        ({"packages": ["a==1", "b==2"]}, {"packages": ["a==1", "b==2"]}, []),
        (
            {"packages": ["a==1", "b==2", "d==4"]},
            {"packages": ["b==3", "c==1", "d==4"]},
            [("payload.environment.packages", "a 1 removed, b 2 -> 3, c 1 added")],
        ),
        (
            None,
            {"packages": [f"p{n}==1" for n in range(10)], "path": "/x"},
            [
                (
                    "payload.environment.packages",
                    ", ".join(f"p{n} 1 added" for n in range(8)) + ", and 2 more packages",
                ),
                ("payload.environment.path", "not set -> /x"),
            ],
        ),
        ({"image": "i:1"}, {"image": "i:2"}, [("payload.environment.image", "i:1 -> i:2")]),
    ],
)
def test_a_changed_environment_is_told_by_package(
    old: dict[str, Any] | None, new: dict[str, Any] | None, told: list[tuple[str, str]]
) -> None:
    """As a person says it who changed the lock file."""
    assert list(environment_changes(spec(old), spec(new))) == told


def test_equal_environments_have_one_digest() -> None:
    """And what is asked for decides it, nothing else."""
    asked = [Environment(), Environment(("a==1",)), Environment(path="/a"), Environment(image="/a")]
    assert len({each.digest for each in asked}) == 4
    assert Environment(("a==1",)).digest == asked[1].digest
