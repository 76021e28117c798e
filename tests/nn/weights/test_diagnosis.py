"""Distances by layer and module against plain formulas; strangers are called so."""

from pathlib import Path

import pytest
import torch
from tests.nn.weights.models import decoder, family, saved

from polymodal.nn.weights import Recipe, diagnosis, plan, strangers


def test_distances_are_their_formulas(tmp_path: Path) -> None:
    base, own, other = family()
    folders = [saved(tmp_path / n, s) for n, s in (("a", own), ("b", other), ("base", base))]
    rows = diagnosis(plan(folders[0], folders[1:2], Recipe("ties_count"), base=folders[2]))
    row = next(row for row in rows if (row.layer, row.module) == (1, "mlp"))
    names = [f"model.layers.1.mlp.{part}_proj.weight" for part in ("gate", "up", "down")]
    v, r, b = (torch.cat([state[n].ravel() for n in names]).double() for state in (own, other, base))
    assert row.n == len(v)
    assert row.ratio == pytest.approx(float((r - b).norm() / (v - b).norm()), rel=1e-5)
    assert row.cosine == pytest.approx(float(torch.cosine_similarity(v - b, r - b, 0)), abs=1e-5)
    assert row.conflict == pytest.approx(
        float(((v - b).sign() * (r - b).sign() < 0).double().mean()), abs=1e-6
    )
    assert row.distance == pytest.approx(float((v - r).norm() / v.norm()), rel=1e-5)
    assert row.likeness == pytest.approx(float(torch.cosine_similarity(v, r, 0)), rel=1e-5)
    assert not strangers(rows)
    assert len(rows) == 3 * 3 + 1


def test_another_initialisation_is_flagged_and_no_base_needed(tmp_path: Path) -> None:
    _, own, _ = family()
    rows = diagnosis(plan(saved(tmp_path / "a", own), [saved(tmp_path / "b", decoder(77))], Recipe()))
    assert all(row.ratio != row.ratio for row in rows)
    assert "6 of 6 modules are as far from the target as an unrelated initialisation" in strangers(rows)[0]
