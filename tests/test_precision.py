"""Checkpoints of every stored type through the stages: float32 where they train, the precision where frozen."""

import json
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from distill.distil import distil
from eval.evaluate import evaluate
from train.finetune import finetune
from whisper_pair import Pair
from whisper_pair.checkpoints.load import load_draft, load_main
from whisper_pair.config.load import load_config
from whisper_pair.errors import InputError, TrainingError
from whisper_pair.precision import first_not_finite, resolved, saved_dtype, stored_dtype
from whisper_pair.runs.disk import training_bytes
from whisper_pair.training import loop as training

ENDS = 12  # the position at which the untrained main ends its text


@pytest.fixture(autouse=True)
def fresh_accelerator():
    """Its state outlives a stage, which has a process of its own elsewhere."""
    for state in (AcceleratorState, GradientState):
        state._reset_state()
    yield
    for state in (AcceleratorState, GradientState):
        state._reset_state()


@pytest.fixture(scope="module")
def stored(demo_data, tmp_path_factory):
    """Writes a main of random weights that ends its texts, stored in a type, in one file or several."""
    torch.manual_seed(5)
    model = WhisperForConditionalGeneration.from_pretrained(demo_data / "micro-whisper")
    decoder, settings = model.model.decoder, model.generation_config
    words, places = decoder.embed_tokens.weight.data, decoder.embed_positions.weight.data
    end = settings.eos_token_id
    places.copy_(12 * words.std() * torch.randn_like(places))
    words[end] = words.std() * torch.randn_like(words[end])
    places[ENDS:] = 60 * words[end]
    settings.max_length, settings._from_model_config = ENDS + 10, False
    settings.suppress_tokens = list(range(end + 1, model.config.vocab_size))  # text alone

    def write(dtype: torch.dtype, shards: str = "1GB") -> Path:
        folder = tmp_path_factory.mktemp("stored")
        model.to(dtype).save_pretrained(folder, max_shard_size=shards)
        model.float()
        WhisperProcessor.from_pretrained(demo_data / "micro-whisper").save_pretrained(folder)
        return folder

    return write


@pytest.fixture
def configured(write_config, tmp_path):
    """The config of a run from a checkpoint."""

    def write(model: Path, *overrides: str, output: str = "output", **train):
        lax = {"max_compression_ratio": None, "max_repeats": None, "max_tokens_per_second": None}
        train = {"learning_rate": 1e-4, **train}
        path = write_config(
            tmp_path / f"{output}.yaml", model=str(model), output=str(tmp_path / output), train=train, distill=lax
        )
        return load_config(path, overrides)

    return write


@pytest.fixture
def trainings(monkeypatch) -> list:
    """(module, optimizer) of each training that the test begins."""
    begun, original = [], training.prepared

    def spied(accelerator, module, optimizer):
        begun.append(original(accelerator, module, optimizer))
        return begun[-1]

    monkeypatch.setattr(training, "prepared", spied)
    return begun


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found = {}
    for file in folder.glob("*.safetensors"):
        found |= load_file(file)
    return found


def kinds(folder: Path) -> set[torch.dtype]:
    return {weight.dtype for weight in weights(folder).values()}


def moved(before: Path, after: Path) -> set[str]:
    one, other = weights(before), weights(after)
    assert one.keys() == other.keys()
    return {name for name in one if not torch.equal(one[name], other[name])}


def assert_trained_in_float32(module, optimizer) -> None:
    trained = [weight for weight in module.parameters() if weight.requires_grad]
    assert trained
    assert {weight.dtype for weight in trained} == {torch.float32}
    moments = [value for state in optimizer.state.values() for value in state.values() if value.dim()]
    assert len(moments) >= 2 * len(trained)
    assert {moment.dtype for moment in moments} == {torch.float32}


@pytest.mark.parametrize(
    ("dtype", "shards", "parameters", "precision"),
    [
        (torch.float16, "1GB", "decoder", "fp32"),
        (torch.float16, "1MB", "decoder", "bf16"),
        (torch.bfloat16, "1MB", "lora", "bf16"),
        (torch.bfloat16, "1GB", "all", "fp32"),
        (torch.float16, "1GB", "all", "bf16"),
        (torch.float32, "1GB", "decoder", "bf16"),  # frozen in half precision, saved as it was
    ],
)
def test_a_main_of_any_stored_type_is_trained_in_float32_and_saved_as_it_was_stored(
    stored, configured, trainings, dtype, shards, parameters, precision
):
    start = stored(dtype, shards)
    assert (len(list(start.glob("*.safetensors"))) > 1) == (shards == "1MB")
    main = finetune(configured(start, parameters=parameters, precision=precision, lora={"rank": 2}))
    assert_trained_in_float32(*trainings[0])
    assert kinds(main) == {dtype}
    assert json.loads((main / "config.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")
    changed = moved(start, main)
    assert any("decoder.layers" in name for name in changed)
    assert any(name.startswith("model.encoder.") for name in changed) == (parameters == "all")
    assert "model.encoder.embed_positions.weight" not in changed
    if parameters == "lora":
        assert all("layers" in name and "norm" not in name for name in changed)


def test_a_half_stored_main_goes_through_all_three_stages(stored, configured, trainings):
    start = stored(torch.float16, "1MB")
    quick = ("long_form_minutes=0", "timed_clips=1", "batch_sizes=[1]", "draft_tokens=[2]", "repeats=1")
    config = configured(
        start, "distill.epochs=2", "distill.precision=bf16", *(f"eval.{setting}" for setting in quick), precision="bf16"
    )
    main = finetune(config)
    AcceleratorState._reset_state()
    assistant = distil(config)
    assert_trained_in_float32(*trainings[1])
    assert kinds(main) == kinds(assistant) == {torch.float16}
    one, other = weights(main), weights(assistant)
    for name, weight in other.items():
        frozen = name.startswith("model.decoder.embed")
        assert torch.equal(weight, one[name]) == frozen or "bias" in name, name
    AcceleratorState._reset_state()
    assert evaluate(config) == 0
    report = json.loads((Path(config.output) / "eval" / "report.json").read_text())
    assert report["environment"]["dtype"] == "fp32"  # what auto is on a CPU
    assert report["identity"]["unexplained"] == 0


def test_what_is_frozen_runs_in_the_configured_precision_and_outside_of_autocast(stored, configured, monkeypatch):
    import distill.distillation_data as lessons
    import train.finetune as stage

    seen = {}

    def watched(module, name):
        original = getattr(module, name)

        class Watched(original):
            def states(self, batch, device, exact=False):
                assert not torch.is_autocast_enabled("cpu")
                found = super().states(batch, device, exact)
                seen[module.__name__] = found.dtype
                return found

        monkeypatch.setattr(module, name, Watched)

    watched(stage, "FrozenEncoder")
    watched(lessons, "FrozenEncoder")
    config = configured(stored(torch.float32), "distill.precision=bf16", precision="bf16")
    finetune(config)
    AcceleratorState._reset_state()
    distil(config)
    assert seen == {"train.finetune": torch.bfloat16, "distill.distillation_data": torch.bfloat16}
    labels = json.loads((Path(config.output) / "labels" / "inputs.json").read_text())
    assert labels["precision"] == "bf16"


def test_labels_of_another_precision_are_not_taken_for_these(stored, configured):
    start = stored(torch.float16)
    distil(configured(start, "train=null"))  # auto: fp32 on a CPU
    AcceleratorState._reset_state()
    with pytest.raises(InputError, match='precision = "fp32", not "bf16"'):
        distil(configured(start, "train=null", "distill.precision=bf16"))
    distil(configured(start, "train=null", "distill.precision=fp32"))  # the same by name


def test_a_killed_run_from_half_stored_weights_goes_on_bit_for_bit(stored, configured, monkeypatch):
    start = stored(torch.float16)
    requested = {"epochs": 2, "checkpoints": 100, "precision": "bf16"}
    alone = finetune(configured(start, output="alone", **requested))
    AcceleratorState._reset_state()
    original = training.take_step

    def killed(*arguments, **more):
        if arguments[-1] == 3:
            raise KeyboardInterrupt
        return original(*arguments, **more)

    monkeypatch.setattr(training, "take_step", killed)
    with pytest.raises(KeyboardInterrupt):
        finetune(configured(start, output="run", **requested))
    monkeypatch.undo()
    AcceleratorState._reset_state()
    resumed = finetune(configured(start, output="run", **requested))
    assert moved(alone, resumed) == set()
    assert moved(start, resumed)


# Saving


def test_the_type_of_what_is_saved_can_be_chosen(stored, configured):
    start = stored(torch.float16)
    config = configured(start, save_dtype="fp32")
    assert kinds(finetune(config)) == {torch.float32}
    with pytest.raises(InputError, match=r"is stored in float32, and train.save_dtype asks for bf16; .* remove"):
        finetune(configured(start, save_dtype="bf16"))
    assert finetune(configured(start)) == Path(config.output) / "main"  # what is there serves


@pytest.mark.parametrize("at", ["last", "first"])
def test_weights_that_outgrow_float16_are_refused_and_can_be_saved_in_float32(stored, configured, monkeypatch, at):
    start = stored(torch.float16)
    original, steps = training.take_step, []

    def grown(accelerator, module, *arguments, **more):
        found = original(accelerator, module, *arguments, **more)
        steps.append(arguments[-1])
        with torch.no_grad():
            module.decoder.embed_positions.weight[-1, 0] = 7e4  # a place that no text reaches
        return found

    monkeypatch.setattr(training, "take_step", grown)
    requested = {"epochs": 1, "evaluations": 1 if at == "last" else 2}
    message = r"embed_positions.weight has outgrown float16.* at step (\d+); save_dtype=fp32 goes on from .*state-"
    for _ in range(2):  # the same command says the same
        with pytest.raises(TrainingError, match=message):
            finetune(configured(start, **requested))
        AcceleratorState._reset_state()
    trained = list(steps)
    main = finetune(configured(start, save_dtype="fp32", **requested))
    assert len(set(steps)) == len(steps)  # no step was taken twice
    assert (len(steps) == len(trained)) == (at == "last")
    assert kinds(main) == {torch.float32}
    assert weights(main)["model.decoder.embed_positions.weight"][-1, 0] == 7e4


def test_no_cast_writes_infinity_and_what_holds_it_is_named():
    module = torch.nn.Linear(2, 2)
    assert first_not_finite(module, torch.float16) is None
    module.bias.data[1] = 65519.0  # rounds to the greatest float16
    assert first_not_finite(module, torch.float16) is None
    module.bias.data[1] = -65520.0  # does not
    assert first_not_finite(module, torch.float16) == "bias"
    assert first_not_finite(module, torch.bfloat16) is None
    module.weight.data[0, 0] = torch.nan
    assert first_not_finite(module, torch.float32) == "weight"


def test_a_saved_float16_checkpoint_is_counted_as_half_of_a_float32_one(stored, configured):
    module, settings = torch.nn.Linear(10, 10, bias=False), configured(stored(torch.float16), keep=1).train
    whole, half = (training_bytes(module, module, dtype, settings) for dtype in (torch.float32, torch.float16))
    assert whole == 2 * 3 * 400 + 3 * 400  # two states of weights and moments, three checkpoints
    assert half == 2 * 3 * 400 + 3 * 200


# What is refused, and what is chosen


def edited(folder: Path, change) -> Path:
    file = folder / "model.safetensors"
    found = load_file(file)
    change(found)
    save_file(found, file, {"format": "pt"})
    return folder


def test_a_type_that_cannot_be_trained_is_refused_in_one_sentence(stored, configured):
    name = "model.decoder.layers.0.fc1.weight"
    for kind, called in ((torch.int8, "I8"), (torch.float8_e4m3fn, "F8_E4M3")):
        folder = edited(stored(torch.float16), lambda found, kind=kind: found.update({name: found[name].to(kind)}))
        with pytest.raises(InputError, match=f"{name} is stored as {called}, which can be neither trained nor run"):
            finetune(configured(folder))
        with pytest.raises(InputError, match=f"is stored as {called}"):
            Pair.from_pretrained(folder, None)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_hold_nan_or_infinity_are_named_before_any_work(stored, configured, value):
    name = "model.decoder.layers.3.fc1.bias"
    folder = edited(stored(torch.float16), lambda found: found[name].__setitem__(5, value))
    for use in (lambda: finetune(configured(folder)), lambda: load_main(folder, torch.float32)):
        with pytest.raises(InputError, match=f"{name} holds NaN or infinity"):
            use()


def test_a_load_that_would_overflow_float16_says_so(stored):
    name = "model.decoder.layers.3.fc1.bias"
    folder = edited(stored(torch.bfloat16), lambda found: found[name].__setitem__(5, 1e5))
    assert torch.isfinite(load_main(folder, torch.bfloat16).model.decoder.layers[3].fc1.bias).all()
    with pytest.raises(InputError, match=f"{name} does not fit float16; choose precision bf16 or fp32"):
        load_main(folder, torch.float16)


def test_a_stored_type_is_read_from_the_headers(stored):
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        folder = stored(dtype, "1MB")
        assert stored_dtype(folder) == saved_dtype(None, folder) == dtype
        assert saved_dtype("bf16", folder) == torch.bfloat16
    mixed = edited(
        stored(torch.float16), lambda found: found.update({n: w.float() for n, w in found.items() if "norm" in n})
    )
    assert stored_dtype(mixed) == torch.float32


def test_auto_is_bf16_on_a_gpu_that_has_it_else_fp16_and_fp32_on_a_cpu(monkeypatch):
    assert resolved("auto", "cpu") == "fp32"
    assert [resolved(name, "cpu") for name in ("fp32", "bf16", "fp16")] == ["fp32", "bf16", "fp16"]
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    for capability, auto in (((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp16")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        assert resolved("auto", "cuda") == auto
        assert resolved("fp16", "cuda", trains=True) == "fp16"
    with pytest.raises(InputError, match=r"train.precision: Tesla T4 has no bf16; take fp16, fp32 or auto"):
        resolved("bf16", "cuda", "train.precision")


@pytest.mark.parametrize("stage", ["train", "distill"])
def test_training_in_fp16_on_a_cpu_is_refused_before_any_work(stored, configured, stage):
    config = configured(
        stored(torch.float16), f"{stage}.precision=fp16", *(["train=null"] if stage == "distill" else [])
    )
    with pytest.raises(InputError, match=rf"{stage}.precision: fp16 trains on a GPU alone, and this is a cpu"):
        (finetune if stage == "train" else distil)(config)
    assert not Path(config.output).exists()


def test_a_pair_of_two_stored_types_runs_in_one(stored, demo_data, tmp_path):
    from distill.student import build_student

    main = stored(torch.float16)
    draft = build_student(load_main(main, torch.float32), (0, 1)).bfloat16()
    draft.save_pretrained(tmp_path / "assistant")
    WhisperProcessor.from_pretrained(main).save_pretrained(tmp_path / "assistant")
    pair = Pair.from_pretrained(main, tmp_path / "assistant")
    assert {weight.dtype for model in (pair.main, pair.draft) for weight in model.parameters()} == {torch.float32}
    clip = sorted((demo_data / "test").glob("*.wav"))[0]
    alone = Pair.from_pretrained(main, None).transcribe([clip], language="nl")
    assert pair.transcribe([clip], language="nl", draft_tokens=2)[0].tokens == alone[0].tokens
    half = Pair.from_pretrained(main, tmp_path / "assistant", dtype=torch.bfloat16)
    assert {weight.dtype for model in (half.main, half.draft) for weight in model.parameters()} == {torch.bfloat16}
    assert load_draft(tmp_path / "assistant", torch.float16).dtype == torch.float16
    with safe_open(tmp_path / "assistant" / "model.safetensors", "pt") as tensors:
        assert tensors.get_tensor("model.decoder.layer_norm.weight").dtype == torch.bfloat16
