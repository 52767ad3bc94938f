"""User text on its way into C: names, comments and string literals.

Nothing a user wrote reaches a generated file but through these functions.

    c_name("model.0.weight")      -> "model_0_weight"
    c_name("α")                   -> "alpha"
    c_name("int")                 -> "int_"
    c_comment("done */ int x;")   -> "done * / int x;"
    c_string('say "hi"')          -> '"say \\"hi\\""'
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from gradc.tracer.errors import ArgumentError

MAX_LENGTH = 48
MAX_EXPORTED = 63


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


C_KEYWORDS = _words(
    "auto break case char const continue default do double else enum extern float for goto if "
    "inline int long register restrict return short signed sizeof static struct switch typedef "
    "union unsigned void volatile while _Alignas _Alignof _Atomic _Bool _Complex _Decimal128 "
    "_Decimal32 _Decimal64 _Generic _Imaginary _Noreturn _Static_assert _Thread_local alignas "
    "alignof bool constexpr false nullptr static_assert thread_local true typeof typeof_unqual "
    "asm fortran"
)
CPP_KEYWORDS = _words(
    "and and_eq bitand bitor catch char16_t char32_t char8_t class co_await co_return co_yield "
    "compl concept const_cast consteval constinit decltype delete dynamic_cast explicit export "
    "friend import module mutable namespace new noexcept not not_eq operator or or_eq private "
    "protected public reinterpret_cast requires static_cast template this throw try typeid "
    "typename using virtual wchar_t xor xor_eq final override"
)
# Predefined by compilers in GNU mode, or by headers a user's file may include with ours.
MACROS = _words(
    "linux unix i386 arm mips sun vax hpux sgi PPC R3000 I NULL EOF TRUE FALSE BIG_ENDIAN "
    "LITTLE_ENDIAN M_PI M_E INFINITY NAN HUGE_VAL DOMAIN OVERFLOW UNDERFLOW SING PLOSS TLOSS "
    "assert errno stdin stdout stderr offsetof near far min max major minor makedev complex "
    "imaginary minimum vector pixel signbit isnan isinf"
)
# Types every generated file names, and what no file may define.
TAKEN = _words("main size_t ptrdiff_t intptr_t uintptr_t wchar_t")
TYPES = re.compile(r"u?int(8|16|32|64)_t|U?INT(8|16|32|64)_(MIN|MAX|C)")
# Functions of the C library, which compilers know without a header and warn about.
LIBRARY = _words(
    "abort abs acos acosh alloca asin asinh atan atan2 atanh atoi bcmp bcopy bzero calloc cbrt "
    "ceil conj copysign cos cosh creal cimag div erf erfc exit exp exp10 exp2 expm1 fabs fdim "
    "ffs floor fma fmax fmin fmod free frexp gamma hypot ilogb index j0 j1 jn labs ldexp lgamma "
    "llabs llrint log log10 log1p log2 logb lrint malloc memchr memcmp memcpy memmove memset modf "
    "nan nearbyint nextafter pow pow10 printf putchar puts realloc remainder remquo rindex rint "
    "round roundeven scalb scalbn sin sincos sinh snprintf sprintf sqrt strcat strchr strcmp "
    "strcpy strlen strncpy tan tanh tgamma time tolower toupper trunc y0 y1 yn carg cexp clog "
    "cpow csqrt drem significand isalpha isdigit isspace finite signal exec fork"
)
RESERVED = C_KEYWORDS | CPP_KEYWORDS | MACROS | TAKEN | LIBRARY


def is_reserved(name: str) -> bool:
    """Whether a generated file must not define `name`."""
    plain = name.removesuffix("f").removesuffix("l")
    return (
        name in RESERVED
        or plain in LIBRARY
        or name.lower().startswith("gradc_")
        or name.startswith("_")
        or "__" in name
        or TYPES.fullmatch(name) is not None
    )


def _ascii_letter(char: str) -> str:
    """An ASCII spelling of one character: its base letter, a Greek letter's name, or `_`."""
    if char.isascii():
        return char if char.isalnum() else "_"
    base = unicodedata.normalize("NFKD", char)
    plain = "".join(c for c in base if c.isascii() and c.isalnum())
    if plain:
        return plain
    words = unicodedata.name(char, "").split()
    if "LETTER" in words and words[0] == "GREEK":
        letter = words[words.index("LETTER") + 1]
        return letter.lower() if "SMALL" in words else letter.capitalize()
    return "_"


def c_name(text: str, kind: str = "v") -> str:
    """An identifier that is valid in C and in C++, as close to `text` as that allows.

    Args:
        text: anything, an empty string included.
        kind: put before names that begin with no letter: `c_name("0.bias", "w")` is `w0_bias`.
    """
    spelt = "".join(map(_ascii_letter, text[: 4 * MAX_LENGTH]))
    name = re.sub(r"_+", "_", spelt).strip("_")[:MAX_LENGTH].rstrip("_")
    if not name or not name[0].isalpha():
        name = kind + name
    if name.lower().startswith("gradc_"):
        name = f"{kind}_{name}"
    return f"{name}_" if is_reserved(name) else name


class Names:
    """The identifiers of one scope: each key is given a C name of its own, and keeps it.

    A scope nested in another (`outer`) does not reuse the outer one's names. Names to `avoid` are
    not given out here, but a nested scope may use them.
    """

    def __init__(
        self, taken: Iterable[str] = (), outer: Names | None = None, avoid: Iterable[str] = ()
    ) -> None:
        self._taken = set(taken)
        self._avoid = frozenset(avoid)
        self._names: dict[object, str] = {}
        self._next: dict[str, int] = {}  # the last number tried, so that n equal names cost n
        self._outer = outer

    def __getitem__(self, key: object) -> str:
        return self._names[key]

    def __contains__(self, key: object) -> bool:
        return key in self._names

    def is_taken(self, name: str) -> bool:
        """Whether the scope, or one around it, holds `name`."""
        return name in self._taken or (self._outer is not None and self._outer.is_taken(name))

    def reserve(self, name: str) -> str:
        """Take exactly `name`."""
        self._taken.add(name)
        return name

    def alias(self, key: object, name: str) -> None:
        """Let `key` stand for `name`, which is taken already."""
        self._names[key] = name

    def pick(self, key: object, text: str, kind: str = "v") -> str:
        """The name of `key`, made from `text` on first sight."""
        if key not in self._names:
            self._names[key] = self.fresh(text, kind)
        return self._names[key]

    def fresh(self, text: str, kind: str = "v") -> str:
        """A name made from `text` that nothing else in the scope has."""
        base = name = c_name(text, kind)
        while self.is_taken(name) or name in self._avoid:
            number = self._next[base] = self._next.get(base, 1) + 1
            name = f"{base.rstrip('_')}_{number}"
        return self.reserve(name)


def check_exported(name: str) -> str:
    """`name`, if a function can be exported under it.

    Raises:
        ArgumentError: it is no identifier, too long, or reserved in C or C++.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name, re.ASCII) or len(name) > MAX_EXPORTED:
        raise ArgumentError(
            f"{name!r} cannot be the name of an exported C function",
            hint=f"use at most {MAX_EXPORTED} letters, digits and _, a letter first",
        )
    if is_reserved(name):
        raise ArgumentError(
            f"{name!r} cannot be the name of an exported C function: it has a meaning of its own "
            "in C or C++",
            hint=f"for example {name.strip('_')}_fn",
        )
    return name


_TRIGRAPH = re.compile(r"\?(?=\?)")


def c_comment(text: str, limit: int = 200) -> str:
    """`text` as it may stand inside `/* ... */`: one line of ASCII that cannot end the comment."""
    line = "".join(" " if c.isspace() else c for c in text).strip()
    shown = "".join(c if " " <= c <= "~" else _escape(c) for c in line)
    if len(shown) > limit:
        shown = shown[: limit - 3].rstrip() + "..."
    shown = _TRIGRAPH.sub("? ", shown)
    shown = re.sub(r"\*(?=/)", "* ", shown)
    shown = re.sub(r"/(?=\*)", "/ ", shown)
    # Nothing may join with what the printer puts around it: `*` + `/`, or a `\` at a line's end.
    if shown[-1:] in ("*", "/", "\\", "?"):
        shown += " ."
    return f". {shown}" if shown[:1] in ("*", "/") else shown


def _escape(char: str) -> str:
    """A character outside ASCII, by its number."""
    return f"<U+{ord(char):04X}>"


def c_string(text: str) -> str:
    """A C string literal of the UTF-8 bytes of `text` (up to a NUL, which would end it)."""
    out = []
    for byte in text.encode("utf-8", "replace").split(b"\0")[0]:
        char = chr(byte)
        if char in '"\\?':
            out.append("\\" + char)
        elif " " <= char <= "~":
            out.append(char)
        else:
            out.append(f"\\{byte:03o}")
    return '"' + "".join(out) + '"'
