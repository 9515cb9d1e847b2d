# The image of worker, Flower and local warehouse. BASE is any Debian with Python 3.11 to 3.13 and its venv module.
ARG BASE=docker.io/library/python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
COPY . .
# A package index of one's own is named in a pip.conf, which is a secret and so stays out of the image; "ca" is a file of
# certificates that it may name: podman build --secret id=pip,src=pip.conf --secret id=ca,src=ca.crt
# A quarter of what is installed is of no use here and is removed: pip, the packages' own tests, headers for C++, and what
# PyArrow itself takes as optional. The rest is compiled, once.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/secrets/ca \
    python3 -m venv /app \
    && /app/bin/pip install --no-cache-dir --disable-pip-version-check --no-compile -c constraints.txt './producers[cli]' . \
    && /app/bin/pip uninstall --yes --quiet pip setuptools \
    && cd /app/lib/python3.*/site-packages \
    && find . -type d -name tests -prune -exec rm -r {} + \
    && rm -r pyarrow/include pyarrow/libarrow_flight.so.* pyarrow/_flight.* pyarrow/libarrow_s3.so.* pyarrow/_s3fs.* \
    && /app/bin/python -m compileall -q -j 0 .

FROM ${BASE}
RUN useradd --uid 10001 --user-group --home-dir /data --no-create-home lakequeue && install -d -o 10001 -g 10001 /data
COPY --from=build /app /app
# Its file system is read-only where compose.yaml runs it.
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /data
