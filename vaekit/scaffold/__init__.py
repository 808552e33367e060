"""New plugin packages, made of parts that work.

What stands in `parts`, `hooks` and `package` is real and called `example`; a new package is that with its words replaced.
"""

import keyword
import re
import sys
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from vaekit.config import is_name
from vaekit.errors import ConfigError, suggestion
from vaekit.known import EXTRAS
from vaekit.packages import canonical
from vaekit.parts import INTERFACES
from vaekit.plugins import plugins

KINDS = (*INTERFACES, "dataset")
"""What a new package can bring one of."""


def new_plugin(name: str, kind: str, folder: str | Path = ".", author: str | None = None) -> Path:
    """Write an installable package with one part, or one data set, that works.

    Args:
        name: of the package; without a leading `vaekit-` and in lower case it is that of the part too.
        kind: of the part, or `dataset`.
        folder: where the package's own folder is made, called `name`.
        author: whom the licence names; the authors of the package unless given.

    Returns:
        The package's folder.

    Raises:
        ConfigError: where a name is not legal or not free, or the folder is not empty or cannot be written. Then nothing is.
    """
    if kind not in KINDS:
        raise ConfigError(f"no kind of part is called {kind!r}{suggestion(kind, KINDS)} (kinds: {', '.join(KINDS)})")
    names = _named(name, kind)
    _check_free(names)
    author = f"the {name} authors" if author is None else author
    if not author.strip() or not author.isprintable():
        raise ConfigError(f"the author is {author!r}: give a name, in one line")
    target = Path(folder) / name
    _write(target, _rendered(names, author))
    return target


def part_name(name: str) -> str:
    """What the part in the package `name` is called."""
    return canonical(name).removeprefix("vaekit-")


@dataclass(frozen=True)
class _Names:
    """What things are called in a new package.

    Args:
        package: the distribution.
        kind: of the part.
        part: what users type.
        module: what is imported.
        thing: the class, or the constant that is the data set.
    """

    package: str
    kind: str
    part: str
    module: str
    thing: str

    @property
    def spoken(self) -> str:
        """The kind, for people."""
        return "data set" if self.kind == "dataset" else self.kind


def _named(name: str, kind: str) -> _Names:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name):
        raise ConfigError(f"{name!r} is no name for a package: give letters and digits with - _ . between, such as vaekit-bar")
    part = part_name(name)
    if not is_name(part):
        raise ConfigError(f"{part!r} is no name for a part or a data set: give at most 64 letters and digits, with hyphens")
    camel = "".join(word.capitalize() for word in part.split("-"))
    thing = part.replace("-", "_").upper() if kind == "dataset" else f"{camel}{kind.capitalize()}"
    names = _Names(name, kind, part, canonical(name).replace("-", "_"), thing)
    for identifier in (names.module, names.thing):
        if not identifier.isidentifier() or keyword.iskeyword(identifier):
            raise ConfigError(f"package {name!r} would bring {identifier!r}, which is no name in Python: choose another name")
    return names


def _check_free(names: _Names) -> None:
    there = _brought_by(names.kind, names.part)
    if there:
        raise ConfigError(f"{names.kind} {names.part!r} is brought by {there} already: choose another name")
    what = f"package {names.package!r} would bring a module {names.module!r}"
    if names.module in sys.stdlib_module_names:
        raise ConfigError(f"{what}, which is in Python's standard library: choose another name")
    if names.module in _FOLDERS:
        raise ConfigError(f"{what}, and has a folder of that name for other things: choose another name")
    if names.module in _OURS or _installed(names.module):
        raise ConfigError(f"{what}, which is that of another package: choose another name")


_FOLDERS = {"tests", "dist", "runs"}
_OURS = {f"vaekit_{extra}" for extra in EXTRAS.values()}


def _brought_by(kind: str, name: str) -> str:
    """The package that brings a part, or several; nothing where none does."""
    if (kind, name) in EXTRAS:
        return f"vaekit-{EXTRAS[kind, name]}"
    clash = plugins().clashes().get((kind, name))
    if clash:
        return " and ".join(clash)
    origin = plugins().origin(plugins().find(kind, name))
    return origin.package if origin else ""


def _installed(module: str) -> bool:
    """Whether a module, or a distribution that should bring it, is installed; a mere folder of that name is neither."""
    spec = find_spec(module)
    if spec is not None and spec.origin is not None:
        return True
    try:
        distribution(module)
    except PackageNotFoundError:
        return False
    return True


def _rendered(names: _Names, author: str) -> dict[str, str]:
    """The files of a package by their paths in it."""
    own = {
        f"Example{names.kind.capitalize()}": names.thing,
        "EXAMPLE": names.thing,
        '"example"': f'"{names.part}"',
    }
    everywhere = {
        **own,
        "ExampleEncoder": names.thing,
        "Encoder": names.spoken.capitalize(),
        "The encoder": f"The {names.spoken}",
        "encoder": names.kind,
        "example": names.part,
        "test_encoder": f"test_{names.kind}",
        "vaekit-example": names.package,
        "vaekit.scaffold.parts": names.module,
        "vaekit_example": names.module,
        '["vaekit"]': f'["{_requirement()}"]',
        "YEAR": str(date.today().year),
        "AUTHOR": author,
    }
    hook = "part"
    if names.kind == "dataset":
        hook = "dataset"
        everywhere |= {
            "The part": "The data set",
            "vaekit parts show encoder example": f"vaekit data {names.part}",
            "vaekit train digits encoder=example": f"vaekit train {names.part}",
        }
    texts = {path: _replaced(_read(f"package/{source}"), everywhere) for path, source in _TEXTS.items()}
    return {
        **texts,
        f"tests/test_{names.kind}.py": _replaced(_read("package/tests/test_encoder.txt"), everywhere),
        f"{names.module}/__init__.py": _outside(_replaced(_read(f"hooks/{hook}.py"), everywhere)),
        f"{names.module}/{names.kind}.py": _outside(_replaced(_read(f"parts/{names.kind}.py"), own)),
        f"{names.module}/py.typed": "",
    }


_TEXTS = {
    ".github/workflows/test.yml": "github/workflows/test.yml",
    ".gitignore": "gitignore",
    "LICENSE": "LICENSE",
    "README.md": "README.md",
    "pyproject.toml": "project.toml",
}


def _requirement() -> str:
    """This version of vaekit, up to the next that may break plugins: the next minor one before 1.0, then the next major one."""
    major, minor = (int(number) for number in version("vaekit").split(".")[:2])
    return f"vaekit>={major}.{minor},<{major + 1 if major else f'0.{minor + 1}'}"


def _read(source: str) -> str:
    return files("vaekit.scaffold").joinpath(source).read_text(encoding="utf-8")


def _replaced(text: str, words: dict[str, str]) -> str:
    """The text with whole words replaced, in one pass: what is put in is not looked at again."""
    longest_first = sorted(words, key=len, reverse=True)
    return re.sub(rf"(?<!\w)({'|'.join(map(re.escape, longest_first))})(?!\w)", lambda found: words[found[0]], text)


def _outside(code: str) -> str:
    """Code from in here with its imports spaced as elsewhere, where vaekit is one of the third parties."""
    apart = code.replace("import vaekit\nfrom", "import vaekit\n\nfrom")
    return apart.replace("\n\nfrom vaekit import", "\nfrom vaekit import")


def _write(target: Path, texts: dict[str, str]) -> None:
    """All of the files or none: they are made beside the folder, which is the last to get its name."""
    try:
        if target.exists() and not (target.is_dir() and not any(target.iterdir())):
            raise ConfigError(f"{target} is there already, and is no empty folder: choose another name, or another --output")
        beside = next(place for place in target.parents if place.exists())
        with TemporaryDirectory(prefix=f".{target.name}-", dir=beside) as scratch:
            made = Path(scratch) / target.name
            for path, text in texts.items():
                (made / path).parent.mkdir(parents=True, exist_ok=True)
                (made / path).write_text(text, encoding="utf-8")
            target.parent.mkdir(parents=True, exist_ok=True)
            made.rename(target)
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror or error}") from None
