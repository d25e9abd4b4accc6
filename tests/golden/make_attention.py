"""Makes the expected maps of the methods that look at attention.

The reference is computed here in float64, from each method's definition, with torch's automatic differentiation: the
blocks are written out below, and every attention matrix is a node of the graph. Two packages exist, and where they can
run (square grids) the maps below are checked against what they finally draw: legrad-torch for LeGrad, gem-torch for GEM.
Run it after make_golden.py, whose checkpoints and photos it reads; versions and --check are the same, and besides:

    pip install open-clip-torch==2.23.0 einops==0.8.2 && pip install --no-deps legrad-torch==1.1 gem-torch==1.0.1
    python tests/golden/make_attention.py [--check]

Written: tests/golden/parity/<checkpoint>.attention.safetensors with <checkpoint>.attention.json.
"""

import argparse
import contextlib
import copy
import io
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import families
import make_golden as golden
import tiny_checkpoints
import torch
from PIL import Image
from safetensors.torch import save_file
from tiny_checkpoints import PHOTOS, write_json
from torch.nn.functional import interpolate, normalize
from transformers import CLIPModel

FITS = ["squash", "wide"]
OBJECTIVES = ["plain", "mean-0.6", "weighted-0.6"]
EMPTY = golden.PROMPTS.index("")
COMPARED = [golden.TARGET, *golden.REFERENCES]
# The packages work in float32, and their last steps are the drawing's: bilinear, then 0 to 1 over the picture.
PACKAGE_TOLERANCE = 1e-3


# --------------------------------------------------------------------------------------------------------------------
# The vision tower, written out: one picture, float64, tokens [tokens, width].


def heads(tokens, count):
    return tokens.unflatten(-1, (count, -1)).transpose(-2, -3)


def merged(tokens):
    return tokens.transpose(-2, -3).flatten(-2)


def rest_of_block(block, hidden, attended):
    """From what attention gives, before its output layer, to what leaves the block."""
    hidden = hidden + block.self_attn.out_proj(attended)
    return hidden + block.mlp(block.layer_norm2(hidden))


def run_block(block, hidden):
    """Everything that happens in a block; `weights`, the attention, and `attended`, what it gives, are in the graph."""
    seen = block.layer_norm1(hidden)
    own = block.self_attn
    query, key, value = (heads(part(seen), own.num_heads) for part in (own.q_proj, own.k_proj, own.v_proj))
    scale = query.shape[-1] ** -0.5
    weights = (query @ key.mT * scale).softmax(dim=-1)
    attended = merged(weights @ value)
    leaving = rest_of_block(block, hidden, attended)
    return SimpleNamespace(block=block, hidden=hidden, seen=seen, query=query, key=key, value=value, scale=scale,
                           weights=weights, attended=attended, leaving=leaving)  # fmt: skip


class Tower:
    """One picture's way through the tower, block by block, with a graph from the first block's input on."""

    def __init__(self, scores, pixels):
        self.scores, self.vision = scores, scores.model.vision_model
        with torch.no_grad():
            tokens = self.vision.pre_layrnorm(self.vision.embeddings(pixels[None], interpolate_pos_encoding=True))
        hidden = tokens[0].requires_grad_()
        self.blocks = []
        for block in self.vision.encoder.layers:
            self.blocks.append(run_block(block, hidden))
            hidden = self.blocks[-1].leaving
        self.embedding, logits = self.read(hidden[0])
        self.logits = logits

    def read(self, token):
        """The last norm and the projection: unit embedding and logits of a token."""
        return self.scores.from_pooled(self.vision.post_layernorm(token))

    def from_block(self, layer):
        return self.blocks[layer % len(self.blocks) :]


# --------------------------------------------------------------------------------------------------------------------
# The methods: (tower, objective, weights of the prompts, first block) to a map [patches].


def le_grad(tower, _objective, weights, layer=-2):
    total = 0
    for block in tower.from_block(layer):
        score = weights @ tower.read(block.leaving.mean(dim=0))[1]
        (gradient,) = torch.autograd.grad(score, block.weights, retain_graph=True)
        total = total + gradient.clamp(min=0).mean(dim=(0, 1))[1:]
    return total


def grad_eclip(tower, objective, _weights, layer=-1):
    block = tower.blocks[layer]
    (gradient,) = torch.autograd.grad(objective(tower.logits), block.attended, retain_graph=True)
    query, key, value = merged(block.query)[0], merged(block.key)[1:], merged(block.value)[1:]
    cosines = normalize(key, dim=-1) @ normalize(query, dim=-1)
    loose = (cosines - cosines.min()) / (cosines.max() - cosines.min())
    return (gradient[0] * value).sum(dim=-1) * loose


def rollout(tower, _objective, _weights, layer=0):
    product = torch.eye(tower.blocks[0].hidden.shape[0], dtype=torch.float64)
    for block in tower.from_block(layer):
        mixed = block.weights.mean(dim=0) + torch.eye(len(product))
        product = mixed / mixed.sum(dim=-1, keepdim=True) @ product
    return product[0, 1:]


def game(tower, objective, _weights, layer=-1):
    relevance = torch.eye(tower.blocks[0].hidden.shape[0], dtype=torch.float64)
    for block in tower.from_block(layer):
        (gradient,) = torch.autograd.grad(objective(tower.logits), block.weights, retain_graph=True)
        relevance = relevance + (gradient * block.weights).clamp(min=0).mean(dim=0) @ relevance
    return relevance[0, 1:]


def patches(tower, tokens):
    """Unit embeddings [patches, dim] of tokens that have left the blocks."""
    return tower.read(tokens)[0][1:]


def texts(tower, weights):
    return tower.scores.model.logit_scale.exp() * weights @ tower.scores.text_embeds


def above_mean(map_):
    """A cosine has no zero of its own; the photo's mean is fieldmark's."""
    return map_ - map_.mean()


def path(tower, layer, attended):
    tokens = tower.blocks[layer % len(tower.blocks)].hidden
    for block in tower.from_block(layer):
        tokens = tokens + block.block.self_attn.out_proj(merged(attended(block)))
    return patches(tower, tokens)


def like(tokens, inverse_temperature):
    return (tokens @ tokens.mT * inverse_temperature).softmax(dim=-1)


def deepest(tower, count=6):
    return -min(count, len(tower.blocks))


def gem_features(tower, layer):
    def grouped(block):
        inverse_temperature = block.seen.norm(dim=-1).mean() * block.scale
        total = 0
        for tokens in (block.query, block.key, block.value):
            tokens = normalize(tokens, dim=-1)
            tokens = normalize(like(tokens, inverse_temperature) @ tokens, dim=-1)
            total = total + like(tokens, inverse_temperature) @ block.value
        return total / 3

    return path(tower, layer, grouped)


def gem(tower, _objective, weights, layer=None):
    return above_mean(gem_features(tower, layer or deepest(tower)) @ texts(tower, weights))


def clip_surgery(tower, _objective, weights, layer=None):
    features = path(tower, layer or deepest(tower), lambda block: like(block.value, block.scale) @ block.value)
    return surgery(tower, features, weights)


def surgery(tower, features, weights):
    """The maps of a mix of labels, less what the labels have in common."""
    labels = weights.nonzero().flatten()
    embeds = tower.scores.text_embeds[labels]
    if len(labels) == 1:
        similarity = features @ (embeds - tower.scores.empty).T
    else:
        obvious = (2 * tower.embedding @ embeds.T).softmax(dim=-1)
        products = features[:, None] * embeds * (obvious / obvious.mean())[None, :, None]
        similarity = (products - products.mean(dim=1, keepdim=True)).sum(dim=-1)
    return tower.scores.model.logit_scale.exp() * similarity @ weights[labels]


def one_block(change, whole):
    """A dense method that changes one block and reads what it gives: its map. `whole`: with residual and MLP."""

    def method(tower, _objective, weights, layer=-1):
        block = tower.blocks[layer]
        attended = merged(change(block, tower))
        output = block.block.self_attn.out_proj
        tokens = rest_of_block(block.block, block.hidden, attended) if whole else output(attended)
        return above_mean(patches(tower, tokens) @ texts(tower, weights))

    return method


def near(block, tower):
    rows, columns = tower.grid
    places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).double()
    prefix = block.hidden.shape[0] - len(places)
    bonus = torch.zeros(prefix + len(places), prefix + len(places), dtype=torch.float64)
    bonus[prefix:, prefix:] = (-torch.cdist(places, places) ** 2 / (2 * 5.0**2)).exp()
    return (block.key @ block.key.mT * block.scale + bonus).softmax(dim=-1) @ block.value


def correlative(block, _tower):
    return (like(block.query, block.scale) + like(block.key, block.scale)) @ block.value


# Each method with the layers that are asked of it; None is its own choice.
METHODS = {
    "le-grad": (le_grad, [None, -1, -3]),
    "grad-eclip": (grad_eclip, [None, -2]),
    "attention-rollout": (rollout, [None, -2]),
    "game": (game, [None, -2, -3]),
    "clip-surgery": (clip_surgery, [None, -2]),
    "gem": (gem, [None, -2]),
    "mask-clip": (one_block(lambda block, _: block.value, True), [None, -2]),
    "sclip": (one_block(correlative, True), [None, -2]),
    "clear-clip": (one_block(lambda b, _: like(b.query, b.scale) @ b.value, False), [None, -2]),
    "na-clip": (one_block(near, False), [None, -2]),
}


# --------------------------------------------------------------------------------------------------------------------
# The packages, on the same weights in open_clip's words.


def open_clip_model(checkpoint, model):
    """An open_clip model with the vision tower's weights; its text tower is not used."""
    import open_clip

    vision = model.config.vision_config
    size = {"image_size": vision.image_size, "patch_size": vision.patch_size, "width": vision.hidden_size,
            "layers": vision.num_hidden_layers, "head_width": vision.hidden_size // vision.num_attention_heads,
            "mlp_ratio": vision.intermediate_size / vision.hidden_size}  # fmt: skip
    text = {"context_length": 4, "vocab_size": 4, "width": 8, "heads": 1, "layers": 1}
    quick = vision.hidden_act == "quick_gelu"
    made = open_clip.CLIP(model.config.projection_dim, size, text, quick_gelu=quick).eval()
    theirs, ours = made.visual, model.vision_model
    state = {
        "class_embedding": ours.embeddings.class_embedding,
        "positional_embedding": ours.embeddings.position_embedding.weight,
        "proj": model.visual_projection.weight.T,
        "conv1.weight": ours.embeddings.patch_embedding.weight,
    }
    norms = [("ln_pre", ours.pre_layrnorm), ("ln_post", ours.post_layernorm)]
    for index, block in enumerate(ours.encoder.layers):
        name, own = f"transformer.resblocks.{index}", block.self_attn
        norms += [(f"{name}.ln_1", block.layer_norm1), (f"{name}.ln_2", block.layer_norm2)]
        for kind in ("weight", "bias"):
            parts = [getattr(part, kind) for part in (own.q_proj, own.k_proj, own.v_proj)]
            state |= {f"{name}.attn.in_proj_{kind}": torch.cat(parts),
                      f"{name}.attn.out_proj.{kind}": getattr(own.out_proj, kind),
                      f"{name}.mlp.c_fc.{kind}": getattr(block.mlp.fc1, kind),
                      f"{name}.mlp.c_proj.{kind}": getattr(block.mlp.fc2, kind)}  # fmt: skip
    state |= {f"{name}.{kind}": getattr(norm, kind) for name, norm in norms for kind in ("weight", "bias")}
    theirs.load_state_dict({name: tensor.detach().clone() for name, tensor in state.items()})
    for module in theirs.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = vision.layer_norm_eps
    return made


def drawn(map_, grid, patch):
    """What LeGrad's package does to its maps in the end."""
    picture = interpolate(map_.reshape(1, 1, *grid), scale_factor=patch, mode="bilinear")[0, 0]
    return (picture - picture.min()) / (picture.max() - picture.min())


def check_packages(checkpoint, model, exact, tower, pixels):
    """Stops unless LeGrad's and GEM's own packages draw what is computed above."""
    import gem as gem_package
    from legrad import LeWrapper

    weights = torch.eye(len(exact.text_embeds), dtype=torch.float64)
    with contextlib.redirect_stdout(io.StringIO()):
        wrapper = LeWrapper(open_clip_model(checkpoint, model), layer_index=-2)
    theirs = wrapper.compute_legrad_clip(exact.text_embeds.float(), pixels[None]).detach()[0].double()
    for prompt, row in enumerate(weights):
        mine = drawn(le_grad(tower, None, row), tower.grid, checkpoint.patch_size)
        off = golden.relative_difference(theirs[prompt].numpy(), mine.numpy())
        assert off < PACKAGE_TOLERANCE, f"legrad-torch draws another map of prompt {prompt}: {off}"
    depth = 1 - deepest(tower)
    wrapper = gem_package.gem_wrapper.GEMWrapper(open_clip_model(checkpoint, model), None, depth=depth)
    with torch.no_grad():
        theirs = normalize(wrapper.model.visual(pixels[None])[0][0, 1:], dim=-1).double()
        mine = gem_features(tower, deepest(tower))
    off_gem = golden.relative_difference(theirs.numpy(), mine.numpy())
    assert off_gem < PACKAGE_TOLERANCE, f"gem-torch has other features: {off_gem}"
    print(f"  legrad-torch within {off:.1e} of float64, gem-torch within {off_gem:.1e}")


# --------------------------------------------------------------------------------------------------------------------


def prompt_weights(objective, logits):
    """How much every prompt counts: the objective's gradient with respect to the logits."""
    leaf = logits.detach().requires_grad_()
    return torch.autograd.grad(objective(leaf), leaf)[0]


def maps_of(tower, fit, methods, objectives):
    """Every map of one pixel case, as (settings, tensors)."""
    settings, tensors = [], {}
    for name, objective in objectives.items():
        weights = prompt_weights(objective, tower.logits)
        for method, (make, layers) in methods.items():
            for layer in layers:
                asked = {} if layer is None else {"layer": layer}
                made = make(tower, objective, weights, **asked).detach().float().reshape(tower.grid)
                tensor = f"map.{fit}.{method}.{name}.layer{'' if layer is None else layer}"
                tensors[tensor] = made
                settings.append({"tensor": tensor, "fit": fit, "method": method, **asked, **objective.settings()})
    return settings, tensors


def make_checkpoint(checkpoint, tests, root):
    folder = tests / "fixtures/models" / checkpoint.name
    photos = {name: Image.open(tests / "fixtures/photos" / name).convert("RGB") for name in PHOTOS}
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    model.requires_grad_(False)
    _, embeds = golden.golden_text(checkpoint, folder, model)
    exact = golden.Scores(families.Clip, copy.deepcopy(model).double(), embeds[COMPARED].double())
    exact.empty = embeds[EMPTY].double()
    maps, tensors = [], {"empty": embeds[EMPTY]}
    for fit, pixels in golden.case_pixels(checkpoint, folder, photos).items():
        if fit not in FITS:
            continue
        tower = Tower(exact, pixels.double())
        tower.grid = [side // checkpoint.patch_size for side in pixels.shape[1:]]
        if fit == "squash":
            check_packages(checkpoint, model, exact, tower, pixels)
        settings, made = maps_of(tower, fit, METHODS, {name: golden.objectives()[name] for name in OBJECTIVES})
        maps += settings
        tensors |= made
    write(root, checkpoint.name, maps, tensors)


def write(root, name, maps, tensors):
    """The two files of one checkpoint."""
    tensors = {name: tensor.detach().float().contiguous().clone() for name, tensor in sorted(tensors.items())}
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
    parity = root / "golden/parity"
    parity.mkdir(parents=True, exist_ok=True)
    save_file(tensors, parity / f"{name}.attention.safetensors")
    (parity / f"{name}.attention.safetensors").chmod(0o644)
    write_json(parity / f"{name}.attention.json", {"checkpoint": name, "maps": maps})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with what is committed, change nothing")
    arguments = parser.parse_args()
    golden.logging.set_verbosity_error()
    golden.logging.disable_progress_bar()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) if arguments.check else golden.TESTS
        for checkpoint in (tiny_checkpoints.tiny_quick_gelu(), tiny_checkpoints.tiny_gelu()):
            print(checkpoint.name)
            make_checkpoint(checkpoint, golden.TESTS, root)
        if arguments.check:
            golden.check_against_committed(root)


if __name__ == "__main__":
    sys.exit(main())
