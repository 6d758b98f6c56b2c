"""Checkpoints from a Hub on the loopback: one set of weights, at the revision that is asked for, and offline again."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.hub_server import Hub, Repo
from whisper_pair.checkpoints.download import wanted
from whisper_pair.checkpoints.identity import check_pair, encoder_sha256
from whisper_pair.checkpoints.load import load_main
from whisper_pair.checkpoints.locate import checkpoint_folder
from whisper_pair.checkpoints.locate_pair import locate_pair
from whisper_pair.checkpoints.manifest import PairManifest, origin
from whisper_pair.config.hub_name import named
from whisper_pair.config.load import load_config
from whisper_pair.errors import InputError
from whisper_pair.pair import Pair

COMMIT = "{:040x}"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    hub = Hub()
    settings = {  # read from the environment when the client was first imported
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_CACHE": str(tmp_path / "cache"),
    }
    for name, value in settings.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    yield hub
    hub.close()


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def here(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def offer(hub: Hub, name: str, *commits: dict[str, bytes]) -> None:
    hub.repos[name] = Repo(False, list(commits))


@pytest.fixture(scope="module")
def sharded(demo_data, tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("sharded")
    load_main(demo_data / "micro-whisper", torch.float32).save_pretrained(folder, max_shard_size="1MB")
    found = files_of(folder)
    assert sum(name.endswith(".safetensors") for name in found) > 1
    return found


OTHERS = {
    "model.fp32-00001-of-00002.safetensors": b"twice as large",
    "model.fp32-00002-of-00002.safetensors": b"twice as large",
    "model.safetensors.index.fp32.json": b'{"weight_map": {}}',
    "pytorch_model.bin": b"pickle",
    "flax_model.msgpack": b"flax",
    "checkpoint-500/model.safetensors": b"of an earlier step",
    "checkpoint-500/trainer_state.json": b"{}",
    "onnx/config.json": b"{}",
}


def test_of_several_sets_of_weights_the_one_that_is_loaded_is_fetched(hub, demo_data):
    own = files_of(demo_data / "micro-whisper")
    shards = {f"model-0000{i}-of-00002.safetensors": b"the same in shards" for i in (1, 2)}
    index = {"model.safetensors.index.json": json.dumps({"weight_map": {"a": next(iter(shards))}}).encode()}
    offer(hub, "some/whisper", own | OTHERS | shards | index)
    folder = checkpoint_folder("some/whisper")
    assert here(folder) == sorted(own)
    assert encoder_sha256(folder) == encoder_sha256(demo_data / "micro-whisper")


def test_of_shards_those_that_the_index_names_are_fetched(hub, demo_data, sharded):
    processor = {name: file for name, file in files_of(demo_data / "micro-whisper").items()
                 if not name.endswith(".safetensors") and name not in sharded}  # fmt: skip
    offer(hub, "some/whisper", sharded | processor | OTHERS | {"model-00009-of-00009.safetensors": b"left over"})
    folder = checkpoint_folder("some/whisper")
    assert here(folder) == sorted({**sharded, **processor})
    assert encoder_sha256(folder) == encoder_sha256(demo_data / "micro-whisper")
    assert (
        load_main(folder, torch.float32).config.vocab_size
        == load_main(demo_data / "micro-whisper", torch.float32).config.vocab_size
    )


def test_without_the_hub_what_was_fetched_serves_and_half_of_it_does_not(hub, sharded, monkeypatch):
    offer(hub, "some/whisper", sharded | OTHERS)
    folder = checkpoint_folder("some/whisper")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert checkpoint_folder("some/whisper") == folder
    next(folder.glob("model-*-of-*.safetensors")).unlink()
    with pytest.raises(InputError, match="some/whisper"):
        load_main(checkpoint_folder("some/whisper"), torch.float32)


@pytest.mark.parametrize("index", [b"{", b"[]", b'{"weight_map": {"a": "../a.safetensors"}}', b'{"weight_map": 3}'])
def test_an_index_that_names_no_shards_is_refused_before_anything_is_fetched(hub, sharded, index):
    offer(hub, "some/whisper", sharded | {"model.safetensors.index.json": index})
    with pytest.raises(InputError, match="index"):
        checkpoint_folder("some/whisper")


@pytest.mark.parametrize("files", [{"config.json": b"{}"}, {"config.json": b"{}", "pytorch_model.bin": b"pickle"}])
def test_a_repository_without_safetensors_is_refused(hub, files):
    offer(hub, "some/whisper", files)
    with pytest.raises(InputError, match="safetensors"):
        checkpoint_folder("some/whisper")


def test_a_repository_that_does_not_exist_is_reported(hub):
    with pytest.raises(InputError, match=r"no/where: is no local folder, and the Hub did not give it"):
        checkpoint_folder("no/where")


def test_only_the_folders_of_a_published_pair_are_looked_into():
    files = ["config.json", "model.safetensors", "assistant/config.json", "assistant/model.safetensors",
             "assistant/pair.json", "assistant/old/model.safetensors", "main/x.txt", "a.md"]  # fmt: skip
    assert wanted(files, list) == ["config.json", "model.safetensors", "main/x.txt", "assistant/config.json",
                                   "assistant/pair.json", "assistant/model.safetensors"]  # fmt: skip


# Revisions


def changed_main(pair: tuple[Path, Path]) -> dict[str, bytes]:
    return files_of(pair[0]) | {"model.safetensors": files_of(pair[1])["model.safetensors"]}  # no main any more


def test_each_repository_has_a_revision_of_its_own(hub, pair):
    broken = {name: file for name, file in files_of(pair[1]).items() if name != "config.json"}
    offer(hub, "our/main", files_of(pair[0]), changed_main(pair))
    offer(hub, "their/assistant", {"config.json": b"{}"}, {"config.json": b"{}"}, files_of(pair[1]), broken)
    one, three = COMMIT.format(1), COMMIT.format(3)
    for found in (
        Pair.from_pretrained("our/main", "their/assistant", revision=one, assistant_revision=three),
        Pair.from_pretrained(f"our/main@{one}", f"their/assistant@{three}"),
    ):
        assert found.manifest.layers == (0, 1, 2, 3, 4)
    with pytest.raises(InputError, match="weights hold no encoder"):
        Pair.from_pretrained("our/main", "their/assistant", assistant_revision=three)
    with pytest.raises(InputError, match=r"config\.json"):
        Pair.from_pretrained("our/main", "their/assistant", revision=one)


def test_a_pair_is_found_at_its_mains_revision(hub, pair):
    main, assistant = files_of(pair[0]), files_of(pair[1])
    pair_manifest = json.loads(assistant["pair.json"])
    assistant["pair.json"] = json.dumps(pair_manifest | {"main": "our/main"}).encode()
    offer(hub, "our/main", main, changed_main(pair))
    offer(hub, "our/main-assistant", assistant, {"config.json": b"{}"})
    one = COMMIT.format(1)
    main_at, folder = locate_pair("our/main", one, one)
    assert main_at == f"our/main@{one}"
    assert check_pair(checkpoint_folder(main_at), Path(folder)).main == "our/main"
    assert locate_pair(f"our/main@{one}", assistant_revision=one) == (main_at, folder)
    assistant["pair.json"] = json.dumps(pair_manifest | {"main": "our/main", "main_revision": one}).encode()
    offer(hub, "our/alone", assistant)
    assert locate_pair("our/alone")[0] == f"our/main@{one}"
    with pytest.raises(InputError, match="holds the assistant itself"):
        locate_pair("our/alone", None, one)


@pytest.mark.parametrize(
    ("name", "revision", "found"),
    [
        ("a/b", None, ("a/b", None)),
        ("a/b", "v1", ("a/b", "v1")),
        ("a/b@v1", None, ("a/b", "v1")),
        ("a/b@v1", "v1", ("a/b", "v1")),
        ("a/b@refs/pr/3", None, ("a/b", "refs/pr/3")),
        ("./a@b", None, ("./a@b", None)),
    ],
)
def test_a_name_may_end_in_its_revision(name, revision, found):
    assert named(name, revision) == found


def test_two_revisions_of_one_repository_are_refused(write_config, tmp_path):
    with pytest.raises(InputError, match=r"a/b@v1: names one revision, and 'v2' is given beside it"):
        named("a/b@v1", "v2")
    path = write_config(tmp_path / "pair.yaml", model="a/b@v1")
    config = load_config(path)
    assert (config.model, config.revision) == ("a/b", "v1")
    with pytest.raises(InputError, match="give one"):
        load_config(path, ["revision=v2"])


# pair.json


def test_a_main_that_is_not_ours_is_named_as_others_find_it(hub, demo_data, write_config, tmp_path):
    offer(hub, "some/whisper", files_of(demo_data / "micro-whisper"))
    path = write_config(tmp_path / "pair.yaml", model="some/whisper", train=None)
    config = load_config(path)
    assert origin(config, checkpoint_folder("some/whisper")) == ("some/whisper", COMMIT.format(1))
    ours = load_config(write_config(tmp_path / "pair.yaml"))
    assert origin(ours, tmp_path / "output" / "main") == (str(tmp_path / "output" / "main"), None)
    local = load_config(write_config(tmp_path / "pair.yaml", train=None))
    assert origin(local, demo_data / "micro-whisper") == (str(demo_data / "micro-whisper"), None)


def written(pair, tmp_path, **changes) -> Path:
    folder = Path(shutil.copytree(pair[1], tmp_path / "assistant", dirs_exist_ok=True))
    tree = json.loads((folder / "pair.json").read_text()) | changes
    (folder / "pair.json").write_text(json.dumps({key: value for key, value in tree.items() if value != "LEFT OUT"}))
    return folder


def test_early_pair_json_files_still_load(pair, tmp_path):
    early = {"draft_tokens": 4, "version": "LEFT OUT", "main_revision": "LEFT OUT"}
    assert PairManifest.load(written(pair, tmp_path, **early)) == PairManifest.load(pair[1])
    place = "/home/me/.cache/huggingface/hub/models--openai--whisper-large-v3/snapshots/06f233fe"
    pair_manifest = PairManifest.load(written(pair, tmp_path, **early, main=place))
    assert (pair_manifest.main, pair_manifest.main_revision) == ("openai/whisper-large-v3", "06f233fe")
    again = tmp_path / "again"
    again.mkdir()
    pair_manifest.save(again)
    assert PairManifest.load(again) == pair_manifest


def test_a_pair_json_of_a_newer_version_asks_for_an_upgrade_and_unknown_keys_are_left_unread(pair, tmp_path):
    with pytest.raises(InputError, match=r"pair\.json: is of version 2, and this Whisper Pair reads 1; upgrade it\.$"):
        PairManifest.load(written(pair, tmp_path, version=2, layers="all"))
    assert PairManifest.load(written(pair, tmp_path, version=1, colour="blue")) == PairManifest.load(pair[1])
    for junk in ("1", True, 1.0, None):
        with pytest.raises(InputError, match="distil the assistant again"):
            PairManifest.load(written(pair, tmp_path, version=junk))


def test_a_pair_json_is_written_whole_or_not_at_all(pair, tmp_path, monkeypatch):
    folder = written(pair, tmp_path)
    before = (folder / "pair.json").read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        PairManifest.load(folder).save(folder)
    assert (folder / "pair.json").read_bytes() == before
