"""Spark itself: one JVM that talks to nobody, and sessions that statements borrow one at a time."""

import logging
import os
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JError
from pyspark.sql import SparkSession

from localwarehouse.catalog import DEFAULT_CATALOG, DEFAULT_SCHEMA
from localwarehouse.identity import USER
from localwarehouse.spark import parts

COMMIT_MARK = "spark.databricks.delta.commitInfo.userMetadata"
"""What this setting says is written into a commit, by which a statement's own can be found."""


def _settings(catalogs: Path, class_path: list[Path]) -> dict[str, str]:
    return {
        "spark.master": "local[2]",
        "spark.driver.memory": "2g",
        "spark.driver.extraClassPath": os.pathsep.join(map(str, class_path)),
        "spark.driver.extraJavaOptions": (
            f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties')} "
            f"-Dderby.system.home={catalogs} -XX:+UseSerialGC -Xms2g -Xmn1g"
        ),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.warehouse.dir": str(catalogs / "unused"),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.sources.default": "delta",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.session.timeZone": "UTC",
        # Delta's parser drops the parameters that Spark would put in while parsing; so they are bound afterwards.
        "spark.sql.legacy.parameterSubstitution.constantsOnly": "true",
        # Small data on a small machine.
        "spark.default.parallelism": "1",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.adaptive.enabled": "false",
        "spark.locality.wait": "0",
        "spark.databricks.delta.snapshotPartitions": "1",
        "spark.databricks.delta.writeChecksumFile.enabled": "false",
        "spark.databricks.delta.properties.defaults.checkpointInterval": "1000",
        "spark.databricks.delta.stalenessLimit": "0",
    }


class Spark:
    def __init__(self, data: Path, folder: Path) -> None:
        self._catalogs = data.resolve() / "catalogs"
        self._tables = data.resolve() / "tables"
        for each in (self._catalogs, self._tables):
            each.mkdir(parents=True, exist_ok=True)
        class_path = [path.resolve() for path in parts.ready(folder)]
        os.environ.update(
            PYSPARK_PYTHON=sys.executable, SPARK_USER=USER, SPARK_LOCAL_IP="127.0.0.1", PYSPARK_PIN_THREAD="true"
        )
        # It repeats every error of a statement, with the statement.
        logging.getLogger("SQLQueryContextLogger").disabled = True
        builder = SparkSession.builder.appName("localwarehouse")
        for name, value in _settings(self._catalogs, class_path).items():
            builder = builder.config(name, value)
        self._first = builder.getOrCreate()
        self._guard = threading.Lock()
        self._free: list[SparkSession] = []
        self.create_catalog(DEFAULT_CATALOG)

    def close(self) -> None:
        self._first.stop()

    def catalogs(self) -> set[str]:
        return {urllib.parse.unquote_plus(path.name) for path in self._catalogs.iterdir() if path.is_dir()}

    def folder(self, catalog: str) -> Path:
        return self._catalogs / self.file(catalog)

    @staticmethod
    def file(name: str) -> str:
        """As the catalog in Java names its files."""
        return urllib.parse.quote_plus(name.lower(), safe="*").replace("~", "%7E")

    def create_catalog(self, catalog: str) -> None:
        # Unity Catalog makes `default` with every catalog.
        (self.folder(catalog) / DEFAULT_SCHEMA).mkdir(parents=True, exist_ok=True)

    @contextmanager
    def session(self, catalog: str, schema: str) -> Iterator[SparkSession]:
        """A session of the caller's own meanwhile. It knows all catalogs there are."""
        with self._guard:
            spark = self._free.pop() if self._free else None
        if spark is None:
            spark = self._first.newSession()
        jvm: Any = spark._jvm
        # Of a thread's session; what asks for settings asks that one.
        jvm.org.apache.spark.sql.classic.SparkSession.setActiveSession(spark._jsparkSession)
        try:
            for each in self.catalogs():
                name = f"spark.sql.catalog.{each}"
                if spark.conf.get(name, None) is None:
                    spark.conf.set(f"{name}.root", str(self.folder(each)))
                    spark.conf.set(f"{name}.tables", str(self._tables))
                    spark.conf.set(name, "localwarehouse.LakeCatalog")
            there = (self.folder(catalog) / self.file(schema)).is_dir()
            spark.catalog.setCurrentCatalog(catalog if there else DEFAULT_CATALOG)
            spark.catalog.setCurrentDatabase(schema if there else DEFAULT_SCHEMA)
            yield spark
        finally:
            with self._guard:
                self._free.append(spark)

    @contextmanager
    def job_group(self, name: str) -> Iterator[None]:
        """What this thread starts meanwhile can be cancelled by the name."""
        context = self._first.sparkContext
        context.setJobGroup(name, "a statement", interruptOnCancel=True)
        try:
            yield
        finally:
            context.setLocalProperty("spark.jobGroup.id", None)

    def cancel(self, name: str) -> None:
        try:
            context: Any = self._first.sparkContext._jsc
            context.sc().cancelJobGroupAndFutureJobs(name)
        except Py4JError:
            logging.getLogger(__name__).debug("Spark is gone already", exc_info=True)
