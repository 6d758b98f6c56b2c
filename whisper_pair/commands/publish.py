"""`whisper-pair publish RUN --to org/name`: a finished pair on the Hugging Face Hub, with its cards."""

import argparse

SUMMARY = "push a finished pair to the Hugging Face Hub, with model cards from its report"


def add(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("run", help="a run's folder, or its config")
    parser.add_argument("--to", required=True, metavar="ORG/NAME", help="the main's repository")
    parser.add_argument(
        "--layout",
        default="two",
        choices=("two", "one"),
        help="two repositories, NAME and NAME-assistant; or one, with the assistant in its folder assistant/",
    )
    parser.add_argument(
        "--standalone", action="store_true", help="also NAME-standalone: encoder and shallow decoder, to be used alone"
    )
    parser.add_argument(
        "--licence", metavar="ID", help="of the weights, as the Hub writes it, say cc-by-4.0; default: the base model's"
    )
    parser.add_argument(
        "--example", action="store_true", help="show a test clip's text even if its audio is not public"
    )
    parser.add_argument("--private", action="store_true", help="create the repositories as private ones")
    parser.add_argument("--dry-run", action="store_true", help="print files and cards; write and send nothing")
    parser.add_argument("--whatever-the-verdict", action="store_true", help="publish a pair that failed its evaluation")


def run(args: argparse.Namespace) -> None:
    """Publishes the pair, or prints what would be published."""
    from ..publishing import release, run_config

    config = run_config(args.run)
    wanted = args.layout, args.standalone, args.whatever_the_verdict
    more = {"licence": args.licence, "example": args.example}
    repositories = release(config, args.to, *wanted, dry_run=args.dry_run, **more)
    for repository in repositories:
        print(f"{repository.name}: {len(repository.files)} files, {repository.bytes / 1e6:.1f} MB")
        if args.dry_run:
            print("\n".join(f"  {path}" for path in sorted(repository.files)))
            card = repository.files["README.md"]
            assert isinstance(card, bytes)
            print(card.decode())
            continue
        from ..publishing import publish

        print("  " + publish(repository, args.private, "Publish a pair made with Whisper Pair"))
