"""Which characters the bytes of a file mean."""

import codecs
import re

#: What pages may declare. Others are no charsets, or read more into bytes than they hold.
_KNOWN = frozenset(
    codecs.lookup(name).name
    for name in (
        *("utf-8", "windows-1252", "windows-1250", "windows-1251", "windows-1253", "windows-1254"),
        *("windows-1255", "windows-1256", "windows-1257", "windows-1258", "cp874"),
        *(f"iso-8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)),
        *("us-ascii", "koi8-r", "koi8-u", "macintosh", "ibm866", "gbk", "gb2312", "gb18030"),
        *("big5", "euc-jp", "iso-2022-jp", "shift_jis", "cp932", "euc-kr"),
    )
)
#: Browsers take the wider charset for what pages call by the narrower name.
_WIDER = {"ascii": "cp1252", "iso8859-1": "cp1252", "gb2312": "gbk", "shift_jis": "cp932"}
_WIDER |= {"euc_kr": "cp949", "iso8859-9": "cp1254"}
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_ALIASES = {"x-sjis": "cp932", "windows-31j": "cp932", "windows-874": "cp874"}
#: A declaration stands at the beginning.
_HEAD = 4096
_META = re.compile(
    rb"<meta\s[^>]*?charset\s*=\s*[\"']?\s*([^\s\"'/>;]{1,40})|<!--.*?(?:-->|\Z)",
    re.IGNORECASE | re.DOTALL,
)


def text_of(data: bytes) -> str:
    """UTF-8, with or without a mark.

    Raises ValueError for what is not, with the first wrong byte: "not UTF-8: … at byte 3".
    """
    return _decoded(data, "utf-8").removeprefix("\ufeff")


def page_of(data: bytes) -> str:
    """An HTML page by its mark, else by what it declares, else UTF-8.

    Raises ValueError for a charset that is not known, or bytes that it does not have.
    """
    for mark, charset in _BOMS:
        if data.startswith(mark):
            return _decoded(data[len(mark) :], charset, before=len(mark))
    return _decoded(data, _declared(data) or "utf-8")


def _declared(data: bytes) -> str | None:
    for found in _META.finditer(data[:_HEAD]):
        if found[1] is None:
            continue  # a comment
        label = found[1].decode("ascii", "replace").lower()
        if label.startswith("utf-16"):
            return "utf-8"  # it could not be read so far in UTF-16
        try:
            charset = codecs.lookup(_ALIASES.get(label, label)).name
        except (LookupError, ValueError):
            charset = ""
        if charset not in _KNOWN:
            raise ValueError(f"in the unknown charset {label!r}; save it as UTF-8")
        return _WIDER.get(charset, charset)
    return None


def _decoded(data: bytes, charset: str, before: int = 0) -> str:
    try:
        return data.decode(charset)
    except UnicodeDecodeError as error:
        name = charset.upper() if charset.startswith("utf") else charset
        place = before + error.start
        raise ValueError(f"not {name}: {error.reason} at byte {place}") from None
