"""Makes the expected values of the metrics, with the packages that people compute them with.

    pip install torch==2.9.1 transformers==5.5.4 safetensors==0.8.0 numpy==2.4.6 pillow==13.0.0 \
        grad-cam==1.5.7 torchcam==0.5.0 quantus==0.6.0 scikit-learn==1.9.1 scikit-image==0.26.0 scipy==1.17.1
    python tests/golden/make_metrics.py            # in place
    python tests/golden/make_metrics.py --check    # compares with what is committed

It reads the checkpoints and text embeddings that make_golden.py wrote. What no package computes is computed here by
its formula, and said so below: the relative confidence drop, and the confusion at points.
"""

import json
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import quantus
import scipy.stats
import torch
from PIL import Image
from pytorch_grad_cam.metrics.perturbation_confidence import (
    PerturbationConfidenceMetric,
    RemoveLeastRelevantFirst,
    RemoveMostRelevantFirst,
)
from pytorch_grad_cam.metrics.road import NoisyLinearImputer
from safetensors.torch import load_file, save_file
from skimage.metrics import structural_similarity
from sklearn.metrics import accuracy_score, average_precision_score, jaccard_score
from torchcam.metrics import ClassificationMetric, DeletionInsertionMetric
from transformers import CLIPModel

TESTS = Path(__file__).resolve().parent.parent
PARITY = TESTS / "golden/parity"
SEED = 20250810
PERCENTILES = range(10, 100, 10)


def smooth(random, height, width, scale):
    """A random field that changes slowly."""
    small = random.normal(size=(height // scale + 2, width // scale + 2)).astype(np.float32)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


# Localisation ---------------------------------------------------------------------------------------------------------


def localisation(random, tensors):
    cases = []
    for index, (height, width) in enumerate([(24, 18), (15, 33), (20, 20)]):
        signed = smooth(random, height, width, 5)
        field = smooth(random, height, width, 6)
        mask = field > np.quantile(field, [0.6, 0.85, 0.95][index])
        # The first map knows nothing of the mask, the second one is its contrary; the third one's
        # peak is the mask.
        signed = signed - [0, 2, 0][index] * field
        if index == 2:
            _, parts = cv2.connectedComponents((signed > 0.4 * signed.max()).astype(np.uint8), connectivity=8)
            mask = parts == parts[np.unravel_index(signed.argmax(), signed.shape)]
        # Ties, as rendered maps have them.
        signed = np.round(signed * 8) / 8
        tensors[f"map.{index}"] = torch.from_numpy(signed)
        tensors[f"mask.{index}"] = torch.from_numpy(mask.astype(np.uint8))
        cases.append(measured(signed, mask))
    return cases


def measured(signed, mask):
    flat, truth, positive = signed.ravel(), mask.ravel(), np.maximum(signed, 0)
    half = positive >= positive.max() / 2
    above = positive > positive.mean(dtype=np.float64)
    batch = lambda array: np.float64(array)[None, None]
    quantus_says = lambda metric: float(
        metric(
            disable_warnings=True, display_progressbar=False, abs=False, normalise=False
        )(model=torch.nn.Identity(), x_batch=batch(signed), y_batch=np.zeros(1), a_batch=batch(positive),
          s_batch=batch(mask))[0]
    )
    thresholds = np.unique(flat)
    both = jaccard_score(truth, above.ravel(), average=None, labels=[0, 1])
    return {
        "pointing_game": quantus_says(quantus.PointingGame),
        "energy_pointing": quantus_says(quantus.RelevanceMassAccuracy),
        "average_precision": average_precision_score(truth, flat),
        "best_iou": max(jaccard_score(truth, flat >= threshold) for threshold in thresholds),
        "iou_half_peak": jaccard_score(truth, half.ravel()),
        "iou_above_mean": both[1],
        "mean_iou_above_mean": both.mean(),
        "pixel_accuracy": accuracy_score(truth, above.ravel()),
        **boxes(half, mask),
    }


def boxes(half, mask):
    """By OpenCV's components; of the known box the corners are in the file."""
    rows, columns = np.nonzero(mask)
    known = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    count, _, stats, _ = cv2.connectedComponentsWithStats(half.astype(np.uint8), connectivity=8)
    overlaps, areas = [], []
    for left, top, width, height, area in stats[1:count]:
        across = max(0, min(left + width, known[2]) - max(left, known[0]))
        down = max(0, min(top + height, known[3]) - max(top, known[1]))
        both = across * down
        other = (known[2] - known[0]) * (known[3] - known[1])
        overlaps.append(both / (width * height + other - both))
        areas.append(area)
    best = max(overlaps)
    return {
        "box": [int(side) for side in known],
        "box_accuracy": float(overlaps[int(np.argmax(areas))] >= 0.5),
        "box_accuracy_v2": float(np.mean([best >= least for least in (0.3, 0.5, 0.7)])),
    }


# Likeness and tests ---------------------------------------------------------------------------------------------------


def likeness(random, tensors):
    cases = []
    for index, (rows, columns) in enumerate([(14, 14), (12, 16), (5, 9), (6, 6)]):
        one = random.normal(size=(rows, columns)).astype(np.float32)
        other = (one * (index - 1) + random.normal(size=(rows, columns))).astype(np.float32)
        if index == 3:
            one, other = np.round(one), np.round(other)
        tensors[f"one.{index}"], tensors[f"other.{index}"] = torch.from_numpy(one), torch.from_numpy(other)
        scale = lambda map: ((np.float64(map) - map.min()) / (np.float64(map.max()) - map.min()))
        side = min(7, rows, columns)
        cases.append({
            "rank": scipy.stats.spearmanr(one.ravel(), other.ravel()).statistic,
            "ssim": structural_similarity(scale(one), scale(other), win_size=side - (side % 2 == 0), data_range=1.0),
        })
    return cases


def paired(random):
    cases = []
    rounded = lambda count, shift: np.round(random.normal(size=count) + shift, 1)
    exact = lambda count, shift: random.normal(size=count) + shift
    for differences, signs in [
        (exact(11, 0.8), True),
        (exact(12, 0.0), True),
        (rounded(12, 0.4), True),
        (exact(40, 0.3), False),
        (exact(90, 0.2), False),
        (rounded(120, 0.15), False),
    ]:
        nonzero = differences[differences != 0]
        case = {
            "differences": differences.tolist(),
            # Of ties and few differences scipy lists all ways itself; of many it takes the normal distribution.
            "wilcoxon": scipy.stats.wilcoxon(nonzero, method="auto", correction=False).pvalue,
        }
        if signs:
            case["sign_flip"] = scipy.stats.permutation_test(
                (differences,), np.mean, permutation_type="samples", n_resamples=np.inf
            ).pvalue
        cases.append(case)
    return cases


# Faithfulness ---------------------------------------------------------------------------------------------------------


def imputed(random, tensors):
    """pytorch-grad-cam's imputation, without its noise."""
    picture = np.stack([smooth(random, 26, 34, 4) for _ in range(3)])
    tensors["impute.picture"] = torch.from_numpy(picture)
    field = smooth(random, 26, 34, 3)
    for percent in (10, 50, 90):
        kept = torch.from_numpy((field < np.percentile(field, 100 - percent)).astype(np.float32))
        tensors[f"impute.kept.{percent}"] = kept.to(torch.uint8)
        tensors[f"impute.filled.{percent}"] = NoisyLinearImputer(noise=0.0)(torch.from_numpy(picture), kept)


class Clip(torch.nn.Module):
    """Logits of the golden prompts."""

    def __init__(self, name):
        super().__init__()
        self.clip = CLIPModel.from_pretrained(TESTS / "fixtures/models" / name, dtype=torch.float32).eval()
        golden = load_file(PARITY / f"{name}.safetensors")
        self.texts, self.scale = golden["text_embeds"][:4], golden["logit_scale"]

    def forward(self, pixels):
        with torch.no_grad():
            image = self.clip.visual_projection(self.clip.vision_model(pixel_values=pixels).pooler_output)
            return self.scale * torch.nn.functional.normalize(image, dim=-1) @ self.texts.T


class Given:
    """What torchcam takes for an extractor, with a map that is there already."""

    def __init__(self, model, cam):
        self.model, self.cam = model, cam

    def __call__(self, class_idx=None, scores=None, **_):
        return [self.cam[None]]

    def fuse_cams(self, cams):
        return cams[0]

    def _hooks_off(self):
        return nullcontext()


def faithfulness(name, random, tensors):
    settings = json.loads((TESTS / "fixtures/models" / name / "preprocessor_config.json").read_text())
    mean, std = (
        np.array(settings[key], dtype=np.float32).reshape(3, 1, 1) for key in ("image_mean", "image_std")
    )
    model = Clip(name)
    side = model.clip.config.vision_config.image_size
    picture = np.stack([smooth(random, side, side, 9) for _ in range(3)], axis=-1)
    picture = np.uint8(np.clip(picture * 60 + 120, 0, 255))
    Image.fromarray(picture).save(PARITY / f"{name}.metrics.png", optimize=True)
    pixels = (torch.from_numpy(picture).permute(2, 0, 1) / 255 - torch.from_numpy(mean)) / torch.from_numpy(std)
    # All values differ, so that their order is one only.
    field = smooth(random, side, side, 12) + 0.01 * random.normal(size=(side, side))
    ranks = scipy.stats.rankdata(field, method="ordinal").reshape(side, side) - 1
    cam = torch.from_numpy((ranks / ranks.max()).astype(np.float32))
    tensors[f"{name}.map"] = cam
    softmax = partial(torch.softmax, dim=-1)
    black = torch.from_numpy((0 - mean) / std)
    scores = softmax(model(pixels[None]))[0]
    # The winner, so that there is something to lose.
    target = int(scores.argmax())
    expected = {"target": target, "scores": scores.tolist()}
    for fill, baseline in [("mean", None), ("black", black)]:
        curves = DeletionInsertionMetric(Given(model, cam), softmax, steps=20, baseline=baseline)
        curves.update(pixels[None], class_idx=target)
        expected[fill] = curves.summary()
        zeros = torch.zeros(3, 1, 1)
        expected[fill].update(drops(model, pixels, cam, zeros if baseline is None else baseline, target))
    # Of every prompt as the target: some drop and some rise.
    expected["through"] = []
    for index in range(len(scores)):
        confidence = ClassificationMetric(Given(model, cam), softmax)
        confidence.update(pixels[None], class_idx=index)
        expected["through"].append(confidence.summary())
    expected["road"] = road(model, pixels, cam, target)
    return expected


def drops(model, pixels, cam, fill, target):
    """Eq. 10 of Finer-CAM, by its formula: the mean over the three rivals."""
    found = {}
    for percent in (5, 10):
        count = int(np.ceil(cam.numel() * percent / 100))
        top = cam.flatten().argsort(descending=True)[:count]
        masked = pixels.clone().flatten(1)
        masked[:, top] = fill.reshape(3, 1)
        before, after = (torch.softmax(model(x[None]), -1)[0] for x in (pixels, masked.reshape_as(pixels)))
        lost = before - after
        rivals = (lost.sum() - lost[target]) / (len(lost) - 1)
        found[f"confidence_drop_{percent}"] = float(lost[target] - rivals)
    return found


def road(model, pixels, cam, target):
    targets = [lambda output: torch.softmax(output, -1)[target]]
    means = {}
    for name, remover in [("road_morf", RemoveMostRelevantFirst), ("road_lerf", RemoveLeastRelevantFirst)]:
        changes = [
            PerturbationConfidenceMetric(remover(percentile, NoisyLinearImputer(noise=0.0)))(
                pixels[None], cam[None].numpy(), targets, model
            )
            for percentile in PERCENTILES
        ]
        means[name] = float(np.mean(changes))
    means["road_combined"] = (means["road_lerf"] - means["road_morf"]) / 2
    return means


# ----------------------------------------------------------------------------------------------------------------------


def make():
    torch.set_num_threads(1)
    random, tensors = np.random.default_rng(SEED), {}
    expected = {
        "localisation": localisation(random, tensors),
        "likeness": likeness(random, tensors),
        "paired": paired(random),
        "faithfulness": {},
    }
    imputed(random, tensors)
    for name in ("tiny-quick-gelu", "tiny-gelu"):
        expected["faithfulness"][name] = faithfulness(name, random, tensors)
        print(name, json.dumps(expected["faithfulness"][name], indent=1))
    return tensors, expected


def worst(one, other):
    """The largest difference of two trees of numbers."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), "other values are committed"
        return max(worst(one[key], other[key]) for key in one)
    if isinstance(one, list):
        assert len(one) == len(other), "more or fewer values are committed"
        return max((worst(a, b) for a, b in zip(one, other)), default=0.0)
    return abs(one - other)


def main():
    tensors, expected = make()
    expected = json.loads(json.dumps(expected, default=float))
    arrays, numbers = PARITY / "metrics.safetensors", PARITY / "metrics.json"
    if "--check" in sys.argv:
        off = worst(expected, json.loads(numbers.read_text()))
        committed = load_file(arrays)
        assert tensors.keys() == committed.keys(), "other tensors are committed"
        off = max([off] + [float((tensors[key].float() - committed[key].float()).abs().max()) for key in tensors])
        assert off < 1e-4, f"differs from what is committed by {off}"
        print(f"as committed, within {off:.1e}")
        return
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, arrays)
    arrays.chmod(0o644)
    numbers.write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
