# syntax=docker/dockerfile:1
# A small image that runs as an ordinary user, with no capability, on a read-only file system.
# Settings come from the environment, secrets from files (NAME_FILE). PID 1 is the supervisor itself, which reaps.
# docs/OPERATIONS.md, "In a container", says how to run it.

# The index of all architectures; another base: --build-arg PYTHON_IMAGE=…
ARG PYTHON_IMAGE=python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE} AS dependencies
# All is installed by the pip of our lock, which lies by itself: the base image keeps its own.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONPATH=/build/pip
COPY requirements-pip.lock requirements.lock /build/
# An index of your own: docker build --secret id=pip.conf,src=pip.conf
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python -m pip install --target /build/pip --require-hashes -r /build/requirements-pip.lock \
    && python -m venv --without-pip /opt/executor-worker \
    && python -m pip --python /opt/executor-worker/bin/python install --no-compile --require-hashes -r /build/requirements.lock \
    && python -m compileall -q -j 0 /opt/executor-worker/lib

FROM dependencies AS program
COPY requirements-build.lock /build/
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python -m pip --python /opt/executor-worker/bin/python install --no-compile --require-hashes -r /build/requirements-build.lock
WORKDIR /build
COPY pyproject.toml setup.cfg README.md LICENSE ./
COPY supervisor ./supervisor
COPY executor_worker ./executor_worker
COPY orchestrator ./orchestrator
RUN python -m pip --python /opt/executor-worker/bin/python install --no-compile --no-index --no-build-isolation --no-deps --prefix /program . \
    && python -m compileall -q -j 0 /program/lib

# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="da-node-executor" \
      org.opencontainers.image.description="Runs graphs of agent, llm and tool nodes over Redis Streams: workers and their API" \
      org.opencontainers.image.licenses="MIT"
# What changes rarely comes first: a new version of the program is a layer of a few megabytes.
COPY --from=dependencies /opt/executor-worker /opt/executor-worker
# The import compiles what it takes of Python's own library, which the base image has as source only.
RUN groupadd --gid 1000 executor \
    && useradd --uid 1000 --gid executor --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin executor \
    && install --directory --owner 1000 --group 1000 --mode 0700 /run/dago \
    && /opt/executor-worker/bin/python -c "import anthropic, openai, mcp.client, pydantic_settings, redis, requests, rich.live, psutil, http.client"
COPY --from=program /program /opt/executor-worker
# Where the programs are in the images that this one takes the place of. Until a program has a handler the kernel drops a
# TERM to PID 1: one that is blocked waits for it.
RUN mkdir /app && for name in executor-worker dago; do \
        printf '#!/bin/sh\nexec env --block-signal=TERM,INT /opt/executor-worker/bin/%s "$@"\n' "$name" > "/app/$name" \
        && chmod 755 "/app/$name" || exit; \
    done
# The API (`serve`, or /app/dago) is of no use on a container's own loopback; without tokens it makes one in a file there,
# whose name is no secret.
# hadolint ignore=DL3064
ENV PATH=/opt/executor-worker/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    LOG_FORMAT=json \
    DAGO_HTTP_HOST=0.0.0.0 \
    API_TOKENS_CREATE=/run/dago/api_tokens
USER 1000:1000
WORKDIR /tmp
EXPOSE 8080 8081 9090
STOPSIGNAL SIGTERM
# Reads the pool's own table: neither HEALTH_PORT nor the network has to be there for it.
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=3 CMD ["executor-worker", "health"]
ENTRYPOINT ["env", "--block-signal=TERM,INT", "executor-worker"]
CMD ["run"]
