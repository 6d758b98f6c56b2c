"""The Hub's client, pointed at a Hub on the loopback."""

import contextlib
import os
from pathlib import Path

from tests.hub_server import TOKEN, Hub
from whisper_pair.cli import main


@contextlib.contextmanager
def connected(hub: Hub, monkeypatch, tmp_path):
    settings = {  # read from the environment when the client was first imported
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": hub.xet is None,
        "HF_HUB_CACHE": str(tmp_path / "cache"),
    }
    for name, value in settings.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield hub
    hub.close()


def environment(hub: Hub, home: Path) -> dict[str, str]:
    xet = {"HF_HUB_DISABLE_XET": "1"} if hub.xet is None else {}
    ours = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(home), **xet}
    return {**os.environ, **ours, "HF_TOKEN": TOKEN, "OMP_NUM_THREADS": "1"}


def publish(*arguments) -> int:
    return main(["publish", *map(str, arguments)])
