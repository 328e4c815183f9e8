"""A stand-in of the hub's HTTP API on this machine, for tests without a network.

It serves repositories made by tests, as far as huggingface_hub 2 requests them (by its source):
info of a revision, paginated tree, access check, resolve with redirects of large files to another
host, ranges, and the errors 401, 403, 404, 429. Repositories on Xet storage are served in
its protocol (reconstructions, version 1), in uncompressed chunks. A test can inject faults:
requests refused with 429, and truncated answers.

    with HubStandIn() as hub:
        hub.put("models", "lab/tiny", {"config.json": b"{}", "model.safetensors": ...})
        subprocess.run([...], env=os.environ | hub.environment(cache))
"""

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

#: Suffixes of files that the hub stores in LFS, whatever their size.
LARGE = (".safetensors", ".bin", ".parquet", ".arrow", ".gz", ".model", ".so")
#: Entries per page of a tree: few, so that every test requests several pages.
PAGE = 3
API = re.compile(
    r"/api/(models|datasets|kernels)/([^/]+/[^/]+)(?:/(revision|tree|auth-check|paths-info|xet-read-token)(?:/(.*))?)?"
)
RESOLVE = re.compile(r"/(?:(datasets|kernels)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
#: Facts of a publisher; the hub trusts some of them to publish kernels.
OWNER = re.compile(r"/api/organizations/([^/]+)/overview")
#: Max bytes of a chunk of Xet storage.
CHUNK_BYTES = 2**16
#: A token that may read every gated repository.
GOOD_TOKEN = "hf_stand_in_accepted"


def is_large(name: str) -> bool:
    """Whether a file is served as an LFS file."""
    return name.endswith(LARGE)


def sha256(content: bytes) -> str:
    """Digest of a large file."""
    return hashlib.sha256(content).hexdigest()


def xet_hash(content: bytes) -> str:
    """Xet hash of a file in the stand-in: as on the hub, it differs from SHA-256."""
    return sha256(b"xet" + content)


def git_sha1(content: bytes) -> str:
    """Digest of a small file."""
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


@dataclass
class Repository:
    """A model, data set or kernel with all its commits."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    is_closed: bool = False
    """Whether every token is refused with 403, like a token without read permission."""
    is_on_xet: bool = False

    def commit_of(self, revision: str) -> str | None:
        """The commit that a branch, tag or commit means."""
        return revision if revision in self.commits else self.refs.get(revision)


class HubStandIn:
    """The server and its repositories; a context manager."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.requests: list[str] = []
        """`GET /path` of every request, in order."""
        self.ranges: list[str] = []
        """`/path bytes=100-` of every range request."""
        self.refused_as_too_many = 0
        """Number of the next requests that get 429."""
        self.cut_after: dict[str, int] = {}
        """Bytes after which answers are truncated, by file name."""
        self.cuts: Counter[str] = Counter()
        """Number of answers still to be truncated, by file name."""
        self.trusted = {"kernels-community"}
        """Organizations that the hub trusts to publish kernels."""
        self.others: set[str] = {"somebody"}
        """Other organizations."""
        self.is_xet_down = False
        """Whether Xet storage answers every request with 403, as a proxy may."""
        self.is_down = False
        """Whether every request is answered with 503."""
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(self))
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    @property
    def endpoint(self) -> str:
        """Value of HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def store(self) -> str:
        """Redirect target of large files: another host, as on the hub."""
        return f"http://localhost:{self.server.server_port}"

    def environment(self, home: Path) -> dict[str, str]:
        """Variables of a process that uses this server and caches under `home`."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def put(self, kind: str, name: str, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Add a commit to a branch of a repository; return its hash."""
        found = self.repositories.setdefault((kind, name), Repository())
        listing = json.dumps({path: sha256(content) for path, content in sorted(files.items())})
        commit = hashlib.sha1(f"{kind} {name} {listing}".encode()).hexdigest()
        found.commits[commit] = dict(files)
        found.refs[branch] = commit
        return commit

    def gate(self, kind: str, name: str) -> None:
        """Gate a repository: only `GOOD_TOKEN` may read its files."""
        self.repositories[(kind, name)].gated = True

    def large_file(
        self, digest: str, digest_function: Callable[[bytes], str] = sha256
    ) -> bytes | None:
        """Content of a large file by its digest, of the kind that `named` makes."""
        for repository in self.repositories.values():
            for files in repository.commits.values():
                for content in files.values():
                    if digest_function(content) == digest:
                        return content
        return None

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    hub: HubStandIn
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with a body."""
        self.answer()

    def do_HEAD(self) -> None:
        """Answer without one."""
        self.answer()

    def do_POST(self) -> None:
        """Facts of paths."""
        self.answer()

    def log_message(self, *_: object) -> None:
        """Log nothing: tests read `requests`."""

    def answer(self) -> None:
        """Dispatch a request."""
        asked = urlsplit(self.path)
        path = unquote(asked.path)
        self.hub.requests.append(f"{self.command} {path}")
        if part := self.headers.get("Range"):
            self.hub.ranges.append(f"{path} {part}")
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if self.hub.is_down:
            self.refuse(503, "", "out of order")
        elif self.hub.refused_as_too_many > 0:
            self.hub.refused_as_too_many -= 1
            self.refuse(429, "", "too many requests", {"Retry-After": "0"})
        elif path.startswith("/xet/"):
            self.xet(path)
        elif match := re.fullmatch(r"/store/([0-9a-f]{64})/(.+)", path):
            content = self.hub.large_file(match[1])
            if content is None:
                self.refuse(404, "EntryNotFound", "no such file")
            else:
                self.send_file(match[2], content, {"ETag": f'"{match[1]}"'})
        elif match := OWNER.fullmatch(path):
            self.owner(match[1])
        elif match := API.fullmatch(path):
            self.api(match, parse_qs(asked.query), body)
        elif match := RESOLVE.fullmatch(path):
            self.resolve(match)
        else:
            self.refuse(404, "", "no such page")

    def api(self, match: re.Match[str], query: dict[str, list[str]], body: bytes) -> None:
        """Answer with info, tree, facts of paths, or the access check."""
        kind, name, what, rest = match.groups()
        found = self.hub.repositories.get((kind, name))
        if found is None:
            self.refuse_unknown()
            return
        if found.is_closed:
            self.refuse(403, "", "Forbidden: this token may not read the repository")
            return
        if what == "xet-read-token":
            facts = {"X-Xet-Cas-Url": f"{self.hub.endpoint}/xet", "X-Xet-Access-Token": "for-xet"}
            self.send_json({}, facts | {"X-Xet-Token-Expiration": str(2**32 - 1)})
            return
        if what == "auth-check":
            if self.may_read(found):
                self.send_json({})
            return
        revision, _, below = self.cut_revision(found, rest or "main")
        commit = found.commit_of(revision)
        if commit is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif what == "tree":
            self.tree(found, commit, below, query)
        elif what == "paths-info":
            asked = parse_qs(body.decode()).get("paths", []) if b"=" in body else []
            asked = asked or json.loads(body or b"{}").get("paths", [])
            entries = [e for e in entries_of(found.commits[commit], "", True) if e["path"] in asked]
            self.send_json(entries)
        else:
            self.send_json(
                {
                    "_id": commit[:24],
                    "id": name,
                    "sha": commit,
                    "private": False,
                    "gated": "manual" if found.gated else False,
                    "disabled": False,
                    "downloads": 0,
                    "likes": 0,
                    "tags": [],
                    "lastModified": "2026-01-01T00:00:00.000Z",
                    "createdAt": "2026-01-01T00:00:00.000Z",
                    "siblings": [{"rfilename": path} for path in sorted(found.commits[commit])],
                }
            )

    def owner(self, name: str) -> None:
        """Answer with the facts of an organization; 404 for users."""
        if name not in self.hub.trusted | self.hub.others:
            self.refuse(404, "", "no such organization")
            return
        facts = {"name": name, "fullname": name, "avatarUrl": "", "isVerified": False}
        self.send_json({**facts, "trustedKernelPublisher": name in self.hub.trusted})

    def cut_revision(self, found: Repository, rest: str) -> tuple[str, str, str]:
        """Split into revision and path: revisions such as `refs/pr/1` contain slashes."""
        known = [one for one in (*found.refs, *found.commits) if f"{rest}/".startswith(f"{one}/")]
        revision = max(known, key=len, default=rest)
        return revision, "/", rest[len(revision) + 1 :]

    def tree(self, found: Repository, commit: str, below: str, query: dict[str, list[str]]) -> None:
        """Answer with a page of a commit's file listing."""
        is_deep = query.get("recursive", ["false"])[0].lower() in ("true", "1")
        entries = entries_of(found.commits[commit], below, is_deep)
        for entry in entries if found.is_on_xet else ():
            if "lfs" in entry:
                entry["xetHash"] = xet_hash(found.commits[commit][entry["path"]])
        if below and not entries:
            self.refuse(404, "EntryNotFound", f"{below} does not exist")
            return
        start = int(query.get("cursor", ["0"])[0])
        headers = {}
        if start + PAGE < len(entries):
            page = f"{self.hub.endpoint}{urlsplit(self.path).path}"
            is_recursive = "true" if is_deep else "false"
            headers["Link"] = f'<{page}?recursive={is_recursive}&cursor={start + PAGE}>; rel="next"'
        self.send_json(entries[start : start + PAGE], headers)

    def resolve(self, match: re.Match[str]) -> None:
        """Answer with a file, or a redirect for a large one."""
        kind, name, revision, path = match.groups()
        found = self.hub.repositories.get((kind or "models", name))
        if found is None:
            self.refuse_unknown()
            return
        commit = found.commit_of(unquote(revision))
        if commit is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        if found.is_closed:
            self.refuse(403, "", "Forbidden: this token may not read the repository")
            return
        if not self.may_read(found):
            return
        headers = {"X-Repo-Commit": commit}
        content = found.commits[commit].get(path)
        if content is None:
            self.refuse(404, "EntryNotFound", "Entry not found", headers)
        elif is_large(path):
            digest = sha256(content)
            headers |= {
                "X-Linked-Size": str(len(content)),
                "X-Linked-ETag": f'"{digest}"',
                "Location": f"{self.hub.store}/store/{digest}/{path}",
            }
            if found.is_on_xet:
                token = f"{self.hub.endpoint}/api/{kind or 'models'}/{name}/xet-read-token/{commit}"
                headers |= {"X-Xet-Hash": xet_hash(content), "Link": f'<{token}>; rel="xet-auth"'}
            self.send(302, b"", headers)
        else:
            self.send_file(path, content, headers | {"ETag": f'"{git_sha1(content)}"'})

    def xet(self, path: str) -> None:
        """Xet storage: answer with the chunk list of a file, or with its chunks."""
        match = re.fullmatch(r"/xet/(v\d+/reconstructions|chunks)/([0-9a-f]{64})", path)
        content = self.hub.large_file(match[2], xet_hash) if match else None
        if self.hub.is_xet_down:
            self.refuse(403, "", "forbidden")
        elif match is None or content is None or match[1].startswith("v2"):
            self.refuse(404, "", "no such page")
        elif match[1] == "chunks":
            self.send_file(path, in_chunks(content), {})
        else:
            chunk_count, size = -(-len(content) // CHUNK_BYTES), len(in_chunks(content))
            place = {"start": 0, "end": chunk_count}
            url = f"{self.hub.endpoint}/xet/chunks/{match[2]}"
            part = {"range": place, "url": url, "url_range": {"start": 0, "end": size - 1}}
            term = {"hash": match[2], "unpacked_length": len(content), "range": place}
            facts = {"terms": [term], "fetch_info": {match[2]: [part]}}
            self.send_json({"offset_into_first_range": 0, **facts})

    def may_read(self, found: Repository) -> bool:
        """Whether the token may read a repository; sends the refusal if not."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not found.gated or token == GOOD_TOKEN:
            return True
        message = "Access to this repository is restricted. Visit its page to ask for access."
        self.refuse(403 if token else 401, "GatedRepo", message)
        return False

    def refuse_unknown(self) -> None:
        """Refuse an unknown repository; the hub answers the same for private ones."""
        is_known = "Authorization" in self.headers
        self.refuse(404 if is_known else 401, "RepoNotFound", "Repository not found")

    def refuse(
        self, status: int, code: str, text: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send an error in the hub's format."""
        error_headers = {"X-Error-Message": text} | ({"X-Error-Code": code} if code else {})
        self.send(
            status, json.dumps({"error": text}).encode(), {**error_headers, **(headers or {})}
        )

    def send_json(self, value: Any, headers: Mapping[str, str] | None = None) -> None:
        """Send a JSON value."""
        kind = {"Content-Type": "application/json"}
        self.send(200, json.dumps(value).encode(), {**kind, **(headers or {})})

    def send_file(self, path: str, content: bytes, headers: Mapping[str, str]) -> None:
        """Send a file or the requested range of it, possibly truncated."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            self.send(200, content, {**headers, "Accept-Ranges": "bytes"}, path)
            return
        first = int(asked[1])
        last = int(asked[2]) if asked[2] else len(content) - 1
        if first >= len(content):
            self.send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            return
        part = content[first : last + 1]
        ranged = {"Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(content)}"}
        self.send(206, part, {**headers, **ranged}, path)

    def send(self, status: int, body: bytes, headers: Mapping[str, str], path: str = "") -> None:
        """Send status, headers and body."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if path in self.hub.cut_after and self.hub.cuts[path] > 0:
            self.hub.cuts[path] -= 1
            self.wfile.write(body[: self.hub.cut_after[path]])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(body)


def in_chunks(content: bytes) -> bytes:
    """A file as Xet storage sends it: uncompressed chunks, each with a header.

    A header is a version, the stored size (3 bytes), the compression type, and the uncompressed
    size (3 bytes).
    """
    sent = []
    for begin in range(0, len(content), CHUNK_BYTES):
        chunk = content[begin : begin + CHUNK_BYTES]
        length = len(chunk).to_bytes(3, "little")
        sent.append(b"\0" + length + b"\0" + length + chunk)
    return b"".join(sent)


def entries_of(files: Mapping[str, bytes], below: str, is_deep: bool) -> list[dict[str, Any]]:
    """The entries of a tree in the hub's format."""
    prefix = f"{below}/" if below else ""
    entries: dict[str, dict[str, Any]] = {}
    for path, content in sorted(files.items()):
        if not path.startswith(prefix):
            continue
        parts = path[len(prefix) :].split("/")
        for depth in range(1, len(parts)):
            if depth == 1 or is_deep:
                folder = prefix + "/".join(parts[:depth])
                oid = git_sha1(folder.encode())
                entries[folder] = {"type": "directory", "oid": oid, "size": 0, "path": folder}
        if len(parts) == 1 or is_deep:
            entries[path] = entry_of(path, content)
    return list(entries.values())


def entry_of(path: str, content: bytes) -> dict[str, Any]:
    """The entry of a file in a tree."""
    entry = {"type": "file", "oid": git_sha1(content), "size": len(content), "path": path}
    if is_large(path):
        entry["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 134}
    return entry


def handler_of(hub: HubStandIn) -> type[Handler]:
    """The handler class of one stand-in."""
    return type("HandlerOfHub", (Handler,), {"hub": hub})
