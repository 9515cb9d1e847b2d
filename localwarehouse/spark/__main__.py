"""`python -m localwarehouse.spark DIR`: puts what the Spark engine needs into DIR."""

import sys
from pathlib import Path

from localwarehouse.errors import CannotStart
from localwarehouse.spark.parts import fetch


def main() -> int:
    try:
        fetch(Path(sys.argv[1]))
    except CannotStart as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
