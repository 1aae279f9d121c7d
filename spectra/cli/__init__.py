"""The command line: the only place that prints."""

__all__ = ["main"]


def main() -> None:
    """Run the command line; Ctrl-C ends it quietly from the first moment."""
    try:
        from spectra.cli.main import run
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    run()
