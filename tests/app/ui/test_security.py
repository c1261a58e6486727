"""What the server refuses: foreign pages, foreign files, too much, and who has no password."""

from __future__ import annotations

import http.client
import inspect
import json
import os
import re
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from PIL import Image

from app.settings import save_settings

SECRET = "this file was never opened"
ROOT = Path(__file__).resolve().parents[3]
WORD = "correct horse battery"


@contextmanager
def serving(app):
    """A server of this application, and its port."""
    import uvicorn

    from app.doors import listening

    bound = listening(0)
    served = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=served.run, args=([bound],), daemon=True)
    thread.start()
    while not served.started:
        time.sleep(0.02)
    yield bound.getsockname()[1]
    served.should_exit = served.force_exit = True
    thread.join(10)


class Asker:
    """Asks a server for exactly what it is told to: nothing is put right on the way."""

    def __init__(self, port):
        self.port = port
        self.host = f"127.0.0.1:{port}"

    def __call__(self, method, target, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        sent = {"Host": self.host} | {k.replace("_", "-"): v for k, v in headers.items()}
        for name, value in sent.items():
            if value is not None:
                connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        answer.text = answer.read().decode("utf-8", "replace")
        connection.close()
        return answer

    def raw(self, *parts):
        """The status of what is answered to these bytes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as link:
            for part in parts:
                try:
                    link.sendall(part)
                except OSError:
                    break
            first = link.makefile("rb").readline().decode()
        return int(first.split()[1])


@pytest.fixture
def ask(server):
    return Asker(urlsplit(server).port)


@pytest.fixture
def opened(home, tmp_path):
    """A folder that a person opened, with a picture, beside one that nobody did."""
    folder = tmp_path / "opened"
    folder.mkdir()
    Image.new("RGB", (8, 8), "red").save(folder / "seen.png")
    hidden = tmp_path / "opened-not"
    hidden.mkdir()
    Image.new("RGB", (8, 8), "blue").save(hidden / "hidden.png")
    (folder / "note.txt").write_text(SECRET)
    (hidden / "note.txt").write_text(SECRET)
    save_settings({"opened": [str(folder)]})
    return folder


# Files


def test_a_picture_of_an_opened_folder_is_shown(opened, ask):
    for route in ("/file", "/thumb"):
        answer = ask("GET", f"{route}?path={quote(str(opened / 'seen.png'))}")
        assert answer.status == 200
        assert answer.getheader("Content-Type").startswith("image/")


def escapes(folder: Path) -> list[str]:
    outside = folder.parent / "opened-not" / "hidden.png"
    return [
        str(outside),
        f"{folder}/../opened-not/hidden.png",
        f"{folder}/..%2fopened-not%2fhidden.png",
        f"{folder}/%2e%2e/opened-not/hidden.png",
        f"{folder}\\..\\opened-not\\hidden.png",
        f"{folder}/seen.png/../../opened-not/hidden.png",
        f"{folder}/seen.png\0.png",
        f"{folder}-not/hidden.png",
        f"//{outside}",
        f"file://{outside}",
        f"{folder}/note.txt",
        f"{folder}/note.txt\0.png",
        f"{folder}/note.txt%00.png",
        str(folder),
        "../opened-not/hidden.png",
        "opened-not/hidden.png",
        "seen.png",
        "/etc/passwd",
        "/etc/passwd\0.png",
        "/proc/self/environ",
        "/proc/self/cwd/assets/demo/sd/grid.png\0",
        "\\\\127.0.0.1\\c$\\windows\\win.ini",
        "\\\\?\\C:\\windows\\win.ini",
        "//127.0.0.1/share/hidden.png",
        "/windows/win.ini",
        "C:\\windows\\win.ini",
        "~/hidden.png",
        "",
        "a" * 9000 + ".png",
        "https://example.org/hidden.png",
    ]


@pytest.mark.parametrize("route", ["/file", "/thumb"])
def test_nothing_outside_of_opened_folders_is_shown(opened, ask, route):
    for path in escapes(opened):
        for quoted in {quote(path, safe=""), quote(path, safe="/%")}:
            answer = ask("GET", f"{route}?path={quoted}")
            assert answer.status in (404, 422), path
            assert "image" not in answer.getheader("Content-Type"), path
            assert SECRET not in answer.text
            assert "root:" not in answer.text


@pytest.mark.skipif(os.name == "nt", reason="links need a right of their own")
@pytest.mark.parametrize("route", ["/file", "/thumb"])
def test_a_link_out_of_an_opened_folder_is_not_followed(opened, ask, route):
    hidden = opened.parent / "opened-not"
    (opened / "link.png").symlink_to(hidden / "hidden.png")
    (opened / "folder").symlink_to(hidden)
    (opened / "disguised.png").symlink_to(opened / "note.txt")
    (opened / "gone.png").symlink_to(opened / "nowhere.png")
    (opened / "round.png").symlink_to(opened / "round.png")
    for name in ("link.png", "folder/hidden.png", "disguised.png", "gone.png", "round.png"):
        answer = ask("GET", f"{route}?path={quote(str(opened / name))}")
        assert answer.status == 404, name
        assert SECRET not in answer.text


def test_a_text_that_is_called_a_picture_is_never_taken_for_a_page(opened, ask):
    (opened / "page.png").write_text("<script>alert(1)</script>")
    answer = ask("GET", f"/file?path={quote(str(opened / 'page.png'))}")
    assert answer.getheader("Content-Type") == "image/png"
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert ask("GET", f"/thumb?path={quote(str(opened / 'page.png'))}").status == 404


def test_a_folder_that_was_closed_shows_nothing_any_more(opened, ask):
    target = f"/file?path={quote(str(opened / 'seen.png'))}"
    assert ask("GET", target).status == 200
    ask("POST", "/api/settings/close", json.dumps({"folder": str(opened)}).encode(), **JSON)
    assert ask("GET", target).status == 404


JSON = {"Content_Type": "application/json"}


@pytest.mark.parametrize(
    "target",
    [
        "/ui/../../pyproject.toml",
        "/ui/%2e%2e/%2e%2e/pyproject.toml",
        "/ui/..%2f..%2fpyproject.toml",
        "/ui/..%5c..%5cpyproject.toml",
        "/ui//etc/passwd",
        "/ui/%2fetc%2fpasswd",
        "/ui/pages/%00.js",
        "/ui/",
        "/ui",
        "/ui/pages",
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
    ],
)
def test_scripts_and_styles_come_from_their_folder_alone(ask, target):
    answer = ask("GET", target)
    assert answer.status in (307, 404, 405)
    assert "root:" not in answer.text
    assert "[project]" not in answer.text


@pytest.mark.parametrize(
    "work", ["", ".", "..", "../opened", "/etc", "%2e%2e%2f", "a\0b", "\\\\host\\share", "x/../.."]
)
def test_a_report_is_one_of_a_run(opened, ask, work):
    answer = ask("GET", f"/report?work={quote(work, safe='%')}")
    assert answer.status in (400, 404)
    assert "Traceback" not in answer.text


@pytest.mark.skipif(os.name == "nt", reason="links need a right of their own")
def test_a_report_that_is_a_link_elsewhere_is_not_shown(runs, tmp_path, ask):
    (tmp_path / "secret.html").write_text(SECRET)
    run = runs / "a-run"
    run.mkdir()
    (run / "job.toml").write_text('name = "a-run"\n')
    (run / "report.html").symlink_to(tmp_path / "secret.html")
    assert SECRET not in ask("GET", "/report?work=a-run").text


# Every route that there is


def routes(server_app):
    """Method and path of each route of the pages."""
    found = []
    for route in _flat(server_app.routes):
        for method in sorted(getattr(route, "methods", None) or ()):
            if method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
                found.append((method, route.path))
    return found


def _flat(listed, prefix=""):
    for route in listed:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            context = getattr(route, "include_context", None)
            for one in _flat(inner.routes):
                yield _Shown(getattr(context, "prefix", "") + one.path, one.methods, one.endpoint)
        elif hasattr(route, "methods"):
            yield route


class _Shown:
    def __init__(self, path, methods, endpoint):
        self.path, self.methods, self.endpoint = path, methods, endpoint


@pytest.fixture
def app(home, runs):
    from app.ui.server import build

    return build(runs)


def test_no_route_with_a_path_in_it_answers_with_a_foreign_file(app, opened, ask):
    """GET routes are asked for paths under every name that a query has."""
    from urllib.parse import urlencode

    for route in _flat(app.routes):
        path = route.path
        if "GET" not in route.methods or not inspect.signature(route.endpoint).parameters:
            continue
        target = re.sub(r"{[^}]*}", "..%2f..%2fetc%2fpasswd", path)
        for value in ("/etc/passwd", "../../../../etc/passwd", str(opened.parent / "opened-not")):
            names = ("path", "work", "name", "folder", "file", "run", "lora", "sweep", "preset")
            query = urlencode(dict.fromkeys(names, value))
            answer = ask("GET", f"{target}?{query}")
            assert answer.status != 500, (path, value, answer.text)
            assert "root:x" not in answer.text, path
            assert SECRET not in answer.text, path


def test_every_page_and_its_routes_are_found(app):
    found = routes(app)
    assert ("GET", "/api/settings/all") in found
    assert ("POST", "/api/settings/save") in found
    assert ("GET", "/file") in found


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:1"},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "file://"},
    {"Origin": ""},
    {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"},
    {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors"},
    {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"},
]
KINDS = ["application/json", "text/plain", "multipart/form-data; boundary=x", None]


@pytest.mark.parametrize("kind", KINDS)
def test_no_other_site_can_send_anything(app, ask, home, kind):
    before = sorted(home.rglob("*"))
    writing = [(method, path) for method, path in routes(app) if method != "GET"]
    for number, (method, path) in enumerate(writing):
        all_of_them = path == "/api/settings/save"
        for headers in FOREIGN if all_of_them else FOREIGN[number % len(FOREIGN) :][:1]:
            answer = ask(method, re.sub(r"{[^}]*}", "x", path), b"{}", Content_Type=kind, **headers)
            assert answer.status == 403, (path, headers)
            assert answer.getheader("Access-Control-Allow-Origin") is None
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:7860", "", None, "[::1", "0"]
)
def test_another_name_for_this_machine_is_refused(app, ask, host):
    """DNS rebinding: a website's own name, pointing here."""
    for method, path in routes(app):
        answer = ask(method, re.sub(r"{[^}]*}", "x", path), Host=host)
        assert answer.status in (400, 403), (path, host)


def test_another_site_may_link_to_a_page_and_may_not_show_it(ask):
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert ask("GET", "/home", Sec_Fetch_Dest="document", **link).status == 200
    assert ask("GET", "/home", Sec_Fetch_Dest="iframe", **link).status == 403
    assert ask("GET", "/api/now", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="cors").status == 403
    assert "frame-ancestors 'none'" in ask("GET", "/home").getheader("Content-Security-Policy")


def test_no_answer_lets_another_origin_read_it(ask):
    for target in ("/home", "/api/now", "/ui/core.js", "/nothing"):
        for method in ("GET", "OPTIONS"):
            answer = ask(method, target, Access_Control_Request_Method="POST")
            assert answer.getheader("Access-Control-Allow-Origin") is None
            assert answer.getheader("Cross-Origin-Resource-Policy") == "same-origin"


@pytest.mark.parametrize(
    "target", ["/home", "/api/now", "/ui/core.js", "/nothing", "/file?path=x", "/thumb", "/hello"]
)
def test_each_answer_says_what_it_may_load(ask, target):
    answer = ask("GET", target)
    policy = answer.getheader("Content-Security-Policy")
    assert "default-src 'self'" in policy
    assert "script-src 'self';" in policy
    assert "'unsafe-inline'" not in policy.partition("script-src")[2]
    assert answer.getheader("X-Content-Type-Options") == "nosniff"


def test_an_answer_to_a_crash_carries_them_too_and_tells_no_secrets(app):
    @app.get("/crash")
    def crash():
        raise ZeroDivisionError(SECRET)

    with serving(app) as port:
        answer = Asker(port)("GET", "/crash")
    assert answer.status == 500
    assert SECRET not in answer.text
    assert "ZeroDivisionError" in answer.text
    assert "default-src 'self'" in answer.getheader("Content-Security-Policy")


def test_no_page_has_a_script_in_it(app, ask):
    from app.ui.page import all_pages

    for page in all_pages():
        text = ask("GET", f"/{page.key}").text
        assert not re.search(r"<script(?![^>]*\bsrc=)", text)
        assert not re.search(r"\son[a-z]+\s*=", text)
        assert not re.search(r"""(src|href)=["'](https?:)?//""", text)


def test_no_script_of_ours_makes_code_or_html_from_text():
    for file in (ROOT / "assets/ui").rglob("*.js"):
        if "vendor" in file.parts:
            continue
        text = file.read_text(encoding="utf-8")
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert word not in text, file.name
        assert not re.search(r"new Function|setTimeout\(\s*[\"'`]", text), file.name


def test_a_report_may_run_its_script_in_nobodys_name(runs, ask):
    run = runs / "a-run"
    run.mkdir()
    (run / "job.toml").write_text('name = "a-run"\n')
    (run / "report.html").write_text("<script>fetch('/api/now')</script>")
    answer = ask("GET", "/report?work=a-run")
    assert answer.status == 200, answer.text
    policy = answer.getheader("Content-Security-Policy")
    assert "sandbox allow-scripts" in policy
    assert "allow-same-origin" not in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize(
    "target", ["//evil.example", "/\\evil.example", "/?next=https://evil.example", "/home/"]
)
def test_a_redirect_stays_here(ask, target):
    answer = ask("GET", target)
    place = answer.getheader("Location", "/")
    assert urlsplit(place).netloc in ("", ask.host)


# Too much


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read(ask):
    head = f"POST /api/settings/save HTTP/1.1\r\nHost: {ask.host}\r\nContent-Length: %s\r\n\r\n"
    assert ask.raw((head % 10**12).encode()) == 413
    assert ask.raw((head % ("9" * 5000)).encode()) in (400, 413)
    assert ask.raw((head % "-1").encode()) in (400, 413)


def test_a_body_that_does_not_say_how_long_it_is_is_cut_off_while_it_is_read(app, monkeypatch):
    from app.ui import limits

    monkeypatch.setattr(limits.Limits.__init__, "__defaults__", (100_000,))
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with serving(app) as port:
        asker = Asker(port)
        head = (
            f"POST /api/settings/save HTTP/1.1\r\nHost: {asker.host}\r\n"
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        ).encode()
        assert asker.raw(head, chunk, chunk, chunk) == 413
        assert asker("POST", "/api/settings/save", b"{", **JSON).status == 422


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"x"', b"{" * 5000, b"\xff\xfe", b"1e999"])
def test_a_body_that_is_no_settings_is_told_so(ask, body):
    answer = ask("POST", "/api/settings/save", body, **JSON)
    assert answer.status in (400, 422)
    assert json.loads(answer.text)["problem"]


# A password


@pytest.fixture
def locked(home, runs):
    """Asks a server that others can reach."""
    from app.ui.server import LOCAL, build

    with serving(build(runs, hosts=(*LOCAL, "my-machine"), password=WORD)) as port:
        yield Asker(port)


FORM = {"Content_Type": "application/x-www-form-urlencoded"}


def login(ask, word=WORD, **headers):
    return ask("POST", "/login", f"password={quote(word)}".encode(), **FORM, **headers)


def test_without_the_password_nothing_is_told(app, locked):
    for method, path in routes(app):
        if path == "/hello":
            continue
        answer = locked(method, re.sub(r"{[^}]*}", "x", path))
        assert answer.status == 401, path
        assert json.loads(answer.text)["problem"] == "a password is needed"
    assert locked("GET", "/ui/core.js").status == 401
    page = locked("GET", "/home", Accept="text/html")
    assert page.status == 401
    assert 'type="password"' in page.text


def test_with_it_a_person_comes_in_until_the_server_ends(locked, home, runs):
    answer = login(locked)
    assert answer.status == 303
    assert answer.getheader("Location") == "/"
    cookie = answer.getheader("Set-Cookie")
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert "Path=/" in cookie
    assert "Max-Age" not in cookie
    assert "expires" not in cookie.lower()
    assert WORD not in cookie
    shown = cookie.partition(";")[0]
    assert locked("GET", "/api/now", Cookie=shown).status == 200
    assert locked("GET", "/api/now", Cookie=shown[:-1] + "x").status == 401
    from app.ui.server import build

    with serving(build(runs, password=WORD)) as port:
        value = shown.partition("=")[2]
        again = Asker(port)
        assert again("GET", "/api/now", Cookie=f"sweetspot-{port}={value}").status == 401


def test_a_cookie_goes_over_https_alone_where_there_is_https(home, runs):
    import asyncio

    from app.ui.server import build

    sent = []

    async def one():
        async def receive():
            return {"type": "http.request", "body": f"password={quote(WORD)}".encode()}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http", "method": "POST", "path": "/login", "scheme": "https",
            "headers": [(b"host", b"localhost")], "query_string": b"", "root_path": "",
            "server": ("127.0.0.1", 443), "client": ("127.0.0.1", 5), "http_version": "1.1",
        }  # fmt: skip
        await build(runs, password=WORD)(scope, receive, send)

    asyncio.run(one())
    assert b"Secure" in dict(sent[0]["headers"])[b"set-cookie"]


def test_a_program_shows_the_password_as_a_bearer(locked):
    assert locked("GET", "/api/now", Authorization=f"Bearer {WORD}").status == 200
    assert locked("GET", "/api/now", Authorization="Bearer nonsense").status == 401
    assert locked("GET", "/api/now", Authorization=WORD).status == 401


def test_wrong_passwords_are_limited_and_a_right_one_is_not_heard_among_them(locked):
    shown = login(locked).getheader("Set-Cookie").partition(";")[0]
    for _ in range(4):
        assert login(locked, "wrong").status == 401
    assert login(locked, "wrong").status == 429
    assert login(locked).status == 429
    assert locked("GET", "/api/now", Authorization=f"Bearer {WORD}").status == 401
    assert locked("GET", "/api/now", Cookie=shown).status == 200, "who is in stays in"


def test_tries_of_one_address_do_not_shut_out_another(monkeypatch):
    from app.ui import login as logins

    tries = logins.Tries()
    for _ in range(logins.TRIES):
        tries.note("10.0.0.9")
    assert tries.too_many("10.0.0.9")
    assert not tries.too_many("10.0.0.5")
    for number in range(logins.ALL_TRIES):
        tries.note(f"10.1.0.{number}")
    assert tries.too_many("10.0.0.5"), "many addresses guess together"
    now = time.monotonic()
    monkeypatch.setattr(logins.time, "monotonic", lambda: now + logins.WINDOW + 1)
    assert not tries.too_many("10.0.0.9")


@pytest.mark.parametrize("body", [b"", b"password", b"x=1", b"password=" + b"a" * 100_000, b"\xff"])
def test_a_strange_answer_to_the_question_lets_nobody_in(locked, body):
    answer = locked("POST", "/login", body, **FORM)
    assert answer.status in (401, 413)
    assert answer.getheader("Set-Cookie") is None


def test_the_password_does_not_open_it_to_other_sites(locked):
    shown = login(locked).getheader("Set-Cookie").partition(";")[0]
    body = b"{}"
    for headers in FOREIGN:
        answer = locked("POST", "/api/settings/save", body, Cookie=shown, **JSON, **headers)
        assert answer.status == 403
    assert locked("GET", "/api/now", Cookie=shown, Host="evil.example").status == 403
    assert login(locked, Origin="https://evil.example").status == 403
    assert locked("GET", "/api/now", Cookie=shown, Host=f"my-machine:{locked.port}").status == 200
