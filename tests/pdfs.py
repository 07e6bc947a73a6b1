"""Real PDFs, made for a test."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from fpdf import FPDF
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DecodedStreamObject, DictionaryObject, NameObject

FONT = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"


def pdf(*pages: str) -> bytes:
    """One page for each text, each line of it a line; an empty one has no text."""
    made = FPDF()
    made.add_font("DejaVu", fname=FONT)
    made.set_font("DejaVu", size=12)
    for text in pages:
        made.add_page()
        for line in text.split("\n") if text else ():
            made.cell(text=line, new_x="LMARGIN", new_y="NEXT")
    return bytes(made.output())


def rewritten(data: bytes, change: Callable[[PdfWriter], Any]) -> bytes:
    """The same file after a change."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(data)))
    change(writer)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def drawing(writer: PdfWriter, content: bytes, pages: int) -> None:
    """Pages that all draw this content, with a font F."""
    stream = DecodedStreamObject()
    stream.set_data(content)
    shared = writer._add_object(stream.flate_encode())
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    fonts = DictionaryObject({NameObject("/F"): writer._add_object(font)})
    for _ in range(pages):
        page = writer.add_blank_page(200, 200)
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        page[NameObject("/Contents")] = ArrayObject([shared])
