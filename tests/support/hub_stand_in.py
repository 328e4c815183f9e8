"""A stand-in of the hub's HTTP API on this machine, for tests without a network.

No hub: it serves repositories that a test makes, as far as huggingface_hub 2 asks for them (what it
asks was read from its source): info of a revision, tree with pages, access check, resolve with the
redirect of large files to another host, ranges, and the refusals 401, 403, 404, 429. Repositories
that a test says are on Xet storage are served in its protocol (reconstructions, version 1), in
chunks that are not compressed. Faults that a test wants: requests that are refused as too many, and
answers that are cut in their middle.

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

#: Files that the hub keeps apart (LFS) by these endings, whatever their size.
LARGE = (".safetensors", ".bin", ".parquet", ".arrow", ".gz", ".model", ".so")
#: Entries of a page of a tree: small, so that every test turns pages.
PAGE = 3
API = re.compile(
    r"/api/(models|datasets|kernels)/([^/]+/[^/]+)(?:/(revision|tree|auth-check|paths-info|xet-read-token)(?:/(.*))?)?"
)
RESOLVE = re.compile(r"/(?:(datasets|kernels)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
#: Who publishes something; the hub trusts some of them with kernels.
OWNER = re.compile(r"/api/organizations/([^/]+)/overview")
#: Bytes of a chunk of Xet storage, at most.
CHUNK_BYTES = 2**16
#: A token that the stand-in takes for that of somebody who has accepted every licence.
GOOD_TOKEN = "hf_stand_in_accepted"


def is_large(name: str) -> bool:
    """Whether a file is served as the hub serves large ones."""
    return name.endswith(LARGE)


def sha256(content: bytes) -> str:
    """Digest of a large file."""
    return hashlib.sha256(content).hexdigest()


def xet_hash(content: bytes) -> str:
    """What Xet storage calls a file here: its own digest is another one than SHA-256, too."""
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
    """Whether every token is refused with 403, as one without the right to read it is."""
    is_on_xet: bool = False

    def commit_of(self, revision: str) -> str | None:
        """The commit that a branch, tag or commit means."""
        return revision if revision in self.commits else self.refs.get(revision)


class HubStandIn:
    """The server with what it holds; a context manager."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.requests: list[str] = []
        """`GET /path` of everything that was asked, in order."""
        self.ranges: list[str] = []
        """`/path bytes=100-` of those that asked for a part of a file."""
        self.refused_as_too_many = 0
        """So many of the next requests get 429."""
        self.cut_after: dict[str, int] = {}
        """By name of a file: its next answers end after so many bytes..."""
        self.cuts: Counter[str] = Counter()
        """... and so many answers are cut; by name of the file."""
        self.trusted = {"kernels-community"}
        """Organizations that the hub trusts to publish kernels."""
        self.others: set[str] = {"somebody"}
        """Other organizations."""
        self.is_xet_down = False
        """Whether Xet storage refuses everything with 403, as a proxy may."""
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
        """Where large files are redirected to: another host, as on the hub."""
        return f"http://localhost:{self.server.server_port}"

    def environment(self, home: Path) -> dict[str, str]:
        """Variables of a process that asks here and keeps what it fetches under `home`."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def put(self, kind: str, name: str, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Make a commit at the end of a branch of a repository of a kind; its name."""
        found = self.repositories.setdefault((kind, name), Repository())
        listing = json.dumps({path: sha256(content) for path, content in sorted(files.items())})
        commit = hashlib.sha1(f"{kind} {name} {listing}".encode()).hexdigest()
        found.commits[commit] = dict(files)
        found.refs[branch] = commit
        return commit

    def gate(self, kind: str, name: str) -> None:
        """Let only `GOOD_TOKEN` read the files of a repository."""
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
        """Facts of some paths."""
        self.answer()

    def log_message(self, *_: object) -> None:
        """Nothing: tests look at `requests`."""

    def answer(self) -> None:
        """Find out what is asked for."""
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
        """Info, tree, facts of paths, or whether access is given."""
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
        """Facts of an organization; of a person there are none."""
        if name not in self.hub.trusted | self.hub.others:
            self.refuse(404, "", "no such organization")
            return
        facts = {"name": name, "fullname": name, "avatarUrl": "", "isVerified": False}
        self.send_json({**facts, "trustedKernelPublisher": name in self.hub.trusted})

    def cut_revision(self, found: Repository, rest: str) -> tuple[str, str, str]:
        """Revision and path below it: `refs/pr/1` has slashes, too."""
        known = [one for one in (*found.refs, *found.commits) if f"{rest}/".startswith(f"{one}/")]
        revision = max(known, key=len, default=rest)
        return revision, "/", rest[len(revision) + 1 :]

    def tree(self, found: Repository, commit: str, below: str, query: dict[str, list[str]]) -> None:
        """A page of the listing of a commit."""
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
        """A file, or where a large one is."""
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
        """Xet storage: which chunks make a file, and the chunks."""
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
        """Whether the token reads a repository; answered where it does not."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not found.gated or token == GOOD_TOKEN:
            return True
        message = "Access to this repository is restricted. Visit its page to ask for access."
        self.refuse(403 if token else 401, "GatedRepo", message)
        return False

    def refuse_unknown(self) -> None:
        """The hub does not tell a private repository from none."""
        is_known = "Authorization" in self.headers
        self.refuse(404 if is_known else 401, "RepoNotFound", "Repository not found")

    def refuse(
        self, status: int, code: str, text: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """An error as the hub tells it."""
        error_headers = {"X-Error-Message": text} | ({"X-Error-Code": code} if code else {})
        self.send(
            status, json.dumps({"error": text}).encode(), {**error_headers, **(headers or {})}
        )

    def send_json(self, value: Any, headers: Mapping[str, str] | None = None) -> None:
        """A JSON value."""
        kind = {"Content-Type": "application/json"}
        self.send(200, json.dumps(value).encode(), {**kind, **(headers or {})})

    def send_file(self, path: str, content: bytes, headers: Mapping[str, str]) -> None:
        """A file or the asked part of it, perhaps cut in its middle."""
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
        """Status, headers, body."""
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
    """A file as Xet storage sends it: chunks with a header each, none of them compressed.

    A header is a version, the bytes that follow (3 bytes), how they are compressed, and the bytes
    that they make (3 bytes).
    """
    sent = []
    for begin in range(0, len(content), CHUNK_BYTES):
        chunk = content[begin : begin + CHUNK_BYTES]
        length = len(chunk).to_bytes(3, "little")
        sent.append(b"\0" + length + b"\0" + length + chunk)
    return b"".join(sent)


def entries_of(files: Mapping[str, bytes], below: str, is_deep: bool) -> list[dict[str, Any]]:
    """The entries of a tree as the hub tells them."""
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
    """A file of a tree."""
    entry = {"type": "file", "oid": git_sha1(content), "size": len(content), "path": path}
    if is_large(path):
        entry["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 134}
    return entry


def handler_of(hub: HubStandIn) -> type[Handler]:
    """The handler of one stand-in."""
    return type("HandlerOfHub", (Handler,), {"hub": hub})
