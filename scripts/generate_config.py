"""Write `config/pacsbridge.toml` and `config/README.md` from the table of keys.

    python scripts/generate_config.py

To be run when a key changes; a test says when that is due.
"""

from pathlib import Path

from pacsbridge.config.reference import annotated, markdown

FOLDER = Path(__file__).parent.parent / "config"

if __name__ == "__main__":
    (FOLDER / "pacsbridge.toml").write_text(annotated(), encoding="utf-8")
    (FOLDER / "README.md").write_text(markdown(), encoding="utf-8")
