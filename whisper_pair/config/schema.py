"""One YAML file describes a pair: what is trained, on which speech, how, and how it is evaluated.

The schema is the dataclasses below: every key of a config is a field here, with its default and its reason. Nothing
heavy is imported, so a mistake is reported at once. load.py reads and checks a config.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from .parse import Bound, plain

LONGEST_MARGIN = 30.0  # seconds that a short window may outlast its speech: a full window

Positive = Annotated[float, Bound("a number above 0", lambda x: x > 0)]
NotNegative = Annotated[float, Bound("a number of at least 0", lambda x: x >= 0)]
Share = Annotated[float, Bound("a share from 0 to 1", lambda x: 0 <= x <= 1)]
ShareAboveZero = Annotated[float, Bound("a share above 0, up to 1", lambda x: 0 < x <= 1)]
Margin = Annotated[float, Bound(f"seconds from 0 to {LONGEST_MARGIN:g}", lambda x: 0 <= x <= LONGEST_MARGIN)]
AtLeastOne = Annotated[float, Bound("a number of at least 1", lambda x: x >= 1)]
Count = Annotated[int, Bound("a whole number above 0", lambda n: n > 0)]
CountOrZero = Annotated[int, Bound("a whole number of at least 0", lambda n: n >= 0)]
DraftLength = Annotated[int, Bound("a whole number from 1 to 16", lambda n: 1 <= n <= 16)]
Precision = Literal["auto", "fp32", "bf16", "fp16"]  # auto: bf16 on a GPU that has it, otherwise fp16; fp32 on a CPU
Name = Annotated[str, Bound("text that is not empty", lambda text: bool(text.strip()))]


KINDS = ("corpus", "folder", "hub", "parquet", "webdataset", "manifest")


@dataclass(frozen=True)
class Source:
    """One corpus: exactly one of the KINDS."""

    corpus: str | None = None  # a folder, file or tar of any layout in docs/data.md; what is there says which it is
    folder: str | None = None  # audio files beside a metadata.csv, .jsonl or .parquet; with text: null, audio alone
    hub: str | None = None  # a data set on the Hugging Face Hub
    parquet: str | None = None  # Parquet files with the audio inside: a file, a folder or a pattern such as a/*.parquet
    webdataset: str | None = None  # tar files of audio with .txt or .json beside each: a file, a folder or a pattern
    manifest: str | None = None  # a CSV or JSONL file that names audio files
    root: str | None = None  # corpus, manifest: the folder that their audio must be in; null: their own
    config: str | None = None  # the Hub data set's configuration, usually the language
    split: str | ShareAboveZero = "train"  # hub, corpus: by name; 0.05: a share of the speakers, the same each time
    revision: str | None = None  # a branch, tag or commit of the Hub data set
    stream: bool = False  # hub, parquet: read once, in order, into 16 kHz FLAC under data.cache; no other copy is kept
    audio: str = "audio"  # the column with the audio or its path (a folder's is always file_name)
    text: str | None = "text"  # the column with the transcript; null: speech without text, for distillation alone
    speaker: str | None = None  # the column that names speaker or recording; packing never joins across it
    segments: bool | None = None  # whether start, end, offset, duration choose a part; null: of files that are listed
    restore_style: bool = False  # its text lacks case or punctuation: learn the start's own transcript where it agrees
    weight: Positive = 1.0  # 0.25: a seeded quarter of the clips; 3: every window three times an epoch

    @property
    def kind(self) -> str:
        """Which of KINDS it is."""
        return next(kind for kind in KINDS if getattr(self, kind))

    @property
    def name(self) -> str:
        """As messages and reports call it."""
        return f"{self.hub}{f'/{self.config}' if self.config else ''}:{self.split}" if self.hub else self.path

    @property
    def path(self) -> str:
        """Where it lies: the value of its kind."""
        return str(getattr(self, self.kind))


@dataclass(frozen=True)
class Data:
    """Which speech is used, and how clips become windows."""

    train: tuple[Source, ...]
    validation: tuple[Source, ...]
    test: tuple[Source, ...]
    cache: str | None = None  # what one pass over the audio found, and streamed audio; null: OUTPUT/data
    min_seconds: NotNegative = 0.1  # shorter clips are dropped from training
    min_characters_per_second: NotNegative = 0.3  # below: the text is another clip's, or most of it is missing
    max_characters_per_second: Positive = 50.0  # above: the same; the fastest of 1157 Dutch clips: 24
    long_audio: Literal["drop", "split"] = "drop"  # training clips over the window; split: the pieces lose their text
    long_test_audio: Literal["refuse", "drop"] = "refuse"  # in validation and test; what is dropped is printed
    special_tokens: Literal["drop", "refuse", "times"] = "drop"  # in texts: <|0.00|>, <|nl|>, ...; times: of segments
    pack: bool = True  # join a speaker's clips into full windows; Whisper pays for 30 s whatever they hold
    pack_gap: NotNegative = 0.3  # seconds of silence between two joined clips
    unpacked_share: Share = 0.1  # share of the clips that also stand alone in a window, as test clips do
    timestamps: Share = 0.5  # share of the windows whose target has timestamps; at 0 the main forgets how to write them
    previous_text: Share = 0.0  # share of the windows prompted with their speaker's text before (needs speaker)
    workers: CountOrZero = 2  # processes that read audio, per training process


@dataclass(frozen=True)
class SpecAugment:
    """Masks over the log-mel spectrogram while training (1904.08779); never saved with the model."""

    time_masks: CountOrZero = 2  # a window
    time_width: CountOrZero = 100  # longest mask, in 10 ms frames
    mel_masks: CountOrZero = 2  # a window
    mel_width: CountOrZero = 20  # widest mask, in mel bins


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters (2106.09685), merged into the weights when the main is saved."""

    rank: Count = 32  # of the update of each weight
    alpha: Count = 64  # the update is scaled by alpha / rank
    dropout: Share = 0.0  # of the adapters' inputs
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")  # names of the layers adapted
    encoder: bool = False  # adapt the encoder too; the assistant is then built on the finished main's encoder


@dataclass(frozen=True)
class ShortWindows:
    """Steps on windows that end soon after their speech, so that decoding need not pay for 30 s of each clip."""

    share: Annotated[float, Bound("a share above 0, below 1", lambda x: 0 < x < 1)] = (
        0.5  # of all steps; with four fifths of them full windows and long recordings were worse: docs/choices.md
    )
    margin: tuple[Margin, ...] = (0.3, 2.0)  # seconds after a step's longest clip, drawn between the two


@dataclass(frozen=True)
class Optimization:
    """What both training stages take."""

    epochs: Positive = 3.0  # passes over the windows
    batch_size: Count = 16  # windows per process and micro-batch
    accumulation: Count = 1  # micro-batches per step
    learning_rate: Positive = 1e-5  # at its highest; of fine-tuning all weights, LoRA takes a hundred times as much
    schedule: Literal["linear", "cosine", "constant"] = "linear"  # how the learning rate falls after its warm-up
    warmup: Share = 0.1  # share of all steps over which the learning rate rises
    weight_decay: NotNegative = 0.0  # AdamW's; runs are too short to need it
    max_grad_norm: Positive = 1.0  # gradients are clipped to it
    precision: Precision = "auto"  # of what is frozen, and of autocast; trained weights and optimizer are float32
    save_dtype: Literal["fp32", "bf16", "fp16"] | None = None  # of what is saved; null: as its ancestor is stored
    gradient_checkpointing: bool = False  # compute activations twice instead of keeping them: slower, less memory
    evaluations: Count = 4  # validations over the whole run, the last one at its end
    patience: Count | None = None  # validations in a row without a better one that end training; null: never
    checkpoints: CountOrZero = 4  # resumable states saved over the whole run
    save_minutes: NotNegative = 30.0  # and one at least this often: what a kill can cost; 0: at the checkpoints alone
    keep: Count = 2  # states kept: where the newest is damaged, the one before is used


@dataclass(frozen=True)
class Train(Optimization):
    """Stage 1: fine-tune the main."""

    parameters: Literal["decoder", "all", "lora"] = "decoder"  # decoder: the encoder stays as it was
    lora: Lora = field(default_factory=Lora)
    spec_augment: SpecAugment | None = None
    short_windows: ShortWindows | None = None  # {}: also learn windows as long as their speech; null: full ones alone
    cache_encoder: bool = False  # keep a frozen encoder's states on disk: 1.5 MB a window for base, 3.8 MB for large-v3

    @property
    def encoder_is_frozen(self) -> bool:
        """Whether the main keeps the encoder that it starts from."""
        return self.parameters == "decoder" or (self.parameters == "lora" and not self.lora.encoder)


@dataclass(frozen=True)
class Losses:
    """Weights of the losses in the assistant's mix, and what they take; formulas in whisper_pair/training/losses."""

    cross_entropy: NotNegative = 1.0  # on the main's tokens
    first_three: NotNegative = 0.0  # that the main's token is among the assistant's first three choices, for trees
    kl: NotNegative = 1.0  # KL(main || assistant)
    reverse_kl: NotNegative = 0.0  # KL(assistant || main)
    jensen_shannon: NotNegative = 0.0  # between the two
    total_variation: NotNegative = 0.0  # 1 - acceptance; alone it hardly starts to learn
    log_acceptance: NotNegative = 0.0  # -log of the acceptance
    lk: NotNegative = 0.0  # from KL to total variation as the acceptance rises
    temperature: Positive = 2.0  # softens both distributions in `kl`; at 1 each of three runs agreed less
    beta: Annotated[float, Bound("a number between 0 and 1", lambda x: 0 < x < 1)] = (
        0.5  # the main's share in `jensen_shannon`
    )
    eta: NotNegative = 3.0  # how soon `lk` turns to total variation
    mismatch_decay: ShareAboveZero = 1.0  # weight of each further token since the last mismatch; 1: all alike

    @property
    def unsoftened(self) -> bool:
        """Whether any divergence is taken that no temperature softens."""
        return any((self.reverse_kl, self.jensen_shannon, self.total_variation, self.log_acceptance, self.lk))

    @property
    def divergences(self) -> bool:
        """Whether any loss compares the two distributions."""
        return self.kl > 0 or self.unsoftened


@dataclass(frozen=True)
class Perturb:
    """Further copies of every training window, changed before the main labels them: new audio for a small corpus."""

    copies: CountOrZero = 0  # each costs a label and, once, the encoder
    joins: bool = True  # a copy of the corpus is packed in another order: other neighbours, places and contexts
    speed: Share = 0.15  # a copy is faster or slower by at most this share
    room: Share = 0.3  # share of the copies that get an echo
    noise: Share = 0.5  # share of the copies that get noise
    least_snr: float = 5.0  # dB; the ratio of speech to noise is from here to 25 dB above


@dataclass(frozen=True)
class Distill(Optimization):
    """Stage 2: label with the main, then train the assistant on these labels."""

    epochs: Positive = 10.0
    learning_rate: Positive = 3e-4
    layers: Count | tuple[CountOrZero, ...] = 2  # how many of the main's decoder layers, evenly spaced, or which
    start: Name | None = None  # an assistant of as many layers whose weights are the first; null: the main's layers
    losses: Losses = field(default_factory=Losses)
    perturb: Perturb = field(default_factory=Perturb)
    # of the main's distribution at each token: all, or so many of the most likely and the rest as one outcome
    teacher_tokens: Literal["all"] | Count = "all"
    # what is cached on disk: encoder states; with `all` the teacher targets too (large-v3, half precision: 3.8 MB a
    # window; 2.6 kB a token of all, 0.2 kB of 32). auto: what is cheaper to read than to compute
    cache: Literal["auto", "all", "states", "none"] = "auto"
    # encoder states and the main's distribution are rounded to this, on disk or not: `cache` changes no loss
    cache_dtype: Literal["fp16", "bf16", "fp32"] = (
        "fp16"  # of what is kept on disk; states are rounded to it either way
    )
    train_embeddings: bool = False  # off: the embeddings stay the main's and cost no memory beside it
    draft_vocabulary: ShareAboveZero | None = (
        None  # draft from the tokens that cover this share of the labels; null: all
    )
    label_batch_size: Count = 16
    # what each limit drops of real labels: docs/data.md, out of benchmarks/results/thresholds.json
    max_label_error: NotNegative | None = None  # drop clips whose WER (CER) to the human text is above; null: keep all
    max_compression_ratio: Positive | None = 2.4  # drop labels that zlib shrinks further: loops (Whisper's own bound)
    max_repeats: Count | None = (
        4  # drop labels that repeat a phrase of 1 to 5 words (4 to 20 characters) more often in a row
    )
    max_tokens_per_second: Positive | None = 50.0  # drop labels with more: loops alone have so many (Dutch: up to 7)


@dataclass(frozen=True)
class Published:
    """Figures that others report for the same pair on the same clips, for the main alone and with its assistant."""

    source: Name  # who reports them
    greedy_seconds: Positive  # of the main alone
    assisted_seconds: Positive  # of the pair
    error_rate: Share  # of both


@dataclass(frozen=True)
class Require:
    """What the verdict requires besides identical output and a valid measurement; see eval/reading/verdict.py."""

    agreement: Share = (
        0.5  # of the main's tokens that the assistant predicts; below half, most rounds start with a rejected draft
    )
    speedup: AtLeastOne = 1.0  # over the main alone, at each timed batch size at which the pair drafts; never unclear
    assistant_speedup: Positive | None = None  # the main's time for a token over the assistant's; null: not required
    short_windows_errors: Share = (
        0.01  # how much higher the main's error rate may clearly be in short windows than in full ones
    )


@dataclass(frozen=True)
class Eval:
    """Stage 3: what the pair is worth on this machine."""

    assistant: Name | None = None  # a folder, owner/name or owner/name@revision; null: the one that this config distils
    main_alone: bool = False  # measure the main by itself, its errors and speed; no assistant
    draft_tokens: tuple[DraftLength, ...] = (2, 4, 8)  # lengths timed beside "auto"; acceptance covers all, 1-16
    batch_sizes: tuple[Count, ...] = (1, 4, 16)  # batch sizes that are timed
    repeats: Count = 3  # timed passes over the timed clips, contenders interleaved
    timed_clips: Count = 24  # test clips that are timed; acceptance and quality use them all
    compare: tuple[str, ...] = ()  # other assistants (checkpoints) measured beside ours
    precision: Precision = "auto"
    long_form_minutes: NotNegative = 5.0  # about, of test clips joined into long recordings; 0: none
    limit: Count | None = None  # test clips at most, taken evenly from the whole set; null: all
    require: Require = field(default_factory=Require)  # what the verdict asks
    published: Published | None = None  # figures to print beside ours


@dataclass(frozen=True)
class Config:
    """A whole config, with every default."""

    language: Name  # a code or a name (nl, nl-BE, Dutch, Nederlands); kept as Whisper's code
    model: Name  # the Whisper checkpoint to start from: a folder, or on the Hub owner/name or owner/name@revision
    output: Name  # the folder that receives everything
    data: Data  # which speech, and how it becomes windows
    revision: str | None = None  # of the checkpoint on the Hub
    task: Literal["transcribe", "translate"] = "transcribe"  # translate: Whisper writes English
    seed: int = 0  # of orders, masks and perturbations: the same one repeats a run
    tracker: Literal["none", "wandb", "tensorboard", "trackio"] = "none"  # where losses and figures are sent
    train: Train | None = field(default_factory=Train)  # null: the checkpoint is the main as it is
    distill: Distill = field(default_factory=Distill)
    eval: Eval = field(default_factory=Eval)

    @property
    def makes_assistant(self) -> bool:
        """Whether its run distils an assistant."""
        return self.eval.assistant is None and not self.eval.main_alone

    @property
    def text_language(self) -> str:
        """What is written: Whisper translates into English alone."""
        return "en" if self.task == "translate" else self.language

    def resolved(self) -> dict[str, Any]:
        """This config as plain YAML types, every default written out."""
        return dict(plain(self))
