"""The report's title, and what was measured on what."""

from whisper_pair.report import Report, machine


def title(report: Report) -> str:
    """The pair's names."""
    return f"{report['pair']['main']} + {report['pair']['assistant']}"


def about(report: Report) -> str:
    """Two paragraphs: the models, and the measurement."""
    pair, data, environment = report["pair"], report["data"], report["environment"]
    layers = "" if pair["layers"] is None else f"layers {', '.join(map(str, pair['layers']))} of it, "
    some = "" if data["clips"] == data["available"] else f" of {data['available']}"
    return (
        f"Main: {pair['main_layers']} decoder layers, {pair['main_parameters_millions']:.1f} M parameters, from "
        f"{pair['start']}. Assistant: {layers}{pair['assistant_own_parameters_millions']:.1f} M parameters beside the "
        f"main's.\n\nMeasured on {data['clips']}{some} clips, {data['seconds'] / 60:.1f} minutes of "
        f"{', '.join(data['sources'])} (language {data['language']}, {data['task']}), in {environment['dtype']} with "
        f"{environment['attention']} attention on {machine(environment['hardware'])}, torch "
        f"{environment['versions']['torch']}, {environment['date']}. Intervals in brackets hold 95 % of the "
        "bootstrap's draws."
    )
