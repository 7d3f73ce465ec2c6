# Run silk serve in a container: docker build -t silk . && docker run --rm -p 8000:8000 -e SILK_TOKEN silk
# docs/server.md describes how this file was tested, and how to pin the base image by its digest.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# Install packages first, because they rarely change. `make lock` writes their versions and hashes.
COPY requirements/image.txt requirements/image-build.txt ./
RUN python -m venv /opt/silk \
    && /opt/silk/bin/pip install --require-hashes --only-binary :all: -r image.txt \
    && python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes --only-binary :all: -r image-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN /opt/build/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir dist . \
    && /opt/silk/bin/pip install --no-deps --no-index dist/*.whl

FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin silk
COPY --from=build /opt/silk /opt/silk
ENV PATH=/opt/silk/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1
USER 10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/ready', timeout=2)"]
ENTRYPOINT ["silk", "serve", "--host", "0.0.0.0", "--port", "8000"]
