"""The forms of exact strings: what each kind of them looks like, as regular expressions.

`IN_WORD` finds the forms that hold no blank, `ACROSS_WORDS` those that do; the rest tells
cheaply where it is worth looking. See `optimem.exact`.
"""

from __future__ import annotations

import re

_L = r"A-Za-z\u00c0-\u024f\u0370-\u052f"  # letters of the alphabets that know capitals
_W = rf"{_L}0-9_"
_SEGMENT = rf"[{_W}.@+-]{{1,100}}"
_LINE = r"(?:[:#]L?\d{1,7}(?:[-:]\d{1,7})?)?"
_ENDING = (
    "(?:py|pyi|pyc|js|jsx|mjs|ts|tsx|vue|go|mod|sum|rs|c|h|cc|cpp|hpp|cs|java|kt|swift|rb|php|lua"
    "|sh|bash|ps1|bat|md|rst|txt|csv|tsv|cfg|conf|ini|toml|ya?ml|jsonl?|ipynb|html?|css|scss|sql"
    "|lock|log|xml|proto|png|jpe?g|gif|svg|webp|pdf|docx?|xlsx?|pptx?|zip|gz|xz|bz2|tar|tgz|whl"
    "|egg-info|egg|jar|db|sqlite|so|dll|exe|env|mp3|mp4|wav|parquet|pt|bin|safetensors)"
)
_HEX = "[0-9a-fA-F]"
_DECIMAL = r"\d[\d,]{0,30}(?:\.\d{1,30})?"
_UNIT = (
    "(?:%|[KMGTP]i?B|[kKMGTP]?b(?:ps)?|B|[nuµm]?s|min|h|px|pt|r?em|dpi|[kMG]?Hz|[kcmµn]?m|[kmµ]?g"
    "|[kKM])"
)
_MONEY = r"(?:USD|EUR|GBP|CNY|RMB|JPY|US\$|[$€£¥₹])"
_DATE = r"\d{4}(?:-\d\d-\d\d|/\d\d?/\d\d?|\.\d\d\.\d\d)"
_TIME = r"\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?"
_CLOCK = r"\d{1,2}:[0-5]\d(?::[0-5]\d(?:[.,]\d{1,9})?)?"
_HALF = r"[AaPp](?:\.[Mm]\.|[Mm])"
_DAY = r"[0-3]?\d(?:st|nd|rd|th)?"
_MONTH = (
    "(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    "|Sep(?:t(?:ember)?)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)"
)
_HAN_DIGIT = "〇零一二三四五六七八九十两"
_HAN = f"{_HAN_DIGIT}百千万亿"
_HAN_UNIT = (
    "(?:[万亿千百]{1,3}[元人]?|[美日欧]?元|[块角円]|年|个?月|[日号点时天周岁]|[分秒]钟?|小时|時間"
    "|公里|千?米|公?斤|平米|千?克)"
)

_HAN_SIGNS = "元人美日欧块角円年个月号点时天周岁分秒钟小時間公里米斤平克之至到"

_KINDS: dict[str, tuple[float, tuple[str, ...]]] = {
    # kind: how surely an image loses it, forms; the first that fits at a place is taken
    "url": (2.0, (r"[a-z][a-z0-9+.-]{1,15}://[^\s，。；、）)\]]+",)),
    "email": (2.0, (rf"[{_W}.+-]{{1,64}}@[A-Za-z0-9-]{{1,63}}(?:\.[A-Za-z0-9-]{{1,63}}){{1,5}}",)),
    "uuid": (3.0, (rf"{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}",)),
    "address": (
        2.0,
        (
            r"\d{1,3}(?:\.\d{1,3}){3}(?::\d{2,5}|/\d{1,2})?(?!\.?\d)",
            r"(?:localhost|(?:[a-z0-9-]{1,63}\.){1,6}[a-z]{2,20}):\d{2,5}",
            rf"(?:{_HEX}{{2}}:){{5}}{_HEX}{{2}}",
            rf"(?:{_HEX}{{1,4}}:){{7}}{_HEX}{{1,4}}",
            rf"(?=[a-fA-F:]{{0,30}}\d)(?:{_HEX}{{1,4}}:){{1,7}}(?::{_HEX}{{1,4}}){{1,7}}",
        ),
    ),
    "date": (
        2.0,
        (
            rf"{_DATE}(?:T{_TIME})?",
            r"\d{1,2}[/.]\d{1,2}[/.](?:19|20)\d\d",
            r"(?:\d{2,4}年)?\d{1,2}月(?:\d{1,2}[日号])?(?:[-~至到](?:\d{1,2}月)?\d{1,2}[日号])?",
            f"(?:[{_HAN_DIGIT}]{{2,4}}年)?[{_HAN_DIGIT}]{{1,2}}月[{_HAN_DIGIT}]{{1,3}}[日号]",
        ),
    ),
    "path": (
        2.0,
        (
            rf"(?:~|\.{{1,2}})?(?:/{_SEGMENT})+/?{_LINE}",
            rf"[A-Z]:(?:/{_SEGMENT})+",
            rf"[{_W}.@+-]{{2,100}}(?:/[{_W}.@+-]{{2,100}})+/?{_LINE}",
        ),
    ),
    "file": (
        1.5,
        (
            r"(?!(?:self|this|cls|np|math|console|process|os|app|window)\.)"
            rf"[{_W}-][{_W}.+-]{{0,100}}\.{_ENDING}{_LINE}(?![(.-]?[{_W}]|\()",
        ),
    ),
    "clock": (1.0, (rf"{_CLOCK}(?:[-–~]{_CLOCK})?(?:{_HALF})?",)),
    "amount": (
        1.5,
        (
            rf"{_MONEY}-?{_DECIMAL}(?:[kKmMbB]|bn)?",
            rf"{_DECIMAL}(?:[-~]{_DECIMAL})?{_UNIT}",
            rf"{_DECIMAL}(?:[-~至到]{_DECIMAL})?{_HAN_UNIT}",
            f"百分之[{_HAN}]{{1,9}}",
            f"[{_HAN_DIGIT}][{_HAN}]{{1,12}}(?:点[{_HAN}]{{1,9}})?{_HAN_UNIT}?",
            f"[{_HAN_DIGIT}](?:元|块钱|月|点半)",
        ),
    ),
    "phone": (
        2.0,
        (
            r"\+\d{1,3}(?:[-.]?\d{2,4}){2,4}",
            r"0\d{2,3}-\d{7,8}",
            r"(?:\d{3}[-.])?\d{3}[-.]\d{4}",
        ),
    ),
    "version": (
        2.0,
        (
            rf"(?:[A-Za-z][{_W}]{{0,60}}-)?v?\d+(?:\.\d+){{2,6}}"
            rf"(?:[-+.]?[A-Za-z][{_W}.+-]{{0,40}})?",
            rf"v\d+(?:\.\d+){{0,3}}|[A-Za-z][{_W}]{{0,60}}-\d+\.\d+",
        ),
    ),
    "hash": (
        3.0,
        (
            rf"0x{_HEX}+",
            r"(?:sha\d+[:-])?(?=\d{0,99}[a-f])(?=[a-f]{0,99}\d)[0-9a-f]{7,128}",
            r"(?=\d{0,99}[A-F])(?=[A-F]{0,99}\d)[0-9A-F]{12,128}",
        ),
    ),
    "code": (  # orders, tickets, flights, keys: letters and digits, joined or not
        2.0,
        (
            r"[A-Za-z][A-Za-z0-9]{0,60}(?:[_-][A-Za-z0-9]{1,60}){0,9}[_-]\d{3,60}"
            r"(?:[_-][A-Za-z0-9]{1,60}){0,9}",
            r"[A-Z][A-Z0-9]{0,60}(?:-[A-Z0-9]{1,60}){0,9}-\d{1,60}[A-Z0-9]{0,60}",
            r"[A-Z]{1,60}\d[A-Z0-9]{0,60}(?:-[A-Z0-9]{1,60}){1,9}",
            r"(?=[A-Z]{0,99}\d)(?=\d{0,99}[A-Z])[A-Z0-9]{3,}",
            r"[A-Za-z]{2,30}\d{3,60}[A-Za-z0-9]{0,60}",
        ),
    ),
    "number": (1.0, (r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.\d+|\d{3,}",)),
    "flag": (2.0, (rf"--[a-zA-Z][{_W}-]+(?:=[{_W}./:-]+)?",)),
    "snake": (1.0, (rf"_+[{_L}][{_W}]+|[{_L}][{_L}0-9]*_[{_W}]+",)),
    "camel": (
        1.0,
        (rf"(?=[{_L}0-9]*(?:[a-z0-9][A-Z]|[A-Z]{{2}}[a-z]{{2}}))[{_L}][{_L}0-9]+",),
    ),
}
_SPACED: dict[str, tuple[str, ...]] = {  # forms with a blank within
    "date": (
        rf"{_DATE} {_TIME}",
        rf"{_MONTH}\.? {_DAY}(?:,? \d{{4}})?",
        rf"{_DAY} {_MONTH}(?:,? \d{{4}})?",
    ),
    "clock": (rf"\d{{1,2}}(?::[0-5]\d){{0,2}} {_HALF}",),
    "amount": (
        rf"{_MONEY} {_DECIMAL}",
        rf"{_DECIMAL} (?:%|[KMGT]i?B|[mn]s|USD|EUR|GBP|CNY|RMB)",
    ),
    "phone": (
        r"\+\d{1,3} \(?\d{1,4}\)?(?:[ -]\d{2,4}){1,4}",
        r"\(\d{3}\) ?\d{3}[ -]\d{4}|\d{3} \d{3}[ -]\d{4}|\d{3} \d{4} \d{4}",
    ),
}


def _any_of(kinds: dict[str, tuple[str, ...]]) -> re.Pattern[str]:
    groups = "|".join(f"(?P<{kind}>{'|'.join(forms)})" for kind, forms in kinds.items())
    # Scripts without blanks may go on behind a unit of theirs, but no alphabet may.
    return re.compile(rf"(?<![{_W}])(?:{groups})(?:(?<=[^{_W}])|(?![{_W}]))")


WEIGHTS = {kind: weight for kind, (weight, _) in _KINDS.items()}
IN_WORD = _any_of({kind: forms for kind, (_, forms) in _KINDS.items()})
DIGITS = re.compile(r"[\d.,:()\[\]+-]*")
"""A word of digits and what stands between them; in most forms there is a letter or a sign."""
IN_DIGITS = _any_of(
    {
        kind: _KINDS[kind][1]
        for kind in ("uuid", "address", "date", "clock", "phone", "version", "number")
    }
)
ACROSS_WORDS = _any_of(_SPACED)
HINT = re.compile(rf"[\d_/@{_HAN}]|--\w|[a-z][A-Z]|[A-Z]{{2}}[a-z]{{2}}|\.{_ENDING}(?![{_W}])")
"""What a word that holds an exact string has at least one of."""
OPENING = re.compile(
    rf"(?<![{_W}])(?:[+(]{{0,2}}\d[\d:.,/-]{{0,40}}(?:st|nd|rd|th)?\)?|{_MONEY}|{_MONTH}\.?)\Z"
)
"""The end of a word that may be the beginning of a form with a blank within."""
GOES_ON = frozenset("%ACDEFGJKMNOPRSTUamnp")
"""How what follows a plain number begins where both may be a form with a blank within."""
OR_PHONE = GOES_ON | frozenset("0123456789")
SOLID = re.compile(rf"[{_W}\d.@+~/#:,%µ$€£¥₹=()*–{_HAN}{_HAN_SIGNS}-]+")
"""A piece of a sentence without blanks; what is in no piece is in no form but a URL."""
