"""``spectra doctor``: whether what is needed works here."""

from spectra.cli import console, options
from spectra.core.provenance import versions

__all__ = ["command"]


def command(json: options.Json = False) -> None:
    """Show versions and try a small decomposition on each backend.

    Example: spectra doctor
    """
    from spectra.backend.probe import probe_devices

    found, probes = versions(), probe_devices()
    if json:
        console.document(
            {
                "versions": found,
                "devices": [
                    {
                        "device": probe.device,
                        "works": probe.error is None,
                        "error": probe.error,
                        "residual": probe.residual,
                    }
                    for probe in probes
                ],
            }
        )
        return
    console.table(("package", "version"), found.items(), left=2)
    console.say()
    console.table(
        ("device", "works", "residual", "remark"),
        [
            (
                probe.device,
                "no" if probe.error else "yes",
                "-" if probe.error else f"{probe.residual:.1e}",
                probe.error or "",
            )
            for probe in probes
        ],
        left=4,
    )
