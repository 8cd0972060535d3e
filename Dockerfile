# A small image that runs as an ordinary user with a read-only file system.
# Settings come from the environment, secrets from files (NAME_FILE); PID 1 is the supervisor itself, which reaps.

ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
RUN python -m venv /opt/executor-worker
COPY requirements.lock ./
RUN /opt/executor-worker/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
COPY pyproject.toml setup.cfg README.md LICENSE ./
COPY supervisor ./supervisor
COPY executor_worker ./executor_worker
RUN /opt/executor-worker/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps . \
    && /opt/executor-worker/bin/python -m compileall -q /opt/executor-worker/lib \
    && /opt/executor-worker/bin/pip uninstall --yes --quiet pip

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="da-node-executor" \
      org.opencontainers.image.licenses="MIT"
RUN groupadd --system --gid 10001 executor \
    && useradd --system --uid 10001 --gid executor --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin executor
COPY --from=build /opt/executor-worker /opt/executor-worker
ENV PATH=/opt/executor-worker/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    LOG_FORMAT=json
USER 10001:10001
WORKDIR /tmp
EXPOSE 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as web; web.urlopen('http://127.0.0.1:%s/health' % os.environ.get('HEALTH_PORT', '8081'), timeout=4)"]
ENTRYPOINT ["executor-worker"]
CMD ["run"]
