# Aircheck in a container: settings in /config/config.yaml or in the environment, data in /data.
# docs/installation.md explains how to use it.

FROM python:3.12-slim AS build
RUN python -m venv /opt/aircheck
ENV PATH=/opt/aircheck/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements.lock .
RUN pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY bot bot
COPY storage storage
RUN pip install --no-deps .

FROM python:3.12-slim
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin aircheck \
 && install -d -m 0700 -o aircheck -g aircheck /data /config
COPY --from=build /opt/aircheck /opt/aircheck
ENV PATH=/opt/aircheck/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    AIRCHECK_STORAGE__DIRECTORY=/data \
    AIRCHECK_WEB__HOST=0.0.0.0 \
    AIRCHECK_WEB__PORT=8040
USER aircheck
# Commands read config.yaml in this folder, so `docker exec aircheck aircheck check` needs no -c.
WORKDIR /config
VOLUME /data
EXPOSE 8040
# Answers 200 also while the homeserver is away, since a restart would not bring it back.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8040/healthz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["aircheck"]
CMD ["run"]
