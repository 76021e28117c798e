"""A small cohort for the tests: two parts that show the class, twelve speakers."""

import numpy as np

from polymodal.media import Sample, Series

DIMS = {"face": 3, "voice": 4}
WAYS = dict.fromkeys(DIMS, ("series", "series"))


def people(speakers=12, each=10, scores=False, seed=0):
    rng = np.random.default_rng(seed)
    samples = []
    for g in range(speakers):
        for i in range(each):
            y = rng.integers(3) if not scores else rng.uniform(-3, 3)
            signal = np.eye(3)[y] * 2 if not scores else np.full(3, y)
            parts = {}
            for name, dim in DIMS.items():
                x = rng.normal(size=dim)
                x[:3] += signal
                parts[name] = Series(x)
            tags = {"city": f"c{g % 4}", "start": float(i)}
            target = float(y) if scores else "abc"[y]
            samples.append(Sample(f"p{g:02d}-{i:02d}", parts, target, f"p{g:02d}", tags))
    return samples
