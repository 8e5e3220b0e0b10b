"""Which pairs stand out where many images look alike: aligned faces, clothes or fruit on an empty background.

Different images of such a set agree far better than different photographs do, and how well depends on the set: of the pairs of
trousers in fashion-mnist one in a hundred has a trimmed correlation of 0.97, of face-like crops one of 0.8. So no fixed
threshold serves. The pairs themselves tell what different images have in common: nearly all candidates are different images.

The *residual* of a pair is 1 − its trimmed correlation (`_registration`), which a local edit does not raise. The negative
logarithms of the residuals of different images have a tail that falls off like that of a normal distribution, or faster. That
normal distribution is fitted to two of their upper quantiles, which a few true pairs do not move, and gives each pair a
p-value. The pairs kept are those of the procedure of Benjamini & Hochberg, so that at most 1 % of them are expected to be
wrong. If more than a tenth of all candidates are true pairs (frames of a video), the fit is too wide, and pairs are lost.

Sources: Efron (2004), "Large-scale simultaneous hypothesis testing: the choice of a null hypothesis", JASA 99 (an empirical
    null);
Benjamini & Hochberg (1995), JRSS B 57. Copy detection normalizes similarities by those to other images for the same reason:
Douze et al. (2021), "The 2021 Image Similarity Dataset and Challenge".
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

#: An image that resembles more others than this looks like many: the thresholds for photographs do not serve for it.
MANY = 16
#: Expected share of wrong pairs among those that stand out.
WRONG = 0.01
_QUANTILES = (0.75, 0.90)
#: Of fewer pairs the quantiles are too uncertain, and none stands out.
_FEWEST = 100


def stand_out(trimmed: np.ndarray) -> np.ndarray:
    """Which pairs agree better than different images of the set do: (P,) bool.

    Args:
        trimmed: (P,) float32, trimmed correlations of pairs of which at most a tenth are the same image.

    >>> different = np.tanh(np.random.default_rng(0).normal(0.5, 0.3, 1000))
    >>> stand_out(np.append(different, [0.99, 0.999])).nonzero()[0].tolist()
    [1000, 1001]
    """
    if len(trimmed) < _FEWEST:
        return np.zeros(len(trimmed), bool)
    closeness = -np.log(np.maximum(1 - trimmed.astype(np.float64), 1e-6))
    (low, high), (z_low, z_high) = np.quantile(closeness, _QUANTILES), norm.ppf(_QUANTILES)
    spread = max((high - low) / (z_high - z_low), 1e-6)
    p = norm.sf(z_low + (closeness - low) / spread)
    return p <= _largest_kept(p)


def _largest_kept(p: np.ndarray) -> float:
    """The largest p-value that Benjamini and Hochberg's procedure keeps; −1 if it keeps none. p: (P,) float64."""
    ordered = np.sort(p)
    kept = np.flatnonzero(ordered <= WRONG * np.arange(1, len(p) + 1) / len(p))
    return float(ordered[kept[-1]]) if len(kept) else -1.0
