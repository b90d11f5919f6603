# Aircheck in a container: settings in /config/config.yaml or in the environment, data in /data.
# docs/installation.md explains how to use it, deploy/compose.yaml is an example for Compose.

FROM python:3.12-slim AS build
RUN python -m venv /opt/aircheck
ENV PATH=/opt/aircheck/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
# The lock holds the extra `calls` too, and each lock a hash for each file.
COPY requirements.lock requirements-build.lock ./
RUN pip install --require-hashes -r requirements.lock
# What builds the package is not in the image.
RUN python -m venv /opt/build && /opt/build/bin/pip install --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY bot bot
COPY storage storage
RUN /opt/build/bin/hatchling build --target wheel --directory /opt/build/dist \
 && pip install --no-deps --no-index /opt/build/dist/*.whl

FROM python:3.12-slim
LABEL org.opencontainers.image.title=Aircheck \
      org.opencontainers.image.description="Keeps what people say in Matrix rooms and publishes it as podcasts" \
      org.opencontainers.image.licenses=AGPL-3.0-or-later
RUN groupadd --gid 10001 aircheck \
 && useradd --uid 10001 --gid 10001 --create-home --shell /usr/sbin/nologin aircheck \
 && install -d -m 0700 -o aircheck -g aircheck /data /config
COPY --from=build /opt/aircheck /opt/aircheck
# Nothing is written but in /data and /tmp: the root may be read only.
ENV PATH=/opt/aircheck/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    AIRCHECK_STORAGE__DIRECTORY=/data \
    AIRCHECK_WEB__HOST=0.0.0.0 \
    AIRCHECK_WEB__PORT=8040
# A number, by which Kubernetes knows that it is not root.
USER 10001:10001
# Commands read config.yaml in this folder, so `docker exec aircheck aircheck check` needs no -c.
WORKDIR /config
VOLUME /data
EXPOSE 8040
# Answers 200 also while the homeserver is away, since a restart would not bring it back.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['AIRCHECK_WEB__PORT'] + '/healthz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["aircheck"]
CMD ["run"]
