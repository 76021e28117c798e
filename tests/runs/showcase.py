"""A finished run with every section, made of small real pictures and sounds and plausible numbers."""

from pathlib import Path

import numpy as np

from polymodal.media import Audio, Image, Part, Series, Text
from polymodal.metrics import Claim, Estimate, above, exact, inside, proportion
from polymodal.runs import Run

SCRIPT = "<script>document.title = 'stolen'</script>"
CLASSES = ["angry", "happy", "excited", "sad", "frustrated", "neutral"]
FULL = [
    ("all", 0.8812, 0.8894, "result"),
    ("text + audio", 0.8473, 0.8561, "result"),
    ("text", 0.7521, 0.7585, "result"),
    ("audio", 0.5763, 0.5815, "result"),
    ("video", 0.4432, 0.4494, "result"),
    ("majority", 0.1684, 0.1667, "baseline"),
    ("logistic", 0.8702, None, "baseline"),
    ("text shuffled", 0.3957, 0.4, "control"),
    ("targets shuffled", 0.1652, 0.1667, "control"),
]
SYNERGY = [
    ("concat + dense", 0.9951, 0.9973, "result"),
    ("low rank", 0.9932, 0.9973, "result"),
    ("concat", 0.5011, 0.5, "baseline"),
    ("audio alone", 0.4984, 0.5, "control"),
]
WORLDS = {"redundant": FULL, "synergy": SYNERGY}
KEPT = {"plain": (0.889, 0.741, 0.566, 0.372, 0.168), "robust": (0.887, 0.789, 0.645, 0.44, 0.167)}
TRUTH = (0.8894, 0.7924, 0.6496, 0.4461, 0.1667)
CONTROLS = {
    "redundant/only text": (0.129, 0.0004),
    "redundant/drop video": (0.034, 0.002),
    "redundant/shuffle audio at test": (0.178, 0.0004),
    "synergy/noise on video, σ 1": (0.011, 0.21),
}
COST = [
    {"name": "concat + dense", "parameters": 5830, "macs": 11_212_800, "steps": 1800, "latency ms": 0.21},
    {"name": "cross-attention", "parameters": 21_446, "macs": 48_640_000, "steps": 1800, "latency ms": 0.74},
]
ABOUT = {
    "text": "Each modality is encoded on its own, the vectors are joined, and one dense layer learns what "
    "they say together. Trained and judged on generated worlds whose right answers are known in closed form.",
    "warning": "For research only: not a way to learn what somebody feels.",
}
FINDINGS = [
    {
        "kind": "class shares differ between splits",
        "severity": "note",
        "where": "train, test",
        "n": 6,
        "evidence": [],
    },
    {
        "kind": "leak gap",
        "severity": "warning",
        "where": "audio",
        "n": 1960,
        "evidence": ["random .583 [.561, .604]", "grouped .168 [.150, .187]", SCRIPT, "a", "b", "c"],
    },
]
INVALID = [
    {"reason": "audio empty", "n": 7, "first": "Ses04F_script02_F011"},
    {"reason": "picture broken", "n": 3, "first": "Ses01M_impro05_M002"},
]


def near(mean: float, n: int = 1960, width: float = 0.018, p: float | None = None) -> Estimate:
    return Estimate(
        mean=mean, low=mean - width, high=mean + width * 0.93, n=n, n_valid=n - 10, n_groups=49,
        method="paired bootstrap" if p is not None else "cluster bootstrap", p=p, better="higher",
    )  # fmt: skip


def curves() -> list[dict[str, object]]:
    random = np.random.default_rng(1)
    rows = []
    for arm, speed in (("concat + dense", 90.0), ("cross-attention", 130.0), ("low rank", 170.0)):
        for seed in range(3):
            for step in range(0, 601, 25):
                noise = random.normal(0, 0.02)
                left = float(np.exp(-step / speed))
                rows.append({"arm": arm, "seed": seed, "step": step, "loss": 0.35 + 1.45 * left + noise,
                             "val": 0.88 - 0.7 * left + noise})  # fmt: skip
    return rows


def pictures() -> list[Part]:
    rows, columns = np.mgrid[0:96, 0:128]
    shades = []
    for turn in range(3):
        wave = np.sin(columns / (9 + 4 * turn)) + np.cos(rows / (7 + 3 * turn))
        shades.append(
            Image(np.stack([120 + 50 * wave, 140 + 30 * wave, 170 - 40 * wave], -1).astype(np.uint8))
        )
    return shades


def examples(run: Run) -> list[dict[str, object]]:
    time = np.arange(8000) / 8000
    words = (
        "I can't believe you came!",
        f"He wrote {SCRIPT} & went home.",
        "Well. That is that, I suppose, and no more.",
    )
    made = []
    for i, (picture, text) in enumerate(zip(pictures(), words, strict=True)):
        sound = (0.4 * np.sin(2 * np.pi * (220 + 110 * i) * time) * np.exp(-3 * time)).astype(np.float32)
        walk = np.random.default_rng(i).normal(size=(200, 2)).cumsum(0)
        parts: dict[str, Part] = {"video": picture, "audio": Audio(sound, rate=8000), "pulse": Series(walk)}
        shown: dict[str, dict[str, str]] = {"text": {"kind": "text", "text": text}}
        shown |= {name: {"kind": part.kind, "path": run.media(part)} for name, part in parts.items()}
        if i == 2:
            shown = {"text": {"kind": "text", "path": run.media(Text(text))}, "pulse": shown["pulse"]}
        made.append(
            {
                "id": f"Ses0{i + 1}F_impro01_M00{i}",
                "group": f"speaker {i + 1}M",
                "parts": shown,
                "target": CLASSES[i],
                "prediction": CLASSES[i] if i < 2 else "neutral",
                "probability": 0.91 - 0.2 * i,
                "present": list(shown),
            }
        )
    return made


def talks(run: Run) -> None:
    """Answers: a conversation with a picture and verdicts, one withheld, curves and a table."""
    picture = run.media(pictures()[0])
    turns = [
        {"role": "user", "text": f"What is this? {SCRIPT}"},
        {"role": "user", "path": picture},
        {"role": "assistant", "text": "مربع أحمر"},
        {"role": "assistant", "withheld": "9f86d081884c"},
        {"role": "user", "path": "media/gone.png"},
    ]
    verdicts = [
        {"judge": "exact rule", "score": "defect", "value": 1, "reason": ""},
        {"judge": "panel", "score": "refusal", "value": None, "reason": "two_labels"},
    ]
    talk = {"id": "c1", "title": "Zorb flag, turn 3 of 5", "tags": {"harm": "colour"}, "turns": turns}
    run.section("conversations", [{**talk, "verdicts": verdicts}, {**talk, "id": "c2"}])
    run.section("disagreements", [{"id": "post 7", "turns": [{"role": "post", "text": "sarkana zvaigzne"}]}])
    rows = [
        {"arm": arm, "x": turn, "estimate": near(1 - turn * drop), "expected": 1 - turn * drop}
        for arm, drop in (("open", 0.05), ("strict", 0.02))
        for turn in range(1, 7)
    ]
    run.section("curves", [{"title": "Survival by turn", "x": "turn", "y": "no defect yet", "rows": rows}])
    table = {"title": "Judges", "note": "Pairs of judges.", "columns": ["pair", "kappa", "n"]}
    run.section("tables", [{**table, "rows": [["rule and panel", 0.61, 360], ["rule and person", None, 0]]}])


def sections(run: Run) -> None:
    run.section("about", ABOUT)
    known = [
        (f"{world}/{label}", role, truth) for world, rows in WORLDS.items() for label, _, truth, role in rows
    ]
    run.section("legend", {name: {"role": role, "expected": truth} for name, role, truth in known})
    run.section("learning", curves())
    matrix = np.full((6, 6), 7) + np.diag([260, 281, 240, 301, 266, 255])
    matrix[2, 1], matrix[4, 0] = 48, 37
    run.section("confusion", {"classes": CLASSES, "matrix": matrix})
    bins = [
        {"confidence": c, "accuracy": c + 0.03 * np.sin(9 * c), "n": 130} for c in np.linspace(0.22, 0.97, 12)
    ]
    bins.append({"confidence": None, "accuracy": None, "n": 0})
    before = [{**row, "accuracy": row["accuracy"] - 0.08} for row in bins if row["n"]]
    run.section("calibration", {"bins": bins, "before": before})
    run.section(
        "groups",
        [{"group": f"speaker {n:02d}", "estimate": near(0.80 + 0.012 * n, 40, 0.05)} for n in range(9)],
    )
    points = [(arm, i, y) for arm, ys in KEPT.items() for i, y in enumerate(ys)]
    lost = [{"arm": arm, "p": i / 4, "estimate": near(y), "expected": TRUTH[i]} for arm, i, y in points]
    run.section("missing", [{**row, "expected": None} if row["arm"] == "plain" else row for row in lost])
    controls = [
        {"name": k, "estimate": near(0.881 - d), "difference": near(d, p=p)} for k, (d, p) in CONTROLS.items()
    ]
    run.section("controls", [*controls, {"name": "prior", "estimate": near(0.17), "difference": None}])
    run.section("findings", FINDINGS)
    run.section("invalid", INVALID)
    run.section("examples", examples(run))
    talks(run)
    run.section("cost", COST)
    run.section("notes", ["IEMOCAP is not here, so its claim stays undetermined.", "Seeds 0, 1 and 2."])


def showcase(root: Path) -> Path:
    """Make the run under `root` and return its folder."""
    config = {
        "parts": ("text", "audio", "video"),
        "dim": 32,
        "lr": 0.003,
        "seed": 0,
        "text": None,
        "note": f"<b> {SCRIPT}",
    }
    run = Run.create("sentiment_fusion", config, root, title="sentiment fusion")
    sections(run)
    estimates = {f"redundant/{label}": near(mean) for label, mean, *_ in FULL}
    estimates |= {
        "redundant/all − text": near(0.129, p=0.0005),
        "redundant/concat − attention": near(0.004, p=0.34),
    }
    estimates |= {f"synergy/{label}": proportion(round(mean * 1960), 1960) for label, mean, *_ in SYNERGY}
    nan = float("nan")
    estimates["iemocap/accuracy"] = Estimate(
        mean=nan, low=nan, high=nan, n=0, n_valid=0, reason="the data is not here"
    )
    estimates["cost/parameters"] = exact(5830)
    estimates[f'odd/{SCRIPT}" onload="x'] = near(0.5)
    claims = [
        Claim("All parts together beat the best one.", "-", above("redundant/all − text", 0.05)),
        Claim(
            "Concatenation is as good as attention.",
            "or better",
            above("redundant/concat − attention", -0.02),
        ),
        Claim("Accuracy reaches 92 % on six emotions.", ".92", inside("iemocap/accuracy", 0.92)),
        Claim("Audio alone is better than text.", "-", above("synergy/audio alone", 0.6)),
    ]
    judged = [(claim, *claim.judge(estimates)) for claim in claims]
    run.table("predictions.parquet", {"id": ["a", "b"], "prediction": ["sad", "angry"]})
    run.finish(estimates, judged, {"worlds": "8c1f60a2b7d94e05b4f2a1c3d5e6f708"})
    return run.folder
