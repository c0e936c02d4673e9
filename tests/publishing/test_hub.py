"""The Hugging Face Hub, as far as it can be had without a network: a server on loopback."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import constants

from bidnn import BiDNN
from bidnn.errors import UserError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def net():
    first, second = np.random.default_rng(0).normal(size=(2, 60, 5)).astype("f4")
    return BiDNN(hdn=8, rep=4, epochs=2, verbosity=0).fit(first, second), first, second


class Uploads:
    """What the two calls of an upload were given, and the folder's files as they were then."""

    def __init__(self, monkeypatch):
        self.said, self.files = {}, {}
        api = huggingface_hub.HfApi

        def create_repo(api, repo_id, **how):
            self.said["create"] = {"repo_id": repo_id, "token": api.token, **how}
            return huggingface_hub.RepoUrl(f"https://huggingface.co/{repo_id}")

        def upload_folder(api, *, folder_path, **how):
            self.said["upload"] = how
            self.files = {path.name: path.read_bytes() for path in folder_path.iterdir()}
            return huggingface_hub.CommitInfo(
                commit_url=f"https://huggingface.co/{how['repo_id']}/commit/{COMMIT}",
                commit_message=how["commit_message"],
                commit_description="",
                oid=COMMIT,
            )

        monkeypatch.setattr(api, "create_repo", create_repo)
        monkeypatch.setattr(api, "upload_folder", upload_folder)


class Hub(BaseHTTPRequestHandler):
    """One model, `me/videos`, whose files the server has."""

    def answer(self, content, status=200, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(content), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def do_GET(self):
        self.server.asked.append((self.command, self.path, self.headers.get("Authorization")))
        files = self.server.files
        path = self.path.partition("?")[0]
        name = path.rpartition("/")[2]
        if not path.removeprefix("/api/models").startswith("/me/videos/"):
            self.answer(b"{}", 404, X_Error_Code="RepoNotFound")
        elif "/tree/" in path:
            listed = [
                {"type": "file", "path": n, "size": len(c), "oid": hashlib.sha1(c).hexdigest()}
                for n, c in files.items()
            ]
            self.answer(json.dumps(listed).encode(), Content_Type="application/json")
        elif "/revision/" in path:
            told = {"id": "me/videos", "sha": COMMIT, "siblings": [{"rfilename": n} for n in files]}
            self.answer(json.dumps(told).encode(), Content_Type="application/json")
        elif name in files:
            digest = hashlib.sha1(files[name]).hexdigest()
            self.answer(files[name], ETag=f'"{digest}"', X_Repo_Commit=COMMIT)
        else:
            self.answer(b"", 404, X_Error_Code="EntryNotFound")

    def do_HEAD(self):
        self.do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch, tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files, server.asked = {}, []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace("https://huggingface.co", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_pushed_model_is_the_one_that_comes_back(net, hub, tmp_path, monkeypatch):
    trained, first, second = net
    uploads = Uploads(monkeypatch)
    address = trained.push_to_hub(
        "me/videos",
        card={"intended_use": "Finding videos."},
        commit_message="First",
        private=True,
        token="secret",
        branch="v1",
        create_pr=True,
    )
    assert address == f"https://huggingface.co/me/videos/commit/{COMMIT}"
    assert uploads.said["create"] == {
        "repo_id": "me/videos",
        "token": "secret",
        "private": True,
        "exist_ok": True,
    }
    assert uploads.said["upload"] == {
        "repo_id": "me/videos",
        "commit_message": "First",
        "revision": "v1",
        "create_pr": True,
    }
    assert set(uploads.files) == {"README.md", "config.json", "model.safetensors"}
    text = uploads.files["README.md"].decode()
    assert 'BiDNN.from_pretrained("me/videos")' in text
    assert "Finding videos." in text
    assert "secret" not in text + uploads.files["config.json"].decode()

    hub.files = uploads.files | {"training_rows.bin": b"not asked for"}
    found = BiDNN.from_pretrained("me/videos", token="secret")
    assert found.transform(first, second).tobytes() == trained.transform(first, second).tobytes()
    assert not any("training_rows" in path for _, path, _ in hub.asked)
    assert {who for _, path, who in hub.asked if "me/videos" in path} == {"Bearer secret"}
    asked = len(hub.asked)
    again = BiDNN.from_pretrained("me/videos", local_files_only=True)  # kept
    assert again.translate(first=first).tobytes() == trained.translate(first=first).tobytes()
    assert len(hub.asked) == asked
    again.save_pretrained(tmp_path / "copy")
    assert "Finding videos." in (tmp_path / "copy" / "README.md").read_text()


def test_a_revision_is_asked_for(net, hub, tmp_path):
    net[0].save_pretrained(tmp_path / "folder")
    hub.files = {path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()}
    BiDNN.from_pretrained("me/videos", revision="v2", cache_dir=tmp_path / "own")
    assert any("/revision/v2" in path for _, path, _ in hub.asked)
    assert list((tmp_path / "own").glob("models--me--videos/snapshots/*/config.json"))


def test_what_is_not_there_or_not_ours_is_said_in_one_line(net, hub):
    with pytest.raises(UserError, match=r"^me/nothing: no such folder, .* gives no model \(404"):
        BiDNN.from_pretrained("me/nothing")
    hub.files = {"config.json": b'{"architectures": ["Bert"]}', "model.safetensors": bytes(20)}
    with pytest.raises(UserError, match=r"config\.json: not of bidnn"):
        BiDNN.from_pretrained("me/videos")
    for name in ("videos", "../videos", "a/b/c", "me/videos.pt/"):
        with pytest.raises(FileNotFoundError, match="no such folder, nor a name of the Hub"):
            BiDNN.from_pretrained(name)
    with pytest.raises(
        UserError, match=r"^me/nothing: the Hugging Face Hub does not take it"
    ) as said:
        net[0].push_to_hub("me/nothing", token="secret")
    assert "\n" not in str(said.value)
    assert "secret" not in str(said.value)


def test_a_hub_out_of_reach_is_said_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        UserError, match=r"^me/videos: no such folder, and the Hugging Face Hub gives"
    ) as said:
        BiDNN.from_pretrained("me/videos", cache_dir=tmp_path)
    assert "\n" not in str(said.value)


def test_without_huggingface_hub_a_line_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install 'bidnn\[hub\]'"):
        BiDNN.from_pretrained("me/videos")
