"""`python -m docs.generator`: write all generated pages, and name those that have changed."""

from docs.generator.pages import PAGES
from docs.generator.sources import ROOT


def main() -> None:
    """Write each page whose text is another than that of its file."""
    for place, make in PAGES.items():
        path, text = ROOT / place, make()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(place)


if __name__ == "__main__":
    main()
