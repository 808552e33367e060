"""How much memory training on images takes that are too many to hold.

    python tests/benchmarks/streaming.py [--images 20000] [--side 64]

Draws two folders of PNG files, one four times the other, and trains one epoch on each in a process that is told that its
machine has as much memory as the smaller one takes decoded. vaekit holds images that fit into a share of that, so neither is
held. The resident memory of the process is looked at ten times a second: it must not grow with the folder. For comparison, the
smaller one is trained on with all the memory there is, where it is held. Where the package datasets is installed, the same
images are streamed by `hf:` from parquet files besides, each of one group of rows, and what they take is set beside what
docs/training.md states: two windows, what is decoded ahead and what is unpacked together. Linux only.

What a process was told is no limit that the system keeps to; what it took is measured, not believed. How often each file was
read says whether it was held: once, or once to check it and again for every epoch.
"""

import argparse
import atexit
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

MIB = 2**20
APART = 500  # images for validation and as many for testing, of either folder: these may be held
TIMES = 4
BATCH = 128
IN_A_FILE = 20_000
FIRST = "packed-first"
GROWTH = 0.1  # of the bytes that an image takes decoded: what each further image may add

# In the child.


def child(told: int, source: str, output: str) -> None:
    """Train one epoch with the memory that it is told of, or all that there is; print what it read."""
    if told:
        real = os.sysconf
        os.sysconf = lambda name: told // real("SC_PAGE_SIZE") if name == "SC_PHYS_PAGES" else real(name)
    import vaekit

    reads = 0
    read = vaekit.ImageFiles.read

    def counted(self: vaekit.ImageFiles, index: int) -> Any:
        nonlocal reads
        reads += 1  # threads may lose a few
        return read(self, index)

    vaekit.ImageFiles.read = counted  # type: ignore[method-assign]
    if source.startswith("hf:"):  # `datasets` imports much when it reads its first set
        from vaekit.data.prepare import load

        load(f"hf:{Path(source[3:]).with_name(FIRST)}")
    print(json.dumps({"imported": time.time()}), flush=True)
    run = vaekit.fit(
        source,
        encoder={"name": "mlp", "hidden": [32]},
        decoder={"name": "mlp", "hidden": [32]},
        latent={"features": 8},
        data_options={"validation": APART, "test": APART},
        batch_size=BATCH,
        epochs=1,
        output=output,
        progress=False,
    )
    row = next(row for row in run.metrics if row["split"] == "train")
    print(json.dumps({"reads": reads, "images_per_second": row["images_per_second"]}), flush=True)


# In the parent.


def draw(folder: Path, n: int, side: int) -> None:
    """Pictures of two rectangles each, of random place and colour."""
    random = np.random.default_rng(0)
    for number in range(n):
        corners = np.sort(random.integers(0, side, (2, 2, 2)), axis=1)
        colours = random.integers(0, 256, (3, 3))
        image = Image.new("RGB", (side, side), tuple(colours[0].tolist()))
        for (first, last), colour in zip(corners.tolist(), colours[1:].tolist(), strict=True):
            ImageDraw.Draw(image).rectangle((*first, *last), fill=tuple(colour))
        image.save(folder / f"{number:07}.png", compress_level=1)


def resident(process: int) -> int:
    """Bytes that a process has in memory; 0 where it has ended."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def packed(images: Path, folder: Path, n: int) -> None:
    """The first images of a folder in parquet files, each of one group of rows."""
    import datasets

    datasets.disable_progress_bars()
    folder.mkdir()
    paths = sorted(images.iterdir())[:n]
    for number, start in enumerate(range(0, len(paths), IN_A_FILE)):
        rows = [{"bytes": path.read_bytes(), "path": path.name} for path in paths[start : start + IN_A_FILE]]
        made = datasets.Dataset.from_dict({"image": rows}, features=datasets.Features({"image": datasets.Image()}))
        made.to_parquet(folder / f"train-{number:05}.parquet", batch_size=IN_A_FILE)


def stated(decoded: int, stored: int) -> int:
    """Bytes that a stream of parquet files takes by what is documented, for images of so many bytes each."""
    from vaekit.data.shards import LANES
    from vaekit.data.streamed import AHEAD, WINDOW

    return 2 * WINDOW + min(AHEAD, 2 * BATCH * decoded) + LANES[True] * (256 * stored + 2 * MIB)


def watched(told: int, source: str, scratch: Path) -> dict[str, Any]:
    """Train on a set in a process of its own, and look at its memory until it ends.

    Returns:
        What it said; its own peak in bytes; what was seen and when; when it began to train and had trained, as its files say.
    """
    output = tempfile.mkdtemp(dir=scratch)
    command = [sys.executable, str(Path(__file__).resolve()), "--child", str(told), source, output]
    found: dict[str, Any] = {"seen": []}
    with Path(output, "said.txt").open("w+", encoding="utf-8") as said, Path(output, "errors.txt").open("w+") as errors:
        process = subprocess.Popen(command, stdout=said, stderr=errors)
        atexit.register(process.kill)
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            found["seen"].append((time.time(), resident(process.pid)))
            for what, file in (("training", "run.json"), ("trained", "metrics.jsonl")):  # which fit writes before and after
                if what not in found and any(Path(output).glob(f"*/{file}")):
                    found[what] = time.time()
            time.sleep(0.1)
        process.returncode = os.waitstatus_to_exitcode(status)  # from here on nothing is killed
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"training ended with code {process.returncode}:\n{errors.read()[-2000:]}")
        said.seek(0)
        for line in said:
            found |= json.loads(line)
    return {**found, "peak": usage.ru_maxrss * 1024}


def report(name: str, found: dict[str, Any], n: int, decoded: int) -> None:
    """Resident memory when everything is imported, over time, and at most."""
    training = [size for moment, size in found["seen"] if found["training"] <= moment <= found["trained"]] or [0]
    start = at_start(found)
    reads = f"{found['reads'] / n:.2f} reads a file, " if found["reads"] else ""
    print(f"\n{name}: {n:,} images, {decoded / MIB:,.0f} MiB decoded, {reads}", end="")
    print(f"{found['images_per_second']:,.0f} images/s")
    print(f"  MiB: {start / MIB:,.0f} when imported, {max(training) / MIB:,.0f} at most in the epoch, ", end="")
    print(f"{found['peak'] / MIB:,.0f} at most at all")
    print(f"  over the epoch:  {over_time(training)}")
    print(f"  over everything: {over_time([size for _, size in found['seen'] if size])}")


def at_start(found: dict[str, Any]) -> int:
    """Bytes that a process had when everything was imported."""
    return next((size for moment, size in found["seen"] if moment >= found["imported"]), 0)


def in_epoch(found: dict[str, Any]) -> int:
    """Bytes that it took in the epoch at most, beyond those at the start."""
    return max(size for moment, size in found["seen"] if found["training"] <= moment <= found["trained"]) - at_start(found)


def over_time(sizes: Sequence[int], points: int = 12) -> str:
    places = [round(i * (len(sizes) - 1) / (points - 1)) for i in range(points)]
    return " ".join(f"{sizes[place] / MIB:,.0f}" for place in places)


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(int(sys.argv[2]), *sys.argv[3:5])
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # and the child with it
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000, help=f"in the smaller folder; more than {2 * APART:,}")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--json", type=Path, help="a file for everything that was measured")
    asked = parser.parse_args()
    if asked.images <= 2 * APART:
        parser.error(f"--images must be more than {2 * APART:,}")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    each = 3 * asked.side**2
    few, many = asked.images, TIMES * asked.images
    told = few * each
    print(f"{few:,} and {many:,} images of 3x{asked.side}x{asked.side}; told of {told / MIB:,.0f} MiB of memory", flush=True)
    with tempfile.TemporaryDirectory(prefix="vaekit-streaming-") as scratch:
        large, small = Path(scratch, "large"), Path(scratch, "small")
        large.mkdir()
        small.mkdir()
        draw(large, many, asked.side)
        for path in sorted(large.iterdir())[:few]:
            os.link(path, small / path.name)
        results = {}
        sets = [
            ("streamed", told, f"folder:{small}", few),
            ("streamed", told, f"folder:{large}", many),
            ("held, for comparison", 0, f"folder:{small}", few),
        ]
        if find_spec("datasets"):
            packed(small, Path(scratch, FIRST), 100)
            for n in (few, many):
                packed(large, Path(scratch, f"packed-{n}"), n)
                sets.append(("parquet", told, f"hf:{Path(scratch, f'packed-{n}')}", n))
        for name, memory, source, n in sets:
            found = results[f"{name} {n}"] = watched(memory, source, Path(scratch))
            report(name, found, n, n * each)
        stored = sum(path.stat().st_size for path in small.iterdir()) // few
    one, other = (results[f"streamed {n}"] for n in (few, many))
    streamed = min(one["reads"] / few, other["reads"] / many) > 1.5
    print(f"\nasked: no folder is held; found: {'so' if streamed else 'held'}; {'holds' if streamed else 'does not hold'}")
    added = (other["peak"] - one["peak"]) / (many - few)
    holds = added < GROWTH * each
    print(f"each further image adds {added:,.0f} bytes to the peak; decoded it takes {each:,}")
    print(f"  asked: less than {GROWTH:.0%}; found: {added / each:.1%}; {'holds' if holds else 'does not hold'}")
    if f"parquet {few}" in results:
        streamed_by_hf = in_epoch(results[f"parquet {many}"]) - in_epoch(results[f"streamed {many}"])
        budget = stated(each, stored)
        print(f"parquet, of {many * each / MIB:,.0f} MiB decoded and {many * stored / MIB:,.0f} MiB stored")
        print(f"  asked: at most the {budget / MIB:,.0f} MiB that are documented; ", end="")
        print(f"found: {streamed_by_hf / MIB:,.0f} MiB more in the epoch than a folder takes; ", end="")
        print("holds" if streamed_by_hf <= budget else "does not hold")
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
