# The image of every container in docker-compose.yml. It serves the API and trains, so the libraries that read a model
# are those that wrote it.
FROM python:3.13-slim

# Dependencies before the code, so that a change of the code installs nothing again. Only wheels, since there is no
# compiler here. pip compiles them to bytecode, because a read-only container could not store it. Their own tests
# (118 MB) are removed.
COPY requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --ignore-installed \
        --only-binary=:all: --require-hashes -r /tmp/requirements.txt \
    && find /usr/local/lib -type d -name tests -prune -exec rm -rf {} + \
    && rm /tmp/requirements.txt

RUN groupadd --gid 1000 app \
    && useradd --uid 1000 --gid app --no-create-home --home-dir /tmp --shell /usr/sbin/nologin app

# Only /tmp and these two folders are writable; root owns the code and the libraries.
WORKDIR /app
RUN install -d -o app -g app mlruns artifacts
COPY . .
# a checkout made under a strict umask is readable by its owner only
RUN chmod -R a+rX . && python -m compileall -q .

# USER: MLflow records who trained, and a uid that is passed to `docker run` has no name.
# TABSERVE_SHUTDOWN_SECONDS: `docker stop` kills after 10 seconds; the last requests are answered before.
ENV PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    USER=app \
    MPLCONFIGDIR=/tmp/matplotlib \
    MLFLOW_ALLOW_FILE_STORE=true \
    MLFLOW_DISABLE_TELEMETRY=true \
    GIT_PYTHON_REFRESH=quiet \
    TABSERVE_HOST=0.0.0.0 \
    TABSERVE_SHUTDOWN_SECONDS=8

# A number, so that an orchestrator sees that it isn't root.
USER 1000:1000
EXPOSE 8000

# Not urllib, which would use a proxy that the environment names.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-c", "\
import http.client, os, sys; \
api = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('TABSERVE_PORT') or 8000), timeout=3); \
api.request('GET', '/readyz'); \
sys.exit(api.getresponse().status != 200)"]

# Without a shell, so that SIGTERM reaches the server: it answers the requests in flight and exits with status 0.
CMD ["python", "api.py"]
