"""Who may see Flower's pages: nobody without a password, whatever configuration file Flower is given."""

from __future__ import annotations

import logging
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from tornado.options import options

OURS = Path(__file__).resolve().with_name("flowerconfig.py")

DEFAULT = "flowerconfig.py"
"""Flower goes on without a file of this name."""

log = logging.getLogger("flower")

_ours_read = False


def install() -> None:
    """Have Flower's options checked when they are read.

    Flower reads the command line, the configuration file, and the command line again, and calls back after the first
    and the third (`flower/command.py`, `apply_options`).
    """
    options.add_parse_callback(_on_options)


def _on_options() -> None:
    global _ours_read
    own = Path(options.conf).resolve()
    if own != OURS and not _ours_read:
        _ours_read = True
        options.parse_config_file(str(OURS), final=False)  # an own file changes what it names, and no more
        if own.is_file():
            return
        if options.conf != DEFAULT:
            sys.exit(f"flower: there is no configuration file {own}: correct --conf or FLOWER_CONF")
    elif own == OURS and not _ours_read:
        _ours_read = True
        return
    _check_password()


def _check_password() -> None:
    given = [each for each in options.basic_auth or [] if each]
    if wrong := wrong_logins(given):
        places = ", ".join(map(str, wrong))
        sys.exit(
            "flower: the user or the password of FLOWER_BASIC_AUTH (or --basic-auth) is missing: give user:password, "
            f"with commas between several; wrong is number {places} of {len(given)}"
        )
    if not all(each.isascii() for each in given):
        sys.exit(
            "flower: a user and a password of FLOWER_BASIC_AUTH (or --basic-auth) are in ASCII, since Flower compares "
            "no other characters: choose others"
        )
    if not given and not options.auth:
        given = ["lakequeue:" + secrets.token_urlsafe(12)]
        log.warning("FLOWER_BASIC_AUTH is not set; for this run it is %s", given[0])
    options.basic_auth = given


def wrong_logins(given: Sequence[str]) -> list[int]:
    """Which of them, counted from 1, lack a user or a password."""
    parts = [each.partition(":") for each in given]
    return [place for place, (user, _, password) in enumerate(parts, 1) if not user.strip() or not password.strip()]
