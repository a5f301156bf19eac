"""nginx and HAProxy as processes, with the configuration that docs/guides/gateways.md shows."""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tabserve.cli import addresses
from tests.support.project import ROOT
from tests.support.servers import HOST, server_process

GUIDE = ROOT / "docs" / "guides" / "gateways.md"

PREFIX = "/ml/iris"
"""The path prefix in the guide."""

KEPT = {"nginx": ("http://tabserve/;", "http://tabserve;"), "haproxy": ("http-request replace-path", "# replace-path")}
"""What to replace in the configuration, so that the gateway leaves the prefix in the path."""

NGINX = """{user}daemon off; worker_processes 1; pid nginx.pid; error_log stderr;
events {{ worker_connections 256; }}
http {{
access_log off;
keepalive_requests 10000000;
client_body_temp_path body; proxy_temp_path proxy;
fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
{block}
}}
"""
"""Around the block of the guide: everything in one folder, and no end of a test's connections."""

NAMES = ("nginx", "haproxy")


def program(name: str) -> str | None:
    """The path of the gateway's program; None if it isn't installed."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


@contextmanager
def gateway(name: str, ports: Sequence[int], folder: Path, *, keeps_prefix: bool = False) -> Iterator[str]:
    """The gateway in front of servers on these two ports: its address, with the prefix. `folder` is for its files."""
    found = re.search(rf"^```{name}\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    executable = program(name)
    assert found
    assert executable
    port = addresses.free_port(HOST)
    block = found[1].replace(":8080", f":{port}")
    for shown, used in zip((8001, 8002), ports, strict=True):
        block = block.replace(f":{shown}", f":{used}")
    if keeps_prefix:
        removed, left = KEPT[name]
        assert removed in block
        block = block.replace(removed, left)
    file = folder / f"{name}.conf"
    if name == "nginx":
        user = "user root;\n" if os.geteuid() == 0 else ""
        file.write_text(NGINX.format(user=user, block=block))
        command = [executable, "-p", str(folder), "-c", str(file), "-e", "stderr"]
    else:
        file.write_text(f"global\n    maxconn 256\n{block}")
        command = [executable, "-db", "-f", str(file)]
    url = f"http://{HOST}:{port}{PREFIX}"
    with server_process(command, folder, os.environ, folder / f"{name}.log", f"{url}/readyz"):
        yield url
