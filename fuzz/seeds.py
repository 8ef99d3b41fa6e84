"""The committed corpus: one archive a target, `fuzz/corpus/TARGET.zip`.

python fuzz/seeds.py unpack DIRECTORY          all of them, as files (libFuzzer reads directories)
python fuzz/seeds.py pack TARGET DIRECTORY     replace a target's archive by what is in a directory
"""

from __future__ import annotations

import sys
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

CORPUS = Path(__file__).parent / "corpus"


def seeds(target: str) -> dict[str, bytes]:
    """The inputs of a target, by name."""
    with ZipFile(CORPUS / f"{target}.zip") as archive:
        return {name: archive.read(name) for name in sorted(archive.namelist())}


def unpack(directory: Path) -> None:
    for archive in sorted(CORPUS.glob("*.zip")):
        with ZipFile(archive) as opened:
            opened.extractall(directory / archive.stem)


def pack(target: str, directory: Path) -> None:
    """With a constant date, so that equal inputs make an equal archive."""
    with ZipFile(CORPUS / f"{target}.zip", "w") as archive:
        for path in sorted(directory.iterdir()):
            archive.writestr(ZipInfo(path.name, (1980, 1, 1, 0, 0, 0)), path.read_bytes(), ZIP_DEFLATED)


def main() -> None:
    match sys.argv[1:]:
        case ["unpack", directory]:
            unpack(Path(directory))
        case ["pack", target, directory]:
            pack(target, Path(directory))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
