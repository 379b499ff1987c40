"""Write src/keywords.js, the keywords of DICOM's data dictionary, from that of pydicom.

python js/keywords.py
"""

from pathlib import Path

from pydicom.datadict import DicomDictionary

HEAD = """\
// Tags by keyword, from DICOM's data dictionary (PS3.6). Written by keywords.py.

const ROWS = `
"""

TAIL = """`;

/** @type {ReadonlyMap<string, string>} tag keys (GGGGEEEE) by keyword */
export const TAG_OF_KEYWORD = new Map(
  ROWS.trim()
    .split("\\n")
    .flatMap((row) => {
      const [group, ...elements] = row.split(" ");
      return elements.map((element) => [element.slice(4), group + element.slice(0, 4)]);
    }),
);
"""


def main() -> None:
    """Write the file."""
    groups: dict[int, list[str]] = {}
    for tag, (_, _, _, retired, keyword) in sorted(DicomDictionary.items()):
        if keyword and not retired:
            groups.setdefault(tag >> 16, []).append(f"{tag & 0xFFFF:04X}{keyword}")
    rows = "".join(f"{group:04X} {' '.join(found)}\n" for group, found in groups.items())
    (Path(__file__).parent / "src" / "keywords.js").write_text(HEAD + rows + TAIL)


if __name__ == "__main__":
    main()
