"""How sure a share of passes is, and whether two models differ; pure, exact where it can be, nothing is drawn at random.

The unit is the case. Asked k times it counts once, with the share of its k answers that passed: more repeats make that share
steadier and never make an interval narrower than the number of cases allows. (The variance of a mean of n shares in [0, 1]
is at most p(1-p)/n, which is what the interval takes it for.) With one answer a case all of this is the textbook's:

- share: Wilson's score interval (E. B. Wilson 1927; R. G. Newcombe, Statistics in Medicine 17 (1998) 857, method 3);
- difference of two models on the same cases: Newcombe's square-and-add interval of paired proportions with a corrected
  coefficient of correlation (Statistics in Medicine 17 (1998) 2635, method 10);
- p-value: McNemar's exact test. For repeats it is the exact sign-flip test of the differences, of which McNemar's is the
  case k = 1.

What is counted are cases of this suite: an interval says how far another suite *like this one* may give another share, and
nothing of questions that are unlike it.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Final, NamedTuple

Z: Final = 1.959963984540054
"""The normal quantile of a two-sided interval of 95 %."""

CHANCE: Final = 0.05
"""A difference is called more than chance below this p-value."""


class Share(NamedTuple):
    """A share with its interval of 95 %."""

    share: float
    low: float
    high: float


class Difference(NamedTuple):
    """The second share less the first, of `cases` that both were asked; `better` and `worse` count cases."""

    cases: int
    better: int
    worse: int
    difference: float
    low: float
    high: float
    p: float

    @property
    def more_than_chance(self) -> bool:
        return self.p < CHANCE


def share_of(shares: Sequence[Fraction]) -> Share:
    """The mean of the cases' shares with Wilson's interval. At least one case."""
    return wilson(float(sum(shares, Fraction(0)) / len(shares)), len(shares))


def wilson(share: float, cases: int) -> Share:
    """Wilson's score interval, without correction for continuity."""
    spread = Z * Z / cases
    centre = share + spread / 2
    reach = Z * math.sqrt(share * (1 - share) / cases + spread / (4 * cases))
    low = 0.0 if share == 0 else (centre - reach) / (1 + spread)
    high = 1.0 if share == 1 else (centre + reach) / (1 + spread)
    return Share(share, low, high)


def compare(first: Sequence[Fraction], second: Sequence[Fraction]) -> Difference:
    """Two models on the same cases, in the same order; at least one case."""
    pairs = list(zip(first, second, strict=True))
    gains = [after - before for before, after in pairs]
    one, two = share_of(first), share_of(second)
    phi = _correlation(pairs)
    low, high = _reach(two.share - two.low, one.high - one.share, phi), _reach(two.high - two.share, one.share - one.low, phi)
    difference = two.share - one.share
    return Difference(
        cases=len(pairs), better=sum(gain > 0 for gain in gains), worse=sum(gain < 0 for gain in gains),
        difference=difference, low=difference - low, high=difference + high, p=sign_flip(gains),
    )  # fmt: skip


def _reach(own: float, other: float, phi: float) -> float:
    return math.sqrt(max(0.0, own * own - 2 * phi * own * other + other * other))


def _correlation(pairs: Sequence[tuple[Fraction, Fraction]]) -> float:
    """Newcombe's corrected phi: with answers that pass or fail, the fourfold table's ad - bc is n² times the covariance."""
    count = len(pairs)
    one = sum((pair[0] for pair in pairs), Fraction(0))
    two = sum((pair[1] for pair in pairs), Fraction(0))
    product = one * (count - one) * two * (count - two)
    if not product:
        return 0.0
    together = count * sum((before * after for before, after in pairs), Fraction(0)) - one * two
    if together > 0:
        together = max(together - Fraction(count, 2), Fraction(0))
    return float(together) / math.sqrt(product)


def sign_flip(differences: Sequence[Fraction]) -> float:
    """The probability of a sum at least as far from 0 if each difference were as likely the other way round.

    Exact: differences of one size are a binomial, sizes are folded into each other.
    """
    scale = math.lcm(*(value.denominator for value in differences)) if differences else 1
    sizes: dict[int, int] = {}
    for value in differences:
        size = abs(int(value * scale))
        if size:
            sizes[size] = sizes.get(size, 0) + 1
    ways = {0: 1}
    for size, count in sizes.items():
        ways = _folded(ways, size, count)
    seen = abs(int(sum(differences, Fraction(0)) * scale))
    extreme = sum(way for total, way in ways.items() if abs(total) >= seen)
    return float(Fraction(extreme, 1 << sum(sizes.values())))


def _folded(ways: dict[int, int], size: int, count: int) -> dict[int, int]:
    """How many choices of signs lead to each sum, after `count` more differences of a size."""
    found: dict[int, int] = {}
    chosen = 1
    for negative in range(count + 1):
        step = size * (count - 2 * negative)
        for total, way in ways.items():
            found[total + step] = found.get(total + step, 0) + way * chosen
        chosen = chosen * (count - negative) // (negative + 1)
    return found
