# The image of worker, Flower and local warehouse. BASE is any Debian with Python 3.11 to 3.13.
ARG BASE=docker.io/library/python:3.13-slim
FROM ${BASE} AS build
RUN python3 -m venv /app
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY producers producers
COPY localwarehouse localwarehouse
COPY tasks tasks
COPY worker worker
# A package index of one's own is configured by a secret: podman build --secret id=pip,src=pip.conf
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    /app/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt './producers[cli]' .

FROM ${BASE}
COPY --from=build /app /app
RUN useradd --system --uid 10001 --no-create-home lakequeue && install -d -o lakequeue /data
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /data
