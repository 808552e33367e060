"""New environments, which tests install packages in. What imports this is the fixture `environments` in conftest.py."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path


class Environment:
    """A new environment that sees this one's third-party packages.

    With wheels, to install what a user would, it sees nothing of this project; else it sees vaekit and its plugins as they are
    in the checkout.
    """

    def __init__(self, folder: Path, wheels: Path | None = None) -> None:
        self.folder, self.wheels = folder, wheels
        venv.create(folder, with_pip=False)
        self.python = folder / "bin" / "python"
        self.site = next((folder / "lib").glob("python3*/site-packages"))
        present = Path(sysconfig.get_path("purelib"))
        if wheels is None:
            (self.site / "present.pth").write_text(f"import site; site.addsitedir({str(present)!r})\n")
            return
        others = folder / "others"
        others.mkdir()
        for entry in present.iterdir():
            if "vaekit" not in entry.name and not entry.name.endswith(".pth"):
                (others / entry.name).symlink_to(entry)
        (self.site / "others.pth").write_text(f"{others}\n")

    def install(self, *what: str) -> None:
        links = [] if self.wheels is None else ["--find-links", str(self.wheels)]
        self.pip("install", "--no-index", *links, *what)

    def pip(self, command: str, *arguments: str) -> None:
        self.call(sys.executable, "-m", "pip", "--python", str(self.python), command, "--quiet", *arguments)

    def call(self, *command: str, code: int = 0, folder: Path | None = None, **environment: str) -> str:
        clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PIP_FIND_LINKS")}
        done = subprocess.run(
            command,
            cwd=folder or self.folder,
            capture_output=True,
            text=True,
            env={**clean, **environment},
            timeout=300,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def vaekit(self, *arguments: str, code: int = 0, **environment: str) -> str:
        script = self.folder / "bin" / "vaekit"
        program = [str(script)] if script.is_file() else [str(self.python), "-m", "vaekit"]
        return self.call(*program, *arguments, code=code, **environment)
