"""What comes out of a comparison, for people: compare.md."""

from __future__ import annotations

from pixelcontrast.compare.results import Comparison, class_names, protocols, shown
from pixelcontrast.engine.provenance import commit, hardware
from pixelcontrast.engine.scores import left_out
from pixelcontrast.engine.statistics import Difference, mean_and_deviation

_ARM_COLUMNS = (
    "arm", "runs", "mIoU %", "deviation", "by seed", "difference", "95 % interval (t)", "p",
    "95 % interval (bootstrap over seeds)", "95 % interval (bootstrap over seeds and images)",
)  # fmt: skip


def as_markdown(comparison: Comparison) -> str:
    """How it was made, and three tables: the arms, what they cost, the classes."""
    lines = [f"# {comparison.recipe}: {', '.join(comparison.arms)}", "", *_circumstances(comparison), ""]
    lines += [*_arm_table(comparison), "", *_cost_table(comparison), "", *_class_table(comparison)]
    return "\n".join(lines) + "\n"


def _circumstances(comparison: Comparison) -> list[str]:
    ways, seeds = protocols(comparison), ", ".join(map(str, comparison.seeds))
    rows = [f"every run: `--set {change}`" for change in shown(comparison.overrides)]
    rows += [f"{arm}: {' '.join(changes) or 'the recipe as it is'}" for arm, changes in comparison.arms.items()]
    rows.append(f"seeds {seeds}; last checkpoint; {'; '.join(ways) or 'no run is done'}")
    if comparison.equal:
        rows.append(f"equal over the arms, as checked before training: {' and '.join(comparison.equal)}")
    untimed = sum(len(runs.keys() - comparison.hours.get(arm, {}).keys()) for arm, runs in comparison.runs.items())
    more = f", those of {untimed} runs trained elsewhere not counted" if untimed else ""
    machines, commits, threads = (comparison.sources(key) for key in ("hardware", "commit", "threads"))
    images = {run.scores.images for runs in comparison.runs.values() for run in runs.values()}
    rows.append(f"{'; '.join(machines) or hardware()}; threads a run: {', '.join(threads) or 'not known'}")
    hours = f"{comparison.hours_in_all:.2f} hours of runs in all{more}"
    rows.append(f"commit {', '.join(commits) or commit() or 'unknown'}; {hours}")
    rows += [f"note: the runs differ in their {what}" for what, found in (("hardware", machines), ("commit", commits),
             ("threads", threads), ("protocol", ways), ("number of images", images)) if len(found) > 1]  # fmt: skip
    absent = left_out({arm: [run.scores for run in runs.values()] for arm, runs in comparison.runs.items()})
    rows += [f"left out of the means, as in neither labels nor predictions: {absent}"] if absent else []
    return [f"- {row}" for row in rows]


def _arm_table(comparison: Comparison) -> list[str]:
    rows = [_row(_ARM_COLUMNS), _row(["---"] * len(_ARM_COLUMNS))]
    for arm, runs in comparison.runs.items():
        scores = {seed: run.scores.mIoU for seed, run in sorted(runs.items())}
        cells = [arm, str(len(scores))]
        if scores:
            mean, deviation = mean_and_deviation(list(scores.values()))
            whole = len(scores) == len(comparison.seeds)
            by_seed = [f"{score:.2f}" if whole else f"{seed}: {score:.2f}" for seed, score in scores.items()]
            cells += [f"{mean:.2f}", _number(deviation), " ".join(by_seed)]
        found = comparison.difference(arm) if arm != comparison.baseline else None
        cells += _cells(found, comparison) if found is not None else []
        rows.append(_row([*cells, *[""] * (len(_ARM_COLUMNS) - len(cells))]))
    return rows


def _cells(found: Difference, comparison: Comparison) -> list[str]:
    p = f"{found.p:.3f}" if found.p is not None else "-"
    return [
        f"{found.mean:+z.2f}{_share(found, comparison)}",
        _interval(found.low, found.high),
        p,
        _interval(found.bootstrap_low, found.bootstrap_high),
        _interval(found.images_low, found.images_high),
    ]


def _cost_table(comparison: Comparison) -> list[str]:
    rows = [_row(("arm", "images/s", "time of an image, relative", "peak memory MB", "relative", "hours a run"))]
    rows.append(_row(["---"] * 6))
    base = comparison.cost(comparison.baseline)
    for arm in comparison.arms:
        cost, hours = comparison.cost(arm), comparison.hours_of(arm)
        cells = [arm, "", "", "", "", f"{min(hours):.2f} to {max(hours):.2f}" if hours else ""]
        if cost is not None:
            cells[1], cells[3] = f"{cost.images_per_second:.1f}", f"{cost.peak_bytes / 1e6:.0f}"
        if cost is not None and base is not None:
            cells[2] = f"{base.images_per_second / cost.images_per_second:.2f}"
            cells[4] = f"{cost.peak_bytes / base.peak_bytes:.2f}"
        rows.append(_row(cells))
    return rows


def _class_table(comparison: Comparison) -> list[str]:
    rows = [_row(["class", f"{comparison.baseline} IoU %", *(f"{arm} minus it" for arm in comparison.others)])]
    rows.append(_row(["---"] * (2 + len(comparison.others))))
    for name in class_names(comparison):
        runs = comparison.runs[comparison.baseline].values()
        base = [iou for run in runs if (iou := run.scores.IoU[name]) is not None]
        mean = f"{mean_and_deviation(base)[0]:.2f}" if base else "absent"
        found = [comparison.difference(arm, name) for arm in comparison.others]
        rows.append(_row([name, mean, *(_signed(each, comparison) for each in found)]))
    return rows


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _signed(found: Difference | None, comparison: Comparison) -> str:
    return f"{found.mean:+z.2f} {_interval(found.low, found.high)}{_share(found, comparison)}" if found else "-"


def _share(found: Difference, comparison: Comparison) -> str:
    """Of how many seeds a difference is, where it is not of all."""
    count = len(comparison.seeds)
    return f" ({found.seeds} of {count} seeds)" if found.seeds < count else ""


def _interval(low: float | None, high: float | None) -> str:
    return f"[{low:+z.2f}, {high:+z.2f}]" if low is not None and high is not None else "-"


def _number(value: float | None) -> str:
    return f"{value:.2f}" if value is not None else "-"
