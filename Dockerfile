# The operator's image. deploy/image/build.sh builds it with docker or buildah, also where no
# registry can be reached. Any base with Python 3.11 or later and its venv module will do.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG UV_VERSION=0.13.9
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
WORKDIR /app
# The secret `ca` is optional: certificates to trust while building, behind a proxy that has its own.
RUN --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    python3 -m venv /opt/uv && /opt/uv/bin/pip install --quiet "uv==${UV_VERSION}"
# What is locked first: this layer stays while only our own code changes.
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca; fi; \
    /opt/uv/bin/uv sync --quiet --locked --no-dev --no-install-project --python "$(command -v python3)"
COPY operator operator
RUN --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca; fi; \
    /opt/uv/bin/uv sync --quiet --locked --no-dev --no-editable --python "$(command -v python3)"

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="cinderbank" \
      org.opencontainers.image.description="Kubernetes operator that backs up OpenStack Cinder volumes into an S3 bank and restores them at any site" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /app/.venv /app/.venv
# HOME: the user has none, and SDKs look there for files. Bytecode was compiled above; the root file
# system is read-only at run time. Only /tmp needs to be writable.
ENV PATH=/app/.venv/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /tmp
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["python", "-m", "cinderbank"]
CMD ["operator"]
