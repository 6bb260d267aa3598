# `make pin-images` adds the digest that the registry has today; release builds are pinned.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
RUN python -m venv --without-pip /opt/mess && python -m venv /opt/build

# The dependencies alone first: they change less often than the code. Each file is checked against the lock's hashes.
COPY requirements/image.txt requirements/build.txt requirements/
RUN pip --python /opt/mess/bin/python install --no-cache-dir --no-compile --require-hashes -r requirements/image.txt \
 && pip --python /opt/mess/bin/python freeze > /opt/mess/constraints.txt \
 && pip --python /opt/build/bin/python install --no-cache-dir --require-hashes -r requirements/build.txt

COPY pyproject.toml README.md LICENSE ./
COPY mess mess
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir wheels . \
 && pip --python /opt/mess/bin/python install --no-cache-dir --no-compile --no-deps wheels/*.whl

# Plugins come last in sys.path, so that they never stand in front of what MESS itself was built with. Bytecode is
# compiled here, because nothing can be written later; it need not be compared with its source at every start.
RUN /opt/mess/bin/python -c "import pathlib, sysconfig; \
      pathlib.Path(sysconfig.get_path('purelib'), 'plugins.pth').write_text('/app/plugins/packages\n')" \
 && /opt/mess/bin/python -m compileall -q -f -j 0 --invalidation-mode unchecked-hash /opt/mess/lib


FROM ${PYTHON_IMAGE}
# /app/config is the user's, read-only; /app/plugins is for MESS_PLUGINS; /app/data for a state in SQLite.
RUN groupadd --gid 10001 mess \
 && useradd --uid 10001 --gid mess --home-dir /app --no-create-home --shell /usr/sbin/nologin mess \
 && mkdir -p /app/config /app/plugins /app/data \
 && chown mess:mess /app/plugins /app/data

COPY --from=build /opt/mess /opt/mess
COPY docker/entrypoint.sh docker/healthcheck.py docker/hide.py /opt/mess/docker/

ENV PATH=/opt/mess/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MESS_ADMIN_HOST=0.0.0.0 \
    PORT=3000

WORKDIR /app
USER 10001:10001
VOLUME ["/app/plugins", "/app/data"]
EXPOSE 3000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "/opt/mess/docker/healthcheck.py"]
ENTRYPOINT ["/opt/mess/docker/entrypoint.sh"]
CMD ["run"]

# Last, since they differ with every build.
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mess" \
      org.opencontainers.image.description="Relays MongoDB change streams to webhooks and queues" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://mess.example/mess" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
