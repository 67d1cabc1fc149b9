# syntax=docker/dockerfile:1

# docker build --build-arg EXTRAS=postgres,render .     with pictures (dicomweb.render)

FROM python:3.13-slim AS build
ARG EXTRAS=postgres
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN python -m venv /opt/pacsbridge && /opt/pacsbridge/bin/pip install --no-cache-dir ".[$EXTRAS]"

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
# Nothing but /data and /tmp needs to be written: the root file system may be read-only.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["pacsbridge", "health"]
ENTRYPOINT ["pacsbridge"]
CMD ["serve"]
