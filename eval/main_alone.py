"""A main by itself: its error rate and its speed, beside transformers' on the same clips."""

from typing import cast

from transformers import WhisperProcessor

from whisper_pair.audio import LogMel
from whisper_pair.checkpoints import load_processor, main_folder
from whisper_pair.config import Config
from whisper_pair.data import Clip
from whisper_pair.decoding import Options
from whisper_pair.report import VERSION, MainReport, MainUtterance, check
from whisper_pair.runs import Stage, as_json, discard, this_process, write_json
from whisper_pair.text import ErrorRate, Normalizer, metric_name

from .common import DECODED, checked_main, chosen_clips, write_readings
from .evaluation import data_section, environment_of
from .measuring import (
    DecodedClips,
    Engines,
    NearTieCheck,
    Pieces,
    contenders_of,
    ctranslate,
    decode_clips,
    rate_rows,
    speed_section,
    timed_clips,
    transcripts,
    utterance_rates,
)
from .reading import main_document


def measure(config: Config, stage: Stage, precision: str, options: Options) -> MainReport | None:
    """Writes `eval/report.json` and its readings. None in all processes but the first, which times."""
    main_at, processes = main_folder(config), this_process()
    processor = load_processor(main_at)
    clips, available, log_mel = chosen_clips(config, processor)
    engines = Engines(checked_main(config, main_at, precision, str(processes.device)), [])
    if processes.is_main_process:
        stage.begin(config)
    processes.wait_for_everyone()
    decoded = decode_clips(engines, None, clips, log_mel, options, stage.work / DECODED, processes)
    if not processes.is_main_process:
        return None
    report = _report(config, engines, processor, clips, available, log_mel, options, decoded)
    check(report, "main")
    write_json(stage.work / "report.json", report)
    write_readings(main_document(report), clips, stage.work)
    stage.finish()
    discard(stage.folder / DECODED)
    return report


def _report(
    config: Config,
    engines: Engines,
    processor: WhisperProcessor,
    clips: list[Clip],
    available: int,
    log_mel: LogMel,
    options: Options,
    decoded: DecodedClips,
) -> MainReport:
    main, settings, language = engines.main, config.eval, config.text_language
    normalizer = Normalizer.of(language, processor.tokenizer)
    texts = transcripts(decoded, processor.tokenizer)
    rates = utterance_rates(texts, [clip.text or "" for clip in clips], language, normalizer)
    special = engines.judged.special
    prompt = special.prefix(special.language_token(config.language), config.task, False, None)
    near_tie = NearTieCheck(main, log_mel, clips, [prompt] * len(clips), Pieces(processor.tokenizer))
    timed = timed_clips(clips, settings.timed_clips, main, log_mel, decoded.main, [])
    others, left_out = ctranslate.contenders(main, main_folder(config), options)
    contenders = [*contenders_of(engines, options, []), *others]
    return cast(
        MainReport,
        as_json(
            {
                "version": VERSION,
                "main": {
                    "name": config.model,
                    "layers": main.config.decoder_layers,
                    "parameters_millions": round(sum(p.numel() for p in main.parameters()) / 1e6, 3),
                },
                "data": data_section(config, clips, available, log_mel.seconds),
                "quality": {"metric": metric_name(language), "main": rate_rows(rates)["main"]},
                "speed": speed_section(engines, contenders, timed, settings, near_tie, {}, log_mel, left_out),
                "utterances": [
                    _utterance(*row) for row in zip(clips, decoded.main, texts["main"], rates["main"], strict=True)
                ],
                "environment": environment_of(config, main),
            }
        ),
    )


def _utterance(clip: Clip, tokens: list[int], text: str, rate: ErrorRate) -> MainUtterance:
    return {
        "clip": clip.name,
        "seconds": clip.seconds,
        "reference": clip.text or "",
        "length": rate.length,
        "tokens": len(tokens),
        "main": {"errors": rate.errors, "text": text.strip()},
    }
