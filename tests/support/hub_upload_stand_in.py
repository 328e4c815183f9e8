"""The stand-in of the hub, which also takes uploads: large files by LFS, commits of all files.

As far as huggingface_hub 2 requests it (by its source), without Xet storage:
HF_HUB_DISABLE_XET=1.
"""

import base64
import json
import re
from typing import Any
from urllib.parse import unquote, urlsplit

from hub_stand_in import GOOD_TOKEN, Handler, HubStandIn, is_large, sha256

UPLOAD = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)/(preupload|commit)/(.+)")
LFS = re.compile(r"/(?:datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch")


class HubUploadStandIn(HubStandIn):
    """The server, its repositories, and what was uploaded to it."""

    def __init__(self) -> None:
        super().__init__()
        self.uploads: dict[str, bytes] = {}
        """Large files by their SHA-256, before a commit names them."""
        self.cards: list[str] = []
        """Cards that were to be checked."""
        self.faults_of_cards: list[str] = []
        """What the check of a card finds."""
        hub = self
        self.server.RequestHandlerClass = type("UploadHandler", (UploadingHandler,), {"hub": hub})


class UploadingHandler(Handler):
    """One connection."""

    hub: HubUploadStandIn

    def do_PUT(self) -> None:  # noqa: N802 - the name is that of the library
        """Take a large file."""
        content = self.body()
        digest = urlsplit(self.path).path.rpartition("/")[2]
        assert sha256(content) == digest
        self.hub.uploads[digest] = content
        self.hub.requests.append(f"PUT {self.path}")
        self.send_json({})

    def do_POST(self) -> None:  # noqa: N802
        """Make a repository, check a card, or commit; anything else as the other stand-in."""
        path = unquote(urlsplit(self.path).path)
        is_upload = path.startswith(("/api/repos", "/api/validate-yaml"))
        is_upload = is_upload or bool(UPLOAD.fullmatch(path) or LFS.fullmatch(path))
        if not is_upload:
            super().do_POST()
            return
        self.hub.requests.append(f"POST {path}")
        body = self.body()
        if path == "/api/validate-yaml":
            self.validate(json.loads(body))
        elif self.headers.get("Authorization") != f"Bearer {GOOD_TOKEN}":
            self.refuse(401, "", "Invalid username or password.")
        elif path == "/api/repos/create":
            self.create(json.loads(body))
        elif match := LFS.fullmatch(path):
            self.batch(json.loads(body))
        elif match := UPLOAD.fullmatch(path):
            kind, name, what, _ = match.groups()
            self.preupload(json.loads(body)) if what == "preupload" else self.commit(
                kind, name, body
            )

    def body(self) -> bytes:
        """The body of the request, whole or in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def validate(self, asked: dict[str, Any]) -> None:
        """Check a card."""
        self.hub.cards.append(asked["content"])
        errors = [{"message": text} for text in self.hub.faults_of_cards]
        answer = json.dumps({"errors": errors, "warnings": []}).encode()
        self.send(400 if errors else 200, answer, {"Content-Type": "application/json"})

    def create(self, asked: dict[str, Any]) -> None:
        """Make a repository."""
        kind = f"{asked.get('type', 'model')}s"
        name = f"{asked['organization']}/{asked['name']}"
        self.hub.put(kind, name, {})
        self.send_json({"url": f"{self.hub.endpoint}/{name}", "name": name, "id": name})

    def preupload(self, asked: dict[str, Any]) -> None:
        """Say which files are large."""
        files = [
            {
                "path": one["path"],
                "uploadMode": "lfs" if is_large(one["path"]) else "regular",
                "shouldIgnore": False,
                "oid": None,
            }
            for one in asked["files"]
        ]
        self.send_json({"files": files, "commitOid": None})

    def batch(self, asked: dict[str, Any]) -> None:
        """Say where large files go."""
        objects = [
            {
                **one,
                "authenticated": True,
                "actions": {
                    "upload": {"href": f"{self.hub.endpoint}/put/{one['oid']}", "header": {}}
                },
            }
            for one in asked["objects"]
        ]
        self.send_json({"transfer": "basic", "objects": objects})

    def commit(self, kind: str, name: str, body: bytes) -> None:
        """Make a commit of small files and of large ones that were taken before."""
        files: dict[str, bytes] = {}
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.uploads[value["oid"]]
        commit = self.hub.put(kind, name, files)
        address = f"{self.hub.endpoint}/{name}/commit/{commit}"
        self.send_json({"commitUrl": address, "commitOid": commit, "success": True})
