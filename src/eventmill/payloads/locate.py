"""Finds the code of a payload and computes its digest. Reads source text; never imports the user's code."""

from __future__ import annotations

import ast
import difflib
import importlib.machinery
import importlib.util
import socket
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from eventmill.core.work_order import PayloadCode
from eventmill.errors import PayloadError
from eventmill.payloads import bundles
from eventmill.payloads.data_files import data_files
from eventmill.payloads.needed_modules import imported, needed

CELL = "notebook_cell"
"""The name of the module with the code of a notebook."""

_FORM = "write 'path/to/file.py:Name' or 'package.module:Name'"


def find_payload(
    callable: str,
    *,
    folder: Path,
    files: Sequence[str] = (),
    source: str | None = None,
    role: str = "payload",
) -> PayloadCode:
    """Find the class or function that `callable` names; a file's path is relative to `folder`.

    With `source`, the code itself, it is a name in that. The digest changes when the code changes, and differs for
    each name in it. The bundle also contains the neighbouring modules, and the data `files` beside it; it is None
    for a package, which must be installed on the workers. `role` is what messages call it. Raises `PayloadError`
    with one line: bad form, no such file, module or name, a syntax error with its line.
    """
    if source is not None:
        return _in_source(callable, source, folder, files=files, role=role)
    place, colon, name = callable.rpartition(":")
    if not colon or not place or not name:
        raise PayloadError(f"'{callable}' does not name a {role}; {_FORM}.")
    if not name.isidentifier():
        raise PayloadError(f"'{name}' in '{callable}' is not a top-level class or function; {_FORM}.")
    if place.endswith(".py"):
        return _in_file(callable, folder / place, name, files=files, role=role)
    if files:
        raise PayloadError(
            f"'{role}.files' are shipped with a .py file, but '{callable}' is an installed module: install its "
            "data with it."
        )
    if not all(part.isidentifier() for part in place.split(".")):
        raise PayloadError(f"'{place}' in '{callable}' is neither a .py file nor a module; {_FORM}.")
    return _in_module(callable, place, name, folder)


def _in_file(callable: str, path: Path, name: str, *, files: Sequence[str], role: str) -> PayloadCode:
    module = path.stem
    if not path.is_file():
        others = sorted(p.name for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
        raise PayloadError(
            f"{role} file {path} does not exist{_close(path.name, others, within='the folder')}",
            path=callable.rpartition(":")[0],
        )
    if "." in module:
        raise PayloadError(f"{role} file {path} cannot be imported; rename it without the dot.")
    if module in sys.stdlib_module_names:
        raise PayloadError(f"{role} file {path} has the name of Python's own module '{module}'; rename it.")
    tree = _parse(path)
    _check_name(tree, path, name)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            raise PayloadError(
                f"{path}, line {node.lineno}: a {role} file cannot use relative imports ('from . import x'). "
                f"Write 'import x' for a module beside it; or install the package and set '{role}.callable' to "
                "'package.module:Name'."
            )
    beside = bundles.neighbours(path.parent)
    beside.setdefault(path.name, path.read_bytes())  # also a payload whose name looks like that of a test
    shipped = data_files(path.parent, files, key=f"{role}.files") | needed(beside, start=path.name)
    entry = f"{module}:{name}"
    return PayloadCode(callable, entry, bundles.digest(shipped, entry=entry), bundles.pack(shipped))


def _in_source(callable: str, source: str, folder: Path, *, files: Sequence[str], role: str) -> PayloadCode:
    """Code of a notebook: a module of its own, with those of the working folder that it imports."""
    name, path = callable.rpartition(":")[2], Path(f"{CELL}.py")
    content = source.encode()
    tree = _parse(path, content)
    _check_name(tree, Path(f"{role}.source"), name)
    modules = {name.partition(".")[0] for name in imported(content) or ()}
    beside: dict[str, bytes] = {}
    if any((folder / f"{module}.py").is_file() or (folder / module).is_dir() for module in modules):
        beside = bundles.neighbours(folder)
    shipped = data_files(folder, files, key=f"{role}.files")
    shipped |= needed(beside | {path.name: content}, start=path.name)
    entry = f"{CELL}:{name}"
    return PayloadCode(callable, entry, bundles.digest(shipped, entry=entry), bundles.pack(shipped))


def _in_module(callable: str, module: str, name: str, folder: Path) -> PayloadCode:
    origin, package = _locate(module)
    if origin is None:
        file = Path(*module.split(".")).with_suffix(".py")
        hint = "install it, or name a .py file."
        if (folder / file).is_file():
            hint = f"did you mean '{file}:{name}'?"
        raise PayloadError(f"module '{module}' of the payload '{callable}' is not installed here; {hint}")
    if origin.suffix != ".py":
        raise PayloadError(f"module '{module}' of the payload '{callable}' has no Python source code.")
    _check_name(_parse(origin), origin, name)
    entry = f"{module}:{name}"
    return PayloadCode(callable, entry, _installed_digest(entry, origin, package), None)


def source_of(code: PayloadCode) -> dict[str, bytes]:
    """Name -> content of the modules that were shipped, or of the installed module that `code` names."""
    if code.bundle is not None:
        return bundles.unpack(code.bundle, entry=code.entry, digest=code.digest)
    module = code.entry.partition(":")[0]
    origin, _ = _locate(module)
    return {} if origin is None else {f"{module.replace('.', '/')}.py": origin.read_bytes()}


def check_installed(code: PayloadCode) -> None:
    """Raise `PayloadError` unless the installed package of `code` is here the same as when the campaign began."""
    module = code.entry.partition(":")[0]
    origin, package = _locate(module)
    if origin is None:
        raise PayloadError(
            f"module '{module}' of the payload is not installed on {socket.gethostname()}; install it."
        )
    found = _installed_digest(code.entry, origin, package)
    if found != code.digest:
        raise PayloadError(
            f"the installed code of payload {code.callable} in {package or origin} has the digest {found}; it "
            f"had {code.digest} when the campaign was begun. Install the earlier version again, or continue with "
            "this one: 'eventmill run CAMPAIGN.yaml --changed accept'."
        )


def _installed_digest(entry: str, origin: Path, package: Path | None) -> str:
    """The digest of the module's file, or of all modules of its package, including compiled ones."""
    paths = [origin] if package is None else sorted(_modules_of(package))
    top = origin.parent if package is None else package
    try:
        found = [(path, path.stat()) for path in paths]
    except OSError as error:
        raise _unreadable(error) from error
    return _digest_of(entry, top, tuple((path, s.st_mtime_ns, s.st_size, s.st_ino) for path, s in found))


def _modules_of(package: Path) -> Iterator[Path]:
    suffixes = (".py", *importlib.machinery.EXTENSION_SUFFIXES)
    return (path for path in package.rglob("*") if path.name.endswith(suffixes) and path.is_file())


@lru_cache(maxsize=16)
def _digest_of(entry: str, top: Path, stats: tuple[tuple[Path, int, int, int], ...]) -> str:
    """The digest of these files. Workers check before each block, so unchanged files are not read again."""
    try:
        files = {path.relative_to(top).as_posix(): path.read_bytes() for path, *_ in stats}
    except OSError as error:
        raise _unreadable(error) from error
    return bundles.digest(files, entry=entry)


def _unreadable(error: OSError) -> PayloadError:
    return PayloadError(f"{error.filename}, of the payload's package, cannot be read: {error.strerror}.")


def _locate(module: str) -> tuple[Path | None, Path | None]:
    """The file of a module, if there is one, and the folder of its outermost regular package, if any.

    `importlib.util.find_spec("a.b")` would import `a`, so it is only asked for the first part.
    """
    first, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):  # a broken finder, or a module without a spec such as __main__
        spec = None
    if spec is None:
        return None, None
    origin = None if spec.origin is None else Path(spec.origin)
    folders = [Path(location) for location in spec.submodule_search_locations or ()]
    package = _regular(folders)
    for part in rest:
        files = [path for folder in folders for path in (folder / part / "__init__.py", folder / f"{part}.py")]
        origin = next((path for path in files if path.is_file()), None)
        folders = [folder / part for folder in folders if (folder / part).is_dir()]
        package = package or _regular(folders)
    return origin, package


def _regular(folders: list[Path]) -> Path | None:
    return next((folder for folder in folders if (folder / "__init__.py").is_file()), None)


def _parse(path: Path, content: bytes | None = None) -> ast.Module:
    try:
        return ast.parse(path.read_bytes() if content is None else content, filename=str(path))
    except SyntaxError as error:
        where = f", line {error.lineno}" if error.lineno else ""
        raise PayloadError(f"{path}{where}: {error.msg}; correct it and try again.") from error
    except ValueError as error:  # null bytes
        raise PayloadError(f"{path} is not Python source: {error}.") from error
    except OSError as error:
        raise PayloadError(f"payload file {path} cannot be read: {error.strerror}.") from error


def _check_name(tree: ast.Module, path: Path, name: str) -> None:
    """Raise `PayloadError` unless `name` is, as far as the source shows, a top-level class or function."""
    known = dict(_definitions(tree.body))
    if name in known:
        if complaint := known[name]:
            raise PayloadError(f"'{name}' in {path} is {complaint}, not a class or function.")
        return
    if "*" in known:  # it may come from there; the child will report it
        return
    useful = [other for other, complaint in known.items() if not complaint]
    raise PayloadError(f"{path} has no top-level class or function '{name}'{_close(name, useful, within='it')}")


def _definitions(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Name -> why it cannot be a payload (usually empty), for everything that a module defines."""
    for node in body:
        match node:
            case ast.ClassDef() | ast.FunctionDef():
                yield node.name, ""
            case ast.AsyncFunctionDef():
                yield node.name, "an async function"
            case ast.Import():
                for alias in node.names:
                    yield alias.asname or alias.name.partition(".")[0], "a module"
            case ast.ImportFrom():
                for alias in node.names:
                    yield alias.asname or alias.name, ""
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    if isinstance(target, ast.Name):
                        yield target.id, _constant(value)
            case ast.AnnAssign(target=ast.Name(id=name), value=value) if value is not None:
                yield name, _constant(value)
            case ast.If() | ast.For() | ast.While():
                yield from _definitions([*node.body, *node.orelse])
            case ast.With():
                yield from _definitions(node.body)
            case ast.Try():
                handlers = [statement for handler in node.handlers for statement in handler.body]
                yield from _definitions([*handlers, *node.body, *node.orelse, *node.finalbody])


def _constant(value: ast.expr) -> str:
    if isinstance(value, ast.Constant):
        return f"the value {value.value!r}"
    literals = (ast.List, ast.Tuple, ast.Dict, ast.Set, ast.JoinedStr, ast.ListComp, ast.DictComp)
    return f"a {type(value).__name__.lower()}" if isinstance(value, literals) else ""


def _close(name: str, others: list[str], *, within: str) -> str:
    """The end of a sentence: similar names, else the first that there are."""
    others = [other for other in others if name.startswith("_") or not other.startswith("_")]
    close = difflib.get_close_matches(name, others, n=2)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; {within} has: {', '.join(others[:5])}." if others else "."
