"""The engine: greedy, speculative and sampled decoding of a main model, with or without an assistant.

Rows of a batch keep their own accepted lengths, end independently, and a row that ended is replaced by the next
window in the queue. The host keeps each row's tokens; the device keeps keys and values, and what the next round is fed;
once a round a few integers a row come to the host. What a call does is in call.py.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from transformers import WhisperForCausalLM, WhisperForConditionalGeneration

from ..errors import InputError
from .acceptance import TokenMatches, TokenRanks
from .batch import Batch
from .caches import Caches
from .call import Call, OnRound, chance_allowed
from .checks import check_draft_vocabulary, check_pair, checked_options, checked_prompts
from .costs import clock_of, measure, round_seconds
from .decoder import Decoder
from .draft_choice import DraftChoice
from .draft_length import LONGEST, MEASURED, Costs
from .encoders import Encoders, Prompts, Windows
from .graphs import Graphs
from .logits_rules import LogitsRules
from .model_state import Head, ModelState
from .options import Decoded, Options
from .own_encoder import OwnEncoder, work
from .prefixes import forced_prefixes
from .proposing import Proposer
from .rank_shares import TREES
from .round_times import RoundTimes, power_of_two
from .rounds import Rounds
from .rows import Row
from .sampling import Sampling
from .short_windows import coarse, shortened
from .special_tokens import SpecialTokens
from .teacher_forced import choices, ranks, read_along
from .tree import DraftTree
from .upcoming import Upcoming, stream_beside
from .weight_guard import WeightGuard

WARM_UP_TOKENS = 16


class Engine:
    """A main model, and an assistant if there is one, ready to decode.

    The engine reads the weights when it is built. After a training step build it again, which takes milliseconds.
    """

    def __init__(
        self,
        main: WhisperForConditionalGeneration,
        draft: WhisperForCausalLM | WhisperForConditionalGeneration | None = None,
        draft_vocabulary: Tensor | None = None,  # token ids: all that the draft can propose, besides the end of text
        graphs: bool | None = None,  # CUDA graphs; None: where there is CUDA
        compile: bool = False,  # torch.compile encoders and decoder layers; pays for itself in long runs on CUDA
        kernels: bool = False,  # decoder layers in Triton kernels of our own, on CUDA: right, and not yet timed
        like: "Engine | None" = None,  # of the same main, whose side of it serves both; never while the other decodes
        trees: Sequence[DraftTree] | None = None,  # of drafts, that "auto" may choose beside chains; None: TREES
        ahead: bool | None = None,  # submit each round before the last one is read; None: on CUDA, where it pays
        side_stream: bool = False,  # encode the next windows beside the rounds, on CUDA: not yet timed
    ):
        check_pair(main, draft)
        self.special = SpecialTokens.of(main)
        if draft_vocabulary is not None:
            check_draft_vocabulary(draft_vocabulary, self.special)
        self.device = main.device
        self.main: Decoder = Decoder(main.model.decoder, main.proj_out.weight) if like is None else like.main
        self.draft = None if draft is None else Decoder(draft.model.decoder, draft.proj_out.weight, like=self.main)
        self.draft_vocabulary = draft_vocabulary
        own_encoder = draft.model.encoder if isinstance(draft, WhisperForConditionalGeneration) else None
        self.encoders = Encoders(main.model.encoder, own_encoder, compile)
        self._encoder_ratio = 0.0 if draft is None else work(draft.config) / work(main.config)
        self.graphs = Graphs(self.device, self.device.type == "cuda" if graphs is None else graphs)
        self.caches = Caches(self.main, self.draft, self.graphs, self.encoders.frames)
        if like is not None:
            like.check_main(main)
            self.encoders.main, self.caches.shared = like.encoders.main, like.caches.shared
        self.bucketed = self.graphs.enabled
        self.ahead = chance_allowed(ahead, self.device)
        self.side_stream = side_stream and self.device.type == "cuda"
        for decoder in filter(None, (self.main, self.draft)):
            if kernels:
                decoder.use_kernels()
            elif compile:
                decoder.compile()
        self._sources = WeightGuard(main, draft)
        self._heads: dict[bool, tuple[Head, Head | None]] = {}
        self._costs: dict[tuple[int, bool, int], Costs] = {}
        self.round_times = RoundTimes(TREES if trees is None else trees)  # what "auto" uses

    @torch.inference_mode()
    def decode(
        self,
        features: Tensor | Iterable[Tensor] | None = None,  # [n, mel, 2 F], or windows [mel, 2 F] drawn as needed
        options: Options = Options(),  # noqa: B008 (frozen)
        prompts: Sequence[Sequence[int] | None] | None = None,  # previous text, one a window
        *,
        encoder_states: Tensor | Iterable[Tensor] | None = None,  # [n, F, d] or several [F, d], instead of features
        draft_states: Tensor | Iterable[Tensor] | None = None,  # the same of a draft with its own encoder
        on_round: OnRound | None = None,  # called with a window's index and each of its rounds, as they happen
    ) -> list[Decoded]:
        """Decode windows; results are in input order.

        A window may be shorter than the full one, and than others of the call, where the main was trained for that: it
        is then decoded from its own F frames alone, with positions as in the full window.

        Raises InputError for options, prompts or windows that cannot be decoded, and where the weights have changed.
        """
        options, prompts = checked_options(options, self.special), checked_prompts(prompts, self.special)
        self.encoders.check(features, encoder_states, draft_states, prompts)
        self._sources.check()
        own = self._own_encoder(features, options)
        beside = stream_beside(self.device) if self.side_stream and own is None else None  # `own` times its encoders
        upcoming = Upcoming(self._rows(features, encoder_states, draft_states, prompts, options, own), beside)
        generator = torch.Generator(self.device)
        generator.seed() if options.seed is None else generator.manual_seed(options.seed)
        results: dict[int, Decoded] = {}
        rounds = self._rounds(options, self.encoders.longest(features, encoder_states))
        for number, temperature in enumerate(options.temperatures):
            last, again = number + 1 == len(options.temperatures), []
            call = self._call(rounds, options, temperature, generator, on_round, own)
            for row in call.run(upcoming):
                if not last and row.poor(options, self.special.size):
                    again.append(row)
                else:
                    results[row.index] = row.decoded(options, temperature)
                    row.release_states()
            upcoming = Upcoming(iter(again))
        return [results[index] for index in sorted(results)]

    def _rows(
        self, features: Windows | None, states: Windows | None, draft_states: Windows | None, prompts: Prompts,
        options: Options, own: OwnEncoder | None,
    ) -> Iterator[Row]:  # fmt: skip
        if features is not None:
            return self.encoders.rows_of_features(features, prompts, options.batch_size, self._drafting(options), own)
        if self.encoders.draft is not None and self._drafting(options) and draft_states is None:
            raise InputError("this assistant has its own encoder: give draft_states beside encoder_states, or features")
        if states is None:
            raise InputError("give either features or encoder_states")
        return self.encoders.rows_of_states(states, draft_states, prompts, options.batch_size)

    def _own_encoder(self, features: Windows | None, options: Options) -> OwnEncoder | None:
        """Where "auto" has to find out whether the assistant's own encoder is worth its time."""
        if features is None or self.encoders.draft is None or options.draft_tokens != "auto":
            return None
        return OwnEncoder(self.encoders.main, self.encoders.draft, self._encoder_ratio, clock_of(self.device))

    def _drafting(self, options: Options) -> bool:
        return self.draft is not None and options.draft_tokens != 0

    def _call(
        self, rounds: Rounds, options: Options, temperature: float, generator: torch.Generator,
        on_round: OnRound | None, own: OwnEncoder | None,
    ) -> Call:  # fmt: skip
        """The call at one of its temperatures."""
        sampling = None
        if temperature > 0 or options.confidence is not None:
            sampling = Sampling(temperature, options.confidence, generator)
        times = self.round_times.in_call(options.timestamps)
        learns = sampling is None and not options.needs_log_probabilities  # the usual rounds, whose times "auto" asks
        drafts = DraftChoice(
            options.draft_tokens if rounds.proposer is not None else 0,
            times.taken,
            lengths=MEASURED if self.bucketed else range(LONGEST + 1),  # few: a graph must be captured for each
            chains_only=sampling is not None,
            untried=times.untried if learns else None,
        )
        batch = Batch(rounds, self.caches, self.special, options, self.bucketed)
        return Call(batch, drafts, times, clock_of(self.device), sampling, own, self.ahead, on_round)

    def warm_up(self, options: Options = Options(), frames: int | None = None) -> None:  # noqa: B008 (frozen)
        """Decode a batch of silence, so that costs are measured and kernels compiled and captured before it counts, in
        windows of so many frames (None: full ones). Caches last, and grow to the longest window: where all are short,
        give their length."""
        options = checked_options(options, self.special)
        self.measure_rounds(options, frames)
        silence = torch.zeros(options.batch_size, *self.encoders.shapes["features"])
        if frames is not None:
            silence = shortened(silence, frames)
        self.decode(silence, replace(options, max_new_tokens=WARM_UP_TOKENS))

    @torch.inference_mode()
    def choices(
        self,
        encoder_states: Tensor | Sequence[Tensor],  # [n, F, d], of the model that is asked
        tokens: Sequence[Sequence[int]],  # one list a window, after the prefix
        options: Options = Options(),  # noqa: B008 (frozen)
        prompts: Sequence[Sequence[int] | None] | None = None,
        *,
        languages: Sequence[str | None] | None = None,  # one a window, where they differ; otherwise options.language
        of_main: bool = False,  # ask the main instead of the draft
    ) -> list[list[int]]:
        """The draft's choice at every position of given tokens, each given the tokens before it, under the rules."""
        options, prompts = checked_options(options, self.special), checked_prompts(prompts, self.special)
        self._sources.check()
        decoder, head = (self.main, self.heads(options.timestamps)[0]) if of_main else self._draft(options)
        prefixes = forced_prefixes(self.special, len(tokens), options, prompts, languages)
        return read_along(decoder, head, encoder_states, prefixes, tokens, choices(head))

    @torch.inference_mode()
    def ranks(
        self,
        encoder_states: Tensor | Sequence[Tensor],  # [n, F, d], of the draft
        tokens: Sequence[Sequence[int]],  # the main's own greedy output: `Decoded.tokens`
        options: Options = Options(),  # noqa: B008 (frozen)
        prompts: Sequence[Sequence[int] | None] | None = None,
        *,
        languages: Sequence[str | None] | None = None,
    ) -> list[TokenRanks]:
        """Which of the draft's choices the main's tokens are, for acceptance.py to replay every tree of drafts from."""
        options, prompts = checked_options(options, self.special), checked_prompts(prompts, self.special)
        self._sources.check()
        draft, head = self._draft(options)
        prefixes = forced_prefixes(self.special, len(tokens), options, prompts, languages)
        found = read_along(draft, head, encoder_states, prefixes, tokens, ranks(head))
        room = [self.special.limit(len(prefix), options.max_new_tokens) - len(prefix) for prefix in prefixes]
        each = zip(tokens, found, room, strict=True)
        return [TokenRanks.of(row, its, self.special.end, limit) for row, its, limit in each]

    def _draft(self, options: Options) -> tuple[Decoder, Head]:
        """The draft and its head. Raises InputError where there is none."""
        _, head = self.heads(options.timestamps)
        if self.draft is None or head is None:
            raise InputError("this Engine has no assistant whose choices could be compared: give it one")
        return self.draft, head

    def agreement(
        self,
        encoder_states: Tensor | Sequence[Tensor],
        tokens: Sequence[Sequence[int]],  # the main's own greedy output: `Decoded.tokens`
        options: Options = Options(),  # noqa: B008 (frozen)
        prompts: Sequence[Sequence[int] | None] | None = None,
        *,
        languages: Sequence[str | None] | None = None,
    ) -> list[TokenMatches]:
        """Where the draft agrees with the main, for acceptance.py to replay every draft length from."""
        return [each.matches for each in self.ranks(encoder_states, tokens, options, prompts, languages=languages)]

    @torch.inference_mode()
    def measure_rounds(self, options: Options = Options(), frames: int | None = None) -> None:  # noqa: B008 (frozen)
        """Measure at once all that "auto" would measure bit by bit in calls with these options, over windows of so many
        frames (None: full ones); nothing for other options."""
        if options.draft_tokens == "auto" and self._drafting(options):
            frames = frames or self.encoders.frames
            rounds, length = self._rounds(options, frames), coarse(frames, self.encoders.frames)
            timed, capacity = partial(round_seconds, rounds, frames), rounds.main.cache.capacity
            self.round_times.complete(timed, options.batch_size, capacity, options.timestamps, length)

    @torch.inference_mode()
    def costs(self, batch_size: int = 1, timestamps: bool = False, frames: int | None = None) -> Costs:
        """What draft steps, verifications and rounds cost here, with care, over windows of so many frames (None: full
        ones); measured once, then remembered (`forget_costs`), and what "auto" uses from then on."""
        frames = frames or self.encoders.frames
        key = batch_size, timestamps, frames
        if key not in self._costs:
            rounds = self._rounds(Options(batch_size=batch_size, timestamps=timestamps), frames)
            if rounds.proposer is None:
                raise InputError("this Engine has no assistant whose cost could be measured: give it one")
            found = self._costs[key] = measure(rounds, rounds.proposer, batch_size, frames, self.round_times.trees)
            self.round_times.learn(batch_size, timestamps, found.times, coarse(frames, self.encoders.frames))
        return self._costs[key]

    def forget_costs(self) -> None:
        """The next `costs` measures again."""
        self._costs.clear()

    def check_main(self, main: WhisperForConditionalGeneration) -> None:
        """Raises InputError for another main than this engine's, or one whose weights have changed since."""
        if main.model.decoder.embed_tokens.weight.data_ptr() != self.main.embeddings.data_ptr():
            raise InputError("like: is an Engine of another main: give one of the same")
        self._sources.check()

    def heads(self, timestamps: bool) -> tuple[Head, Head | None]:
        """The main's and the draft's output heads under the rules."""
        if timestamps not in self._heads:
            main = Head.of(self.main, LogitsRules(self.special, timestamps, None, self.device))
            draft = None
            if self.draft is not None:
                rules = LogitsRules(self.special, timestamps, self._proposable(timestamps), self.device)
                draft = Head.of(self.draft, rules)
            self._heads[timestamps] = main, draft
        return self._heads[timestamps]

    def replace_heads(self, timestamps: bool, main: Head, draft: Head | None) -> None:
        """Decode through other heads or rules: benchmarks script the draft's choices so."""
        self._heads[timestamps] = main, draft
        self.graphs.clear()

    def _proposable(self, timestamps: bool) -> Tensor | None:
        """The draft's vocabulary, ascending, with the end of text, and the timestamps where they are decoded."""
        if self.draft_vocabulary is None:
            return None
        always = [self.special.end]
        if timestamps:
            always += self.special.timestamps
        return torch.tensor(sorted({*self.draft_vocabulary.tolist(), *always}), device=self.device)

    def _rounds(self, options: Options, frames: int) -> Rounds:
        """The model states of a call; their caches are kept between calls while they are large enough."""
        rows = options.batch_size
        main_cache, draft_cache = self.caches.of(power_of_two(rows) if self.bucketed else rows, frames)
        main_head, draft_head = self.heads(options.timestamps)
        proposer = None
        if self.draft is not None and draft_head is not None and draft_cache is not None and options.draft_tokens != 0:
            proposer = Proposer(ModelState(self.draft, draft_head, draft_cache), self.graphs, self.special.size)
        main = ModelState(self.main, main_head, main_cache)
        return Rounds(main, proposer, self.graphs, self.special.size, onward=self.ahead > 0)
