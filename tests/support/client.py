"""Calls to a server that a test has started. A proxy that the environment names is passed by."""

from typing import Any

import requests

from tests.support.waiting import LIMIT


def request(method: str, url: str, **options: Any) -> requests.Response:
    """The reply; `options` are those of `requests.request`."""
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, url, **{"timeout": LIMIT} | options)


def get(url: str, **options: Any) -> requests.Response:
    return request("GET", url, **options)


def post(url: str, **options: Any) -> requests.Response:
    return request("POST", url, **options)


def status(url: str) -> int:
    """The status of a GET; 0 where no server listens."""
    try:
        return get(url).status_code
    except requests.ConnectionError:
        return 0


def health(url: str) -> dict[str, Any]:
    """What /health of the API says."""
    reply: dict[str, Any] = get(f"{url}/health").json()
    return reply


def served_version(url: str) -> str | None:
    """The model version that the API serves, None if it has no model."""
    version: str | None = health(url)["model_version"]
    return version


def shows_deployment(url: str, registry_version: str) -> bool:
    """Whether the newest entry of the journal that the API shows is the deployment of this version."""
    deployments = get(f"{url}/model/info").json()["journal"]
    return bool(deployments) and deployments[0]["to"] == registry_version
