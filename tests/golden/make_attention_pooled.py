"""Makes the expected maps of the methods that look at attention, of towers that do not end in a class token.

The reference is computed here in float64, from each method's definition (src/attribution/), with torch's automatic
differentiation; what does not depend on how tokens are pooled is make_attention.py's. The two small SigLIPs pool their
tokens by attention; `open-clip-mean` takes the mean of its patches and has a class token that is not among them.
LeGrad's package supports SigLIP, but reads the tokens without the tower's last norm: without it, and without the
package's correction, which can be switched off, its picture must be the one that is computed here.

Run it after make_golden.py and make_open_clip.py, whose files it reads, with the latter's versions and legrad-torch:

    pip install einops==0.8.2 && pip install --no-deps legrad-torch==1.1
    python tests/golden/make_attention_pooled.py [--check]

Written: tests/golden/parity/<checkpoint>.attention.safetensors with <checkpoint>.attention.json.
"""

import argparse
import copy
import functools
import sys
import tempfile
from pathlib import Path
from types import MethodType, SimpleNamespace

import make_golden as golden
import make_open_clip
import tiny_siglips
import torch
from make_attention import (
    COMPARED,
    EMPTY,
    FITS,
    OBJECTIVES,
    PACKAGE_TOLERANCE,
    above_mean,
    correlative,
    deepest,
    heads,
    like,
    maps_of,
    merged,
    near,
    rest_of_block,
    run_block,
    surgery,
    texts,
    write,
)
from PIL import Image
from safetensors.torch import load_file
from tiny_checkpoints import PHOTOS
from timm.models.vision_transformer import VisionTransformer
from torch.nn.functional import interpolate, linear, normalize

PARITY = golden.TESTS / "golden/parity"


# --------------------------------------------------------------------------------------------------------------------
# The towers, written out: one picture, float64, tokens [tokens, width].


class Tower:
    """One picture's way through a tower, block by block, with a graph from the first block's input on."""

    def __init__(self, parts, tokens, grid):
        self.parts, self.scores, self.grid = parts, parts.scores, grid
        self.prefix = len(tokens) - grid[0] * grid[1]
        hidden = tokens.detach().requires_grad_()
        self.blocks = []
        for block in parts.blocks:
            self.blocks.append(run_block(block, hidden))
            hidden = self.blocks[-1].leaving
        self.end = parts.end(hidden)
        self.embedding, self.logits = self.score(self.end.summary)

    def score(self, summary):
        """Unit embedding and logits; a bias would change no map."""
        unit = normalize(self.parts.project(summary), dim=-1)
        return unit, self.scores.model.logit_scale.exp() * unit @ self.scores.text_embeds.T

    def from_block(self, layer):
        return self.blocks[layer % len(self.blocks) :]

    def patches(self, tokens):
        """Unit embeddings [patches, dim] of tokens that are summarised alone."""
        return torch.stack([self.score(self.parts.alone(token))[0] for token in tokens[self.prefix :]])

    def row(self):
        """What of each token that leaves the last block goes into the summary: [tokens]."""
        if self.end.weights is not None:
            return self.end.weights.mean(dim=0)[0]
        row = torch.zeros(len(self.blocks[0].hidden), dtype=torch.float64)
        row[self.prefix :] = 1 / (len(row) - self.prefix)
        return row


def run_pool(head, tokens):
    """SigLIP's pooling head on tokens behind the last norm; its attention and what that gives are in the graph."""
    width, own = tokens.shape[-1], head.attention
    weight, bias = own.in_proj_weight, own.in_proj_bias
    part = lambda of, index: heads(linear(of, weight[index * width :][:width], bias[index * width :][:width]), own.num_heads)
    query, key, value = part(head.probe[0], 0), part(tokens, 1), part(tokens, 2)
    weights = (query @ key.mT * query.shape[-1] ** -0.5).softmax(dim=-1)
    attended = merged(weights @ value)
    hidden = own.out_proj(attended)
    summary = (hidden + head.mlp(head.layernorm(hidden)))[0]
    return SimpleNamespace(query=query, key=key, value=value, weights=weights, attended=attended, summary=summary)


def siglip_parts(scores):
    vision = scores.model.vision_model
    end = lambda tokens: run_pool(vision.head, vision.post_layernorm(tokens))
    return SimpleNamespace(scores=scores, blocks=vision.encoder.layers, project=lambda summary: summary, end=end,
                           norm=vision.post_layernorm, head=vision.head,
                           alone=lambda token: end(token[None]).summary)  # fmt: skip


def mean_parts(scores):
    """open_clip's blocks in transformers' words. The norm follows the mean."""
    visual = scores.model.visual
    norm = visual.ln_post

    def block(theirs):
        weights, biases = theirs.attn.in_proj_weight.chunk(3), theirs.attn.in_proj_bias.chunk(3)
        query, key, value = (lambda x, w=w, b=b: linear(x, w, b) for w, b in zip(weights, biases))
        own = SimpleNamespace(q_proj=query, k_proj=key, v_proj=value, out_proj=theirs.attn.out_proj,
                              num_heads=theirs.attn.num_heads)  # fmt: skip
        return SimpleNamespace(layer_norm1=theirs.ln_1, self_attn=own, layer_norm2=theirs.ln_2, mlp=theirs.mlp)

    end = lambda tokens: SimpleNamespace(summary=norm(tokens[1:].mean(dim=0)), weights=None)
    return SimpleNamespace(scores=scores, blocks=[block(theirs) for theirs in visual.transformer.resblocks],
                           project=lambda summary: summary @ visual.proj, end=end, norm=norm, head=None, alone=norm)  # fmt: skip


# --------------------------------------------------------------------------------------------------------------------
# The methods: (tower, objective, weights of the prompts, first block) to a map [patches].


def gradient(score, of):
    return torch.autograd.grad(score, of, retain_graph=True)[0]


def le_grad(tower, _objective, weights, layer=-2):
    total = 0
    for block in tower.from_block(layer):
        if tower.parts.head is None:
            score = weights @ tower.score(tower.parts.norm(block.leaving.mean(dim=0)))[1]
            attention = block.weights
        else:
            end = tower.parts.end(block.leaving)
            score, attention = weights @ tower.score(end.summary)[1], end.weights
        total = total + gradient(score, attention).clamp(min=0).mean(dim=(0, 1))[tower.prefix :]
    return total


def grad_eclip(tower, objective, weights, layer=-1):
    block = tower.blocks[layer]
    if tower.parts.head is None:
        asks, score, first = block, objective(tower.logits), tower.prefix
    else:
        asks, first = tower.parts.end(block.leaving), 0
        score = weights @ tower.score(asks.summary)[1]
    slopes = gradient(score, asks.attended)[first:]
    queries, keys, values = merged(asks.query)[first:], merged(asks.key)[tower.prefix :], merged(asks.value)[tower.prefix :]
    total = 0
    for query, slope in zip(queries, slopes, strict=True):
        cosines = normalize(keys, dim=-1) @ normalize(query, dim=-1)
        total = total + values @ slope * (cosines - cosines.min()) / (cosines.max() - cosines.min())
    return total


def rollout(tower, _objective, _weights, layer=0):
    product = torch.eye(len(tower.blocks[0].hidden), dtype=torch.float64)
    for block in tower.from_block(layer):
        product = (block.weights.mean(dim=0) + torch.eye(len(product))) / 2 @ product
    return (tower.row() @ product)[tower.prefix :]


def game(tower, objective, _weights, layer=-1):
    raising = lambda weights: (gradient(objective(tower.logits), weights) * weights).clamp(min=0).mean(dim=0)
    own = torch.eye(len(tower.blocks[0].hidden), dtype=torch.float64)
    relevance = own
    for block in tower.from_block(layer):
        relevance = relevance + raising(block.weights) @ relevance
    if tower.end.weights is None:
        return (tower.row() @ (relevance - own))[tower.prefix :]
    return (raising(tower.end.weights) @ relevance)[0]


def path(tower, layer, attended):
    tokens = tower.blocks[layer % len(tower.blocks)].hidden
    for block in tower.from_block(layer):
        tokens = tokens + block.block.self_attn.out_proj(merged(attended(block)))
    return tower.patches(tokens)


def gem(tower, _objective, weights, layer=None):
    def grouped(block):
        inverse_temperature = block.seen.norm(dim=-1).mean() * block.scale
        total = 0
        for tokens in (block.query, block.key, block.value):
            tokens = normalize(tokens, dim=-1)
            tokens = normalize(like(tokens, inverse_temperature) @ tokens, dim=-1)
            total = total + like(tokens, inverse_temperature) @ block.value
        return total / 3

    return above_mean(path(tower, layer or deepest(tower), grouped) @ texts(tower, weights))


def clip_surgery(tower, _objective, weights, layer=None):
    features = path(tower, layer or deepest(tower), lambda block: like(block.value, block.scale) @ block.value)
    return surgery(tower, features, weights)


def one_block(change, whole):
    def method(tower, _objective, weights, layer=-1):
        block = tower.blocks[layer]
        attended = merged(change(block, tower))
        output = block.block.self_attn.out_proj
        tokens = rest_of_block(block.block, block.hidden, attended) if whole else output(attended)
        return above_mean(tower.patches(tokens) @ texts(tower, weights))

    return method


def own_values(block, tower):
    """MaskCLIP changes the last attention: the head's, where there is one, which `alone` does."""
    return block.value if tower.parts.head is None else block.weights @ block.value


METHODS = {
    "le-grad": (le_grad, [None, -1]),
    "grad-eclip": (grad_eclip, [None, -2]),
    "attention-rollout": (rollout, [None, -1]),
    "game": (game, [None, -2]),
    "clip-surgery": (clip_surgery, [None, -1]),
    "gem": (gem, [None, -1]),
    "mask-clip": (one_block(own_values, True), [None, -2]),
    "sclip": (one_block(correlative, True), [None, -2]),
    "clear-clip": (one_block(lambda block, _: like(block.query, block.scale) @ block.value, False), [None, -2]),
    "na-clip": (one_block(near, False), [None, -2]),
}


# --------------------------------------------------------------------------------------------------------------------
# LeGrad's package, on the same weights in timm's words.


def timm_tower(vision):
    """timm's tower with the weights of transformers' SiglipVisionModel."""
    config = vision.config
    made = VisionTransformer(
        img_size=config.image_size, patch_size=config.patch_size, embed_dim=config.hidden_size,
        depth=config.num_hidden_layers, num_heads=config.num_attention_heads, class_token=False, global_pool="map",
        mlp_ratio=config.intermediate_size / config.hidden_size, num_classes=0,
        act_layer=functools.partial(torch.nn.GELU, approximate="tanh"),
        norm_layer=functools.partial(torch.nn.LayerNorm, eps=config.layer_norm_eps),
    ).eval()  # fmt: skip
    head, pool = vision.head, {}
    width = config.hidden_size
    for kind in ("weight", "bias"):
        joined = getattr(head.attention, f"in_proj_{kind}")
        pool |= {f"q.{kind}": joined[:width], f"kv.{kind}": joined[width:],
                 f"proj.{kind}": getattr(head.attention.out_proj, kind), f"norm.{kind}": getattr(head.layernorm, kind),
                 f"mlp.fc1.{kind}": getattr(head.mlp.fc1, kind), f"mlp.fc2.{kind}": getattr(head.mlp.fc2, kind)}  # fmt: skip
    patch = vision.embeddings.patch_embedding
    state = {"pos_embed": vision.embeddings.position_embedding.weight[None], "attn_pool.latent": head.probe,
             **{f"attn_pool.{name}": tensor for name, tensor in pool.items()}}  # fmt: skip
    parts = [("patch_embed.proj", patch), ("norm", vision.post_layernorm)]
    for index, block in enumerate(vision.encoder.layers):
        name, own = f"blocks.{index}", block.self_attn
        parts += [(f"{name}.norm1", block.layer_norm1), (f"{name}.norm2", block.layer_norm2),
                  (f"{name}.attn.proj", own.out_proj), (f"{name}.mlp.fc1", block.mlp.fc1),
                  (f"{name}.mlp.fc2", block.mlp.fc2)]  # fmt: skip
        for kind in ("weight", "bias"):
            joined = [getattr(part, kind) for part in (own.q_proj, own.k_proj, own.v_proj)]
            state[f"{name}.attn.qkv.{kind}"] = torch.cat(joined)
    state |= {f"{name}.{kind}": getattr(part, kind) for name, part in parts for kind in ("weight", "bias")}
    made.load_state_dict({name: tensor.detach().clone() for name, tensor in state.items()})
    return made


def check_package(model, tower, pixels, patch):
    """Stops unless legrad-torch draws what is computed above, if tokens reach the head without the last norm."""
    from legrad import LeWrapper, utils

    trunk = timm_tower(model.vision_model)
    for block in trunk.blocks:
        block.forward = MethodType(utils.hooked_resblock_timm_forward, block)
    trunk.attn_pool.forward = MethodType(utils.hooked_attentional_pooler_timm_forward, trunk.attn_pool)
    wrapper = SimpleNamespace(visual=SimpleNamespace(trunk=trunk), encode_image=trunk, patch_size=patch,
                              starting_depth=len(trunk.blocks) - 2, zero_grad=lambda: None)  # fmt: skip
    head, worst = model.vision_model.head, 0
    exact = copy.deepcopy(head).double()
    for text in tower.scores.text_embeds:
        theirs = LeWrapper.compute_legrad_siglip(wrapper, text[None].float(), pixels[None], apply_correction=False)
        mine = 0
        for block in tower.from_block(-2):
            end = run_pool(exact, block.leaving)
            score = text @ normalize(end.summary, dim=-1)
            mine = mine + gradient(score, end.weights).clamp(min=0).mean(dim=(0, 1))
        mine = ((mine - mine.min()) / (mine.max() - mine.min())).reshape(1, 1, *tower.grid)
        mine = interpolate(mine, scale_factor=patch, mode="bilinear")[0, 0]
        worst = max(worst, golden.relative_difference(theirs[0, 0].detach().double().numpy(), mine.detach().numpy()))
    assert worst < PACKAGE_TOLERANCE, f"legrad-torch draws another map: {worst}"
    print(f"  legrad-torch within {worst:.1e} of float64")


# --------------------------------------------------------------------------------------------------------------------


def make_siglip(checkpoint, root):
    folder = golden.TESTS / "fixtures/models" / checkpoint.name
    photos = {name: Image.open(golden.TESTS / "fixtures/photos" / name).convert("RGB") for name in PHOTOS}
    model = checkpoint.family.model.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    model.requires_grad_(False)
    _, embeds = golden.golden_text(checkpoint, folder, model)
    exact = golden.Scores(checkpoint.family, copy.deepcopy(model).double(), embeds[COMPARED].double())
    exact.empty = embeds[EMPTY].double()
    maps, tensors = [], {"empty": embeds[EMPTY]}
    for fit, pixels in golden.case_pixels(checkpoint, folder, photos).items():
        if fit not in FITS:
            continue
        grid = [side // checkpoint.patch_size for side in pixels.shape[1:]]
        tokens = exact.model.vision_model.embeddings(pixels[None].double(), interpolate_pos_encoding=True)[0]
        tower = Tower(siglip_parts(exact), tokens, grid)
        check_embedding(checkpoint.name, fit, tower)
        if fit == "squash":
            check_package(model, tower, pixels, checkpoint.patch_size)
        settings, made = maps_of(tower, fit, METHODS, {name: golden.objectives()[name] for name in OBJECTIVES})
        maps += settings
        tensors |= made
    write(root, checkpoint.name, maps, tensors)


def make_mean(checkpoint, root):
    photos = {name: Image.open(golden.TESTS / "fixtures/photos" / name).convert("RGB") for name in PHOTOS}
    model = make_open_clip.build(checkpoint)[0].requires_grad_(False)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        tokenizer = make_open_clip.write_tokenizer(checkpoint, Path(folder))
        prompts = [make_open_clip.PROMPTS[index] for index in make_open_clip.COMPARED]
        embeds = normalize(model.encode_text(tokenizer([*prompts, ""])), dim=-1).double()
    exact = SimpleNamespace(model=copy.deepcopy(model).double(), text_embeds=embeds[:-1], empty=embeds[-1])
    maps, tensors = [], {"empty": embeds[-1]}
    for fit, pixels in make_open_clip.case_pixels(checkpoint, photos).items():
        tower = Tower(mean_parts(exact), entering_blocks(exact.model.visual, pixels.double()), [8, 8])
        check_embedding(checkpoint.name, fit, tower)
        settings, made = maps_of(tower, fit, METHODS, make_open_clip.objectives())
        maps += settings
        tensors |= made
    write(root, checkpoint.name, maps, tensors)


def entering_blocks(visual, pixels):
    """The tokens that open_clip's own code gives to the first block: [tokens, width]."""
    seen = []
    hook = visual.transformer.resblocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    visual(pixels[None])
    hook.remove()
    return seen[0].reshape(-1, seen[0].shape[-1])


def check_embedding(name, fit, tower):
    """Stops unless the tower that is written out above gives the reference's embedding."""
    expected = load_file(PARITY / f"{name}.safetensors")[f"image_embeds.{fit}"].double()
    off = (tower.embedding - expected).abs().max()
    assert off < 1e-5, f"{name} {fit}: another embedding, off by {off}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with what is committed, change nothing")
    arguments = parser.parse_args()
    golden.logging.set_verbosity_error()
    golden.logging.disable_progress_bar()
    torch.set_num_threads(1)
    mean = next(made for made in make_open_clip.checkpoints() if made.name == "open-clip-mean")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) if arguments.check else golden.TESTS
        for checkpoint in (tiny_siglips.tiny_siglip(), tiny_siglips.tiny_siglip2()):
            print(checkpoint.name)
            make_siglip(checkpoint, root)
        print(mean.name)
        make_mean(mean, root)
        if arguments.check:
            golden.check_against_committed(root)


if __name__ == "__main__":
    sys.exit(main())
