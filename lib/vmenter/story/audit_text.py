"""An audit as plain text and as JSON: what `vmenter audit` says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vmenter.patching.text import table
from vmenter.story.replay import replay

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vmenter.story.audit import Audit, Finding
    from vmenter.story.space import Space


def to_json(space: Space, audits: Sequence[Audit]) -> dict[str, Any]:
    """Return audits in the shape of `vmenter audit --json`."""
    return {
        "space": space.name,
        "configurations": space.configurations,
        "distinct_states": sum(audit.states for audit in audits),
        "eras": [
            {
                "era": audit.era.id,
                "broken": audit.broken.count if audit.broken else 0,
                "smallest": smallest_json(audit.broken),
                "replay": audit.replay,
                "neutralised": audit.neutralised.count if audit.neutralised else 0,
                "failed": audit.failed.count if audit.failed else 0,
            }
            for audit in audits
        ],
    }


def smallest_json(finding: Finding | None) -> dict[str, Any] | None:
    """Return the smallest configuration of a finding: its settings, and all of its machine."""
    if finding is None:
        return None
    host, vcpu = finding.machine
    return {
        "settings": finding.settings,
        "distance": finding.tally.settings,
        "bugs": list(host.bugs),
        "microcode": list(host.facts),
        "cmdline": host.cmdline,
        "ept": host.ept,
        **vcpu.settings,
    }


def space_lines(space: Space) -> Iterator[str]:
    """Yield how large a space is, and what makes it so."""
    yield f"Space {space.name}: {space.configurations:,} configurations of {len(space.dimensions)} dimensions"
    yield from table(
        (
            d.name,
            str(len(d.values)),
            str(d.part),
            ", ".join(value.label for value in d.values[:6]) + _more(d.values),
        )
        for d in space.dimensions
    )


def _more(values: Sequence[Any]) -> str:
    return f", … {len(values) - 6} more" if len(values) > 6 else ""


def audit_lines(audit: Audit) -> Iterator[str]:
    """Yield what was found in one era."""
    yield f"{audit.era.id}: {audit.era.title} ({audit.states} distinct states run)"
    findings = (
        ("BROKEN", audit.broken),
        ("neutralised, counted apart", audit.neutralised),
        ("FAILED, no VM-Enter or the wrong instruction for it", audit.failed),
    )
    if not audit.broken and not audit.failed:
        yield "  The promise is kept in every configuration."
    for title, finding in findings:
        if finding:
            share = finding.count / audit.space.configurations
            yield f"  {title}: {finding.count:,} configurations, {share:.2g} of all"
            settings = ", ".join(f"{name} {value}" for name, value in finding.settings.items())
            yield f"    smallest: {settings or 'the default machine'}"
            yield f"    replay:   {replay(audit.era, *finding.machine)}"
            yield "    all of them have:"
            yield from (f"    {line}" for line in table(shared_words(finding)))


def shared_words(finding: Finding) -> Iterator[tuple[str, str]]:
    """Yield each shared dimension and its values in words; the shorter of what occurs and what does not."""
    values = {d.name: [value.label for value in d.values] for d in finding.space.dimensions}
    for name, seen in finding.shared.items():
        never = [label for label in values[name] if label not in seen]
        yield name, " or ".join(seen) if len(seen) <= len(never) + 1 else f"anything but {' or '.join(never)}"
