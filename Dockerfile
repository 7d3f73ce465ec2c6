# silk serve in a container:   docker build -t silk .   &&   docker run --rm -p 8000:8000 -e SILK_TOKEN silk
# A test lints this file; docs/server.md says how its steps were tried.

FROM python:3.12-slim-bookworm AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/silk
# What changes seldom first: the packages, of the versions that the tests ran with.
COPY constraints.txt ./
RUN /opt/silk/bin/pip install -c constraints.txt \
    numpy onnxruntime soundfile soxr typer rich constriction fastapi uvicorn websockets prometheus-client
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN /opt/silk/bin/pip install -c constraints.txt '.[serve,entropy]'

FROM python:3.12-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin silk
COPY --from=build /opt/silk /opt/silk
ENV PATH=/opt/silk/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1
USER 10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/ready', timeout=2)"]
ENTRYPOINT ["silk", "serve", "--host", "0.0.0.0", "--port", "8000"]
