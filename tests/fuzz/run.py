"""Fuzzing by atheris, for as long as one likes: `python tests/fuzz/run.py TARGET [--seconds 300]`.

Needs the extra `[fuzz]`. Begins with the seeds of the target, and with what earlier runs found worth keeping
in `--corpus`. An input that raises, takes longer than `SECONDS` or more than `MEGABYTES` is written to the
folder `findings/`, where the tests try it from then on.
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

with atheris.instrument_imports(include=["pacsbridge"], enable_loader_override=False):
    import targets


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=targets.TARGETS)
    parser.add_argument("--seconds", type=int, default=300, help="how long")
    parser.add_argument("--corpus", type=Path, help="a folder that outlives the run")
    asked = parser.parse_args()
    target = targets.TARGETS[asked.target]
    findings = Path(__file__).parent / "findings" / asked.target
    findings.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        corpus = asked.corpus or Path(folder)
        corpus.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(target.seeds()):
            (corpus / f"seed{number}").write_bytes(seed)
        options = {
            "max_total_time": asked.seconds,
            "max_len": targets.LONGEST,
            "timeout": int(targets.SECONDS),
            "rss_limit_mb": targets.MEGABYTES,
            "artifact_prefix": f"{findings}/",
        }
        arguments = [sys.argv[0], str(corpus), *(f"-{name}={value}" for name, value in options.items())]
        atheris.Setup(arguments, target.attempt)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
