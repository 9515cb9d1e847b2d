"""Flower's configuration: on loopback and behind a password, unless told otherwise."""

import logging as _logging  # a name of one of its options would be taken for the option
import os
import secrets

address = os.environ.get("FLOWER_ADDRESS", "127.0.0.1")
basic_auth = [each for each in os.environ.get("FLOWER_BASIC_AUTH", "").split(",") if each]
if not basic_auth:
    basic_auth = ["lakequeue:" + secrets.token_urlsafe(12)]
    _logging.getLogger("flower").warning("FLOWER_BASIC_AUTH is not set; for this run it is %s", basic_auth[0])
