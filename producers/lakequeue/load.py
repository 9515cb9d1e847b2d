"""The command `load`: the rows of a CSV file into a table, once however often it is run."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lakequeue import csv_options
from lakequeue.client import Queue
from lakequeue.csv_file import CsvFile
from lakequeue.csv_jobs import Survey, Target, jobs, room_of, rows_of, survey
from lakequeue.csv_plan import plan
from lakequeue.csv_problem import CsvProblem
from lakequeue.errors import InvalidJob, JobConflict, LakequeueError, QueueFull
from lakequeue.load_columns import drift
from lakequeue.load_decision import Decision, Load, LoadRefused, Seen, decide
from lakequeue.load_ledger import Loaded
from lakequeue.load_names import bounds, default_name, fresh_name, job_id
from lakequeue.load_outcomes import Outcomes, letters_of, shown
from lakequeue.load_presence import present
from lakequeue.load_sources import sources
from lakequeue.problems import SHOWN
from lakequeue.progress import Display, open_display
from lakequeue.sending import ASKED_AT_ONCE, send_patiently
from lakequeue.settings import Settings
from lakequeue.table_probe import NoSuchTable, ProbeFailed, TableProbe
from lakequeue.tabular import counted

LATE = 3
INTERRUPTED = 130
UNCHECKED = "or give --no-check to send the file without a look into the table"


@dataclass
class Tally:
    """How far a load has come."""

    name: str = ""
    resume: str = "the same command"
    rows: int = 0
    new: int = 0
    known: int = 0
    all_rows: int = 0
    sending: bool = False

    @property
    def jobs(self) -> int:
        return self.new + self.known

    def so_far(self) -> str:
        if not self.sending:
            return "nothing was sent"
        if self.rows == self.all_rows:
            return (
                f"all {self.rows:,} rows are sent; {self.resume} with --wait waits for the outcomes, and adds nothing"
            )
        return f"{self.rows:,} of {self.all_rows:,} rows are sent, perhaps a few more; {self.resume} goes on from there"


def run(args: Namespace, settings: Settings, connect: Callable[[], Queue]) -> int:
    """Returns the exit code. `connect` is called once the file is found to be good, and not for a dry run."""
    tally = Tally()
    with open_display() as display:
        try:
            return _load(args, settings, connect, tally, display)
        except CsvProblem as exc:
            display.say(f"lakequeue: {args.file}: {exc}")
            display.say(f"lakequeue: {_after_bad_file(tally)}")
            return 1
        except LoadRefused as exc:
            display.say(f"lakequeue: {exc}")
            return 1
        except JobConflict:
            display.say(f"lakequeue: {_after_conflict(tally)}")
            return 1
        except ProbeFailed as exc:
            display.say(f"lakequeue: {exc.message}; {UNCHECKED}. {tally.so_far()}")
            return LATE if exc.late else 2
        except LakequeueError as exc:
            display.say(f"lakequeue: {exc.message}; {tally.so_far()}")
            return 1 if isinstance(exc, InvalidJob) else 2
        except KeyboardInterrupt:
            display.say(f"lakequeue: stopped; {tally.so_far()}")
            return INTERRUPTED


def _load(args: Namespace, settings: Settings, connect: Callable[[], Queue], tally: Tally, display: Display) -> int:
    file = CsvFile(Path(args.file), csv_options.dialect(args), max_field_chars=settings.max_job_bytes)
    asked, notes = _target(file, args, settings)
    display.phase(f"reading {file.path.name}", file.size)
    found = survey(file, asked, display.advance)
    if found.problems:
        return _refuse(file, found.problems, display)
    tally.all_rows = found.rows
    target = replace(asked, columns=found.columns)
    for note in (*notes, *found.notes, *_blank_lines(file)):
        display.say(f"{file.path}: {note}")
    if args.dry_run:
        return _describe(target, found, display)
    for line in _types(target):
        display.say(line)
    if not found.rows:
        display.say(f"{file.path} has no rows: nothing was sent")
        return 0
    load = _asked_for(args, file, asked, found)
    tally.name = load.name
    if args.again:
        tally.resume = f"the same command with --load-id {load.name} in place of --again"
    with connect() as queue:
        return Loading(queue, args, file, asked, target, load, tally, display).run()


def _target(file: CsvFile, args: Namespace, settings: Settings) -> tuple[Target, tuple[str, ...]]:
    """Where the rows go, and what is to be said of how the file is read."""
    planned = plan(file, args.columns, csv_options.changes(args), decimal_comma=args.decimal == ",", create=args.create)
    target = Target(
        table=args.table,
        columns=planned.columns,
        nulls=csv_options.nulls(args),
        create=args.create,
        actor=args.actor,
        rows_per_job=args.rows_per_job,
        max_job_bytes=settings.max_job_bytes,
    )
    return target, planned.notes


def _blank_lines(file: CsvFile) -> Iterator[str]:
    if file.blank_lines and len(file.header()) > 1:
        yield f"{counted(file.blank_lines, 'blank line')} left out"
    elif file.blank_lines:
        yield f"{counted(file.blank_lines, 'blank line')} read as a row with an empty field"


def _asked_for(args: Namespace, file: CsvFile, asked: Target, found: Survey) -> Load:
    path = file.path.absolute()
    name = args.load_id or default_name(args.table, path.name)
    types = ",".join(f"{each.name}:{each.type.sql}" for each in asked.columns if each.type)
    return Load(
        name=fresh_name(name) if args.again else name,
        named=bool(args.load_id or args.again),
        table=str(args.table),
        file=path.name,
        folder=str(path.parent),
        header=found.header,
        content=found.content,
        tag=found.tag,
        plan=found.plan,
        options={
            "--columns": types,
            "--null": repr(sorted(asked.nulls)),
            "--decimal": args.decimal,
            "--no-create": "" if asked.create else "yes",
            "--actor": asked.actor or "",
        },
        create=asked.create,
        all_rows=args.all_rows,
        rows_per_job=asked.rows_per_job,
        room=room_of(asked),
    )


class Loading:
    """One run of a load: find out what is known, send what is missing, wait if that is asked for."""

    def __init__(
        self,
        queue: Queue,
        args: Namespace,
        file: CsvFile,
        asked: Target,
        target: Target,
        load: Load,
        tally: Tally,
        display: Display,
    ) -> None:
        self._queue = queue
        self._args = args
        self._file = file
        self._asked = asked
        self._target = target
        self._load = load
        self._tally = tally
        self._display = display
        self._probe = TableProbe(queue, target.table, display.say)

    def run(self) -> int:
        load, name = self._load, self._load.name
        known = self._queue.loads.read(name)
        self._display.phase("looking up what is known", 1)
        told = sources(
            self._queue,
            name,
            load.table,
            self._probe,
            remembered=known is not None,
            look=self._look,
            rows=lambda: rows_of(self._file, self._asked),
        )
        decision = decide(load, known, told)
        for line in decision.lines:
            self._display.say(line)
        if decision.remember:
            same = known is not None and known.content == load.content and known.tag == decision.tag
            self._queue.loads.begin(name, _remembered(load, decision, known if same else None))
        outcomes = Outcomes(self._queue, self._ids(decision), lambda: letters_of(self._queue, load.table, name))
        self._send(decision, outcomes)
        if decision.remember and (any(decision.send) or known is None or known.state == "sending"):
            self._queue.loads.note(name, "sent")
        for letter in decision.gone:
            with suppress(LakequeueError):
                self._queue.dead_letters.drop(letter)
        return self._await(decision, outcomes) if self._args.wait else 0

    def _look(self) -> Seen | None:
        """The table as it is now, its columns checked."""
        if not self._args.check:
            return None
        try:
            shape = self._probe.shape(bounds(self._load.name))
        except NoSuchTable as exc:
            if not self._target.create:
                raise LoadRefused(f"{exc.message}: leave out --no-create to have it created. Nothing was sent") from exc
            return Seen(exists=False)
        declared = {each.name for each in self._asked.columns if each.type}
        lines = drift(self._target.columns, shape, self._target.table, declared=declared, typed=self._target.create)
        if lines:
            raise LoadRefused("\n  ".join([f"the file does not fit {self._target.table}; nothing was sent", *lines]))
        return Seen(exists=True, rows=shape.rows)

    def _ids(self, decision: Decision) -> Iterator[tuple[int, str]]:
        """Those of the jobs whose outcomes are of interest."""
        for index, part in enumerate(decision.plan):
            if decision.watch[index]:
                yield index, job_id(self._load.name, part.tag, part.first)

    def _send(self, decision: Decision, outcomes: Outcomes) -> None:
        tally, display, target = self._tally, self._display, self._target
        label = f"sending to {target.table}"

        def on_full(exc: QueueFull) -> None:
            reason = exc.message.partition(";")[0]
            display.say(
                f"{reason}: waiting until workers make room (stop with Ctrl-C; {tally.resume} goes on from there)"
            )
            display.label(f"{label}, as fast as workers make room")

        plan = decision.plan
        tally.rows = plan.rows - plan.rows_of(decision.send)
        tally.known = len(plan) - sum(decision.send)
        display.phase(label, tally.all_rows)
        tally.sending = True
        started = time.monotonic()
        if any(decision.send):
            made = jobs(self._file, target, self._load.name, plan, decision.send)
            indexes = (index for index, send in enumerate(decision.send) if send)
            for index, (job, handle) in zip(indexes, send_patiently(self._queue, made, on_full), strict=True):
                tally.rows += job.row_count
                tally.known += handle.known
                tally.new += not handle.known
                display.advance(tally.rows)
                if self._args.wait and tally.jobs % ASKED_AT_ONCE == 0:
                    outcomes.collect(index)
        for line in self._summary(time.monotonic() - started, plan[0].tag):
            display.say(line)

    def _summary(self, seconds: float, tag: str) -> Iterator[str]:
        tally, waits = self._tally, self._args.wait
        speed = f"; {seconds:.1f} s, {tally.new / max(seconds, 1e-3):,.0f} jobs/s" if tally.new else ""
        yield (
            f"{counted(tally.rows, 'row')} in {counted(tally.jobs, 'job')} for {self._target.table}: "
            f"{tally.new:,} new, {tally.known:,} known already{speed}"
        )
        if not waits:
            yield f"outcomes: {tally.resume} with --wait waits for all of them, and sends nothing anew;"
        first = job_id(tally.name, tag, 1)
        yield f"{'' if waits else '  '}a job's id ends in the number of its first row: lakequeue status {first}"

    def _await(self, decision: Decision, outcomes: Outcomes) -> int:
        display = self._display
        done = len(decision.plan) - sum(decision.watch)
        display.phase("waiting for outcomes", len(decision.plan))
        outcomes.finish(lambda count: display.advance(done + count))
        note = ""
        if outcomes.expired:
            try:
                asked = sorted(index for index, _ in outcomes.expired)
                outcomes.found_in_table(present(self._probe.counts, self._load.name, decision.plan, asked))
            except ProbeFailed as exc:
                note = f" ({exc.message})"
        # A line on a terminal's standard output would break the bar.
        emit = display.say if sys.stdout.isatty() else _write_line
        for _, failed in sorted(outcomes.failed):
            emit(shown(self._queue, failed))
        bad, lost = len(outcomes.failed), len(outcomes.expired)
        display.say(
            f"{counted(done + outcomes.succeeded, 'job')} succeeded, {bad:,} failed"
            + (f", of {lost:,} the outcome has expired and no row is in the table{note}" if lost else "")
        )
        if bad:
            display.say(f"failed jobs are dead letters: lakequeue dead list --table {self._target.table}")
        if bad or lost:
            return 1
        if decision.remember:
            self._queue.loads.note(self._load.name, "done")
        return 0


def _remembered(load: Load, decision: Decision, known: Loaded | None) -> Loaded:
    return Loaded(
        table=load.table,
        file=load.file,
        folder=load.folder,
        header=load.header,
        content=load.content,
        tag=decision.tag,
        rows=decision.plan.rows,
        jobs=len(decision.plan),
        options=load.options,
        at=known.at if known else time.time(),
        state=known.state if known and not any(decision.send) else "sending",
        plan=decision.plan,
    )


def _refuse(file: CsvFile, problems: list[CsvProblem], display: Display) -> int:
    for problem in problems[:SHOWN]:
        display.say(f"lakequeue: {file.path}: {problem}")
    if len(problems) >= SHOWN:
        display.say("lakequeue: … and perhaps more: the rest of the file was not read")
    display.say("lakequeue: nothing was sent; mend the file, or declare other types with --columns, and load it again")
    return 1


def _after_conflict(tally: Tally) -> str:
    sent = f"{tally.new:,} jobs before that were new" if tally.new else "nothing was sent now"
    return (
        f"the load {tally.name} is known already and was made with other options, as row {tally.rows + 1:,} shows; "
        f"{sent}. Give the options of that time to go on with it, or --again for a second copy of its rows"
    )


def _after_bad_file(tally: Tally) -> str:
    if not tally.sending:
        return "nothing was sent"
    return f"{tally.so_far()}, once the file is as it was"


def _types(target: Target) -> Iterator[str]:
    width = max(len(each.name) for each in target.columns)
    yield f"columns of {target.table}:"
    for each in target.columns:
        spelt = each.type.sql if each.type else "as text, read by the table's own type"
        note = f"  ({each.note})" if each.note else ""
        yield f"  {each.name:{width}}  {spelt}{'' if each.nullable else ' NOT NULL'}{note}"


def _describe(target: Target, found: Survey, display: Display) -> int:
    display.close()
    for line in _types(target):
        sys.stdout.write(line + "\n")
    rows, jobs_ = counted(found.rows, "row"), counted(len(found.plan), "job")
    sys.stdout.write(f"{rows} would be sent in {jobs_}; nothing was sent\n")
    return 0


def _write_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
