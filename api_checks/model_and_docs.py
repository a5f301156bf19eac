"""The state of the service and the served model: /health, /model/info, /openapi.json, /docs, request ids."""

import math
import re
from datetime import datetime
from urllib.parse import urljoin

from api_checks.client import Api
from api_checks.expectations import expect, expect_equal, expect_status


def test_service_is_healthy(api: Api) -> None:
    """/health, /livez and /readyz answer 200; /health names the model, the time and the uptime."""
    health = api.json("/health")
    expect_equal("status", health["status"], "healthy")
    expect_equal("model_loaded", health["model_loaded"], True)
    expect_equal("model_version", health["model_version"], api.json("/model/info")["model_version"])
    expect(health["uptime_seconds"] > 0, f"uptime {health['uptime_seconds']}")
    expect_equal("reason", health["reason"], None)
    datetime.fromisoformat(health["timestamp"])
    for probe in ("/livez", "/readyz"):
        expect_status(api.get(probe), 200)


def test_model_info_describes_the_model(api: Api) -> None:
    """/model/info describes the served model: its type, features, parameters and origin."""
    info = api.json("/model/info")
    for key in ("run_id", "registry_version", "alias", "model_type", "trained_at", "checksum", "git_commit"):
        expect(bool(info[key]), f"{key} is empty")
    numbers = [feature for feature in info["features"] if feature["kind"] == "number"]
    expect(
        all(feature["minimum"] <= feature["mean"] <= feature["maximum"] for feature in numbers),
        "a mean is outside its range",
    )
    total = sum(feature["importance"] for feature in info["features"])
    expect(total == 0 or math.isclose(total, 1, abs_tol=1e-6), f"importances sum to {total}")
    deployments = [entry for entry in info["journal"] if entry["alias"] == info["alias"]]
    live = info["registry_version"]
    expect(not deployments or deployments[0]["to"] == live, f"the journal says that {deployments[:1]} is live")
    expect("seed" in info["parameters"], f"parameters {info['parameters']}")
    expect("scikit-learn" in info["libraries"], f"libraries {info['libraries']}")


def test_openapi_describes_the_served_model(api: Api) -> None:
    """/openapi.json has every route, exactly the features of the model with their categories, and an example that the
    API accepts."""
    document = api.json("/openapi.json")
    contract = {"/predict", "/predict/batch", "/health", "/livez", "/readyz", "/metrics", "/metrics/prometheus"}
    contract |= {"/predictions/history", "/model/info"}
    expect(contract <= set(document["paths"]), f"missing: {contract - set(document['paths'])}")
    body = document["components"]["schemas"]["PredictRequest"]
    expect_equal("the fields", list(body["properties"]), api.model.names)
    expect_equal("the required fields", set(body.get("required", [])), set(api.model.required))
    for name, feature in api.model.categories.items():
        field = body["properties"][name]
        described, known = field.get("anyOf", [field])[0], [*feature["categories"], *feature["pooled"]]
        if "enum" in described:
            expect_equal(name, described["enum"], known)
        else:  # there are too many to name each
            expect(set(described["examples"]) <= set(known), f"examples of {name}: {described['examples']}")
    expect_equal("other fields", body["additionalProperties"], False)
    api.predict(body["examples"][0])


def test_docs_need_no_internet(api: Api) -> None:
    """/docs loads every script and style from this server."""
    page = expect_status(api.get("/docs"), 200).text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    expect(len(loaded) >= 2, f"the page loads only {loaded}")
    for address in loaded:
        absolute = urljoin(f"{api.url}/docs", address)
        expect(absolute.startswith(f"{api.url}/"), f"{address} is elsewhere")
        expect_status(api.get(absolute.removeprefix(api.url)), 200)


def test_request_ids_are_returned(api: Api) -> None:
    """A valid X-Request-ID comes back as it was sent; a missing or invalid one is replaced, also in errors."""
    for path in ("/health", "/nowhere"):
        expect_equal("the id", api.get(path, headers={"X-Request-ID": "abc-123"}).headers["x-request-id"], "abc-123")
        new = api.get(path).headers["x-request-id"]
        expect(bool(re.fullmatch(r"[0-9a-f]{32}", new)), f"the new id is {new!r}")
        for invalid in ("a b", "x" * 500, "<script>"):
            new = api.get(path, headers={"X-Request-ID": invalid}).headers["x-request-id"]
            expect(bool(re.fullmatch(r"[0-9a-f]{32}", new)), f"{invalid[:20]!r} came back as {new[:40]!r}")
