"""Run the tests of each plugin, and of the demo, where nothing but the core and that is installed.

`python tests/downstream.py DIST [PLUGIN…]`

DIST is a folder with the wheels, as `make wheels` fills it. A plugin that needs another, or the checkout, fails here.
"""

import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from environment import Environment

ROOT = Path(__file__).parents[1]


def main(dist: str, *names: str) -> int:
    """The exit code: 0 where the tests of every plugin pass."""
    there = [*sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml")), ROOT / "demo"]
    plugins = [plugin for plugin in there if not names or plugin.name in names]
    absent = sorted(set(names) - {plugin.name for plugin in plugins})
    if absent:
        print(f"no plugin {', '.join(absent)} (there are: {', '.join(plugin.name for plugin in there)})", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(2) as two:
        runs = [two.submit(_tested, plugin, Path(scratch) / plugin.name, Path(dist).resolve()) for plugin in plugins]
        codes = []
        for plugin, run in zip(plugins, runs, strict=True):
            code, said = run.result()
            print(f"{plugin.name} alone: {said.strip().splitlines()[-1]}" if code == 0 else f"{plugin.name} alone:\n{said}")
            codes.append(code)
    return int(any(codes))


def _tested(plugin: Path, folder: Path, wheels: Path) -> tuple[int, str]:
    environment = Environment(folder, wheels)
    name = tomllib.loads((plugin / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    environment.install(name)
    own = name.replace("-", "_")
    where = f"import {own}, sys; print(*(sys.modules[name].__file__ for name in ('vaekit', '{own}') if name in sys.modules))"
    found = environment.call(str(environment.python), "-P", "-c", where)
    if any(ROOT in Path(file).parents for file in found.split()):
        return 1, f"it is imported from the checkout: {found}"
    pytest = [str(environment.python), "-P", "-m", "pytest", "-q", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    done = subprocess.run(
        [
            *pytest,
            "-p",
            "no:cacheprovider",
            "-m",
            "not slow",
            "--ignore",
            str(plugin / "tests" / "browser"),
            str(plugin / "tests"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
