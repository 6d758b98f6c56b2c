"""How to use what was published, and how to cite it: code that runs as pasted."""

import json
from importlib.metadata import PackageNotFoundError, metadata

from .names import Names, Release

INSTALL = "```bash\npip install whisper-pair\n```"


def pair_usage(release: Release) -> str:
    """The pair, by our package and by transformers alone."""
    names, language = release.names, release.config.language
    ours = f"""from whisper_pair import Pair

pair = Pair.from_pretrained("{names.pair}")
print(pair.transcribe(["speech.wav"], language="{language}")[0].text)"""
    return (
        f"## Use\n\nIn batches and on recordings of any length, with {project()}:\n\n{INSTALL}\n\n"
        f"```bash\nwhisper-pair transcribe speech.wav --pair {names.pair} --language {language}\n```\n\n"
        f"```python\n{ours}\n```\n\n"
        "With transformers alone, one clip of at most 30 s at a time (it takes an assistant at batch size 1 and without"
        f" beams only):\n\n```python\n{_transformers(release)}\n```"
    )


def _transformers(release: Release) -> str:
    names, config = release.names, release.config
    given = f', language="{config.language}", task="{config.task}"' if names.multilingual else ""
    inside = f', subfolder="{names.subfolder}"' if names.subfolder else ""
    return f"""import soundfile
from transformers import AutoModelForCausalLM, AutoModelForSpeechSeq2Seq, AutoProcessor

main = AutoModelForSpeechSeq2Seq.from_pretrained("{names.main}")
assistant = AutoModelForCausalLM.from_pretrained("{names.assistant}"{inside})
processor = AutoProcessor.from_pretrained("{names.main}")
samples, rate = soundfile.read("speech.wav", dtype="float32")  # mono, 16 kHz
inputs = processor(samples, sampling_rate=rate, return_tensors="pt")
tokens = main.generate(**inputs, assistant_model=assistant{given})
print(processor.batch_decode(tokens, skip_special_tokens=True)[0])"""


def standalone_usage(release: Release, name: str) -> str:
    """A complete Whisper."""
    arguments = json.dumps({"language": release.config.language, "task": release.config.task})
    given = f", generate_kwargs={arguments}" if release.names.multilingual else ""
    code = f"""import soundfile
from transformers import pipeline

recogniser = pipeline("automatic-speech-recognition", "{name}")
samples, rate = soundfile.read("speech.wav", dtype="float32")  # mono
print(recogniser({{"raw": samples, "sampling_rate": rate}}{given})["text"])"""
    return f"## Use\n\n```python\n{code}\n```"


def project() -> str:
    """Our package, with a link where its metadata has one."""
    try:
        urls = metadata("whisper-pair").get_all("Project-URL") or []
    except PackageNotFoundError:
        urls = []
    return f"[Whisper Pair](<{urls[0].partition(',')[2].strip()}>)" if urls else "Whisper Pair"


def citation(name: str, names: Names, year: str) -> str:
    """BibTeX entries of the release and of the methods behind it."""
    organisation = names.main.split("/")[0]
    key = "".join(character for character in name if character.isalnum())
    return f"""## Citation

```bibtex
@misc{{{key},
  title = {{{name.split("/")[1]}: {"a main and its assistant for speculative decoding of speech"}}},
  author = {{{{{organisation}}}}},
  year = {{{year}}},
  howpublished = {{\\url{{https://huggingface.co/{name}}}}}
}}
@article{{radford2022whisper,
  title = {{Robust Speech Recognition via Large-Scale Weak Supervision}},
  author = {{Radford, Alec and Kim, Jong Wook and Xu, Tao and Brockman, Greg and McLeavey, Christine and
            Sutskever, Ilya}},
  journal = {{arXiv:2212.04356}},
  year = {{2022}}
}}
@article{{gandhi2023distilwhisper,
  title = {{Distil-Whisper: Robust Knowledge Distillation via Large-Scale Pseudo Labelling}},
  author = {{Gandhi, Sanchit and von Platen, Patrick and Rush, Alexander M.}},
  journal = {{arXiv:2311.00430}},
  year = {{2023}}
}}
```"""
