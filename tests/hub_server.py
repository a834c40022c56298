"""A Hub on localhost that speaks as much of its protocol as uploads and downloads of repositories need."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

LARGE = (".arrow", ".safetensors", ".bin", ".png")  # what is uploaded as LFS files
REPOSITORY = r"([^/]+/[^/]+)"
TOKEN = "hf_tests"
SECONDS = 300  # that a process may take on a busy machine


class Repository:
    """Files by name; every commit changes `sha`."""

    def __init__(self, private: bool):
        self.private, self.files, self.sha = private, {}, "0" * 40


class LocalHub(ThreadingHTTPServer):
    """A server for the length of a `with` block; `repositories` are by (kind, name)."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.large: dict[str, bytes] = {}
        self.read_only = False
        self.requests: list[str] = []
        self.endpoint = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.shutdown()
        self.server_close()


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *message):
        """Say nothing."""

    def answer(self):
        data, path = self.body(), unquote(urlsplit(self.path).path)
        self.server.requests.append(f"{self.command} {path}")
        for pattern, method in ROUTES:
            if found := re.fullmatch(pattern, path):
                return method(self, data, *found.groups())
        return self.fail(404, "RepoNotFound")

    do_GET = do_POST = do_HEAD = do_PUT = answer  # noqa: N815

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline().strip(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def reply(self, content, status=200, **headers):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(content), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def fail(self, status, code):
        self.reply({"error": code}, status, X_Error_Code=code, X_Error_Message=code)

    @property
    def is_known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def find(self, kind, name):
        """A repository that the sender may see; to others a private one is not there."""
        repository = self.server.repositories.get((kind, name))
        return None if repository is None or (repository.private and not self.is_known) else repository

    def whoami(self, data):
        return (
            self.reply({"name": "me", "type": "user", "orgs": []}) if self.is_known else self.fail(401, "Unauthorized")
        )

    def create(self, data):
        if not self.is_known:
            return self.fail(401, "Unauthorized")
        if self.server.read_only:
            return self.fail(403, "Forbidden")
        asked = json.loads(data)
        kind, name = f"{asked.get('type') or 'model'}s", f"{asked.get('organization') or 'me'}/{asked['name']}"
        body = {
            "url": f"{self.server.endpoint}/{'' if kind == 'models' else kind + '/'}{name}",
            "name": name,
            "id": name,
        }
        if (kind, name) in self.server.repositories:
            return self.reply(body, 409)
        self.server.repositories[kind, name] = Repository(asked.get("private") or asked.get("visibility") == "private")
        return self.reply(body)

    def start_large(self, data, *_):
        address = f"{self.server.endpoint}/lfs"
        objects = [
            {**item, "actions": {"upload": {"href": f"{address}/{item['oid']}", "header": {}}}}
            for item in json.loads(data)["objects"]
        ]
        self.reply({"transfer": "basic", "objects": objects})

    def put_large(self, data, oid):
        self.server.large[oid] = data
        self.reply({})

    def api(self, data, kind, name, request):
        repository = self.find(kind, name)
        if repository is None:
            return self.fail(404 if self.is_known else 401, "RepoNotFound")
        verb = (request or "revision").split("/")[0]
        return {
            "revision": self.describe,
            "tree": self.tree,
            "paths-info": self.paths,
            "preupload": self.prepare,
            "commit": self.commit,
        }[verb](data, repository, name, request)

    def describe(self, data, repository, name, request):
        siblings = [{"rfilename": file} for file in sorted(repository.files)]
        self.reply({"id": name, "sha": repository.sha, "private": repository.private, "tags": [], "siblings": siblings})

    def entry(self, name, content):
        return {"type": "file", "path": name, "size": len(content), "oid": git_hash(content)}

    def tree(self, data, repository, name, request):
        folder = "/".join(request.split("/")[2:])
        inside = {name: file for name, file in repository.files.items() if name.startswith(folder)}
        if folder and not inside:
            return self.fail(404, "EntryNotFound")
        folders = sorted({file.rsplit("/", 1)[0] for file in inside if "/" in file} - {folder})
        listed = [{"type": "directory", "path": path, "size": 0, "oid": git_hash(path.encode())} for path in folders]
        return self.reply(listed + [self.entry(*item) for item in sorted(inside.items())])

    def paths(self, data, repository, name, request):
        wanted = json.loads(data)["paths"] if data.startswith(b"{") else parse_qs(data.decode()).get("paths", [])
        self.reply([self.entry(file, repository.files[file]) for file in wanted if file in repository.files])

    def prepare(self, data, repository, name, request):
        names = [item["path"] for item in json.loads(data)["files"]]
        modes = {file: "lfs" if file.endswith(LARGE) else "regular" for file in names}
        self.reply({"files": [{"path": file, "uploadMode": modes[file], "shouldIgnore": False} for file in names]})

    def commit(self, data, repository, name, request):
        if self.server.read_only:
            return self.fail(403, "Forbidden")
        for item in map(json.loads, data.splitlines()):
            value = item["value"]
            if item["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                repository.files[value["path"]] = self.server.large[value["oid"]]
            elif item["key"] == "deletedFile":
                del repository.files[value["path"]]
        repository.sha = hashlib.sha1(data + repository.sha.encode()).hexdigest()
        address = f"{self.server.endpoint}/{name}/commit/{repository.sha}"
        self.reply({"success": True, "commitOid": repository.sha, "commitUrl": address, "hookOutput": ""})

    def resolve(self, data, kind, name, revision, file):
        repository = self.find(kind or "models", name)
        if repository is None:
            return self.fail(404 if self.is_known else 401, "RepoNotFound")
        if revision not in ("main", repository.sha):
            return self.fail(404, "RevisionNotFound")
        if file not in repository.files:
            return self.reply({}, 404, X_Error_Code="EntryNotFound", X_Repo_Commit=repository.sha)
        content = repository.files[file]
        tag = f'"{git_hash(content)}"'
        headers = {"ETag": tag, "X_Repo_Commit": repository.sha, "Accept_Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if asked is None:
            return self.reply(content, **headers)
        start, end = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
        return self.reply(content[start : end + 1], 206, Content_Range=f"bytes {start}-{end}/{len(content)}", **headers)


ROUTES = (
    ("/api/whoami-v2", Handler.whoami),
    ("/api/validate-yaml", lambda self, data: self.reply({"errors": [], "warnings": []})),
    ("/api/repos/create", Handler.create),
    (r".*\.git/info/lfs/objects/batch", Handler.start_large),
    (r"/lfs/(.+)", Handler.put_large),
    (rf"/api/(models|datasets)/{REPOSITORY}(?:/(.+))?", Handler.api),
    (rf"/(?:(datasets)/)?{REPOSITORY}/resolve/([^/]+)/(.+)", Handler.resolve),
)


@contextmanager
def known_hub(endpoint: str, home: Path, token: str = TOKEN) -> Iterator[None]:
    """Let this process know no other Hub."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
        patch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        )
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub"))
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        patch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        patch.setenv("HF_TOKEN", token)
        yield


def python(endpoint: str, home: Path, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess:
    """Run Python in a fresh process that knows no other Hub."""
    own = {
        "HF_ENDPOINT": endpoint,
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, *map(str, arguments)]
    environment = os.environ | own | variables
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
