"""How a family's models are kept by transformers: settings and tensors, both ways, by the model's own `layout`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from clew.config import load_class
from clew.contracts import Adapter, Model
from clew.errors import RunError
from clew.models.layout import Layout, Names
from clew.nn.low_rank import merged_state


def adapter_of(model: Model) -> Adapter:
    """Return the adapter of a model's family; clew's own format where transformers has no such model."""
    kind = type(model.backbone)
    found = family_of(kind)
    return found if found is not None and found.knows(model) else OwnFormat()


def family_of(kind: type[Model]) -> TransformersAdapter | None:
    """Return the adapter of a class of models, or None where transformers has no such family."""
    return load_class(kind.adapter)(kind) if kind.adapter else None


class OwnFormat(Adapter):
    """Tensors under the names that they have in the model."""

    def describe(self, folder: Path, model: Model, preprocessor: Any, about: Mapping[str, Any]) -> dict[str, Any]:
        return dict(about)

    def to_hf(self, model: Model) -> dict[str, Tensor]:
        return merged_state(model)

    def fill(self, model: Model, tensors: Mapping[str, Tensor], where: str) -> None:
        check_tensors(model.state_dict(), tensors, where)
        model.load_state_dict(dict(tensors))


class TransformersAdapter(Adapter):
    """The tables of `Model.layout`, read in both directions."""

    def __init__(self, kind: type[Model]) -> None:
        self.kind, self.layout = kind, kind.layout

    layout: Layout

    def knows(self, model: Model) -> bool:
        """Return whether transformers has this model with this head: a subclass may have more tensors."""
        architecture = self.architecture(model)
        if architecture is None:
            return False
        table = self.table(model.config, [architecture])
        modules = {name.rpartition(".")[0] for name in relative(model, merged_state(model))}
        return all(numbered(module, table)[1] in table for module in modules)

    def architecture(self, model: Model) -> str | None:
        """Return what transformers calls the model: the architecture of its head with the same modules."""
        own = {name.rpartition(".")[0] for name in head_names(model)}
        for name, (head, modules) in self.layout.heads.items():
            if head in model.heads and (not own or own == set(modules)):
                return name
        return None

    def names(self, config: Any) -> Names:
        """Return the names of the backbone's modules."""
        return self.layout.names

    # Settings.

    def config_to_hf(self, model: Model, preprocessor: Any) -> dict[str, Any]:
        """Return transformers' `config.json` of a model."""
        settings = model.config.model_dump()
        return {
            "architectures": [self.architecture(model)], **self.layout.fixed,
            **{theirs: settings[ours] for ours, theirs in self.layout.settings.items()},
            "vocab_size": len(model.token_table()), "initializer_range": 0.02, "dtype": "float32",
        }  # fmt: skip

    def config_from_hf(self, settings: Mapping[str, Any], where: str) -> Any:
        """Return the sizes that transformers' `config.json` states.

        Raise RunError where it is of another family, or a setting is missing or is one that clew's model does not have.
        """
        found = self.filled_in({**self.layout.defaults, **settings}, where)
        for name, value in self.layout.fixed.items():
            if found.get(name, value) != value:
                raise RunError(
                    f'{name} is "{found[name]}" there', where=where, fix=f'what can be read has {name} "{value}"'
                )
        if missing := [theirs for theirs in self.layout.settings.values() if found.get(theirs) is None]:
            raise RunError(
                f"no {listed(missing)} in it", where=where, fix="take the whole config.json of the checkpoint"
            )
        sizes = {ours: found[theirs] for ours, theirs in self.layout.settings.items()}
        try:
            return self.kind.Config(**sizes, **self.more_settings(found, where))
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise RunError(f"these sizes make no {self.layout.model_type}: {wrong}", where=where) from error

    def filled_in(self, settings: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return the settings, defaults among them, with what depends on others."""
        return dict(settings)

    def more_settings(self, found: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return settings of ours that are no other name of one of theirs."""
        return {}

    def describe(self, folder: Path, model: Model, preprocessor: Any, about: Mapping[str, Any]) -> dict[str, Any]:
        """Return `config.json` with what clew says `about` a run; what goes with it is written to `folder`."""
        config = self.config_to_hf(model, preprocessor)
        self.write_tokenizer(folder, model, preprocessor)
        return {**config, "clew": {name: value for name, value in about.items() if name not in config}}

    def write_tokenizer(self, folder: Path, model: Model, preprocessor: Any) -> None:
        """Write the files from which `AutoTokenizer` makes the same tokenizer."""

    # Tensors.

    def table(self, config: Any, architectures: Iterable[str]) -> dict[str, tuple[str, int, int]]:
        """Return module → (theirs, which part of its tensors, of how many), of the backbone and of heads."""
        found: dict[str, tuple[str, int, int]] = {}
        names = self.names(config)
        for ours, theirs in names.items():
            joined = [name for name, target in names.items() if target == theirs]
            found[ours] = self.layout.prefix + theirs, joined.index(ours), len(joined)
        for name in architectures:
            found |= {ours: (theirs, 0, 1) for ours, theirs in self.layout.heads[name][1].items()}
        return found

    def to_hf(self, model: Model) -> dict[str, Tensor]:
        """Return the weights under transformers' names, in its layout."""
        table = self.table(model.config, [str(self.architecture(model))])
        pieces: dict[str, dict[int, Tensor]] = {}
        for name, tensor in relative(model, merged_state(model)).items():
            module, _, leaf = name.rpartition(".")
            number, template = numbered(module, table)
            theirs, part, _ = table[template]
            pieces.setdefault(f"{theirs.replace('{}', number)}.{leaf}", {})[part] = tensor
        whole = {name: torch.cat([parts[n] for n in sorted(parts)]) if len(parts) > 1 else parts[0]
                  for name, parts in pieces.items()}  # fmt: skip
        return {name: self.turned(name, tensor) for name, tensor in whole.items()}

    def turned(self, name: str, tensor: Tensor) -> Tensor:
        """Return the tensor as the other side stores it."""
        stored = tensor.ndim == 2 and re.fullmatch(self.layout.transposed, name)
        return tensor.t().contiguous() if stored else tensor

    def current(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a file's tensors under today's names with the prefix, without what is no weight."""
        prefix, layout = self.layout.prefix, self.layout
        own = [prefix + theirs for theirs in layout.names.values()]
        own += [theirs for _, names in layout.heads.values() for theirs in names.values()]
        bare = {name.removeprefix(prefix).split(".")[0] for name in own if prefix and name.startswith(prefix)}
        found = {}
        for name, tensor in tensors.items():
            for old, new in layout.spelling.items():
                name = name.removesuffix(old) + new if name.endswith(old) else name
            name = prefix + name if name.split(".")[0] in bare else name
            if not re.fullmatch(layout.buffers, name):
                found[name] = tensor
        return found

    def untied(self, tensors: Mapping[str, Tensor], wanted: Iterable[str], where: str) -> dict[str, Tensor]:
        """Return the tensors without copies of others. Raise RunError where a copy is not what it is a copy of."""
        found = self.current(tensors)
        for copy, original in self.layout.tied.items():
            if copy in wanted or (tensor := found.pop(copy, None)) is None:
                continue
            if not torch.equal(tensor, found.setdefault(original, tensor)):
                raise RunError(
                    f"{copy} is not {original}, of which it should be a copy", where=where,
                    fix="clew ties the two: take a checkpoint with tied embeddings",
                )  # fmt: skip
        return found

    def known(self, config: Any, tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
        """Return tensors of any architecture of the family under our names, those of the backbone without a prefix.

        Raise RunError for a tensor that no architecture has.
        """
        back: dict[str, list[str]] = {theirs: [ours] for _, names in self.layout.heads.values()
                                      for ours, theirs in names.items()}  # fmt: skip
        for ours, theirs in self.names(config).items():
            back.setdefault(self.layout.prefix + theirs, []).append(ours)
        out, unknown = {}, []
        for name, tensor in tensors.items():
            module, _, leaf = name.rpartition(".")
            number, template = numbered(module, back)
            if template not in back:
                unknown.append(name)
                continue
            for ours, piece in zip(back[template], self.turned(name, tensor).chunk(len(back[template])), strict=True):
                out[f"{ours.replace('{}', number)}.{leaf}"] = piece
        if unknown:
            raise RunError(
                f"no tensor of this family is called {listed(unknown)}", where=where,
                fix=f"check that the folder holds a plain {self.layout.model_type} (no adapters, no other heads)",
            )  # fmt: skip
        return out

    def fill(self, model: Model, tensors: Mapping[str, Tensor], where: str) -> None:
        """Load every tensor of a model from transformers' tensors.

        Raise RunError naming what is missing, what is left over and what has another size.
        """
        wanted = self.to_hf(model)
        found = unpadded(self.untied(tensors, wanted, where), wanted, len(model.token_table()))
        check_tensors(wanted, found, where)
        own = self.known(model.config, found, where)
        model.load_state_dict(absolute(model, own))

    def take(self, model: Model, tensors: Mapping[str, Tensor], where: str) -> None:
        """Load a checkpoint into a model of the same architecture; a file may hold other heads besides.

        Raise RunError as `fill` does, and for a tensor that no architecture has.
        """
        wanted = self.to_hf(model)
        found = self.untied(tensors, wanted, where)
        self.known(model.config, found, where)
        heads = {module for _, names in self.layout.heads.values() for module in names.values()}
        self.fill(model, {n: t for n, t in found.items() if n in wanted or n.rpartition(".")[0] not in heads}, where)

    def start(self, model: Model, tensors: Mapping[str, Tensor], settings: Mapping[str, Any], name: str) -> str:
        """Give a model all weights of a checkpoint; say so. Raise RunError where the two do not fit."""
        self.fill(model.backbone, tensors, name)
        return f"every weight from {name}"

    # A checkpoint as a run.

    def recipe(self, checkpoint: Any, name: str) -> dict[str, Any]:
        """Return task, objective, tokenizer and decoding of a run of a checkpoint. Raise RunError where none is had."""
        raise RunError(f"a {self.layout.model_type} is not imported as a run", where=name)

    def preprocessor(self, checkpoint: Any, task: Any) -> Any:
        """Return what makes inputs for a checkpoint in a task."""
        return checkpoint.tokenizer


def unpadded(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], size: int) -> dict[str, Tensor]:
    """Return tensors without the rows behind the last of `size` tokens, with which published tables are padded."""
    longer = {n for n in found if n in wanted and len(wanted[n]) == size < len(found[n])}
    return {n: tensor[:size] if n in longer else tensor for n, tensor in found.items()}


def relative(model: Model, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state with the backbone's names as the backbone has them."""
    under = inside(model)
    return {name.removeprefix(under): tensor for name, tensor in state.items()}


def absolute(model: Model, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what `relative` was made of."""
    under, own = inside(model), {name.rpartition(".")[0] for name in head_names(model)}
    return {name if name.rpartition(".")[0] in own else under + name: tensor for name, tensor in state.items()}


def inside(model: Model) -> str:
    """Return the prefix of the backbone's names in a model."""
    for name, part in model.named_children():
        if part is model.backbone:
            return f"{name}."
    return ""


def head_names(model: Model) -> list[str]:
    """Return the names of the tensors that stand on the backbone."""
    under = inside(model)
    return [name for name in model.state_dict() if under and not name.startswith(under)]


def numbered(module: str, table: Mapping[str, Any]) -> tuple[str, str]:
    """Return the number in a module's name, and the name that the table has it by."""
    number = re.search(r"\.(\d+)\.", f"{module}.")
    if module in table or number is None:
        return "", module
    return number[1], f"{module}.".replace(number[0], ".{}.", 1).removesuffix(".")


def check_tensors(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], where: str) -> None:
    """Raise RunError naming what is missing, what is left over and what has another size."""
    if missing := [name for name in wanted if name not in found]:
        raise RunError(f"these tensors are missing: {listed(missing)}", where=where, fix="take the whole checkpoint")
    if extra := [name for name in found if name not in wanted]:
        raise RunError(f"these tensors have no place in the model: {listed(extra)}", where=where)
    if lying := mismatched(wanted, found):
        raise RunError(f"these sizes differ: {listed(lying)}", where=where, fix="config.json and weights must agree")


def mismatched(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Return a line for each tensor of another shape than is wanted."""
    return [
        f"{name} {list(found[name].shape)}, not {list(tensor.shape)}"
        for name, tensor in wanted.items() if name in found and found[name].shape != tensor.shape
    ]  # fmt: skip


def listed(names: Iterable[str]) -> str:
    """Return the first few names, and how many more there are."""
    first, *rest = [*names]
    shown = ", ".join([first, *rest[:3]])
    return shown + (f" and {len(rest) - 3:,} more" if len(rest) > 3 else "")
