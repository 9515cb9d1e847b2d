"""What is wrong with a CSV file, and where."""

from __future__ import annotations

from lakequeue.problems import quoted


class CsvProblem(Exception):
    """What is wrong with a file, and where; never with its values."""

    def __init__(self, reason: str, *, line: int | None = None, column: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.column = column

    def __str__(self) -> str:
        places = [f"line {self.line}"] if self.line is not None else []
        if self.column is not None:
            places.append(f"column {quoted(self.column)}")
        return f"{', '.join(places)}: {self.reason}" if places else self.reason
