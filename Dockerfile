# Serves the API, and is what every container of docker-compose.yml runs. Training happens in the same image, so that a
# model is always read by the libraries that wrote it.
FROM python:3.13-slim

# Dependencies before the code: a change of the code installs nothing again. Wheels only, for there is no compiler here;
# pip compiles them to bytecode, which a read-only container couldn't keep. Their own tests (118 MB) serve no one.
COPY requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --ignore-installed \
        --only-binary=:all: --require-hashes -r /tmp/requirements.txt \
    && find /usr/local/lib -type d -name tests -prune -exec rm -rf {} + \
    && rm /tmp/requirements.txt

RUN groupadd --gid 1000 app \
    && useradd --uid 1000 --gid app --no-create-home --home-dir /tmp --shell /usr/sbin/nologin app

# What is writable is /tmp and these two folders; code and libraries stay root's.
WORKDIR /app
RUN install -d -o app -g app mlruns artifacts
COPY . .
# a checkout made under a strict umask is readable for its owner only
RUN chmod -R a+rX . && python -m compileall -q .

# USER: MLflow writes down who trained, and a uid given to `docker run` has no name.
# TABSERVE_SHUTDOWN_SECONDS: `docker stop` kills after 10 seconds, and the last requests should be answered by then.
ENV PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    USER=app \
    MPLCONFIGDIR=/tmp/matplotlib \
    MLFLOW_ALLOW_FILE_STORE=true \
    MLFLOW_DISABLE_TELEMETRY=true \
    GIT_PYTHON_REFRESH=quiet \
    TABSERVE_HOST=0.0.0.0 \
    TABSERVE_SHUTDOWN_SECONDS=8

# A number, so that an orchestrator can see that it isn't root.
USER 1000:1000
EXPOSE 8000

# Not through urllib, which would ask a proxy that the environment names.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-c", "\
import http.client, os, sys; \
api = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('TABSERVE_PORT') or 8000), timeout=3); \
api.request('GET', '/readyz'); \
sys.exit(api.getresponse().status != 200)"]

# No shell in between: SIGTERM reaches the server, which answers what is in flight and exits with 0.
CMD ["python", "api.py"]
