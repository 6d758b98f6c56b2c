"""The report's title, and what was measured on what."""

from whisper_pair.report import DataSection, Environment, MainReport, PairSection, Report, machine


def title(report: Report) -> str:
    """The pair's names."""
    return f"{report['pair']['main']} + {report['pair']['assistant']}"


def about(report: Report) -> str:
    """Two paragraphs: the models, and the measurement."""
    pair = report["pair"]
    return (
        f"Main: {_count(pair['main_layers'])}, {pair['main_parameters_millions']:.1f} M parameters, from "
        f"{pair['start']}. Assistant: {_assistant(pair)}.\n\n{_measured(report['data'], report['environment'])}"
    )


def about_main(report: MainReport) -> str:
    """The same of a main alone."""
    main = report["main"]
    model = f"{_count(main['layers'])}, {main['parameters_millions']:.1f} M parameters.".capitalize()
    return f"{model}\n\n{_measured(report['data'], report['environment'])}"


def _measured(data: DataSection, environment: Environment) -> str:
    day, _, time = environment["date"].partition("T")
    some = "" if data["clips"] == data["available"] else f" of {data['available']}"
    return (
        f"Measured on {data['clips']}{some} clips, {data['seconds'] / 60:.1f} minutes of {', '.join(data['sources'])} "
        f"(language {data['language']}, {data['task']}), in {environment['dtype']} with {environment['attention']} "
        f"attention on {machine(environment['hardware'])}, torch {environment['versions']['torch']}, "
        f"{f'{day} {time[:5]}'.strip()} UTC. Intervals in brackets hold 95 % of the bootstrap's draws."
    )


def _assistant(pair: PairSection) -> str:
    own = f"{pair['assistant_own_parameters_millions']:.1f} M parameters of its own"
    if not pair["layers"]:
        return own
    numbers = ", ".join(map(str, pair["layers"]))
    which = "layer" if len(pair["layers"]) == 1 else "layers"
    return f"{_count(len(pair['layers']))}, made from the main's {which} {numbers}, {own}"


def _count(layers: int) -> str:
    return "1 decoder layer" if layers == 1 else f"{layers} decoder layers"
