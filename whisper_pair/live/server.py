"""The page around a contest, by gradio: a microphone or a file, the choices, and one contest at a time.

It listens on this machine alone unless another address is given, and sends nothing anywhere: no analytics, no share
link, no font or script from elsewhere. Recordings are in a folder that is removed with the server. Visitors wait in
one queue, and nobody blocks it for long: recordings have a longest length, contests a longest time.
"""

import logging
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from starlette.middleware import Middleware

from ..audio import SAMPLE_RATE, Sound
from ..decoding import Options
from ..errors import InputError
from ..escaping import html as escape
from ..pair import Pair, ShortWindowsOption
from ..runs import StopRequest
from ..text import language_table
from .access import LARGEST, Door, tidy
from .contest import Contest
from .view import Spelling, contest_html, sentence_html

logger = logging.getLogger(__name__)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pydub misses the program ffmpeg, which nothing here runs
    import gradio

LONGEST = 600  # seconds of a recording
PATIENCE = 300  # seconds of a contest
WAITING = 20  # visitors in line
WINDOWS: dict[str, ShortWindowsOption] = {"as long as the speech": "auto", "30 s": "off"}
DRAFTS = ("auto", "1", "2", "4", "6", "8", "12", "16")
FIRST = "Record something or choose a file, then press Transcribe."
CLOSED = {  # whatever gradio would offer besides the page
    "share": False,
    "footer_links": [],
    "enable_monitoring": False,
    "run_history": False,
    "ssr_mode": False,
    "pwa": False,
    "mcp_server": False,
}


class Server:
    """The page of one pair. `name`: how the page calls it."""

    def __init__(self, pair: Pair, name: str):
        self.pair, self.name = pair, name
        self.special = pair.engine.special
        self.spelling = Spelling(pair.processor.tokenizer, self.special)
        self.contest: Contest | None = None  # the one that runs, or ran last
        self.session: str | None = None  # of the page that started it

    def serve(self, host: str, port: int, also_called: Sequence[str] = ()) -> None:
        """Until Ctrl-C or SIGTERM. It answers for its addresses and for the names `host` and `also_called`.

        Raises InputError where the port cannot be had.
        """
        for drafts in (0, "auto"):  # costs measured and kernels compiled, so that the first contest is not slow
            self.pair.engine.warm_up(Options(batch_size=1, draft_tokens=drafts))
        with tempfile.TemporaryDirectory(prefix="whisper-pair-") as recordings, StopRequest() as stop_request:
            os.environ["GRADIO_TEMP_DIR"] = recordings
            page, style = self.page().queue(max_size=WAITING), Path(__file__).with_name("page.css")
            door = Middleware(Door, hosts=(host, *also_called), recordings=Path(recordings))
            try:
                page.launch(
                    server_name=host, server_port=port, prevent_thread_lock=True, quiet=True, theme=theme(),
                    css_paths=style, max_file_size=LARGEST, app_kwargs={"middleware": [door]}, **CLOSED,
                )  # fmt: skip
            except OSError as error:
                raise InputError(f"--host {host} --port {port}: is not available; choose another.") from error
            logger.info("%s shows %s; Ctrl-C ends it", page.local_url, self.name)
            while not stop_request.soon():
                tidy(Path(recordings))
            page.close(verbose=False)

    def page(self) -> gradio.Blocks:
        """What the browser shows."""
        known = self.languages()
        tasks = list(self.special.tasks) or ["transcribe"]
        chosen = self._made_for("language", [code for _, code in known]), self._made_for("task", tasks)
        with gradio.Blocks(title="Whisper Pair", analytics_enabled=False) as page:
            gradio.HTML(self._head())
            with gradio.Row():
                with gradio.Column(scale=3, min_width=300):
                    sound = gradio.Audio(sources=["microphone", "upload"], type="filepath", label="Speech", buttons=[])
                with gradio.Column(scale=2, min_width=300):
                    with gradio.Row():
                        language = gradio.Dropdown(
                            known, value=chosen[0], label="Language", visible=len(known) > 1, min_width=160
                        )
                        task = gradio.Dropdown(
                            tasks, value=chosen[1], label="Task", visible=len(tasks) > 1, min_width=160
                        )
                        drafts = gradio.Dropdown(
                            list(DRAFTS), value="auto", label="Draft tokens per round", min_width=160
                        )
                        windows = gradio.Dropdown(
                            list(WINDOWS), value=next(iter(WINDOWS)), label="Windows", min_width=160,
                            visible=self._chooses_windows,
                        )  # fmt: skip
                    with gradio.Row():
                        start = gradio.Button("Transcribe", variant="primary", elem_id="start", min_width=120)
                        stop = gradio.Button("Stop", elem_id="stop", min_width=100)
            shown = gradio.HTML(sentence_html(FIRST, role="note"), elem_id="shown")
            start.click(
                self.transcribe,
                [sound, language, task, drafts, windows],
                shown,
                concurrency_limit=1,
                show_progress="hidden",
                api_visibility="private",
            )
            stop.click(self.stop, queue=False, show_progress="hidden", api_visibility="private")
        return page

    def transcribe(
        self, sound: str | None, language: str, task: str, drafts: str, windows: str, request: gradio.Request
    ) -> Iterator[str]:
        """The page's answer to Transcribe, again and again until the contest is over."""
        if self.contest is not None:
            self.contest.stop()  # of a page that was closed
        try:
            if sound is None:
                raise InputError(FIRST)
            count: int | Literal["auto"] = "auto" if drafts == "auto" else int(drafts)
            options = Options(language=language or None, task=task, draft_tokens=count)
            name = Path(sound).name
            self.contest = Contest(self.pair, samples_of(sound, name), options, name, WINDOWS[windows])
            self.session, end = request.session_hash, time.monotonic() + PATIENCE
            for contest in self.contest.watch():
                if time.monotonic() > end:
                    raise InputError(f"{name}: took more than {PATIENCE} s, and others may wait; choose less of it.")
                yield contest_html(contest, self.spelling, self._setting(drafts, windows))
        except InputError as error:
            yield sentence_html(str(error))

    def stop(self, request: gradio.Request) -> None:
        """Stops the contest of the page that asks."""
        if self.contest is not None and self.session == request.session_hash:
            self.contest.stop()

    def languages(self) -> list[tuple[str, str]]:
        """(name, code), by name; detection first."""
        names = language_table()["languages"]
        known = sorted((names.get(code, code), code) for code in self.special.languages)
        return [("detect", ""), *known]

    def _made_for(self, what: str, known: list[str]) -> str:
        """The language or task that the assistant was distilled for, where the main knows it."""
        value = getattr(self.pair.manifest, what, None)
        return value if value in known else known[0]

    @property
    def _chooses_windows(self) -> bool:
        """Whether the main was trained on short windows too."""
        return self.pair.margin("auto") is not None

    def _setting(self, drafts: str, windows: str) -> str:
        where = str(self.pair.main.device)
        if where == "cpu":
            threads = torch.get_num_threads()
            where = f"cpu with {threads} thread{'s' if threads > 1 else ''}"
        kind = f", windows {windows}" if self._chooses_windows else ""
        dtype = str(self.pair.main.dtype).removeprefix("torch.")
        return f"batch 1, {dtype}, {where}, {drafts} draft tokens per round{kind}"

    def _head(self) -> str:
        layers = self.pair.main.config.decoder_layers, self.pair.draft.config.decoder_layers if self.pair.draft else 0
        return (
            f'<div class="head themed"><h1>Whisper Pair</h1><p>{escape(self.name)}: a main of {layers[0]} decoder'
            f" layers, and an assistant of {layers[1]} that drafts for it. Both transcribe the same recording. The"
            " text must be the same, and the pair should be done sooner.</p></div>"
        )


def samples_of(sound: str, name: str) -> np.ndarray:
    """[n] at 16 kHz. Raises InputError for a recording over LONGEST seconds, of which no more than that is decoded."""
    most = LONGEST * SAMPLE_RATE
    with Sound(sound, name) as opened:
        samples = opened.read(0, most + 1)
    if len(samples) > most:
        raise InputError(f"{name}: lasts more than {LONGEST // 60} minutes; choose a part of it.")
    if samples.size == 0:
        raise InputError(f"{name}: the audio is empty.")
    return samples


def theme() -> gradio.Theme:
    """Fonts of the machine that reads; the report's blue."""
    sans = ("system-ui", "sans-serif")
    return gradio.themes.Default(primary_hue="blue", font=sans, font_mono=("ui-monospace", "monospace"))
