"""How many requests `vaekit serve` answers, and how long each takes.

    python tests/benchmarks/serving.py [--seconds N] [--connections N,N,...] [--threads N]

Two MNIST-shaped models with random weights, dense and convolutional, are exported to ONNX and served on loopback, with batches
and without. wrk (https://github.com/wg/wrk; `apt-get install wrk`) then asks for one decoded code a request, over so many
connections at a time, each of which asks again once it has its answer. The processor's time is that of the server for each
request that is answered, which other work on the machine changes least. At the end the convolutional model is asked for more
than its queue holds. The exit code is 1 where anything but 200 came below the limit, or anything but 200 and 429 above it.
Linux only.
"""

import argparse
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import vaekit
from vaekit import export

MODELS: dict[str, dict[str, Any]] = {
    "dense": {"encoder": {"hidden": [512, 256]}, "decoder": {"hidden": [256, 512]}},
    "convolutional": {"encoder": "conv", "decoder": "transposed-conv"},
}
BATCHING = {"batches": [], "one by one": ["--max-batch", "1", "--max-wait-ms", "0"]}
TYPES = {"JSON": "application/json", "npy": "application/x-npy"}
QUEUE = 64
"""Examples that are taken at a time, where it is tried what comes above."""
ASKING = """
local file = io.open("{body}", "rb")
wrk.method, wrk.body = "POST", file:read("*a")
wrk.headers["Content-Type"], wrk.headers["Accept"] = "{type}", "{type}"
local threads = {{}}
function setup(thread) table.insert(threads, thread) end
function init() good, full, other = 0, 0, 0 end
function response(status)
  if status == 200 then good = good + 1 elseif status == 429 then full = full + 1 else other = other + 1 end
end
function done(summary, latency)
  local e, all = summary.errors, {{good = 0, full = 0, other = 0}}
  for _, thread in ipairs(threads) do for name in pairs(all) do all[name] = all[name] + thread:get(name) end end
  print(string.format('{{"seconds": %f, "p50": %f, "p99": %f, "broken": %d, "good": %d, "full": %d, "other": %d}}',
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.connect + e.read + e.write + e.timeout, all.good, all.full, all.other))
end
"""


def exported(folder: Path, name: str) -> Path:
    """A model in a folder of that name."""
    torch.manual_seed(0)
    model, _ = vaekit.build(vaekit.Config(data_shape=(1, 28, 28), **MODELS[name]))
    export.write(model.eval(), folder / name, name=name)
    return folder / name


class Server(NamedTuple):
    """A server that runs."""

    url: str
    process: int

    def cpu(self) -> float:
        """Seconds that it has computed."""
        fields = Path(f"/proc/{self.process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def served(folder: Path, threads: int, *options: str) -> Iterator[Server]:
    """A server of a model."""
    program = "from vaekit_runtime.service.command import main; main()"
    command = [sys.executable, "-c", program, str(folder), "--port", "0", "--threads", str(threads), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Server(process.stdout.readline().strip(), process.pid)
        finally:
            process.terminate()
            if process.wait(30):
                raise SystemExit(f"the server ended with code {process.returncode}")


def asked(server: Server, script: Path, connections: int, seconds: float) -> dict[str, float]:
    """What wrk counted, and the processor's milliseconds for each answer."""
    before = server.cpu()
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds:g}s", "--timeout", "10s"]
    said = subprocess.run(
        [*command, "--script", str(script), f"{server.url}/decode"], capture_output=True, text=True, check=True
    )
    counted: dict[str, float] = json.loads(said.stdout.splitlines()[-1])
    return {**counted, "cpu": 1000 * (server.cpu() - before) / (counted["good"] + counted["full"])}


def scripts(folder: Path) -> dict[str, Path]:
    """What wrk runs, for each type of a body with one code."""
    code, file = np.full((1, 16), 0.5, np.float32), io.BytesIO()
    np.save(file, code)
    bodies = {"JSON": json.dumps({"z": code.tolist()}).encode(), "npy": file.getvalue()}
    for name, body in bodies.items():
        (folder / f"{name}.body").write_bytes(body)
        (folder / f"{name}.lua").write_text(ASKING.format(body=folder / f"{name}.body", type=TYPES[name]), encoding="utf-8")
    return {name: folder / f"{name}.lua" for name in bodies}


def row(name: str, counted: dict[str, float]) -> str:
    rate, times = counted["good"] / counted["seconds"], f"p50 {counted['p50']:7.1f} ms   p99 {counted['p99']:7.1f} ms"
    wrong, cpu = counted["broken"] + counted["other"], f"processor {counted['cpu']:.2f} ms"
    return f"{name:50} {rate:5.0f} requests/s   {times}   {cpu}   {counted['full']:5.0f} times 429   {wrong:.0f} errors"


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--connections", default="1,16,64,256")
    parser.add_argument("--threads", type=int, default=1, help="that compute a batch")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed, which asks: apt-get install wrk")
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, vaekit {vaekit.__version__}")
    wrong = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        asking = scripts(Path(scratch))
        folders = {name: exported(Path(scratch), name) for name in MODELS}
        for name, folder in folders.items():
            for batching, batch_options in BATCHING.items():
                with served(folder, options.threads, *batch_options) as server:
                    for form, script in asking.items():
                        for connections in map(int, options.connections.split(",")):
                            counted = asked(server, script, connections, options.seconds)
                            wrong += counted["broken"] + counted["other"] + counted["full"]
                            print(row(f"{name}, {batching}, {form}, {connections} connections", counted), flush=True)
        limits = ("--queue", str(QUEUE), "--max-examples", str(QUEUE))
        with served(folders["convolutional"], options.threads, *limits) as server:
            for connections in (QUEUE, 4 * QUEUE):
                counted = asked(server, asking["JSON"], connections, options.seconds)
                wrong += counted["broken"] + counted["other"] + (counted["full"] if connections <= QUEUE else 0)
                print(row(f"a queue of {QUEUE}, {connections} connections", counted), flush=True)
                if connections > QUEUE and not counted["full"]:
                    raise SystemExit("nothing was refused above the limit")
    print("nothing went wrong below the limit" if not wrong else f"{wrong:.0f} requests went wrong below the limit")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
