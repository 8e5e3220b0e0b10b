"""Neural networks: any architecture of `nets/` on images, or an MLP on feature vectors, trained by `training/loop.py`.

With a `features` section, the input of the net is the feature matrix, (N, D) float32, instead of pixels.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import nn

from tellapart import registry
from tellapart.augmentations.base import Pipeline
from tellapart.classifiers._batches import outputs, pixels_of, resident, rows_of
from tellapart.classifiers._tta import views
from tellapart.classifiers.base import Classifier, Context, Differentiable, Exportable
from tellapart.data.cache import DecodedImages
from tellapart.data.decode import target_size
from tellapart.errors import RecipeError, RunError
from tellapart.features._backbone import Backbone
from tellapart.features.base import FitContext
from tellapart.features.pipeline import FeaturePipeline
from tellapart.io import write_bytes_atomically, write_text_atomically
from tellapart.nets._allocator import tune_allocator
from tellapart.nets._weights import name_run, origin_of_run, read_weights, transfer
from tellapart.nets.base import Model, Net, NetOptions, Normalize, normalization
from tellapart.plain_data import read_json
from tellapart.recipe.load import Recipe
from tellapart.recipe.schema import OptionsModel, Train
from tellapart.regular_files import require_regular
from tellapart.training.freezing import acts_otherwise_in_training, freezes_backbone
from tellapart.training.loop import Batches, SplitData, forward, train
from tellapart.training.setup import choose_precision, open_device, open_fabric
from tellapart.training.state import stored_precision
from tellapart.types import ImageTable

if TYPE_CHECKING:
    from tellapart.classifiers._torch_inference import NetModule

_SAMPLE = 4096  # images that mean and standard deviation are computed on
_BATCH, _PIXELS = 256, 1 << 21  # maximum number of images per forward pass; and of pixels, on a CPU, so that memory is bounded
_TRIED = 32  # images on which a frozen backbone is compared in both modes

_Prepared = tuple[tuple[SplitData, SplitData], Train, Any]


class Network(Classifier, Differentiable, Exportable):
    """A neural network, trained from random or from pretrained weights.

    Attributes:
        model: Normalization and net.
        net_options: Options of the net, with everything that other runs decide filled in.
        extractor: The fitted `features` section; None for a net on images.
    """

    sections: ClassVar[frozenset[str]] = frozenset({"augment", "train"})
    optional: ClassVar[frozenset[str]] = frozenset({"features"})
    options: NetOptions
    net_options: NetOptions
    extractor: FeaturePipeline | None = None
    _whose = "no"

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """See `Classifier`; checks the augmentations and their order."""
        Pipeline(recipe.augment or [])

    @classmethod
    def options_model(cls, raw: dict[str, Any]) -> type[OptionsModel]:
        """The options of the net that `raw` names."""
        name = raw.get("net")
        return registry.find("nets", name).Options if isinstance(name, str) else NetOptions

    def _fit(self, train_table: ImageTable, valid: ImageTable, context: Context) -> None:
        splits, config, fabric = self.prepare(train_table, valid, context)
        outcome = train(
            self.model, splits, config, fabric,
            augment=self.pipeline(), seed=self.recipe.seed, log=context.log, folder=context.folder,
            checkpoints=context.checkpoints, progress=context.progress,
        )  # fmt: skip
        if outcome.stopped:
            where = f"after epoch {outcome.epochs}, step {outcome.steps:,}"
            context.notes.append(f"{outcome.stopped} {where}; the weights of the best epoch, {outcome.best_epoch}, are used")
        if outcome.by_clock:
            context.notes.append("the learning rate followed the time limit: another run with this limit gives other weights")
        if reason := outcome.best.get("measured_norms"):
            context.notes.append(f"batch norm statistics were measured on training images: {reason}")
            context.facts["batch_norm"] = f"measured: {reason}"
        context.facts |= {"precision": config.precision, "threads": torch.get_num_threads()}
        context.facts |= {"epochs": outcome.epochs, "steps": outcome.steps}
        context.stopped_by_hand = outcome.by_hand
        self.model.cpu()

    def prepare(self, train_table: ImageTable, valid: ImageTable, context: Context) -> _Prepared:
        """Build and initialize the model; returns both splits, the `train` section (its precision resolved) and a fabric."""
        config = self.recipe.train or Train()
        device = open_fabric(context.device).device
        first, second = (
            SplitData(get, t.labels, len(t.classes)) for get, t in self._inputs(train_table, valid, context, device)
        )
        tune_allocator()
        torch.manual_seed(self.recipe.seed)
        self.net_options = self._net.resolve(self.options, context.parents)
        self.model = self._build()
        self._start(self._images(train_table, context), context)
        if self._trains_head_only(first, context.notes):
            first, second = (SplitData(self._outputs(t, context), t.labels, len(t.classes)) for t in (train_table, valid))
        self._try(first)
        config = config.model_copy(update={"precision": self._precision(first, config, device, context)})
        return (first, second), config, open_fabric(context.device, config.precision)

    def _proba(self, table: ImageTable, context: Context) -> np.ndarray:
        device = open_device(context.device)
        model = self.model.to(device)
        total = torch.zeros(len(table), len(self.classes))
        if not len(table):
            return total.numpy()
        names = self.options.views if not self.extractor else ["as is"]
        once = self._is_frozen and names == ["as is"] and self._images(table, context).origin
        get, functions = (self._outputs if once else self._getter)(table, context), views(names)
        batch = _BATCH if self.extractor or device.type != "cpu" else min(_BATCH, max(1, _PIXELS // math.prod(self._shape[:2])))
        with context.progress.task("predicting", len(table) * len(functions), "img") as task:
            for view in functions:
                total += forward(model, lambda r, v=view: v(get(r)), len(table), batch, device, task.advance).softmax(1)
        self.model.cpu()
        return total.numpy()

    def _inputs(
        self, train_table: ImageTable, valid: ImageTable, context: Context, device: torch.device
    ) -> list[tuple[Batches, ImageTable]]:
        """Getter and table of both splits; fits the descriptors, if any."""
        if self.recipe.features is None:
            return [(resident(self._images(t, context), device), t) for t in (train_table, valid)]
        self.extractor = FeaturePipeline(self.recipe.features, self.recipe.seed)
        fit_context = FitContext(self.recipe.seed, context.progress, context.parents, context.notes)
        vectors = self.extractor.fit_transform(self._images(train_table, context), train_table.labels, fit_context)
        return [(rows_of(vectors), train_table), (self._getter(valid, context), valid)]

    def _getter(self, table: ImageTable, context: Context) -> Batches:
        """A function from row numbers (B,) to (B, C, H, W) uint8 or (B, D) float32."""
        images = self._images(table, context)
        if self.extractor is None:
            return pixels_of(images)
        return rows_of(self.extractor.transform(images))

    def _trains_head_only(self, part: SplitData, notes: list[str]) -> bool:
        """Whether the backbone is frozen and gives the same outputs in every epoch; a note says so, or why it does not."""
        if not self._is_frozen:
            return False
        why = "`augment` changes the images" if self.recipe.augment else ""
        if not why and acts_otherwise_in_training(self.model, part.get(np.arange(min(_TRIED, len(part)))).cpu()):
            why = "it has random layers"
        notes.append(f"the backbone is frozen; its outputs were computed {'in every epoch, since ' + why if why else 'once'}")
        return not why

    @property
    def _is_frozen(self) -> bool:
        return self.extractor is None and freezes_backbone(self.model, self.recipe.train or Train())

    def _outputs(self, table: ImageTable, context: Context) -> Batches:
        """As `_getter`, of the outputs of the backbone, (B, D) float32; those of images in the cache are computed once."""
        backbone = self.backbone(context.device)
        return outputs(backbone, self._images(table, context), context.progress, context.notes)

    def backbone(self, device: str) -> Backbone:
        """The backbone as a descriptor of images. `device`: where it computes."""
        return Backbone(self.model, self.net_options, self._shape, open_device(device))

    def _try(self, part: SplitData) -> None:
        """Run the net on one augmented image: a crop may have a size that the net was not built for.

        Raises:
            RecipeError: The net does not accept this size.
        """
        images = part.get(np.arange(min(1, len(part))))
        augmented = self.pipeline()(images, torch.Generator().manual_seed(0))
        if augmented.shape == images.shape:
            return
        try:
            with torch.inference_mode():
                self.model.to(augmented.device).eval()(augmented)
        except (RuntimeError, AssertionError) as error:
            sizes = [f"{x.shape[2]}×{x.shape[3]}" for x in (augmented, images)]
            raise RecipeError(
                f"augment returns images of {sizes[0]}, but net: {self.options.net} was built for {sizes[1]} ({error})",
                hint="remove the crop, or use a net that ends in global pooling, such as net: quick",
            ) from None

    def _precision(self, part: SplitData, config: Train, device: torch.device, context: Context) -> str:
        """The configured precision; for `auto`, that of the run that is resumed, else by the rule of `choose_precision`."""
        if config.precision != "auto":
            return config.precision
        image = part.get(np.arange(min(1, len(part))))
        found = stored_precision(context.folder) or choose_precision(self.model, image, device)
        if found != "32":
            context.notes.append(f"trained in {found}, chosen by train.precision: auto")
        return found

    def pipeline(self) -> Pipeline:
        """The augmentations of training.

        Raises:
            RecipeError: The recipe has augmentations, but the net is trained on features.
        """
        if self.extractor and self.recipe.augment:
            raise RecipeError("`augment` changes images, but this net is trained on `features`", hint="remove one of the two")
        return Pipeline(self.recipe.augment or [])

    @property
    def _net(self) -> type[Net]:
        return registry.find("nets", self.options.net)

    @property
    def _shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the images."""
        inputs = self.recipe.inputs
        return (*target_size(inputs), 1 if inputs.mode == "gray" else 3)

    def _build(self) -> Model:
        if self.extractor:
            return Model(nn.Identity(), self._net.build((self.extractor.width,), len(self.classes), self.net_options))
        height, width, channels = self._shape
        body = self._net.build((channels, height, width), len(self.classes), self.net_options)
        return Model(Normalize(torch.zeros(channels), torch.ones(channels)), body)

    def _start(self, images: DecodedImages, context: Context) -> None:
        """Set the normalization, and load pretrained weights if the options name them."""
        wanted = self._net.normalize_stats(self.net_options)
        if isinstance(self.model.normalize, Normalize):
            channels = self.model.normalize.mean.numel()
            self.model.normalize = normalization(*wanted, channels) if wanted else _measured(images)
        loaded = self._net.load_pretrained(self.model.body, self.net_options, context.parents)
        self._whose = loaded.source
        context.notes.extend(loaded.notes)
        if self.options.init_from:
            self._transfer(Path(self.options.init_from), context)

    def _transfer(self, source: Path, context: Context) -> None:
        """Load the backbone of a run or of a weights file, and the last layer too if the classes are the same."""
        same_classes = False
        if source.suffix != ".safetensors":
            folder = context.parents(str(source))
            if (folder / "features.safetensors").exists():
                hint = "its net was trained on features, which depend on its own descriptors; name a run on images"
                raise RunError(f"init_from: {folder.name} cannot be used: it has `features`", hint=hint)
            same_classes = read_json(folder / "classifier.json")["classes"] == list(self.classes)
            source = folder / "weights.safetensors"
        context.notes.extend(transfer(self.model.body, read_weights(source), same_classes, name_run(source.parent)))
        self._whose = origin_of_run(source.parent)

    def module(self) -> Model:
        """See `Differentiable`."""
        if self.extractor:
            hint = "use occlusion or rise, which need no gradients"
            raise RunError("this net was trained on features: no gradient reaches the pixels", hint=hint)
        return self.model.eval()

    def reinitialized(self, seed: int) -> Network:
        """See `Differentiable`."""
        other = copy.copy(self)
        torch.manual_seed(seed)
        other.model = self._build()
        other.model.normalize.load_state_dict(self.model.normalize.state_dict())
        return other

    def inference_module(self, context: Context) -> NetModule:
        """See `Exportable`."""
        from tellapart.classifiers._torch_inference import NetModule

        del context
        if self.extractor:
            hint = "export a run of the family network on images, without `features`"
            raise RunError("this net was trained on features, which are computed outside of it: there is no graph", hint=hint)
        return NetModule(self.model, self.recipe.inputs, self.options.views).eval()

    @property
    def parameters(self) -> int:
        """Number of parameters of the net."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def pretrained(self) -> str:
        """Source of the pretrained weights, of the net or of the descriptors that it is trained on; "no" if there are none."""
        return self.extractor.pretrained if self.extractor else self._whose

    def _save(self, folder: Path) -> None:
        content = save({k: v.contiguous() for k, v in self.model.state_dict().items()})
        write_bytes_atomically(folder / "weights.safetensors", content, durable=False)
        write_text_atomically(folder / "net.json", self.net_options.model_dump_json(indent=1), durable=False)
        if self.extractor:
            self.extractor.save(folder / "features.safetensors")

    def _load(self, folder: Path) -> None:
        options = read_json(folder / "net.json")
        self.net_options = self._net.Options.model_validate(options)
        if self.recipe.features:
            self.extractor = FeaturePipeline.load(folder / "features.safetensors", self.recipe.features, self.recipe.seed)
        path = folder / "weights.safetensors"
        self._check_shapes(path)
        self.model = self._build()
        tensors = load_file(path)
        if wrong := next((name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()), None):
            raise RunError(f"{path}: {wrong}: expected finite numbers, found NaN or infinity")
        self.model.load_state_dict(tensors)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _check_shapes(self, path: Path) -> None:
        """Compare the net with its weights before memory is allocated: sizes in a recipe may ask for more than there is."""
        require_regular(path)
        with torch.device("meta"):
            expected = {name: tuple(tensor.shape) for name, tensor in self._build().state_dict().items()}
        with safe_open(path, framework="pt") as file:
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        wrong = next((name for name in sorted(expected.keys() | found.keys()) if expected.get(name) != found.get(name)), None)
        if wrong is not None:
            shapes = f"expected {expected.get(wrong, 'no such tensor')}, found {found.get(wrong, 'no such tensor')}"
            raise RunError(f"{path}: {wrong}: {shapes}, so it does not fit the recipe")


def _measured(images: DecodedImages) -> Normalize:
    """The normalization of up to 4,096 training images, evenly spaced in the table."""
    rows = np.unique(np.linspace(0, len(images) - 1, min(len(images), _SAMPLE)).astype(np.int64))
    pixels = images.get(rows).reshape(-1, images.shape[2])
    mean, spread = pixels.mean(axis=0, dtype=np.float64), pixels.std(axis=0, dtype=np.float64)
    scale = torch.from_numpy(1 / np.maximum(spread, 1.0)).float()
    return Normalize(torch.from_numpy(mean).float(), scale)
