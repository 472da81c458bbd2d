# One image; the command picks the role: serve, work, migrate, run, doctor, …
ARG PYTHON=python:3.12-slim-bookworm

# Stage 1: an environment with the locked dependencies, the build backend among them, and our wheel built with it.
FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /source
COPY requirements.lock ./
RUN python -m venv --without-pip /opt/clawback \
 && python -m pip --python /opt/clawback/bin/python install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY config ./config
COPY schemas ./schemas
COPY handlers ./handlers
COPY worker ./worker
RUN pip="python -m pip --python /opt/clawback/bin/python" \
 && $pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
 && $pip install --no-deps --no-index /wheel/*.whl \
 && $pip uninstall --yes hatchling pathspec pluggy tomlkit trove-classifiers packaging \
 && $pip check
COPY deploy/healthcheck.py /opt/clawback/healthcheck.py

# Stage 2: that environment, and nothing that built it. Nothing in it is written to while it runs.
FROM ${PYTHON}
LABEL org.opencontainers.image.title="Clawback" \
      org.opencontainers.image.description="Refund webhooks in; revoked entitlements, refund records and events out" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 clawback \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/clawback --shell /usr/sbin/nologin clawback \
 && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/clawback
COPY --from=build /opt/clawback /opt/clawback
ENV PATH=/opt/clawback/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CLAWBACK_DATA_DIR=/var/lib/clawback \
    CLAWBACK_SERVER__HOST=0.0.0.0
# An embedded database or broker keeps its files here: give it a volume. Else a tmpfs is enough.
WORKDIR /var/lib/clawback
# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
EXPOSE 8080
# The supervisor lets workers finish what they hold.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["/opt/clawback/bin/python", "-I", "/opt/clawback/healthcheck.py"]
ENTRYPOINT ["clawback"]
CMD ["serve"]
