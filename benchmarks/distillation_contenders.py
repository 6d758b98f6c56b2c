"""The contenders of distillation.py: the usual recipe, written plainly, and ours. Weights and speech are random."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import WhisperConfig, WhisperForConditionalGeneration

from distill.student import DistillationLoss, build_student, chosen_layers
from distill.teacher import Teacher, teacher_cache
from whisper_pair.config import Data, Distill
from whisper_pair.data import Clip, pack
from whisper_pair.training import AudioBatch, EncoderCache, Example, FrozenEncoder, padded_tokens
from whisper_pair.training.losses import IGNORE

WINDOW = 30.0  # seconds
TOKENS_A_SECOND = 3.5  # of Dutch read aloud, in Whisper's vocabulary
PREFIX = 4  # <|startoftranscript|> <|language|> <|task|> <|notimestamps|>
RECIPE, FIRST, LATER = "usual recipe", "ours, first epoch", "ours, later epochs"


@dataclass(frozen=True)
class Shape:
    width: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    vocabulary: int
    mel_bins: int
    frames: int = 1500  # encoder states of a window
    positions: int = 448

    def build(self) -> WhisperForConditionalGeneration:
        config = WhisperConfig(
            vocab_size=self.vocabulary, num_mel_bins=self.mel_bins, d_model=self.width,
            encoder_layers=self.encoder_layers, encoder_attention_heads=self.heads, encoder_ffn_dim=4 * self.width,
            decoder_layers=self.decoder_layers, decoder_attention_heads=self.heads, decoder_ffn_dim=4 * self.width,
            max_source_positions=self.frames, max_target_positions=self.positions,
            pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=1,
        )  # fmt: skip
        return WhisperForConditionalGeneration(config).requires_grad_(False).eval()


SHAPES = {
    "large-v3": Shape(1280, 20, 32, 32, vocabulary=51866, mel_bins=128),
    "base": Shape(512, 8, 6, 6, vocabulary=51865, mel_bins=80),
    "tiny-test": Shape(32, 2, 2, 3, vocabulary=300, mel_bins=8, frames=30),
}


@dataclass(frozen=True)
class Speech:
    """Clips with random labels, and random features that stand for any window."""

    clips: list[Clip]
    labels: dict[str, list[int]]  # by the clip's name
    features: Tensor  # [some, mel, frames]

    @classmethod
    def of(cls, shape: Shape, count: int) -> "Speech":
        generator = torch.Generator().manual_seed(0)
        seconds = (2.0 + 5.0 * torch.rand(count, generator=generator)).tolist()
        clips = [Clip(f"clip {i}", Path(), s, "", None) for i, s in enumerate(seconds)]
        labels = {
            clip.name: torch.randint(
                2, shape.vocabulary, (round(TOKENS_A_SECOND * clip.seconds),), generator=generator
            ).tolist()
            for clip in clips
        }
        return cls(clips, labels, torch.randn(4, shape.mel_bins, 2 * shape.frames, generator=generator))

    def features_of(self, numbers: list[int]) -> Tensor:
        """[clips, mel, frames]"""
        return self.features[[number % len(self.features) for number in numbers]]


@dataclass(frozen=True)
class Bench:
    """What both contenders use."""

    main: WhisperForConditionalGeneration
    speech: Speech
    settings: Distill
    clips_a_step: int
    device: torch.device
    dtype: torch.dtype  # of autocast over float32 weights; of our frozen main

    def optimizer(self, module) -> torch.optim.Optimizer:
        return torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], self.settings.learning_rate)

    def autocast(self):
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def student(self):
        return build_student(self.main, chosen_layers(2, self.main.config.decoder_layers))


def usual_recipe(bench: Bench) -> Iterator[tuple[str, int, Callable[[], object]]]:
    """Endless steps of the usual recipe: (contender, clips of the step, what does it)."""
    main, speech, device = bench.main, bench.speech, bench.device
    student = bench.student()
    optimizer = bench.optimizer(student)
    length = main.config.max_target_positions

    def step(numbers: list[int]) -> None:
        tokens = torch.zeros(len(numbers), length + 1, dtype=torch.long)
        labels = torch.full((len(numbers), length), IGNORE)
        for row, number in enumerate(numbers):
            row_tokens = torch.tensor([*[1] * PREFIX, *speech.labels[speech.clips[number].name], 0])
            tokens[row, : len(row_tokens)] = row_tokens
            labels[row, PREFIX - 1 : len(row_tokens) - 1] = row_tokens[PREFIX:]
        inputs, labels = tokens[:, :-1].to(device), labels.to(device)
        with bench.autocast():
            with torch.no_grad():
                states = main.model.encoder(speech.features_of(numbers).to(device)).last_hidden_state
                teacher = main(encoder_outputs=(states,), decoder_input_ids=inputs, use_cache=False).logits
            logits = student(input_ids=inputs, encoder_outputs=(states,), use_cache=False).logits
        logits, teacher = logits.float(), teacher.float()  # [clips, 448, vocabulary]
        counted = labels != IGNORE
        cross_entropy = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE)
        divergence = F.kl_div(logits.log_softmax(-1), teacher.softmax(-1), reduction="none")
        divergence = (divergence * counted[..., None]).sum() / counted.sum()
        (0.8 * cross_entropy + divergence).backward()
        _finish(student, optimizer)

    while True:
        for numbers in batches(len(speech.clips), bench.clips_a_step):
            yield RECIPE, len(numbers), lambda numbers=numbers: step(numbers)


def ours(bench: Bench) -> Iterator[tuple[str, int, Callable[[], object]]]:
    """The same for ours; from the second epoch, encoder states and teacher targets are read from disk."""
    device, settings, student = bench.device, bench.settings, bench.student()
    main = bench.main.to(bench.dtype)
    windows = pack(bench.speech.clips, Data((), (), ()), WINDOW, seed=0)
    examples = []
    for window in windows:
        text = [token for clip in window.clips for token in bench.speech.labels[clip.name]]
        examples.append(Example(window, (*[1] * PREFIX, *text, 0), PREFIX))
    module = DistillationLoss(student, settings)
    optimizer = bench.optimizer(module)
    config = main.config
    with tempfile.TemporaryDirectory() as folder:
        states = EncoderCache(Path(folder) / "states", len(windows), config.max_source_positions, config.d_model)
        cache = teacher_cache(Path(folder) / "teacher", examples, settings, config.d_model, {})
        encoding = FrozenEncoder(main.model.encoder, lambda features: features, None, states)
        teacher = Teacher(main, settings, cache)

        def step(numbers: list[int]) -> None:
            inputs, labels = (part.to(device) for part in padded_tokens([examples[number] for number in numbers]))
            stored = {row: found for row, number in enumerate(numbers) if (found := states.read(number)) is not None}
            uncached = tuple(row for row in range(len(numbers)) if row not in stored)
            audio = AudioBatch(
                waves=bench.speech.features_of([numbers[row] for row in uncached]),
                states=torch.stack(list(stored.values())) if stored else None,
                cached=tuple(stored),
                uncached=uncached,
                samples=tuple(numbers),
            )
            audio_features = encoding.states(audio, device)
            targets = teacher.targets(audio_features, inputs, labels, numbers)
            with bench.autocast():
                module(audio_features, inputs, labels, targets).total.backward()
            _finish(module, optimizer)

        clips_a_window = sum(len(window.clips) for window in windows) / len(windows)
        size = max(1, round(bench.clips_a_step / clips_a_window))
        name = FIRST
        while True:
            for numbers in batches(len(windows), size):
                clips = sum(len(windows[number].clips) for number in numbers)
                yield name, clips, lambda numbers=numbers: step(numbers)
            name = LATER


def _finish(module, optimizer) -> None:
    torch.nn.utils.clip_grad_norm_([p for p in module.parameters() if p.requires_grad], 1.0)
    optimizer.step()
    optimizer.zero_grad()


def batches(count: int, size: int) -> list[list[int]]:
    """All numbers in a fixed random order; a rest at the end makes no step of its own."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()
    whole = max(1, count // size)
    return [order[i * size : (i + 1) * size] for i in range(whole)]
