"""What Spark needs beside its Python package: Java, Delta Lake's jars and our catalog, put into one folder once."""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pyspark

from localwarehouse.errors import CannotStart

DELTA = "io.delta:delta-spark_4.2_2.13:4.4.0"
"""The newest Delta Lake whose jars are published for Spark 4.2; the Python package 4.4.1 has none."""

OLDEST_JAVA = 17
_SOURCE = Path(__file__).with_name("LakeCatalog.java")
_SPARK_HOME = Path(pyspark.__file__).parent
_PATIENCE_S = 600


def java(program: str = "java") -> str:
    """The path of Java's `program`.

    Raises:
        CannotStart: there is none, or it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which(program, path=f"{home}/bin") if home else shutil.which(program)
    advice = f"Spark needs a JDK, {OLDEST_JAVA} or newer: install one, or set JAVA_HOME to it"
    if found is None:
        raise CannotStart(f"{program} is not there. {advice}")
    told = subprocess.run([found, "-version"], capture_output=True, text=True, timeout=60, check=False)
    version = re.search(r'(?:version "|javac )(\d+)', told.stdout + told.stderr)
    if version is None or int(version[1]) < OLDEST_JAVA:
        raise CannotStart(f"{found} is version {version[1] if version else 'unknown'}. {advice}")
    return found


def ready(folder: Path) -> list[Path]:
    """What goes onto Spark's class path.

    Raises:
        CannotStart: something is not there; says how to get it.
    """
    java()
    jars = sorted((folder / "jars").glob("*.jar"))
    classes = folder / "classes"
    if not jars or not list(classes.rglob("*.class")):
        raise CannotStart(
            f"{folder} has no Delta Lake: run `make conformance`, or python -m localwarehouse.spark {folder}"
        )
    return [classes, *jars]


def fetch(folder: Path) -> None:
    """Put what `ready` wants into the folder; what is there already stays.

    Raises:
        CannotStart.
    """
    java()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "jars").is_dir():
        _resolve(folder)
    _compile(folder)


def _resolve(folder: Path) -> None:
    """Have Spark's own resolver load Delta Lake; of what it depends on, only what Spark does not bring itself."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        nothing = Path(scratch, "nothing.py")
        nothing.touch()
        told = subprocess.run(
            [
                str(_SPARK_HOME / "bin" / "spark-submit"),
                *("--master", "local[1]", "--packages", DELTA),
                *("--conf", f"spark.jars.ivy={Path(scratch).resolve()}", "--conf", "spark.ui.enabled=false"),
                str(nothing),
            ],
            env={**os.environ, "SPARK_HOME": str(_SPARK_HOME), "PYSPARK_PYTHON": sys.executable},
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        found = [Path(each) for each in glob.glob(f"{scratch}/jars/io.*.jar") if "airlift" not in each]
        if told.returncode or not found:
            raise CannotStart(f"Delta Lake could not be loaded:\n{told.stderr[-2000:]}")
        jars = Path(scratch, "found")
        jars.mkdir()
        for jar in found:
            jar.rename(jars / jar.name)
        jars.rename(folder / "jars")


def _compile(folder: Path) -> None:
    class_path = [*(_SPARK_HOME / "jars").glob("*.jar"), *(folder / "jars").glob("*.jar")]
    told = subprocess.run(
        [java("javac"), "-d", str(folder / "classes"), "-cp", os.pathsep.join(map(str, class_path)), str(_SOURCE)],
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    if told.returncode:
        raise CannotStart(f"{_SOURCE.name} does not compile:\n{told.stderr[-2000:]}")
