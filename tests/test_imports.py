"""Who may import whom, read from the source; and what importing vaekit must not bring."""

import ast
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import vaekit

ROOT = Path(__file__).parents[1]
CORE = ROOT / "vaekit"

# Each module of the core and the modules of the core that it may import; `errors`, `options` and `ambient` are for all.
ALLOWED = {
    "layers": "",
    "shapes": "",
    "strictjson": "",
    "distributions": "shapes",
    "hookspecs": "",
    "known": "",
    "blocks": "shapes",
    "trace": "distributions",
    "parts": "paths trace shapes",
    "paths": "distributions errors",
    "model": "parts trace shapes distributions blocks paths",
    "schema": "parts",
    "config": "files strictjson",
    "files": "",
    "hub": "",
    "snapshot": "files hub",
    "weights": "files strictjson",
    "contract": "parts config schema data.catalog",
    "data.ahead": "",
    "data.arrays": "",
    "data.shards": "",
    "data.streamed": "blocks data.ahead data.arrays data.shards shapes",
    "data.catalog": "data.arrays data.shards data.streamed shapes",
    "data.image_files": "data.ahead shapes",
    "data.offline": "",
    "inputs": "io blocks data.catalog data.image_files data.offline data.prepare data.transform known model runs",
    "compatibility": "diagnosis",
    "diagnosis": "",
    "packages": "compatibility diagnosis",
    "loading": "hookspecs contract parts data.catalog compatibility diagnosis packages",
    "plugins": "loading blocks packages",
    "registry": "plugins parts config schema known data.catalog",
    "wiring": "config registry model parts plugins schema",
    "card": "config known model",
    "export": "export.described export.draws export.graphs export.parity export.programs model",
    "export.graphs": "blocks model",
    "export.draws": "blocks model",
    "export.parity": "export.graphs model",
    "export.programs": "export.graphs",
    "export.described": "card config hub export.draws export.graphs export.parity model starting wiring",
    "hubcard": "card config known model",
    "repeating": "registry strictjson config data.transform training",
    "upload": "files hub",
    "publish": "io config files hub hubcard model repeating runs upload wiring",
    "space": "registry config files hub known plugins upload",
    "io": "wiring config files hub model plugins snapshot strictjson card blocks known registry weights",
    "data.transform": "data.ahead data.catalog data.streamed shapes",
    "data.read": "data.arrays data.catalog registry shapes",
    "data.prepare": "data.catalog data.read data.streamed data.transform config shapes",
    "data.batches": "blocks data.ahead data.catalog data.streamed",
    "data.subset": "",
    "data.check": "data.ahead data.catalog data.prepare data.streamed parts shapes",
    "evaluation": "evaluation.bounds evaluation.measures",
    "evaluation.bounds": "model trace blocks data.batches data.subset",
    "evaluation.findings": "config",
    "evaluation.measures": "model parts trace blocks distributions data.subset shapes metrics metrics.factors metrics.images "
    "metrics.latents evaluation.bounds evaluation.classifier evaluation.fidelity evaluation.findings",
    "evaluation.classifier": "strictjson blocks config data.batches data.prepare shapes",
    "evaluation.fidelity": "model metrics metrics.fidelity evaluation.bounds evaluation.classifier",
    "schedules": "training",
    "step": "model parts trace",
    "launch": "",
    "stopping": "",
    "loggers": "",
    "profiling": "trainer",
    "choices": "blocks parts step trace training",
    "ranks": "blocks launch step training",
    "gradients": "blocks choices ranks step trace",
    "trainer": "model parts evaluation data.batches blocks choices gradients memory optimizers ranks schedules step tally "
    "training validating",
    "memory": "",
    "optimizers": "",
    "validating": "blocks evaluation gradients ranks step tally trace",
    "tally": "",
    "training": "",
    "checkpoint": "files strictjson",
    "figures": "model figures.charts figures.codes figures.labelled figures.pixels figures.posteriors figures.shifts "
    "figures.strips",
    "figures.pixels": "shapes",
    "figures.charts": "figures.pixels",
    "figures.codes": "figures.charts figures.pixels",
    "figures.labelled": "model figures.charts figures.pixels figures.posteriors",
    "figures.posteriors": "model blocks",
    "figures.shifts": "model figures.charts figures.pixels",
    "figures.strips": "model blocks figures.pixels",
    "progress": "training",
    "recipes": "strictjson config",
    "runs": "io files model strictjson",
    "scaffold": "config known packages parts plugins",
    "metrics": "",
    "metrics.factors": "data.arrays",
    "metrics.fidelity": "",
    "metrics.images": "",
    "metrics.latents": "distributions",
    "testing": "testing.benches testing.outcomes testing.suite",
    "testing.outcomes": "",
    "testing.corners": "parts schema",
    "testing.spaces": "registry distributions parts testing.outcomes",
    "testing.benches": "registry distributions model parts shapes testing.outcomes testing.spaces",
    "testing.case": "parts schema shapes testing.benches testing.outcomes",
    "testing.forks": "testing.outcomes",
    "testing.fresh": "testing testing.benches testing.case testing.forks testing.outcomes",
    "testing.measure": "parts testing.case testing.outcomes",
    "testing.declared": "config contract schema testing testing.case testing.corners testing.fresh testing.outcomes",
    "testing.behaviour": "testing.case testing.outcomes",
    "testing.ends": "testing.case testing.outcomes",
    "testing.exports": "export.graphs testing.case testing.outcomes",
    "testing.latents": "distributions testing.case testing.outcomes trace",
    "testing.densities": "parts shapes testing.case testing.measure testing.outcomes",
    "testing.losses": "trace trainer testing.case testing.outcomes",
    "testing.datasets": "config data.catalog data.batches data.prepare shapes testing.case testing.outcomes",
    "testing.suite": "blocks data.catalog parts shapes testing testing.benches testing.case testing.behaviour testing.datasets "
    "testing.declared testing.densities testing.ends testing.exports testing.latents testing.losses testing.outcomes",
    "testing.results": "data.catalog plugins shapes testing.benches testing.outcomes testing.suite",
    "report": "config",
    "reproduction": "io blocks data.batches data.prepare data.transform distributions evaluation model progress "
    "recipes resuming",
    "sweeps": "figures io recipes strictjson config data.check data.prepare data.transform launch resuming runs "
    "starting trainer training",
    "starting": "io registry wiring blocks config data.batches data.prepare data.subset model parts",
    "job": "figures io blocks checkpoint choices config data.batches data.check data.prepare data.subset data.transform "
    "evaluation loggers profiling progress ranks runs starting stopping tally trainer training",
    "fitting": "config data.transform inputs io job launch loggers progress ranks recipes registry runs schema training",
    "resuming": "checkpoint choices config data.transform fitting job loggers ranks recipes runs starting training wiring",
}
EVERYBODY = {"errors", "options", "ambient"}
HEAVY = {"gradio", "matplotlib", "torchvision", "sklearn", "huggingface_hub", "datasets", "pyarrow"}
OTHERS = {path.parent.name for path in (CORE.parent / "plugins").glob("*/vaekit_*/__init__.py")}


def _modules(folder: Path) -> dict[str, Path]:
    paths = {path: path.relative_to(folder).with_suffix("") for path in folder.rglob("*.py")}
    return {".".join(p for p in relative.parts if p != "__init__"): path for path, relative in paths.items()}


def _imports(path: Path, top_only: bool) -> Iterator[str]:
    """What a file imports when it is imported itself; names under TYPE_CHECKING are not."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _core(name: str, known: set[str]) -> str:
    """The module of the core that a dotted name is of, without the leading `vaekit.`."""
    inner = name.removeprefix("vaekit").removeprefix(".")
    while inner and inner not in known:
        inner = inner.rpartition(".")[0]
    return inner


MODULES = _modules(CORE)
APART = ("builtin", "cli", "scaffold.parts", "scaffold.hooks", "__main__")
"""Modules and folders that are no library: what they may import is for other tests to say."""
LIBRARY = {name: path for name, path in MODULES.items() if name and not f"{name}.".startswith(tuple(f"{a}." for a in APART))}


@pytest.mark.parametrize("name", sorted(n for n in LIBRARY if n != "data"))
def test_a_module_of_the_core_imports_only_what_it_may(name: str) -> None:
    if name in EVERYBODY:
        allowed: set[str] = {"errors"} - {name}
    else:
        assert name in ALLOWED, f"say in ALLOWED what vaekit.{name} may import"
        allowed = EVERYBODY | set(ALLOWED[name].split())
    imported = {_core(i, set(MODULES)) for i in _imports(LIBRARY[name], top_only=True) if i.split(".")[0] == "vaekit"}
    assert imported - {""} <= allowed


@pytest.mark.parametrize("name", sorted(LIBRARY))
def test_the_core_imports_nothing_heavy_at_its_top(name: str) -> None:
    assert not {i.split(".")[0] for i in _imports(LIBRARY[name], top_only=True)} & HEAVY


@pytest.mark.parametrize("name", sorted(LIBRARY))
def test_nothing_imports_the_command_line(name: str) -> None:
    assert not [i for i in _imports(LIBRARY[name], top_only=False) if i.startswith("vaekit.cli")]


@pytest.mark.parametrize("name", sorted(name for name in LIBRARY if not name.startswith("testing")))
def test_nothing_imports_the_conformance_suite(name: str) -> None:
    assert not [i for i in _imports(LIBRARY[name], top_only=False) if i.startswith("vaekit.testing")]


def _plugin_files() -> list[Path]:
    inside = [path for path in (ROOT / "plugins").glob("*/*/*.py") if path.parent.name.startswith("vaekit_")]
    return sorted([*inside, *(CORE / "builtin").glob("*.py"), *(CORE / "scaffold").glob("*/*.py")])


@pytest.mark.parametrize("path", _plugin_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_plugin_imports_only_public_names(path: Path) -> None:
    inside = path.relative_to(ROOT).parts[:2]
    own = ".".join(inside) if inside[0] == "vaekit" else path.parent.name
    for name in _imports(path, top_only=False):
        first, _, rest = name.partition(".")
        if first == "vaekit" and not name.startswith(("vaekit.builtin.", "vaekit.scaffold.")):
            assert rest in ("", *vaekit.__all__), f"{path.name} imports {name}"
        elif first.startswith("vaekit"):
            assert name.startswith(own), f"{path.name} imports another plugin: {name}"


def test_every_public_name_is_there() -> None:
    for name in vaekit.__all__:
        assert getattr(vaekit, name) is not None
    assert sorted(vaekit.__all__) == vaekit.__all__
    assert set(dir(vaekit)) >= set(vaekit.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Encodr'"):
        _ = vaekit.Encodr


def test_importing_vaekit_imports_neither_torch_nor_plugins(python) -> None:
    code = """
        import sys, vaekit
        assert not {'torch', 'gradio', 'matplotlib', 'torchvision', 'sklearn', 'huggingface_hub'} & set(sys.modules)
        vaekit.VAE, vaekit.fit, vaekit.load
        heavy = {'gradio', 'matplotlib', 'torchvision', 'sklearn', 'huggingface_hub', 'vaekit.builtin'}
        print(sorted(heavy & set(sys.modules)))
        print(sorted(name for name in sys.modules if name.startswith('vaekit_')))
    """
    assert python(textwrap.dedent(code)).split("\n") == ["[]", "[]"]


def test_importing_vaekit_and_its_plugins_changes_no_global_state(python) -> None:
    code = """
        import torch, random, numpy, warnings
        from torch.distributions import Distribution
        def state():
            return (Distribution._Distribution__validate_args if hasattr(Distribution, '_Distribution__validate_args')
                    else Distribution._validate_args, torch.get_default_dtype(), torch.initial_seed(),
                    torch.get_rng_state().sum().item(), torch.get_float32_matmul_precision(), torch.get_num_threads(),
                    torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled(), random.getstate()[1][:3],
                    numpy.random.get_state()[1][:3].tolist(), len(warnings.filters))
        before = state()
        import vaekit
        vaekit.VAE, vaekit.fit
        from vaekit.plugins import plugins
        assert not [(plugin.error, plugin.notes) for plugin in plugins().all if plugin.error or plugin.notes]
        print(state() == before)
    """
    assert python(textwrap.dedent(code)) == "True"


def test_the_command_line_starts_without_torch(python) -> None:
    assert python("import sys, vaekit.cli; print('torch' in sys.modules)") == "False"


def test_help_is_shown_without_torch_or_a_part(python) -> None:
    code = """
        import contextlib, io, sys, vaekit.cli
        sys.argv = ['vaekit', '--help']
        with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
            vaekit.cli.main()
        assert 'train' in shown.getvalue()
        absent = {'torch', 'numpy', 'pydantic', 'PIL', *HEAVY, 'vaekit.builtin', 'vaekit.parts'}
        print(sorted(absent & set(sys.modules)))
    """
    assert python(textwrap.dedent(code).replace("HEAVY", repr(HEAVY))) == "[]"


def test_a_textbook_model_is_loaded_without_other_plugins_and_what_only_data_figures_and_the_hub_need(
    python, tmp_path: Path
) -> None:
    model, _ = vaekit.build({"data_shape": (1, 8, 8)})
    model.save(tmp_path)
    assert {"vaekit_conv", "vaekit_lstm"} < OTHERS
    code = """
        import sys, vaekit
        vaekit.load(FOLDER)
        ours = {'vaekit.' + name for name in ('fitting', 'training', 'data.image_files', 'builtin.hub_sets')}
        print(sorted(({'PIL', 'numpy.random'} | ours | OTHERS) & set(sys.modules)))
    """
    told = textwrap.dedent(code).replace("FOLDER", repr(str(tmp_path))).replace("OTHERS", repr(HEAVY | OTHERS))
    assert python(told) == "[]"
