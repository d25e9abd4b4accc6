"""Tiny classifiers of every kind that is read, their logits, and maps of pytorch-grad-cam with and without contrast.

    pip install torch==2.15.0 torchvision==0.29.2 transformers==5.24.0 timm==1.0.31 grad-cam==1.5.7 \
        scikit-learn==1.9.1 safetensors==0.8.0 numpy==2.4.6
    python tests/golden/make_classifiers.py [--check]

Checkpoints go to tests/fixtures/classifiers, expected values to tests/golden/classifiers.json.
"""

import json
import pathlib
import sys
import tempfile
import zipfile

import numpy as np
import timm
import torch
import transformers
from pytorch_grad_cam import FinerCAM, GradCAM, HiResCAM, LayerCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget, FinerWeightedTarget
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests/fixtures/classifiers"
VALUES = ROOT / "tests/golden/classifiers.json"
PINNED = {"torch": "2.15.0", "transformers": "5.24.0", "timm": "1.0.31", "numpy": "2.4.6"}
NAMES = ["wren", "tit", "Painted Bunting", "rook", "kite"]
VISION = dict(hidden_size=24, num_hidden_layers=3, num_attention_heads=3, image_size=32, patch_size=8)
METHODS = {"grad-cam": GradCAM, "hires-cam": HiResCAM, "layer-cam": LayerCAM}


def seeded(model, seed):
    """Random weights that are neither ones nor zeros, so that nothing that is left out goes unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        values = torch.randn(parameter.shape, generator=generator)
        matrix = parameter.dim() > 1 and "token" not in name and "position" not in name
        scale = 1.5 / parameter[0].numel() ** 0.5 if matrix else 0.3
        offset = 1.0 if ("norm" in name and "weight" in name) or "lambda" in name or "gamma" in name else 0.0
        with torch.no_grad():
            parameter.copy_(values * scale + offset)
    return model.eval()


def of_transformers():
    """Models of transformers, each with the layers whose first norm is explained."""
    labels = dict(id2label=dict(enumerate(NAMES)), label2id={name: index for index, name in enumerate(NAMES)})
    text = dict(hidden_size=8, num_attention_heads=2, num_hidden_layers=1, intermediate_size=8, vocab_size=8)
    t = transformers
    yield "vit", t.ViTForImageClassification(t.ViTConfig(intermediate_size=48, **VISION, **labels))
    yield "dinov2", t.Dinov2ForImageClassification(t.Dinov2Config(mlp_ratio=2, **VISION, **labels))
    yield "dinov2-swiglu", t.Dinov2ForImageClassification(
        t.Dinov2Config(mlp_ratio=2, use_swiglu_ffn=True, **VISION, **labels))
    yield "dinov2-registers", t.Dinov2WithRegistersForImageClassification(
        t.Dinov2WithRegistersConfig(mlp_ratio=2, num_register_tokens=3, **VISION, **labels))
    config = t.CLIPConfig(vision_config=dict(intermediate_size=48, **VISION), text_config=text, **labels)
    yield "clip", t.CLIPForImageClassification(config)
    config = t.SiglipConfig(vision_config=dict(intermediate_size=48, **VISION), text_config=text, **labels)
    yield "siglip", t.SiglipForImageClassification(config)


def norms(model):
    """The first norm of every block."""
    found = [module for name, module in model.named_modules()
             if name.split(".")[-1] in ("layernorm_before", "norm1", "layer_norm1")]
    return found[:3]


class Logits(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model
        interpolates = type(model).__name__.startswith(("ViT", "CLIP", "Siglip"))
        self.options = {"interpolate_pos_encoding": True} if interpolates else {}

    def forward(self, pixels):
        out = self.model(pixels, **self.options)
        return out if isinstance(out, torch.Tensor) else out.logits


def raw_map(method, module, prefix, grid, pixels, target, model):
    """One layer's map before pytorch-grad-cam scales it: with signs."""
    def reshape(tokens):
        patches = tokens[:, prefix:, :]
        return patches.reshape(tokens.shape[0], *grid, -1).permute(0, 3, 1, 2)

    cam = METHODS[method](model=model, target_layers=[module], reshape_transform=reshape)
    with cam:
        outputs = cam.activations_and_grads(pixels)
        model.zero_grad()
        sum(t(o) for t, o in zip([target], outputs)).backward()
        activations = cam.activations_and_grads.activations[0].cpu().numpy()
        gradients = cam.activations_and_grads.gradients[0].cpu().numpy()
        image = cam.get_cam_image(pixels, module, [target], activations, gradients, False)
    return image[0]


def check_finer(model, module, prefix, grid, pixels, contrast, expected):
    """What pytorch-grad-cam's own FinerCAM shows is the map above, clipped, scaled and resized."""
    def reshape(tokens):
        return tokens[:, prefix:, :].reshape(tokens.shape[0], *grid, -1).permute(0, 3, 1, 2)

    with FinerCAM(model=model, target_layers=[module], reshape_transform=reshape, base_method=GradCAM) as cam:
        shown = cam(input_tensor=pixels, targets=[contrast])[0]
    from pytorch_grad_cam.utils.image import scale_cam_image
    own = scale_cam_image(scale_cam_image(np.maximum(expected, 0)[None], tuple(pixels.shape[:1:-1])))[0]
    assert np.abs(shown - own).max() < 1e-5, np.abs(shown - own).max()


def case(name, model, prefix, patch, seed):
    """The logits of two pictures, and maps at the last layer and at an inner one."""
    logits_of = Logits(model)
    blocks = norms(model)
    cases = []
    for index, (rows, columns) in enumerate([(4, 4), (3, 5)]):
        generator = torch.Generator().manual_seed(seed + index)
        # Two decimals are written in full: the test has the same numbers.
        pixels = torch.randn(1, 3, rows * patch, columns * patch, generator=generator).round(decimals=2)
        with torch.no_grad():
            logits = logits_of(pixels)[0]
        main = int(logits.argmax())
        rivals = sorted((i for i in range(len(NAMES)) if i != main), key=lambda i: abs(float(logits[i] - logits[main])))[:2]
        plain, contrast = ClassifierOutputTarget(main), FinerWeightedTarget(main, rivals, 0.6)
        maps = []
        for layer in (1, 2):
            for method in METHODS:
                for kind, target in (("plain", plain), ("contrast", contrast)):
                    values = raw_map(method, blocks[layer], prefix, (rows, columns), pixels, target, logits_of)
                    maps.append(dict(layer=layer, method=method, kind=kind, values=rounded(values)))
                    if method == "grad-cam" and kind == "contrast":
                        check_finer(logits_of, blocks[layer], prefix, (rows, columns), pixels, target, values)
        cases.append(dict(grid=[rows, columns], seed=seed + index, pixels=[round(float(value), 2) for value in pixels.reshape(-1)], logits=rounded(logits),
                          target=main, rivals=rivals, strength=0.6, maps=maps))
    return dict(patch=patch, prefix=prefix, cases=cases)


def rounded(tensor):
    """Nine digits are float32."""
    return [float(f"{float(value):.9g}") for value in np.asarray(tensor).reshape(-1)]


def of_timm():
    """Networks of timm's that are made with other numbers than their names stand for, which keeps them small."""
    for name, architecture, options in [
        ("timm-token", "vit_base_patch16_224", {"init_values": 0.1}),
        ("timm-avg", "vit_base_patch16_224", {"global_pool": "avg"}),
        ("timm-map", "vit_base_patch16_siglip_224", {}),
        ("timm-gap", "vit_base_patch16_siglip_gap_224", {}),
        ("timm-clip", "vit_base_patch16_clip_224", {}),
    ]:
        made = dict(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3, mlp_ratio=2.0)
        made |= {key: value for key, value in options.items() if key == "init_values"}
        pool = {key: value for key, value in options.items() if key == "global_pool"}
        model = timm.create_model(architecture, num_classes=5, dynamic_img_size=True, **made, **pool)
        config = {"architecture": architecture, "num_classes": 5, "num_features": model.num_features,
                  "global_pool": model.global_pool, "model_args": made,
                  "pretrained_cfg": {"input_size": [3, 224, 224], "crop_pct": 0.9, "interpolation": "bicubic",
                                     "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "label_names": NAMES}}
        yield name, model, config


def heads(folder):
    """Heads of their own, as Finer-CAM's are saved and as scikit-learn's are kept."""
    generator = torch.Generator().manual_seed(7)
    weight, bias = torch.randn(5, 24, generator=generator), torch.randn(5, generator=generator)
    state = {"weight": weight, "bias": bias}
    with tempfile.TemporaryDirectory() as scratch:
        # torch names the folder in the archive after the file; on a GPU the storages are tagged cuda:0.
        plain = pathlib.Path(scratch) / "best_classifier.pth"
        torch.save(state, plain)
        with zipfile.ZipFile(plain) as source, zipfile.ZipFile(folder / "finer-cam.pth", "w") as target:
            for item in source.infolist():
                data = source.read(item)
                if item.filename.endswith("data.pkl"):
                    # A short binary string: its length goes before it.
                    data = data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
                    assert b"cuda:0" in data
                target.writestr(zipfile.ZipInfo(item.filename), data)
    save_file({"linear.weight": weight, "linear.bias": bias}, folder / "nested.safetensors")
    np.savez(folder / "fortran.npz", coef_=np.asfortranarray(weight.double().numpy()), intercept_=bias.numpy())
    features = np.random.default_rng(5).normal(size=(40, 24))
    labels = np.array(["tit", "wren"])[(features[:, 0] > 0).astype(int)]
    model = LogisticRegression().fit(features, labels)
    np.savez(folder / "binary.npz", coef_=model.coef_, intercept_=model.intercept_, classes_=model.classes_)
    np.savez(folder / "objects.npz", coef_=np.array([{"a": 1}], dtype=object), intercept_=model.intercept_)
    decisions = model.decision_function(features[:3])
    return dict(weight=rounded(weight), bias=rounded(bias),
                binary=dict(features=rounded(features[:3]), decisions=rounded(decisions)))


def make(folder):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    values = {}
    for index, (name, model) in enumerate(of_transformers()):
        seeded(model, 100 + index)
        model.save_pretrained(folder / name)
        prefix = {"siglip": 0, "dinov2-registers": 4}.get(name, 1)
        values[name] = case(name, model, prefix, 8, 1000 + 10 * index)
    for index, (name, model, config) in enumerate(of_timm()):
        seeded(model, 200 + index)
        (folder / name).mkdir(parents=True)
        save_file(model.state_dict(), folder / name / "model.safetensors")
        (folder / name / "config.json").write_text(json.dumps(config, indent=1))
        prefix = 0 if name in ("timm-map", "timm-gap") else 1
        values[name] = case(name, model, prefix, 8, 2000 + 10 * index)
    values["heads"] = heads(folder)
    return values


def main():
    modules = {"torch": torch, "transformers": transformers, "timm": timm, "numpy": np}
    for name, version in PINNED.items():
        found = modules[name].__version__.split("+")[0]
        assert found == version, f"{name}: expected {version}, found {found}"
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        values = make(scratch)
        if "--check" in sys.argv:
            compare(values, json.loads(VALUES.read_text()))
            print("classifiers: as committed")
            return
        import shutil
        shutil.rmtree(FOLDER, ignore_errors=True)
        shutil.copytree(scratch, FOLDER)
    VALUES.write_text(json.dumps(values, separators=(",", ":")) + "\n")


def compare(made, committed, path=""):
    if isinstance(made, dict):
        assert made.keys() == committed.keys(), path
        for key in made:
            compare(made[key], committed[key], f"{path}/{key}")
    elif isinstance(made, list) and made and isinstance(made[0], float):
        error = np.linalg.norm(np.array(made) - committed) / max(np.linalg.norm(committed), 1e-9)
        assert error < 1e-4, (path, error)
    elif isinstance(made, list):
        assert len(made) == len(committed), path
        for index, (one, other) in enumerate(zip(made, committed)):
            compare(one, other, f"{path}/{index}")
    else:
        assert made == committed, path


if __name__ == "__main__":
    main()
