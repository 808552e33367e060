"""Broken, clashing and ill-mannered plugins, as real packages that pip has installed: the rest keeps working, and the message
names the package, the reason and the cure."""

import json
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
import torch

import vaekit
from vaekit import cli, compatibility, packages, registry
from vaekit import plugins as manager
from vaekit.ambient import Ambient
from vaekit.blocks import drawing
from vaekit.compatibility import check_built_for
from vaekit.errors import PluginError
from vaekit.loading import Plugin, load
from vaekit.plugins import Plugins

if TYPE_CHECKING:
    from environment import Environment

GOOD = '''
from typing import Annotated
import torch, vaekit
from pydantic import Field

class Doubled(vaekit.Encoder):
    """Twice x, flattened. x (N, *in_shape) gives h (N, D)."""
    name = "doubled"
    def __init__(self, in_shape, context, *, times: Annotated[int, Field(ge=1, le=9)] = 2):
        super().__init__()
        self.times, self.out_shape = times, (torch.Size(in_shape).numel(),)
    def forward(self, x, c):
        return self.times * x.flatten(1)

@vaekit.hookimpl
def vaekit_parts():
    return [Doubled]
'''
DATASET = 'vaekit.DataSet("stripes", "Stripes", lambda path, root: None)'
STRIPES = f"""
import vaekit

@vaekit.hookimpl
def vaekit_datasets():
    return [{DATASET}]
"""
INTEGER = "Annotated[int, Field(ge=1, le=9)]"
TYPES = "options are booleans, numbers, strings, lists of them, or None"
KINDS = "Context, Encoder, Latent, Prior, Likelihood, Decoder, Loss"
ASK = "pip install --upgrade PACKAGE, or pip uninstall PACKAGE"
LOOKUP = "PluginError: parts are looked up while plugins load: look them up in a function that is called later"


def _good(old: str = "", new: str = "") -> str:
    assert old in GOOD
    return GOOD.replace(old, new) if old else GOOD


BROKEN = {
    "own-name": (
        _good('"doubled"', '"mlp"'),
        "encoder 'mlp' is vaekit's own: give yours another name, or pip uninstall PACKAGE",
    ),
    "import-error": (
        "import no_such_module\n",
        "ModuleNotFoundError: No module named 'no_such_module' (MODULE.py, line 1): "
        "install what brings it, or pip uninstall PACKAGE",
    ),
    "own-file-missing": (
        "import own_file_missing.parts\n",
        "ModuleNotFoundError: No module named 'own_file_missing.parts'; 'own_file_missing' is not a package "
        "(MODULE.py, line 1): a file of its own is missing: pip install --force-reinstall PACKAGE, or pip uninstall PACKAGE",
    ),
    "not-in-vaekit": (
        "import vaekit\nclass Mine(vaekit.Decodr): pass\n",
        "AttributeError: module 'vaekit' has no attribute 'Decodr' (MODULE.py, line 2): "
        "it was made for another vaekit: pip install --upgrade vaekit PACKAGE",
    ),
    "no-vaekit-module": (
        "from vaekit.tomorrow import hookimpl\n",
        "ModuleNotFoundError: No module named 'vaekit.tomorrow' (MODULE.py, line 1): "
        "it was made for another vaekit: pip install --upgrade vaekit PACKAGE",
    ),
    "syntax": ("def f(:\n", "SyntaxError: invalid syntax (MODULE.py, line 1): " + ASK),
    "hook-raises": (_good("return [Doubled]", "raise RuntimeError('boom')"), "RuntimeError: boom (MODULE.py, line 17): " + ASK),
    "raises-terribly": (
        "class Bad(Exception):\n    def __str__(self): raise ValueError\nraise Bad\n",
        "Bad (MODULE.py, line 3): " + ASK,
    ),
    "paints": (
        "raise RuntimeError('\\x1b[31mred\\nand' + 400 * ' long')\n",
        "RuntimeError: \\x1b[31mred and" + 33 * " long" + " lo... (MODULE.py, line 1): " + ASK,
    ),
    "names-a-number": ("raise ImportError('odd', name=3)\n", "ImportError: odd (MODULE.py, line 1): " + ASK),
    "exits": ("raise SystemExit('bye')\n", "SystemExit: bye (MODULE.py, line 1): " + ASK),
    "exits-in-hook": (_good("return [Doubled]", "import sys; sys.exit(3)"), "SystemExit: 3 (MODULE.py, line 17): " + ASK),
    "looks-up": ("from vaekit import registry\nregistry.list()\n", LOOKUP + " (MODULE.py, line 2): " + ASK),
    "looks-up-in-hook": (
        _good("return [Doubled]", "import vaekit.plugins; return [*vaekit.plugins.plugins().all]"),
        LOOKUP + " (MODULE.py, line 17): " + ASK,
    ),
    "misspelt-hook": (
        _good("def vaekit_parts", "def vaekit_part"),
        "it implements the hook 'vaekit_part', which this vaekit lacks; did you mean 'vaekit_parts'? "
        "(hooks: vaekit_datasets, vaekit_parts)",
    ),
    "later-hook": (
        _good("def vaekit_parts", "def on_epoch"),
        "it implements the hook 'on_epoch', which this vaekit lacks; a later one may: pip install --upgrade vaekit "
        "(hooks: vaekit_datasets, vaekit_parts)",
    ),
    "hook-takes": (
        _good("vaekit_parts()", "vaekit_parts(registry)"),
        "its hooks are not those of vaekit: Argument(s) {'registry'} are declared in the hookimpl but can not be found in the "
        "hookspec: write def vaekit_parts(), without arguments",
    ),
    "no-hook": ("", "it implements no hook: decorate vaekit_datasets or vaekit_parts with @vaekit.hookimpl"),
    "no-list": (
        _good("return [Doubled]", "return 7"),
        "vaekit_parts returned 7: return a list, if only of one",
    ),
    "no-part": (
        _good("return [Doubled]", "return [int]"),
        f"vaekit_parts returned a list with <class 'int'>, which is no part: subclass one of {KINDS}",
    ),
    "an-instance": (
        _good("return [Doubled]", "return [Doubled((2,), 0)]"),
        "vaekit_parts returned a list with an instance of Doubled: return [Doubled], the class itself",
    ),
    "two-interfaces": (
        _good("(vaekit.Encoder)", "(vaekit.Encoder, vaekit.Decoder)"),
        f"MODULE.Doubled: it implements Encoder and Decoder: subclass one of {KINDS}, and no other",
    ),
    "no-interface": (
        "import vaekit\nclass Mine(vaekit.Part):\n    name = 'mine'\n@vaekit.hookimpl\ndef vaekit_parts(): return [Mine]\n",
        f"MODULE.Mine: it implements no interface: subclass one of {KINDS}, and no other",
    ),
    "abstract": (
        _good("def forward", "def backward"),
        "MODULE.Doubled: it does not define forward(self, x, c), which every encoder has: write that",
    ),
    "bad-name": (
        _good('"doubled"', '"Doubled Up"'),
        "MODULE.Doubled: its name is 'Doubled Up'; a name is lower-case letters and digits with hyphens: "
        "write name = 'transposed-conv', for instance",
    ),
    "bad-kind": (
        _good("    name =", "    kind = 'decoder'; name ="),
        "MODULE.Doubled: its kind is 'decoder': remove that, its interface says 'encoder'",
    ),
    "wrong-wiring": (
        _good("in_shape, context, *", "shape, *context"),
        "MODULE.Doubled: its constructor begins with (self, shape, *context): "
        "a part of kind 'encoder' has __init__(self, in_shape, context, *, <options>)",
    ),
    "no-default": (
        _good(" = 2)", ")"),
        "MODULE.Doubled: option 'times' has no default: give it one, so that it can be left out",
    ),
    "no-annotation": (
        _good(f": {INTEGER}", ""),
        "MODULE.Doubled: option 'times' has no annotation: write times: Annotated[int, Field(ge=1, le=4096)] = <default>",
    ),
    "lost-annotation": (
        _good(INTEGER, "'Nowhere'"),
        "MODULE.Doubled: an annotation cannot be evaluated (name 'Nowhere' is not defined): "
        "import what it names, outside TYPE_CHECKING",
    ),
    "no-json": (
        _good(f"{INTEGER} = 2", "torch.Tensor = None"),
        f"MODULE.Doubled: option 'times' is of a type that options do not have (<class 'torch.Tensor'>): {TYPES}",
    ),
    "no-json-default": (
        _good(f"{INTEGER} = 2", "Annotated[tuple[float, ...], Field(max_length=4)] = {1.0}"),
        f"MODULE.Doubled: the default of option 'times' is no JSON value (Object of type set is not JSON serializable): "
        f"{TYPES}",
    ),
    "an-object": (
        _good(f"{INTEGER} = 2", "dict[str, int] = None"),
        f"MODULE.Doubled: option 'times' is of a type that options do not have (object): {TYPES}",
    ),
    "no-bounds": (
        _good(INTEGER, "int"),
        "MODULE.Doubled: option 'times' is an integer without bounds: write Annotated[int, Field(ge=1, le=4096)]",
    ),
    "long-string": (
        _good(f"{INTEGER} = 2", "str = 'a'"),
        "MODULE.Doubled: option 'times' is a string without a maximum length: write Annotated[str, Field(max_length=64)]",
    ),
    "long-list": (
        _good(f"{INTEGER} = 2", "tuple[float, ...] = ()"),
        "MODULE.Doubled: option 'times' is a list without a maximum length: "
        "write Annotated[tuple[<type>, ...], Field(max_length=16)]",
    ),
    "bad-default": (
        _good("= 2)", "= 10)"),
        "MODULE.Doubled: a default breaks its own bounds, change one of them: encoder 'doubled': "
        "times: input should be less than or equal to 9 (got 10)",
    ),
    "bad-bound": (
        _good(f"{INTEGER} = 2", "Annotated[str, Field(ge=1, max_length=8)] = 'a'"),
        "MODULE.Doubled: a bound does not go with the type of its option, change one of them: "
        "Unable to apply constraint 'ge' to supplied value a",
    ),
    "no-docstring": (
        _good('"""Twice x, flattened. x (N, *in_shape) gives h (N, D)."""', "pass"),
        "MODULE.Doubled: it has no docstring: write what it does in one sentence, and its options under Args:",
    ),
    "no-dataset": (
        STRIPES.replace(DATASET, "'stripes'"),
        "vaekit_datasets returned a list with 'stripes', which is no data set: return [vaekit.DataSet(name, summary, load)]",
    ),
    "bad-dataset-name": (
        STRIPES.replace('"stripes"', '"My Stripes"'),
        "the name of a data set is 'My Stripes'; a name is lower-case letters and digits with hyphens, like 'fashion-mnist'",
    ),
    "bad-summary": (
        STRIPES.replace('"Stripes"', '"Two\\nlines"'),
        "data set 'stripes': its summary is 'Two\\nlines': write one line of what it is",
    ),
    "no-load": (
        STRIPES.replace("lambda path, root: None", "'stripes.npz'"),
        "data set 'stripes': its load is 'stripes.npz': give a function of (path, root) that returns a Raw",
    ),
}

CLASHING = GOOD.replace('"doubled"', '"shared"') + STRIPES
NOISY = "print('hello\\x1b[31m', 'there')\n" + GOOD.replace('"doubled"', '"noisy"').replace(
    "return [", "print('again'); return ["
)
RESTLESS = (
    GOOD.replace('"doubled"', '"restless"')
    + """
import logging, os, random, sys, warnings, numpy
torch.set_default_dtype(torch.float64)
torch.distributions.Distribution.set_default_validate_args(False)
torch.autograd.set_detect_anomaly(True)
torch.set_autocast_enabled("cpu", True)
torch.manual_seed(7)
numpy.random.seed(7)
random.seed(7)
numpy.seterr(over="raise")
os.chdir("/")
sys.excepthook = print
logging.disable()
warnings.simplefilter("error")
"""
)
NOTES = {
    "restless": [
        f"it changed {what} when it was loaded (put back): leave that as it is on import"
        for what in (
            "torch's default dtype to torch.float64",
            "torch's anomaly mode to on",
            "torch's autocast on the CPU to on",
            "torch.distributions' validation of arguments to off",
            "the state of torch's random generator",
            "the state of NumPy's random generator",
            "NumPy's handling of floating-point errors to divide warn, over raise, under ignore, invalid warn",
            "the working directory to /",
            "sys.excepthook",
            "the level of logging.disable to CRITICAL",
            "the filter of all warnings to error",
        )
    ],
    "noisy": ["it printed 'hello\\x1b[31m there …' when it was loaded: remove the print, or write to sys.stderr"],
}
BUILT_FOR = {
    "later-api": (
        ["vaekit>=7.1,<7.2"],
        "it was built for vaekit>=7.1,<7.2 and this is vaekit VERSION: pip install --upgrade vaekit",
    ),
    "earlier-api": (
        ["vaekit>=0.0.1", "vaekit[conv]<0.0.2"],
        "it was built for vaekit>=0.0.1,<0.0.2 and this is vaekit VERSION: pip install --upgrade PACKAGE",
    ),
}
ENTRIES = {
    "gone": (
        "gone = gone_for_good",
        "ModuleNotFoundError: No module named 'gone_for_good': "
        "a file of its own is missing: pip install --force-reinstall PACKAGE, or pip uninstall PACKAGE",
    ),
    "hy-phen": (
        "hy-phen = hy-phen",
        "its entry point names 'hy-phen', which is no module: write the module's name, such as hy_phen",
    ),
    "vaekit-hollow": (
        "plugin = vaekit_hollow:plugin",
        "AttributeError: module 'vaekit_hollow' has no attribute 'plugin': " + ASK,
    ),
}
REASONS = {name: said for table in (BROKEN, BUILT_FOR, ENTRIES) for name, (_, said) in table.items()}


def _said(name: str) -> str:
    text = REASONS[name].replace("MODULE", name.replace("-", "_")).replace("PACKAGE", name)
    return text.replace("VERSION", vaekit.__version__)


def _package(
    folder: Path, name: str, code: str = GOOD, *, version: str = "1.2", requires: tuple[str, ...] = (), entries: str = ""
) -> None:
    """The source of a package of one module, with an entry point."""
    module = name.replace("-", "_")
    (folder / name).mkdir()
    (folder / name / f"{module}.py").write_text(code, encoding="utf-8")
    points = (entries or f"{module} = {module}").replace(" = ", ' = "').replace("\n", '"\n') + '"'
    (folder / name / "pyproject.toml").write_text(
        f"""
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "{name}"
version = "{version}"
dependencies = {json.dumps(requires)}
[project.entry-points.vaekit]
{points}
[tool.hatch.build.targets.wheel]
only-include = ["{module}.py"]
""",
        encoding="utf-8",
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, environments: "Callable[..., Environment]") -> "Environment":
    """All of them, installed by one call of pip."""
    sources = tmp_path_factory.mktemp("sources")
    _package(sources, "good", requires=("vaekit>=0.0.1,<7", "vaekit[conv]>=0.0.1"))
    for name, (code, _) in BROKEN.items():
        _package(sources, name, code)
    for name, (requires, _) in BUILT_FOR.items():
        _package(sources, name, "raise RuntimeError('imported')", requires=tuple(requires))
    for name, (entries, _) in ENTRIES.items():
        _package(sources, name, entries=entries)
    _package(sources, "first", CLASHING)
    _package(sources, "second", CLASHING)
    _package(sources, "two-doors", GOOD.replace('"doubled"', '"halved"'), entries="front = two_doors\nback = two_doors")
    _package(sources, "noisy", NOISY)
    _package(sources, "restless", RESTLESS)
    _package(sources, "vaekit-lstm", GOOD.replace('"doubled"', '"old"'), version="0.0.1")
    _package(sources, "vaekit-conv", "raise RuntimeError('boom')", version="0.0.1")
    environment = environments(tmp_path_factory.mktemp("installed") / "env")
    paths = [str(path) for path in sorted(sources.iterdir())]
    environment.pip("install", "--no-index", "--no-deps", "--no-build-isolation", "--no-compile", *paths)
    return environment


@pytest.fixture(scope="module")
def listed(installed: "Environment") -> dict[str, dict[str, Any]]:
    """What `vaekit plugins --json` says with all of them, by package."""
    return {row["package"]: row for row in json.loads(installed.vaekit("plugins", "--json"))}


@pytest.mark.parametrize("name", REASONS)
def test_a_broken_plugin_says_why_and_what_to_do(listed: dict[str, dict[str, Any]], name: str) -> None:
    assert listed[name]["error"] == _said(name)
    assert (listed[name]["version"], listed[name]["parts"], listed[name]["datasets"]) == ("1.2", [], [])


def test_what_is_not_broken_says_nothing(listed: dict[str, dict[str, Any]]) -> None:
    assert {name for name, row in listed.items() if row["error"]} == {*REASONS, "vaekit-conv"}
    assert listed["good"] == {**listed["good"], "parts": ["encoder doubled"], "datasets": [], "notes": []}
    assert {name: row["notes"] for name, row in listed.items() if row["notes"]} == NOTES


def test_the_table_is_safe_to_print_and_says_what_else_there_is(installed: "Environment") -> None:
    lines = installed.vaekit("plugins").splitlines()
    assert all(line.isprintable() for line in lines)
    rows = {line.split("  ")[0]: line for line in lines}
    assert all(rows[name].endswith(f"  out of use: {_said(name)}") for name in REASONS)
    assert rows["good"].endswith("  encoder doubled")
    assert rows["two-doors (front)"].endswith("  encoder halved")
    assert rows["two-doors (back)"].endswith("  encoder halved")
    at = lines.index(f"note on noisy: {NOTES['noisy'][0]}")
    assert lines[at:] == [
        *(f"note on noisy: {note}" for note in NOTES["noisy"]),
        *(f"note on restless: {note}" for note in NOTES["restless"]),
        "clash: encoder 'shared' is brought by first and second, and so not in use: "
        "pip uninstall one of them, or set VAEKIT_PLUGINS to the packages to load",
        "clash: dataset 'stripes' is brought by first and second, and so not in use: "
        "pip uninstall one of them, or set VAEKIT_PLUGINS to the packages to load",
        "clash: encoder 'halved' is brought twice by two-doors, and so not in use: "
        "pip install --upgrade two-doors, or pip uninstall two-doors",
    ]


def test_a_model_trains_beside_broken_plugins(installed: "Environment") -> None:
    trained = installed.vaekit("train", "digits", "encoder=doubled", "encoder.times=3", "--epochs", "1", OMP_NUM_THREADS="1")
    assert "digits-doubled" in trained
    assert "hello" not in trained


def test_an_unknown_part_may_be_that_of_a_broken_plugin(installed: "Environment") -> None:
    first, *others = installed.vaekit("parts", "show", "encoder", "dubled", code=2).splitlines()
    unknown = "error: unknown encoder 'dubled'; did you mean 'doubled'?"
    assert first == f"{unknown} (installed: doubled, mlp, noisy, old, restless, vit)"
    boom = f"RuntimeError: boom (vaekit_conv.py, line 1): {ASK}".replace("PACKAGE", "vaekit-conv")
    broken = {name: f"plugin {name} 1.2 is installed but out of use: {_said(name)}" for name in REASONS}
    broken["vaekit-conv"] = f"plugin vaekit-conv 0.0.1 is installed but out of use: {boom}"
    assert others == [broken[name] for name in sorted(broken)]


@pytest.mark.parametrize(
    ("allowed", "part", "said"),
    [
        (
            "first,second",
            "shared",
            "encoder 'shared' is brought by first and second, and so not in use: "
            "pip uninstall one of them, or set VAEKIT_PLUGINS to the packages to load",
        ),
        (
            "good",
            "lstm",
            "encoder 'lstm' comes from vaekit-lstm, which VAEKIT_PLUGINS leaves out: add it there, or unset VAEKIT_PLUGINS",
        ),
        (
            "vaekit-lstm",
            "lstm",
            "encoder 'lstm' comes from a later vaekit-lstm than 0.0.1, which is installed: pip install --upgrade vaekit-lstm",
        ),
        (
            "vaekit-conv",
            "conv",
            "encoder 'conv' comes from vaekit-conv, which is out of use\nplugin vaekit-conv 0.0.1 is installed but out of use: "
            "RuntimeError: boom (vaekit_conv.py, line 1): pip install --upgrade vaekit-conv, or pip uninstall vaekit-conv",
        ),
    ],
)
def test_a_part_that_cannot_be_had_says_where_it_is(installed: "Environment", allowed: str, part: str, said: str) -> None:
    code = 1 if "by first" in said else 2
    answer = installed.vaekit("parts", "show", "encoder", part, code=code, VAEKIT_PLUGINS=allowed)
    assert answer == f"error: {said}\n"


def test_the_environment_restricts_what_loads(installed: "Environment") -> None:
    all_packages = {*REASONS, "first", "second", "two-doors", "noisy", "restless", "vaekit-demo", "good"}
    all_packages |= {path.parent.name for path in Path(__file__).parents[1].glob("plugins/*/pyproject.toml")}
    left_out = ", ".join(sorted(all_packages - {"good", "vaekit-lstm"}))
    header, good, vaekit_, lstm, *remarks = installed.vaekit(
        "plugins", VAEKIT_PLUGINS="goood, GOOD,Vaekit_LSTM,,1234"
    ).splitlines()
    assert [row.split()[0] for row in (header, good, vaekit_, lstm)] == ["package", "good", "vaekit", "vaekit-lstm"]
    assert remarks == [
        f"VAEKIT_PLUGINS leaves out {left_out}",
        "VAEKIT_PLUGINS names 'goood', which is no installed plugin; did you mean 'good'?",
        "VAEKIT_PLUGINS names '1234', which is no installed plugin: correct it, or install it",
    ]
    only = json.loads(installed.vaekit("plugins", "--json", VAEKIT_PLUGINS=""))
    assert [row["package"] for row in only] == ["vaekit"]
    assert "encoder mlp" in only[0]["parts"]


def _module(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: str) -> EntryPoint:
    """A module that can be imported during one test, as an entry point of no package."""
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setitem(sys.modules, name, None)
    del sys.modules[name]
    return EntryPoint(name, name, "vaekit")


def _only(entry: EntryPoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the environment had this plugin and no other but vaekit's own parts."""
    monkeypatch.setattr(packages, "entry_points", lambda group: [entry])
    _nothing_loaded(monkeypatch)


def _nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    for function in ("_loaded", "_load_all", "_own", "_load_own"):
        monkeypatch.setattr(manager, function, cache(getattr(manager, function).__wrapped__))


def test_a_plugin_that_changes_global_state_stays_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = _module(tmp_path, monkeypatch, "restless_here", RESTLESS)
    with warnings.catch_warnings():
        warnings.resetwarnings()
        before = Ambient.now()
        plugin = load(entry)
        assert before.changes() == []
    assert [part.name for part in plugin.parts] == ["restless"]
    assert list(plugin.notes) == NOTES["restless"]


def test_what_cannot_be_put_back_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    entry = _module(tmp_path, monkeypatch, "homeless", f"import os\nos.chdir('/')\nos.rmdir({str(gone)!r})\n" + STRIPES)
    assert load(entry).notes == (
        "it changed the working directory to / when it was loaded (cannot be put back): leave that as it is on import",
    )


def test_the_traceback_of_an_error_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = _module(tmp_path, monkeypatch, "panics", "class Panic(BaseException): pass\nraise Panic('of a Rust library')\n")
    plugin = load(entry)
    assert (
        plugin.error == "Panic: of a Rust library (panics.py, line 2): pip install --upgrade unknown, or pip uninstall unknown"
    )
    assert plugin.traceback.startswith("Traceback (most recent call last):")
    assert "    raise Panic('of a Rust library')\n" in plugin.traceback


def test_control_c_stops_loading_and_the_next_look_up_loads_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import torch\ntorch.set_grad_enabled(False)\nraise KeyboardInterrupt\n"
    entry = _module(tmp_path, monkeypatch, "stopped", code)
    _only(entry, monkeypatch)
    out = sys.stdout
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            manager.plugins()
        assert torch.is_grad_enabled()
        assert sys.stdout is out
    (tmp_path / "stopped.py").write_text(GOOD + "# of another length\n", encoding="utf-8")
    assert registry.find("encoder", "doubled").name == "doubled"


def test_what_other_threads_print_is_not_held_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = """
        import sys, threading
        thread = threading.Thread(target=print, args=("elsewhere",))
        thread.start()
        thread.join()
        kept = sys.stdout
        kept.writelines(["\\n", "first", "\\nsecond"])
        kept.flush()
    """
    plugin = load(_module(tmp_path, monkeypatch, "keeps_stdout", dedent(code) + STRIPES))
    assert plugin.notes == ("it printed 'first …' when it was loaded: remove the print, or write to sys.stderr",)
    assert capsys.readouterr().out == "elsewhere\n"
    sys.modules["keeps_stdout"].kept.write("later")
    assert capsys.readouterr().out == "later"


def test_a_module_that_looks_parts_up_when_a_user_imports_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a plugin half imported at that moment, which has no hook yet."""
    entry = _module(tmp_path, monkeypatch, "too_early", "from vaekit import registry\nfound = registry.list()\n" + STRIPES)
    _only(entry, monkeypatch)
    found = import_module("too_early").found
    [plugin, ours] = manager.plugins().all
    assert {*found} == {*ours.parts}
    assert plugin.error == "it looks parts up while it is imported: do so in a function that is called later"


def test_a_plugin_that_waits_for_a_thread_that_looks_parts_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
        from concurrent.futures import ThreadPoolExecutor
        from vaekit import registry
        ThreadPoolExecutor().submit(registry.list).result()
    """
    monkeypatch.setattr(manager, "PATIENCE", 0.1)
    _only(_module(tmp_path, monkeypatch, "waits_for_itself", dedent(code)), monkeypatch)
    [plugin, _] = manager.plugins().all
    assert plugin.error == (
        "PluginError: plugins have been loading in another thread for 0.1 s, unknown at present: where that waits for this "
        "thread, look parts up in a function that is called later; else try again (waits_for_itself.py, line 4): "
        "pip install --upgrade unknown, or pip uninstall unknown"
    )


SLOW = "import time\ntime.sleep(0.1)\n" + STRIPES


def _thread(function: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def test_who_draws_from_a_seed_waits_while_plugins_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the plugin is held to have drawn, and the draws are taken back in their midst."""
    _only(_module(tmp_path, monkeypatch, "slow_one", SLOW), monkeypatch)
    loaded, drawn = threading.Event(), []

    def draw() -> None:
        while not manager._busy:
            time.sleep(0.001)
        with drawing(3, torch.device("cpu")):
            drawn.append(torch.rand(2))
            loaded.wait(5)
            drawn.append(torch.rand(2))

    before = Ambient.now()
    thread = _thread(draw)
    [plugin, _] = manager.plugins().all
    loaded.set()
    thread.join(5)
    assert (plugin.error, plugin.notes, before.changes()) == ("", (), [])
    assert torch.equal(torch.cat(drawn), torch.rand(4, generator=torch.Generator().manual_seed(3)))


def test_a_look_up_waits_for_who_draws_as_long_as_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And who draws may look parts up, though others wait to do so: neither waits for the other for ever."""
    monkeypatch.setattr(manager, "PATIENCE", 0.3)
    _only(_module(tmp_path, monkeypatch, "slow_two", SLOW), monkeypatch)
    draws, found = threading.Event(), []

    def draw() -> None:
        with drawing(0, torch.device("cpu")):
            draws.set()
            time.sleep(0.4)
            found.append(manager.plugins())

    def look() -> None:
        draws.wait(5)
        found.append(manager.plugins())

    for thread in (_thread(draw), _thread(look)):
        thread.join(5)
    assert len(found) == 2
    assert found[0] is found[1]


def _brings(package: str, part: type[vaekit.Part]) -> Plugin:
    return Plugin(package, "1.2", package, (part,))


@pytest.mark.parametrize(
    ("packages", "said"),
    [
        (["a", "b"], "by a and b, and so not in use: pip uninstall one of them, or set VAEKIT_PLUGINS to the packages to load"),
        (
            ["b", "c", "a"],
            "by a, b and c, and so not in use: pip uninstall one of them, or set VAEKIT_PLUGINS to the packages to load",
        ),
        (["a", "a"], "twice by a, and so not in use: pip install --upgrade a, or pip uninstall a"),
    ],
)
def test_a_clash_is_an_error_that_names_all(packages: list[str], said: str) -> None:
    mlp = registry.find("encoder", "mlp")
    loaded = Plugins([_brings(package, mlp) for package in packages])
    with pytest.raises(PluginError) as caught:
        loaded.find("encoder", "mlp")
    assert str(caught.value) == f"encoder 'mlp' is brought {said}"
    assert loaded.clashes() == {("encoder", "mlp"): sorted(packages)}
    assert loaded.names("encoder") == []


def test_an_unknown_part_may_be_of_a_package_that_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = Plugins([_brings("vaekit", registry.find("encoder", "mlp"))], left_out=("a", "b"))
    monkeypatch.setattr(registry, "plugins", lambda: loaded)
    with pytest.raises(vaekit.UnknownPart) as caught:
        registry.find("encoder", "trebled")
    assert str(caught.value) == (
        "unknown encoder 'trebled' (installed: mlp)\n"
        "VAEKIT_PLUGINS leaves out a, b: add what brings it, or unset VAEKIT_PLUGINS"
    )


def test_a_package_however_it_is_spelt() -> None:
    mine = _brings("vaekit-rv-latent", registry.find("encoder", "mlp"))
    loaded = Plugins([_brings("vaekit", registry.find("encoder", "mlp")), mine])
    for name in ("vaekit-rv-latent", "vaekit_rv_latent", "Vaekit.RV--Latent"):
        assert loaded.of(name) == [mine]
    assert loaded.of("vaekit-rv") == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Vaekit_Conv", "VAEKIT_PLUGINS leaves out vaekit-conv: add it there, or unset VAEKIT_PLUGINS"),
        (
            "typing_extensions",
            "package typing-extensions is installed and brings no plugin: give its pyproject.toml the lines "
            '[project.entry-points.vaekit] and typing-extensions = "typing_extensions", and install it again',
        ),
        (
            "vaekit-cnv",
            "no package, part or data set is called 'vaekit-cnv'; did you mean 'vaekit-conv'? (packages: vaekit; "
            "`vaekit parts` lists the parts)",
        ),
        ("", "no package, part or data set is called '' (packages: vaekit; `vaekit parts` lists the parts)"),
    ],
)
def test_what_brings_nothing_to_check(name: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = Plugins([_brings("vaekit", registry.find("encoder", "mlp"))], left_out=("vaekit-conv",))
    monkeypatch.setattr(manager, "_loaded", lambda: loaded)
    with pytest.raises(vaekit.UnknownPart) as caught:
        cli.app(["check", name], standalone_mode=False)
    assert str(caught.value) == said


def test_the_table_of_checks_is_safe_to_print(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    said = "\x1b[31mred\nand" + 200 * " long"
    loaded = Plugins([Plugin("mine", "1.2", "mi\nne\x1b[0m", error=said)])
    monkeypatch.setattr(manager, "_loaded", lambda: loaded)
    assert cli.app(["check", "mine"], standalone_mode=False) == 1
    rows = capsys.readouterr().out.splitlines()[1:-2]
    name = r"plugin mi ne\x1b[0m".ljust(32)
    shown = (r"\x1b[31mred and" + 200 * " long")[:597] + "..."
    assert rows == [
        f"{name}  loads                               FAILED: {shown}",
        f"{name}  loads-cleanly                       ok",
        f"{name}  clashes-with-no-other               ok",
    ]
    assert cli.app(["check", "mine", "--json"], standalone_mode=False) == 1
    first = json.loads(capsys.readouterr().out)[0]
    assert first == {
        "part": "plugin mi\nne\x1b[0m",
        "check": "loads",
        "outcome": "FAILED",
        "message": said,
        "seconds": 0.0,
    }


@pytest.mark.parametrize("garbled", [False, True])
def test_what_metadata_hold_harms_no_other(garbled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the entry points of one package cannot be read, Python's own list of them all is an error."""
    (tmp_path / "stripy.py").write_text(STRIPES, encoding="utf-8")
    metadata = {
        "latin_1": b"Name: Latin.1\nVersion: 1.2\nAuthor: J\xf6rg\n",
        "nameless": b"Metadata-Version: 2.1\nName:\n",
        "later": b"Name: later\nVersion: 1\nRequires-Dist: vaekit>=7\n",
        **({"garbled": b"Name: Garb_led\nVersion: 3\n", "unequal": b"Name: unequal\n"} if garbled else {}),
    }
    entries = {"garbled": b"[else]\n# J\xf6rg\n", "unequal": b"[else]\nsign"}
    for name, text in metadata.items():
        folder = tmp_path / f"{name}-1.2.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_bytes(text)
        (folder / "entry_points.txt").write_bytes(entries.get(name, b"[vaekit]\nmine = stripy\n"))
    before = {plugin.package: plugin for plugin in manager.plugins().all}
    monkeypatch.syspath_prepend(tmp_path)
    _nothing_loaded(monkeypatch)
    loaded = {plugin.package: plugin for plugin in manager.plugins().all}
    undecodable = "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xf6 in position"
    cure = f"delete {tmp_path}/FOLDER-1.2.dist-info and install it again"
    broken = {
        "latin-1": f"its metadata cannot be read, nor by pip ({undecodable} 36: invalid start byte): "
        + cure.replace("FOLDER", "latin_1"),
        "later": f"it was built for vaekit>=7 and this is vaekit {vaekit.__version__}: pip install --upgrade vaekit",
    }
    if garbled:
        broken["garb-led"] = (
            f"its entry points cannot be read, nor by pip ({undecodable} 10: invalid start byte): "
            + cure.replace("FOLDER", "garbled")
        )
        broken["unequal"] = loaded["unequal"].error  # in words that differ from one Python to the next
        assert broken["unequal"].startswith("its entry points cannot be read, nor by pip (TypeError: ")
    errors = {package: plugin.error for package, plugin in loaded.items() if plugin.error}
    assert errors == broken
    assert {package: loaded[package].version for package in errors if package != "unequal"} == {
        "latin-1": "unknown",
        "later": "1",
        **({"garb-led": "3"} if garbled else {}),
    }
    assert [dataset.name for dataset in loaded["nameless"].datasets] == ["stripes"]
    assert loaded["nameless"].version == "unknown"
    for package, plugin in before.items():
        assert loaded[package].parts == plugin.parts
    monkeypatch.setenv("VAEKIT_PLUGINS", "nameless")
    _nothing_loaded(monkeypatch)
    assert manager.plugins().left_out == tuple(sorted({*before, *errors} - {"vaekit"}))


@pytest.mark.parametrize(
    ("value", "likely"),
    [
        ("pkg.sub-module", "pkg.sub_module"),
        ("pkg:at-tribute", "pkg"),
        ("hy-phen:plugin [extra]", "hy_phen"),
        (".relative", "relative"),
        ("a..b", "a_b"),
        ("", "vaekit_bar"),
        ("-", "vaekit_bar"),
    ],
)
def test_an_entry_point_that_names_no_module(value: str, likely: str) -> None:
    error = load(EntryPoint("mine", value, "vaekit")).error
    assert error == f"its entry point names {value!r}, which is no module: write the module's name, such as {likely}"


class _Stated(Distribution):
    """A distribution that is nothing but what it requires."""

    def __init__(self, *requires: str) -> None:
        self.text = "Name: mine\nVersion: 1.2\n" + "".join(f"Requires-Dist: {line}\n" for line in requires)

    def read_text(self, filename: str) -> str | None:
        return self.text if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Any:
        raise FileNotFoundError(path)


@pytest.mark.parametrize(
    "requires",
    [
        [],
        ["torch>=99"],
        ["vaekit"],
        ["VAEkit (>=0.5)"],
        ["vaekit>=0.4,<0.6", "vaekit[conv,lstm]>=0.5"],
        ["vaekit~=0.5.0rc1"],
        ["vaekit @ https://example.org/vaekit.whl"],
        ["vaekit>=9; extra == 'later'", "vaekit>=9; python_version < '3'"],
        ["vaekit>=", "vaekit>=9; nonsense == 'x'", "vaekit>=9; python_version ~= 'x'", ">=9", "\x00"],
        ["vaekit-other>=9"],
    ],
)
@pytest.mark.parametrize("here", ["0.5.0", "0.5.1rc1", "0.5.0+local"])
def test_a_requirement_that_is_met_or_is_none(requires: list[str], here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compatibility, "version", lambda name: here)
    check_built_for(_Stated(*requires), "mine")


@pytest.mark.parametrize(
    ("requires", "wanted", "upgrade"),
    [
        (["vaekit<0.10,>=0.9"], ">=0.9,<0.10", "vaekit"),
        (["vaekit>=0.1,<0.2"], ">=0.1,<0.2", "mine"),
        (["vaekit<0.5"], "<0.5", "mine"),
        (["vaekit>=0.1", "vaekit[conv]>=0.6"], ">=0.1,>=0.6", "vaekit"),
        (["vaekit==0.4.*"], "==0.4.*", "mine"),
        (["vaekit==0.6.*"], "==0.6.*", "vaekit"),
        (["vaekit~=0.4.1"], "~=0.4.1", "mine"),
        (["vaekit>0.5"], ">0.5", "vaekit"),
        (["vaekit!=0.5"], "!=0.5", "vaekit"),
        (["vaekit===today"], "===today", "mine"),
    ],
)
def test_a_requirement_that_is_not_met(requires: list[str], wanted: str, upgrade: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compatibility, "version", lambda name: "0.5.0")
    with pytest.raises(PluginError) as caught:
        check_built_for(_Stated(*requires), "mine")
    assert str(caught.value) == f"it was built for vaekit{wanted} and this is vaekit 0.5.0: pip install --upgrade {upgrade}"
