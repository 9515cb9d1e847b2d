"""`python -m tests.torture`: seeds one after the other, each judged; the exit code is 1 if a promise was broken."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.torture.model import SUCCESS
from tests.torture.plan import Scale, make
from tests.torture.run import Report, Run
from tests.torture.verdict import FAILED

FIRST_SEED = 1


def main(argv: Sequence[str] | None = None) -> int:
    given = _arguments(argv)
    scale = Scale(
        jobs=given.jobs,
        kills=given.kills,
        stops=given.kills // 10 if given.stops is None else given.stops,
        bursts=max(4, given.kills // 3) if given.bursts is None else given.bursts,
        drop=given.drop,
        redis_restarts=given.redis_restarts,
        workers=given.workers,
        tables=given.tables,
        canvas=given.canvas,
        pace_s=given.pace,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # not without ending what was started
    seeds = [given.seed] if given.seed is not None else range(FIRST_SEED, FIRST_SEED + given.seeds)
    failed = []
    for seed in seeds:
        folder = Path(tempfile.mkdtemp(prefix=f"torture-{seed}-", dir=given.folder))
        _say(f"seed {seed}: {scale.jobs} jobs, {scale.tables} tables, {scale.workers} workers; logs in {folder}")
        report, told = Run(make(seed, scale), folder, _say).go()
        _say(summary(report))
        for text in [*report.problems, *told()]:
            _say(text)
        if report.clean:
            shutil.rmtree(folder)
        else:
            failed.append(seed)
            _say(f"seed {seed} FAILED; logs and data are in {folder}; again: {_again(seed, scale)}")
    _say(f"{len(seeds) - len(failed)} of {len(seeds)} seeds hold" + (f"; these do not: {failed}" if failed else ""))
    return 1 if failed else 0


def summary(report: Report) -> str:
    verdict, counts, injected = report.verdict, report.counts, report.injected
    codes = Counter(outcome.code for outcome in verdict.outcomes.values())
    notes = verdict.notes
    lines = {
        "jobs": ", ".join(f"{count} {code}" for code, count in codes.most_common()),
        "canvas": f"{counts['canvases']} through Celery's own door, {counts['unsure canvases']} times sent again",
        "workers": f"{counts['kills']} kill -9 ({counts['kills of a worker with a batch under way']} with a batch "
        f"under way), {counts['stops']} stopped past their lease",
        "redis": f"{counts['redis restarts']} kill -9; {counts['unreachable']} times a producer was refused, "
        f"{counts['known']} jobs were enqueued twice",
        "replies": f"{injected['drop_before']} lost before, {injected['drop_after']} after the request was served",
        "warehouse": ", ".join(
            f"{count} {action}" for action, count in sorted(injected.items()) if not action.startswith("drop")
        ),
        "statements": ", ".join(f"{count} {kind}" for kind, count in sorted(report.statements.items())),
        "proofs": f"{report.logs.found} batches found by their stamp, {report.logs.taken_over} taken over from another "
        f"worker",
        "receipts": ", ".join(f"{count}: {note}" for note, count in notes.most_common()) or "no notes",
        "unknown": f"{sum(o.unproved for o in verdict.outcomes.values())} jobs whose commit nobody can prove, "
        f"{sum(o.code == SUCCESS and o.count is None for o in verdict.outcomes.values())} counts",
        "wall time": f"{report.wall_s:.0f} s",
        "verdict": ", ".join(f"{verdict.count(what)} {what}" for what in FAILED),
    }
    return "\n".join(f"  {name + ':':12}{text}" for name, text in lines.items())


def _again(seed: int, scale: Scale) -> str:
    return (
        f"python -m tests.torture --seed {seed} --jobs {scale.jobs} --kills {scale.kills} --stops {scale.stops} "
        f"--bursts {scale.bursts} --drop {scale.drop} --redis-restarts {scale.redis_restarts} "
        f"--workers {scale.workers} --tables {scale.tables} --canvas {scale.canvas} --pace {scale.pace_s}"
    )


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    default = Scale()
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--seed", type=int, help="this one only")
    parser.add_argument("--seeds", type=int, default=3, help="how many, one after the other")
    parser.add_argument("--jobs", type=int, default=default.jobs)
    parser.add_argument("--kills", type=int, default=default.kills, help="kill -9 of workers")
    parser.add_argument("--stops", type=int, help="SIGSTOPs past the lease; a tenth of the kills")
    parser.add_argument("--bursts", type=int, help="bursts of other faults of the warehouse; a third of the kills")
    parser.add_argument("--drop", type=float, default=default.drop, help="share of replies that are lost")
    parser.add_argument("--redis-restarts", type=int, default=default.redis_restarts, help="kill -9 of Redis")
    parser.add_argument("--workers", type=int, default=default.workers)
    parser.add_argument("--tables", type=int, default=default.tables)
    parser.add_argument("--canvas", type=float, default=default.canvas, help="share of jobs in canvases, beside them")
    parser.add_argument("--pace", type=float, default=default.pace_s, help="seconds between two faults, on average")
    parser.add_argument("--folder", type=Path, help="where logs and data go")
    return parser.parse_args(argv)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
