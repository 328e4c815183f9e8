"""Two hundred texts that try to break a page: markup, scripts, direction, size, null bytes."""

from itertools import product

#: Characters of the largest texts.
LARGE = 1_000_000
#: Each holds the text `PAYLOAD` once.
MARKUP = (
    "<script>PAYLOAD</script>",
    "<script src=//example.org/PAYLOAD.js></script>",
    "<img src=x onerror=PAYLOAD>",
    '"><img src="https://example.org/PAYLOAD.png">',
    "'><svg onload=PAYLOAD>",
    "</td></tr></table><h1>PAYLOAD",
    "</bdi></bdi><p dir=rtl>PAYLOAD",
    "</style><style>body{display:none}</style>PAYLOAD",
    "</title><body onload=PAYLOAD>",
    "<!--PAYLOAD",
    "]]>PAYLOAD",
    "<base href=https://example.org/>PAYLOAD",
    "<meta http-equiv=refresh content='0;url=https://example.org/PAYLOAD'>",
    "<link rel=stylesheet href=https://example.org/PAYLOAD.css>",
    "<iframe srcdoc='<script>PAYLOAD</script>'></iframe>",
    "<object data=https://example.org/PAYLOAD></object>",
    "<form action=https://example.org/><input autofocus onfocus=PAYLOAD>",
    "<a href=javascript:PAYLOAD>click</a>",
    "{{ PAYLOAD }}{% for x in y %}",
    "&lt;script&gt;PAYLOAD&amp;&#0;&#x202e;",
    "$\\frac{PAYLOAD$ $x^$",
    "=cmd|' /C PAYLOAD'!A1",
    "[PAYLOAD](javascript:alert)",
    "| PAYLOAD | a | b |\n| --- |",
)
PAYLOADS = ("alert(1)", "هذا نص عربي", "console.error('x')", "fetch('https://example.org')")
DIRECTIONS = (
    "\u202eright to left without an end",
    "\u202dleft to right\u202e and back",
    "\u2066isolate without an end",
    "\u2069end of an isolate without a start",
    "\u2069\u2069\u2069\u202eevil.exe",
    "\u200fmark\u200emark",
    "عربي (English) 123 % עברית",
    "English (عربي) 5 + 6 = 11",
    "123 456 شارع",
    "\u061cmark of Arabic letters",
)
CONTROLS = (
    "null\0byte",
    "\0\0\0",
    "bell\a, escape\x1b[31m",
    "delete\x7f, next line\x85",
    "return\ronly",
    "line\u2028and paragraph\u2029separators",
    "no character \ufffe \uffff",
    "\ufeffbyte order mark",
    "lone surrogate \udc80",
    "tab\tand\nline\n\nbreaks",
)
LINKS = tuple(
    f"{scheme}example.org/{'a' * 40}"
    for scheme in (
        "https://",
        "http://",
        "//",
        "javascript:",
        "data:text/html,",
        "file:///",
        "ftp://",
    )
)


def hostile_texts() -> list[str]:
    """The texts; the same in every call."""
    found = [form.replace("PAYLOAD", text) for form, text in product(MARKUP, PAYLOADS)]
    found += [*DIRECTIONS, *CONTROLS, *LINKS]
    found += [first + second for first, second in zip(DIRECTIONS * 3, MARKUP, strict=False)]
    found += [first + second for first, second in zip(CONTROLS * 3, MARKUP, strict=False)]
    found += [
        "",
        " ",
        "-",
        "=",
        "+1",
        "@x",
        "%s%n",
        "\\end{tabular}",
        "\\x00",
        "NaN",
        "null",
        "../../etc",
    ]
    found += ["a" * LARGE, "<b>" * (LARGE // 3), "ء" * LARGE, "x " * (LARGE // 2)]
    found += ["é" * 300, "a\u0301" * 200, "漢字" * 90, "👩‍👩‍👧" * 60, "W" * 500, "i" * 500]
    found += [f"{n}: \u202e<i>{n}" for n in range(200 - len(found))]
    assert len(found) == 200
    return found
