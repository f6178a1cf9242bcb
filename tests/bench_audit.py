"""How long the audit takes, beside trying configurations one by one: `python tests/bench_audit.py`."""

import time
from random import Random

from vmenter.story import eras
from vmenter.story.audit import audits
from vmenter.story.history import ERAS
from vmenter.story.space import DEFAULT, SPACES, Space
from vmenter.views.exposure.frame import LOOKS, frame

SAMPLE = 2000  # configurations done in full, for each era


def one_by_one(space: Space) -> float:
    """Return how many configurations a second can be done in full, drawn at random, over all eras."""
    random, start = Random(1), time.perf_counter()
    for era in ERAS.values():
        for _ in range(SAMPLE):
            numbers = space.configuration(random.randrange(space.configurations))
            eras.enter(era, *space.machine(tuple(enumerate(numbers))))
    return SAMPLE * len(ERAS) / (time.perf_counter() - start)


def zooms() -> list[float]:
    """Return how long each new split of the default space takes the exposure map, its audit done."""
    frame({})
    found = []
    for name in DEFAULT.counts:
        start = time.perf_counter()
        frame({"split": [name, LOOKS[0].split[1]]})
        found.append(time.perf_counter() - start)
    return sorted(found)


def main() -> None:
    """Print figures for each space, and for the exposure map of the default one."""
    for space in SPACES.values():
        start = time.perf_counter()
        found = list(audits(space=space))
        spent = time.perf_counter() - start
        total = space.configurations * len(found)
        brute = one_by_one(space)
        print(f"audit of the {space.name} space: {space.configurations:,} configurations, {len(found)} eras")
        print(f"{spent:>12.1f}  seconds, one core")
        print(f"{sum(audit.states for audit in found):>12,}  distinct states run")
        print(f"{total / spent:>12.2g}  configurations a second")
        years = total / brute / (365.25 * 24 * 3600)
        print(
            f"{brute:>12,.0f}  a second one by one, on a sample of {SAMPLE * len(found):,}: {years:,.2g} years for all"
        )
        if space is DEFAULT:
            clicks = zooms()
            middle, most = clicks[len(clicks) // 2], clicks[-1]
            print("exposure map of it: a click that splits it by another dimension, all eras")
            print(f"{middle:>12.3f}  seconds, median of {len(clicks)} dimensions; {most:.3f} at most")


if __name__ == "__main__":
    main()
