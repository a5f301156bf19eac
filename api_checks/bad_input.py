"""Bad input: a 4xx that names the field; nothing is recorded, and no prediction is counted."""

import json

from api_checks.client import Api
from api_checks.expectations import MARKER, expect, expect_equal, expect_refusal, expect_status


def test_missing_and_unknown_fields_are_refused(api: Api) -> None:
    """A missing field and an unknown field are refused by name."""

    def send() -> None:
        for name in api.model.required:
            rest = {key: value for key, value in api.model.example.items() if key != name}
            expect_refusal(api.post("/predict", rest), 422, field=name)
        expect_refusal(api.post("/predict", api.model.example | {"no such field": MARKER}), 422, field="no such field")

    api.expect_nothing_recorded(send)


def test_only_finite_numbers_are_accepted(api: Api) -> None:
    """Instead of a number, a string, a boolean, a list, NaN, an infinity or a number that overflows is refused by the
    name of the field."""
    bad = ['"5.1"', '"1_000"', f'"{MARKER}"', "true", "false", "[]", "[1.0]", '{"a":1}']
    bad += ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e300", "-1e300", "1" + "0" * 300]

    def send() -> None:
        for name in list(api.model.numbers)[:1]:
            for value in bad:
                expect_refusal(api.post("/predict", api.model.body(**{name: value})), 422, field=name)

    api.expect_nothing_recorded(send)


def test_only_texts_are_accepted_as_categories(api: Api) -> None:
    """Instead of a category, a number, a boolean, a list or an overlong text is refused by the name of the field."""
    bad = ["1", "1.0", "true", "[]", f'["{MARKER}"]', '{"a":1}', "NaN", f'"{MARKER * 20}"', f'"{MARKER * 20000}"']

    def send() -> None:
        for name in list(api.model.categories)[:1]:
            for value in bad:
                expect_refusal(api.post("/predict", api.model.body(**{name: value})), 422, field=name)

    api.expect_nothing_recorded(send)


def test_only_booleans_and_dates_are_accepted_as_such(api: Api) -> None:
    """Instead of a boolean, a number or another text, and instead of a date, a number, a boolean, another form of date
    or a day that doesn't exist is refused by the name of the field."""
    bad = {name: ["0", "1.0", '"yes"', "[]", f'"{MARKER}"'] for name in list(api.model.booleans)[:1]}
    dates = ["20240201", "true", '"1/2/2024"', '"2023-02-29"', '"2024-02-01T25:00"', f'"{MARKER}"']
    bad |= dict.fromkeys(list(api.model.dates)[:1], dates)

    def send() -> None:
        for name, values in bad.items():
            for value in values:
                expect_refusal(api.post("/predict", api.model.body(**{name: value})), 422, field=name)

    api.expect_nothing_recorded(send)


def test_ambiguous_and_oversized_json_is_refused(api: Api) -> None:
    """Duplicate keys, lone surrogates, overlong numbers and strings, many keys and many levels are refused."""
    model, name = api.model, api.model.field
    value, escaped = json.dumps(model.example[name]), f"\\u{ord(name[0]):04x}{json.dumps(name[1:])[1:-1]}"
    bodies: list[tuple[bytes, str | None]] = [
        (model.body_with(f"{json.dumps(name)}:{value}"), name),
        (model.body_with(f'"{escaped}":{value}'), name),
        (model.body_with(r'"\ud800":1'), None),
        (model.body(**{name: r'"\udfff"'}), None),
        (model.body(**{name: "1" * 5000}), None),
        (model.body(**{name: "0." + "1" * 5000}), name),
        (model.body(**{name: f'"{MARKER * 20000}"'}), name),
        (model.body_with(f'"{MARKER[:3] + "y" * 300000}":1'), None),
        (model.body(**{name: "[" * 100000 + "]" * 100000}), None),
        (b"[" * 500000, None),
        (b"[" + b"[]," * 300000 + b"[]]", None),
        (b"{" + b",".join(b'"k%d":1' % number for number in range(60000)) + b"}", None),
    ]

    def send() -> None:
        for body, field in bodies:
            fits = len(body) <= api.body_limit()
            expect_refusal(api.post("/predict", body), 422 if fits else 413, field=field if fits else None)

    api.expect_nothing_recorded(send)


def test_deeply_nested_json_is_refused(api: Api) -> None:
    """An unknown field, or a batch, that is nested 1,000 or 100,000 levels deep is refused."""

    def send() -> None:
        for levels in (1000, 100_000):
            for nested in ("[" * levels + "]" * levels, '{"a":' * levels + "1" + "}" * levels):
                expect_refusal(api.post("/predict", api.model.body_with(f'"no such field":{nested}')))
                expect_refusal(api.post("/predict/batch", f'{{"records":{nested}}}'.encode()))

    api.expect_nothing_recorded(send)


def test_broken_bodies_are_refused(api: Api) -> None:
    """An empty body, broken JSON, JSON other than an object, and text other than UTF-8 are refused."""
    bodies = [b"", b" ", b"{", b"[]", b"null", b"1", b'"x"', b"\xff\xfe", b'{"a":}', b"a=1"]
    whole = api.model.body()

    def send() -> None:
        for body in (*bodies, whole + b"x", whole + whole, b"\xef\xbb\xbf" + whole):
            expect_refusal(api.post("/predict", body), 422)

    api.expect_nothing_recorded(send)


def test_other_content_types_are_refused(api: Api) -> None:
    """A body that is not announced as JSON in UTF-8 is refused with 415."""

    def send() -> None:
        types = ("text/plain", "application/x-www-form-urlencoded", "application/jsonx", "application/json; charset=x")
        for content_type in (*types, None):
            expect_refusal(api.post("/predict", api.model.body(), content_type), 415)

    api.expect_nothing_recorded(send)
    expect_status(api.post("/predict", api.model.body(), "application/json; charset=utf-8"), 200)


def test_bodies_over_the_limit_are_refused(api: Api) -> None:
    """A body over the limit is refused with 413, with or without a Content-Length; a body of that size is read."""
    limit = api.body_limit()

    def send() -> None:
        padded = api.model.body() + b" " * (limit - len(api.model.body()) + 1)
        expect_refusal(api.post("/predict", padded), 413)
        expect_equal("the status before the body's end", api.status_of_unfinished("/predict", padded), 413)

    api.expect_nothing_recorded(send)
    expect_status(api.post("/predict", api.model.body() + b" " * (limit - len(api.model.body()))), 200)


def test_wrong_methods_and_paths_are_refused(api: Api) -> None:
    """A wrong method gets 405 with Allow; an unknown path or a trailing slash gets 404, not a redirect elsewhere."""

    def send() -> None:
        for method, path in (("GET", "/predict"), ("PUT", "/predict"), ("DELETE", "/predict"), ("POST", "/health")):
            response = api.session.request(method, api.url + path, timeout=30, json=api.model.example)
            expect_refusal(response, 405)
            expect(bool(response.headers.get("allow")), "there is no Allow header")
        for path in ("/predict/", "/nope", "/%00"):
            foreign = {"Host": "evil.example", "Content-Type": "application/json"}
            response = api.session.post(
                api.url + path, data=api.model.body(), headers=foreign, timeout=30, allow_redirects=False
            )
            expect_refusal(response, 404, 405)

    api.expect_nothing_recorded(send)


def test_bad_queries_are_refused_by_name(api: Api) -> None:
    """A limit outside 1 to 1000, an offset below 0, or anything but an integer is refused by the parameter's name."""
    numbers = {"limit": "0 1001 -1000000 x 1.5 5.0 1_0 +5 NaN " + "9" * 5000, "offset": "-1 x 1e3 %205 " + "9" * 50}
    for name, bad in numbers.items():
        for value in bad.split():
            expect_refusal(api.get(f"/predictions/history?{name}={value}"), 422, field=name)
