"""How long Python takes to make what a view shows: `python tests/bench_frames.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from bench import seconds
from needs import kernel_files


def line(name, action):
    print(f"{name:<46}{seconds(action, 10)[0] * 1000:8.1f} ms")


def main():
    """Print a line a frame; the KernelBrowser's over the newest whole kernel at hand."""
    from vmenter.code.image import load
    from vmenter.views.entry.widget import EntryExplorer
    from vmenter.views.kernel.frame import frame, table
    from vmenter.views.patch.widget import PatchBench

    bench, explorer = PatchBench("three_way"), EntryExplorer(compare="v4")
    engines = iter(("early", "layered", "once") * 10)
    pending = iter((True, False) * 10)
    line("PatchBench, another engine", lambda: setattr(bench, "state", {**bench.state, "engine": next(engines)}))
    line("EntryExplorer, two eras, another vCPU",
         lambda: setattr(explorer, "state", {**explorer.state, "flush_pending": next(pending)}))  # fmt: skip
    kernels = kernel_files("vmlinuz")
    if not kernels:
        print("KernelBrowser: no whole kernel here")
        return
    image = load(kernels[-1])
    line(f"KernelBrowser, {kernels[-1].parent.name}, all sites read", lambda: table(image))
    browsed = table(image)
    for what, state in {
        "first page": {},
        "other features": {"cpu": "skylake-server"},
        "text": {"text": "verw"},
        "sorted, far down": {"sort": "features", "top": 3000},
    }.items():
        line(f"KernelBrowser, {what}", lambda state=state: frame(browsed, state))


if __name__ == "__main__":
    main()
