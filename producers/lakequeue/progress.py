"""What the command line shows a person while it works: a bar on a terminal, else lines alone."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress


class Display:
    """Lines of text on a stream, and no bar."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def phase(self, label: str, total: int) -> None:
        """Start a bar for `total` units of work, in place of the one before."""

    def label(self, text: str) -> None:
        """Rename the bar."""

    def advance(self, done: int) -> None:
        """So many units are done in all."""

    def say(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Take the bar away."""


class Bar(Display):
    """A rich progress bar; lines scroll by above it."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._progress: Progress = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(file=stream),
            transient=True,
        )
        self._progress.start()

    def phase(self, label: str, total: int) -> None:
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        self._progress.add_task(label, total=total)

    def label(self, text: str) -> None:
        self._progress.update(self._progress.task_ids[-1], description=text)

    def advance(self, done: int) -> None:
        self._progress.update(self._progress.task_ids[-1], completed=done)

    def say(self, line: str) -> None:
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._progress.stop()


def open_display() -> Display:
    """On standard error: a bar if that is a terminal and rich is installed."""
    if sys.stderr.isatty():
        try:
            return Bar(sys.stderr)
        except ImportError:
            pass
    return Display(sys.stderr)
