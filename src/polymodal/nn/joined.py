"""Encoders, a fusion and a head as one network, saved in the Hugging Face layout."""

import copy
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from huggingface_hub import PyTorchModelHubMixin, snapshot_download
from huggingface_hub.errors import HFValidationError
from jaxtyping import Bool, Shaped
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from polymodal.nn.encoders import Chain, Encoded, Encoder, Scaler
from polymodal.nn.fusion import Fused, Fusion
from polymodal.nn.heads import Head
from polymodal.nn.members import Spec, build, within
from polymodal.nn.pretrained import Pretrained

WEIGHTS = "model.safetensors"


@runtime_checkable
class Batch(Protocol):
    """What scalers are fitted on: padded inputs, masks and who is present."""

    @property
    def inputs(self) -> Mapping[str, Tensor]:
        """Values "b t d" by part."""

    @property
    def masks(self) -> Mapping[str, Tensor]:
        """True where a position is real, "b t" by part."""

    @property
    def present(self) -> Tensor:
        """True where a sample has the part, "b m"."""


class Joined(nn.Module, PyTorchModelHubMixin, library_name="polymodal"):
    """One encoder a part → fusion → head.

    `names`, the fusion's order of parts, is the order of the columns of `present`. `meta` is a JSON record
    that travels with the weights: classes, reader names, temperature, threshold.

    Raises:
        ValueError: the parts or widths of encoders, fusion and head do not fit, naming which.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        fusion: Fusion,
        head: Head,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if set(encoders) != set(fusion.names):
            raise ValueError(f"encoders for {sorted(encoders)} but fusion of {sorted(fusion.names)}")
        for name, encoder in encoders.items():
            if encoder.dim != fusion.dims[name]:
                raise ValueError(
                    f"part {name!r}: fusion reads {fusion.dims[name]}, encoder gives {encoder.dim}"
                )
        if head.dim != fusion.dim:
            raise ValueError(f"head reads {head.dim} columns, fusion gives {fusion.dim}")
        self.encoders = nn.ModuleDict(encoders)
        self.fusion = fusion
        self.head = head
        self.names = fusion.names
        self.meta: dict[str, Any] = dict(meta or {})

    def forward(
        self,
        inputs: Mapping[str, Shaped[Tensor, "b ..."]],
        masks: Mapping[str, Bool[Tensor, "b _"]],
        present: Bool[Tensor, "b m"],
    ) -> Any:
        """The head's output: logits, scores, or a dictionary of them by task."""
        return self.head(self.fused(inputs, masks, present).vector)

    def fused(
        self,
        inputs: Mapping[str, Shaped[Tensor, "b ..."]],
        masks: Mapping[str, Bool[Tensor, "b _"]],
        present: Bool[Tensor, "b m"],
    ) -> Fused:
        """What the head sees, with the weight of each part.

        Raises:
            ValueError: an unknown part, or one of another width than its encoder reads.
        """
        self.check(inputs, present)
        encoded: dict[str, Encoded] = {}
        for i, name in enumerate(self.names):
            if name in inputs:
                encoded[name] = self.encoders[name](inputs[name], masks[name] & present[:, i, None])
        out: Fused = self.fusion(encoded, present)
        return out

    def check(self, inputs: Mapping[str, Shaped[Tensor, "b ..."]], present: Bool[Tensor, "b m"]) -> None:
        """Refuses inputs that this network was not made for.

        Raises:
            ValueError: naming the part, the expected and the given width.
        """
        known = ", ".join(self.names)
        for name, x in inputs.items():
            if name not in self.encoders:
                raise ValueError(f"unknown part {name!r}; this model knows: {known}")
            width = self.encoders[name].width
            if x.ndim == 3 and x.shape[-1] != width:
                raise ValueError(f"part {name!r}: the model expects width {width}, given {x.shape[-1]}")
        if present.shape[1] != len(self.names):
            raise ValueError(f"present has {present.shape[1]} columns, the model has parts {known}")

    def scalers(self) -> dict[str, Scaler]:
        """The scaler of each part that has one, for the audit's question: fitted on what?"""
        return {name: found[1] for name, e in self.encoders.items() if (found := _scaler(e)) is not None}

    @torch.no_grad()
    def fit_scalers(self, batches: Iterable[Batch], *, digest: str = "") -> "Joined":
        """Fits all scalers in one pass over train batches; `digest` names the rows they saw."""
        found = {name: pair for name, e in self.encoders.items() if (pair := _scaler(e)) is not None}
        for _, scaler in found.values():
            scaler.reset(digest=digest)
        for batch in batches:
            for name, (front, scaler) in found.items():
                if name in batch.inputs:
                    here = batch.present[:, self.names.index(name), None]
                    x, mask = batch.inputs[name], batch.masks[name] & here
                    for encode in front:
                        out = encode(x, mask)
                        x, mask = out.tokens, out.mask
                    scaler.observe(x, mask)
        return self

    def config(self) -> Spec:
        """Everything but the weights, as JSON."""
        return {
            "encoders": [[name, dict(self.encoders[name].spec)] for name in self.names],  # type: ignore[arg-type]
            "fusion": self.fusion.spec,
            "head": self.head.spec,
            "meta": self.meta,
        }

    def cost(self, tokens: Mapping[str, int] | None = None) -> list[dict[str, Any]]:
        """Parameters and multiply-adds of each encoder, the fusion, the head, and of all: rows of a table.

        Counted by running one sample of zeros with `tokens` steps a part (1 where not said) under torch's
        operation counter, which sees matrix products, convolutions, attention and recurrent steps.
        """
        device = next(self.parameters()).device
        members: Any = self.encoders
        inputs = {name: members[name].example((tokens or {}).get(name, 1)).to(device) for name in self.names}
        masks = {name: torch.ones(x.shape[:2], dtype=torch.bool, device=device) for name, x in inputs.items()}
        present = torch.ones(1, len(self.names), dtype=torch.bool, device=device)
        encoded, rows = {}, []
        for name in self.names:
            encoded[name], macs = counted(self.encoders[name], inputs[name], masks[name])
            rows.append(_row(f"encoder {name}", self.encoders[name], macs))
        fused, macs = counted(self.fusion, encoded, present)
        rows.append(_row("fusion", self.fusion, macs))
        rows.append(_row("head", self.head, counted(self.head, fused.vector)[1]))
        return [*rows, _row("all", self, sum(row["macs"] for row in rows))]

    def _save_pretrained(self, save_directory: Path) -> None:
        """Pretrained members go into folders of their own, so that the whole is self-contained."""
        config = copy.deepcopy(self.config())
        outside: list[str] = []
        for part, spec in config["encoders"]:
            homes = [
                (path, m) for path, m in self.encoders[part].named_modules() if isinstance(m, Pretrained)
            ]
            for i, ((path, module), inner) in enumerate(zip(homes, _pretrained(spec), strict=True)):
                inner["name"] = f"{part}-{i}"
                module.save(save_directory / inner["name"])
                outside.append(".".join(x for x in ("encoders", part, path, "model") if x) + ".")
        state = {
            name: tensor.contiguous()
            for name, tensor in self.state_dict().items()
            if not name.startswith(tuple(outside))
        }
        save_file(state, str(save_directory / WEIGHTS), metadata={"format": "pt"})
        self._hub_mixin_config = config

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> "Joined":
        """Loads what `save_pretrained` wrote, from a folder or the hub, in eval mode.

        Raises:
            FileNotFoundError: no saved model there.
        """
        place = pretrained_model_name_or_path
        try:
            model: Joined = super().from_pretrained(place, **options)
        except (OSError, KeyError, HFValidationError) as error:
            raise FileNotFoundError(
                f"no saved model at {place}: expected config.json and {WEIGHTS}"
            ) from error
        return model

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        map_location: str = "cpu",
        strict: bool = True,
        **model_kwargs: Any,
    ) -> "Joined":
        folder = Path(model_id)
        if not folder.is_dir():
            folder = Path(
                snapshot_download(
                    model_id,
                    revision=revision,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    local_files_only=local_files_only,
                    token=token,
                )
            )
        own = load_file(str(folder / WEIGHTS), device=map_location)
        for inner in _pretrained(model_kwargs["encoders"]):
            inner["name"] = str(folder / inner["name"])
        encoders = {name: build(spec) for name, spec in model_kwargs["encoders"]}
        fusion, head = build(model_kwargs["fusion"]), build(model_kwargs["head"])
        model = cls(encoders, fusion, head, model_kwargs["meta"])
        whole = {name: module for name, module in model.named_modules() if isinstance(module, Pretrained)}
        held = {
            f"{name}.model.{key}": x for name, m in whole.items() for key, x in m.model.state_dict().items()
        }
        model.load_state_dict(own | held, strict=strict)
        return model.to(map_location).eval()


def _scaler(encoder: nn.Module) -> tuple[list[Encoder], Scaler] | None:
    """The first scaler of an encoder and what stands before it."""
    chain: list[Any] = list(encoder.members) if isinstance(encoder, Chain) else [encoder]
    for i, link in enumerate(chain):
        if isinstance(link, Scaler):
            return chain[:i], link
    return None


def counted(module: nn.Module, *inputs: Any) -> tuple[Any, int]:
    """What the module answers in eval mode, and how many multiply-adds that took."""
    modes = {m: m.training for m in module.modules()}
    module.eval()
    with torch.no_grad(), warnings.catch_warnings(), FlopCounterMode(display=False) as n:
        warnings.simplefilter("ignore")  # switching it back on speaks of graphics cards
        # fused steps of recurrence and attention hide their products from the counter
        with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
            out = module(*inputs)
    for part, mode in modes.items():
        part.training = mode
    return out, n.get_total_flops() // 2


def _row(name: str, module: nn.Module, macs: int) -> dict[str, Any]:
    return {"name": name, "parameters": sum(p.numel() for p in module.parameters()), "macs": macs}


def _pretrained(spec: Any) -> list[Spec]:
    return [inner for inner in within(spec) if inner["class"] == "Pretrained"]
