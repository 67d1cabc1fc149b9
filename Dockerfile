# syntax=docker/dockerfile:1

FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN python -m venv /opt/pacsbridge && /opt/pacsbridge/bin/pip install --no-cache-dir ".[postgres]"

FROM python:3.13-slim
RUN useradd --system --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin pacsbridge \
 && install --directory --owner=pacsbridge --group=pacsbridge --mode=0700 /data
COPY --from=build /opt/pacsbridge /opt/pacsbridge
ENV PATH="/opt/pacsbridge/bin:$PATH" \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PACSBRIDGE__DATA_DIR=/data
USER pacsbridge
WORKDIR /data
VOLUME /data
EXPOSE 8080 11112
STOPSIGNAL SIGTERM
# Inside a container everything is beyond loopback: a mounted configuration has to say so (config/compose.toml).
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health/ready', timeout=4)"]
ENTRYPOINT ["pacsbridge"]
CMD ["serve"]
