"""Measure, and print figures side by side: `make bench`. Nothing here can fail a test.

Times are medians of several runs in one process each, on whatever else this machine is doing; ratios are taken
from runs of the same call, so that they hold on a slow machine as well.
"""

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from needs import HINT, kernel_files, kernel_version


def seconds(action, runs=5):
    """Return the median time of an action, and what it returned last."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        result = action()
        times.append(time.perf_counter() - start)
    return statistics.median(times), result


def fresh(code, runs=5):
    """Return the median time of a Python process that runs some code, and of one that runs none."""

    def process(text):
        subprocess.run([sys.executable, "-c", text], check=True)

    return seconds(lambda: process(code), runs)[0], seconds(lambda: process("pass"), runs)[0]


def machine():
    """Say on what this was measured."""
    cpu = next(
        (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    what = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {cpu or 'unknown CPU'}"
    return f"{what}, Python {platform.python_version()}"


def _lines(path):
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def bench_import():
    with_it, without = fresh("import vmenter, vmenter.patching.alternatives, vmenter.code.image")
    print(f"import of the engine            {with_it - without:8.3f} s")


def bench_kernel(version):
    from vmenter.code.image import load
    from vmenter.code.unpack import unpack
    from vmenter.patching import alternatives
    from vmenter.patching.features import from_words

    path = next((path for path in kernel_files("vmlinuz") if kernel_version(path) == version), None)
    if path is None:
        print(f"\n{version}: no vmlinuz here; {HINT}")
        return
    golden = Path(__file__).parent / "data" / "golden" / f"{version}-Skylake-Server.json.gz"
    words = json.loads(unpack(golden.read_bytes(), golden.name))["feature_words"]
    features = from_words(int(word, 16) for word in words)
    loading, image = seconds(lambda: load(path))
    patching, patches = seconds(lambda: alternatives.patch_all(image, features))
    print(f"\n{version}: {len(patches):,} sites")
    print(f"load of the vmlinuz             {loading:8.3f} s")
    print(f"patching all sites              {patching:8.3f} s   {len(patches) / patching:,.0f} sites a second")
    if shutil.which("objdump") is None:
        print("objdump -d: not installed")
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(unpack(path.read_bytes(), path.name))
        file.flush()
        command = ["objdump", "-d", "-j", ".text", file.name]
        listing, _ = seconds(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True), runs=1)
    print(f"objdump -d of its .text         {listing:8.3f} s   {listing / patching:.0f} times as long as patching")


def main():
    print(machine(), end="\n\n")
    bench_import()
    for version in ("6.12.117", "7.3.4"):
        bench_kernel(version)


if __name__ == "__main__":
    main()
