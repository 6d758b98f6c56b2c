"""`whisper-pair demo-server DIR`: a page that transcribes with the main alone and with the pair, side by side."""

import argparse
from importlib.util import find_spec
from pathlib import Path

from ..checkpoints import add_pair_arguments, pair_from_arguments
from ..errors import InputError
from .console import show_messages
from .devices import add_device, load

SUMMARY = "a page where the main alone and the pair transcribe what you say, side by side"


def add(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("place", nargs="?", metavar="DIR", help="a run's folder or a published pair, as --pair")
    add_pair_arguments(parser)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at; default: this machine alone")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME",
        help="another name that the page is reached under, such as a proxy's; may be given again",
    )  # fmt: skip
    parser.add_argument("--port", type=int, default=7860, help="default 7860")
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Serves the page until it is stopped."""
    show_messages("stdout")  # the page's address is its result
    if args.place and args.pair:
        raise InputError(f"{args.place} and --pair {args.pair}: name one pair.")
    args.pair = args.pair or args.place
    main, assistant = pair_from_arguments(args)
    if assistant is None:
        raise InputError("demo-server shows a pair: add --assistant A.")
    if not 0 < args.port < 65536:
        raise InputError(f"--port {args.port}: expected a number from 1 to 65535.")
    if find_spec("gradio") is None:
        raise InputError("demo-server needs gradio, which is not here: pip install 'whisper-pair[server]'.")
    pair = load(main, assistant, args.device, args.precision)

    from ..live import Server

    Server(pair, args.pair or f"{Path(main).name} with {Path(assistant).name}").serve(
        args.host, args.port, args.allow_host
    )
    return 0
