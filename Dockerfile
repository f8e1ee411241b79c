# consulguard as an image: docker build -t consulguard .
#
# Everything that is installed has a version and a checksum in docker/*.lock (make lock). The base image has a version; give
# PYTHON with a digest where that matters: --build-arg PYTHON=python:3.12.8-slim-bookworm@sha256:...
ARG PYTHON=python:3.12.8-slim-bookworm

FROM ${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ONLY_BINARY=:all:
WORKDIR /src
COPY docker/requirements.lock docker/build.lock ./
RUN python3 -m venv --without-pip /opt/consulguard
RUN python3 -m venv /src/build && /src/build/bin/pip install --require-hashes -r build.lock
RUN /src/build/bin/pip --python /opt/consulguard/bin/python3 install --require-hashes --no-deps -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY consulguard ./consulguard
RUN /src/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /src/wheel .
RUN /src/build/bin/pip --python /opt/consulguard/bin/python3 install --no-index --no-deps /src/wheel/*.whl
RUN /opt/consulguard/bin/python3 -m compileall -q /opt/consulguard/lib

FROM ${PYTHON}
LABEL org.opencontainers.image.title="consulguard" org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/consulguard/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=build /opt/consulguard /opt/consulguard
COPY playbooks /usr/share/consulguard/playbooks
USER 65532:65532
WORKDIR /
EXPOSE 9415
ENTRYPOINT ["/opt/consulguard/bin/consulguard"]
CMD ["--help"]
