r"""One value of an answer: an expression, read by math-verify's parser and compared exactly or at high precision.

Two values are equal where
    they are rational numbers and the same, computed exactly up to `EXACT_BITS` bits; or else
    they agree to 70 of `DIGITS` correct digits (the precision is raised until so many are correct, whatever cancels).
    With variables, at fixed generic points, positive, negative and complex, so that `|x|` is not `x` and
    `\sqrt{1/n}` is not `1/\sqrt{n}`: nothing is assumed about a variable.

Decimals are exact (`0.5` is 1/2; `1.414` is not `\sqrt2`). `e` is Euler's number and `i` the imaginary unit. Left
out: reading (`answer_latex.py`); lists, equations and other forms (`symbolic.py`). Sympy may hang on a value: for
`verifier_worker.py` only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from math import comb, factorial, log2
from typing import Any

from artifact.tasks.answer_latex import Unreadable, parse_value

EXACT_BITS = 20_000
"""Largest numerator and denominator, in bits, of a rational number that is computed exactly."""

DIGITS = 100
"""Correct digits to which other values are computed."""

MOST_DIGITS = 5000
"""Working precision at which a value that is still nothing but rounding is zero."""

POINTS = 4
STEPPED_POINTS = 8


def same_value(gold: str, found: str) -> bool:
    """Whether two LaTeX expressions have the same value. Raises Unreadable where one has none."""
    a, b = Value.of(gold), Value.of(found)
    if a.same(b):
        return True
    if a.degrees != b.degrees:  # an angle against a plain number: radians, unless the number itself is the same
        return Value.of(gold, radians=True).same(Value.of(found, radians=True))
    return False


class Value:
    """A parsed expression, with its exact value where it is rational, and its values at the fixed points."""

    def __init__(self, text: str, radians: bool) -> None:
        self.text = text
        self.degrees = text.rstrip(" .").endswith(r"^\circ") and re.match(r"\\?(?:sin|cos|tan|cot)", text) is None
        self.expression = parse_value(text, radians)
        if getattr(self.expression, "has", lambda *_: False)(*_undefined()):
            raise Unreadable(f"{text[:100]!r} has no value")
        self.symbols = frozenset(map(str, getattr(self.expression, "free_symbols", ()))) - {"i"}
        self._at: dict[tuple[int, int], Any] = {}
        self._number: Fraction | str | None = "unknown"

    @staticmethod
    @lru_cache(maxsize=4096)
    def of(text: str, radians: bool = False) -> Value:
        """The value of `text`, kept for the next question about it."""
        return Value(text, radians)

    @property
    def is_special(self) -> bool:
        """Infinite, a set, a truth value or a matrix: compared by structure."""
        import sympy as sp

        e = self.expression
        infinite = e in (sp.oo, -sp.oo, sp.zoo) if isinstance(e, sp.Basic) else False
        return bool(infinite or not isinstance(e, sp.Expr) or getattr(e, "is_Matrix", False))

    def number(self) -> Fraction | None:
        """The exact rational value; None where it is none, or too large."""
        if self._number == "unknown":
            self._number = _exact(self.expression)
        return self._number  # type: ignore[return-value]

    def at(self, point: int, digits: int) -> Any:
        """The complex value at one of the fixed points, to so many digits. Raises Unreadable where there is none."""
        key = (point, digits)
        if key not in self._at:
            self._at[key] = _evaluate(self.expression, point, digits)
        return self._at[key]

    def same(self, other: Value) -> bool:
        """Equality as the module says."""
        if self.is_special or other.is_special:
            return _same_special(self.expression, other.expression)
        a, b = self.number(), other.number()
        if a is not None and b is not None:
            return a == b
        points = range(_points(self, other))
        return all(_vanishes(self, other, point) for point in points)


def _same_special(a: Any, b: Any) -> bool:
    import sympy as sp

    if isinstance(a, sp.MatrixBase) and isinstance(b, sp.MatrixBase):
        return a.shape == b.shape and all(
            _vanishes(x, y, point)
            for x, y in zip(map(_of, a.flat()), map(_of, b.flat()), strict=True)
            for point in range(_points(x, y))
        )
    if isinstance(a, sp.MatrixExpr | sp.MatrixBase) and isinstance(b, sp.MatrixExpr | sp.MatrixBase):
        return bool(sp.simplify(a.doit() - b.doit()).is_zero_matrix)
    if isinstance(a, bool | sp.logic.boolalg.BooleanAtom) or isinstance(b, bool | sp.logic.boolalg.BooleanAtom):
        return False  # a relation that collapsed says nothing
    return bool(type(a) is type(b) and a == b)


def _points(a: Value, b: Value) -> int:
    """Number of fixed points to compare at: more where a value changes in steps, and none is needed for a constant."""
    import sympy as sp

    stepped = any(v.expression.has(sp.floor, sp.ceiling, sp.Max, sp.Min, sp.sign, sp.Mod) for v in (a, b))
    return (STEPPED_POINTS if stepped else POINTS) if a.symbols | b.symbols else 1


def _of(expression: Any) -> Value:
    value = object.__new__(Value)
    value.text, value.degrees, value.expression = str(expression), False, expression
    value.symbols = frozenset(map(str, expression.free_symbols)) - {"i"}
    value._at, value._number = {}, "unknown"
    return value


def _vanishes(a: Value, b: Value, point: int) -> bool:
    import mpmath

    with mpmath.workdps(DIGITS):
        x, y = a.at(point, DIGITS), b.at(point, DIGITS)
        size = max(abs(x), abs(y))
        if a.symbols | b.symbols or size < mpmath.mpf(10) ** 50:
            return bool(abs(x - y) <= size * mpmath.mpf(10) ** -70)
        extra = int(mpmath.log10(size))  # large constants may differ by units: their digits before the point count, too
    if extra > MOST_DIGITS:
        return bool(a.expression == b.expression)
    with mpmath.workdps(DIGITS + extra):
        return bool(abs(a.at(point, DIGITS + extra) - b.at(point, DIGITS + extra)) < mpmath.mpf(10) ** -60)


def _undefined() -> tuple[Any, ...]:
    import sympy as sp

    return sp.zoo, sp.nan


def _bits(x: Fraction) -> int:
    return max(x.numerator.bit_length(), x.denominator.bit_length())


def _exact(e: Any) -> Fraction | None:
    """The rational value of a sympy expression by exact arithmetic, bounded by EXACT_BITS; None where it has none."""
    import sympy as sp

    if isinstance(e, sp.Rational):
        value: Fraction | None = Fraction(int(e.p), int(e.q))
        return value if value is not None and _bits(value) <= EXACT_BITS else None
    args = [_exact(a) for a in e.args] if isinstance(e, sp.Basic) and e.args else []
    if not args or any(a is None for a in args):
        return None
    x = [a for a in args if a is not None]
    if isinstance(e, sp.Add):
        value = sum(x, Fraction(0))
    elif isinstance(e, sp.Mul):
        value = Fraction(1)
        for factor in x:
            if _bits(value) + _bits(factor) > 2 * EXACT_BITS:
                return None
            value *= factor
    elif isinstance(e, sp.Pow):
        base, exponent = x
        if exponent.denominator != 1 or (base == 0 and exponent < 0):
            return None
        if abs(exponent) * max(log2(max(abs(base.numerator), 1)), log2(base.denominator), 1) > EXACT_BITS:
            return None
        value = base ** int(exponent)
    elif isinstance(e, sp.factorial):
        value = Fraction(factorial(int(x[0]))) if x[0].denominator == 1 and 0 <= x[0] <= 1500 else None
    elif isinstance(e, sp.binomial):
        n, k = x
        whole = n.denominator == k.denominator == 1 and 0 <= k <= n <= 5000
        value = Fraction(comb(int(n), int(k))) if whole else None
    elif isinstance(e, sp.Abs):
        value = abs(x[0])
    elif isinstance(e, sp.UnevaluatedExpr):
        value = x[0]
    else:
        return None
    return value if value is not None and _bits(value) <= EXACT_BITS else None


def _point(name: str, index: int) -> Any:
    """The value of a variable at a fixed point: positive, negative, complex, then positive and ever larger."""
    import mpmath

    seed = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
    size = mpmath.mpf(seed % 99_991) / 99_991 + mpmath.mpf(1) / 3
    other = mpmath.mpf(seed // 99_991 % 99_989) / 99_989 + mpmath.mpf(1) / 7
    return (
        [size, -size - other, mpmath.mpc(other, size)][index]
        if index < 3
        else 3 + (size * 2 + other) * 5 ** (index - 3)
    )


def _log(mp: Any, x: Any, base: Any = None) -> Any:
    return mp.log(x) if base is None else mp.log(x) / mp.log(base)


def _real(x: Any) -> Any:
    return x.real if getattr(x, "imag", 0) == 0 else x


def _functions() -> Mapping[str, Callable[..., Any]]:
    import mpmath as mp

    direct = "sin cos tan cot sec csc asin acos atan acot asec acsc sinh cosh tanh coth asinh acosh atanh exp floor"
    table = {name: getattr(mp, name) for name in direct.split()}
    return table | {
        "log": lambda *a: _log(mp, *a),
        "Abs": abs,
        "ceiling": mp.ceil,
        "factorial": mp.factorial,
        "binomial": mp.binomial,
        "gamma": mp.gamma,
        "zeta": mp.zeta,
        "Max": lambda *a: max(map(_real, a)),
        "Min": lambda *a: min(map(_real, a)),
        "re": mp.re,
        "im": mp.im,
        "arg": mp.arg,
        "conjugate": mp.conj,
        "sign": mp.sign,
        "UnevaluatedExpr": lambda x: x,
    }


def _evaluate(expression: Any, point: int, digits: int) -> Any:
    import mpmath
    import sympy as sp

    if expression.has(sp.Sum, sp.Product, sp.Integral, sp.Limit, sp.Derivative):
        expression = expression.doit()
    functions = _functions()

    def value(e: Any) -> Any:
        if isinstance(e, sp.Rational):
            return mpmath.mpf(int(e.p)) / int(e.q)
        if isinstance(e, sp.Symbol):
            return mpmath.mpc(0, 1) if e.name == "i" else _point(e.name, point)
        if isinstance(e, sp.Add):
            return mpmath.fsum(map(value, e.args))
        if isinstance(e, sp.Mul):
            return mpmath.fprod(map(value, e.args))
        if isinstance(e, sp.Pow):
            base, exponent = map(value, e.args)
            if mpmath.isint(exponent) and abs(exponent) < 1e9:
                return mpmath.power(base, int(exponent.real))
            return mpmath.power(base, exponent)
        if e is sp.I:
            return mpmath.mpc(0, 1)
        if not e.args and getattr(e, "is_number", False):
            return mpmath.mpmathify(e.evalf(digits + 10))
        name = type(e).__name__
        if isinstance(e, sp.core.function.AppliedUndef):  # an unknown function: any fixed generic one will do
            seeds = [_point(f"{name}/{k}", 0) for k in range(len(e.args) + 1)]
            return mpmath.cos(seeds[0] + mpmath.fsum(s * value(a) for s, a in zip(seeds[1:], e.args, strict=True)))
        if name in functions:
            return functions[name](*map(value, e.args))
        raise Unreadable(f"no value for {name}")

    def computed(precision: int) -> Any:
        with mpmath.workdps(precision):
            try:
                result = value(expression)
            except (ZeroDivisionError, OverflowError) as err:
                raise Unreadable(f"no value: {err}") from err
            if not mpmath.isfinite(abs(result)):
                raise Unreadable("no finite value")
            return result

    precision, before = digits + 15, None
    while precision <= max(MOST_DIGITS, 4 * digits):
        now = computed(precision)
        with mpmath.workdps(precision):
            if now != 0 and before is not None and abs(now - before) <= abs(now) * mpmath.mpf(10) ** -digits:
                return now
        precision, before = (precision + 30 if before is None else 2 * precision), now
    return mpmath.mpf(0)
