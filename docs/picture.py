"""`make picture`: runs the demo and writes docs/demo.svg, which the README shows."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from rich.console import Console

from mess.demo.run import run_demo

_FILE = Path(__file__).parent / "demo.svg"
# Rich's own format loads its font from another host. With any monospaced font a line has the same length.
_FORMAT = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font: {char_height}px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }}
.{unique_id}-title {{ font: bold 18px sans-serif; }}
{styles}
</style>
<defs>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def main() -> int:
    """Run the demo with always the same writes; returns 0 if every event arrived."""
    console = Console(record=True, force_terminal=True, color_system="truecolor", highlight=False, width=116)
    complete = asyncio.run(run_demo(seconds=6, rate=3, seed=5, console=console))
    _FILE.write_text(console.export_svg(title="make demo", code_format=_FORMAT, unique_id="demo"))
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
