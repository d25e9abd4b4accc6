"""Makes the small seeded SigLIP checkpoints and their tokenizers; make_golden.py runs this.

`tiny-siglip` is what the Hub's SigLIP is: a configuration that leaves defaults out, a SentencePiece tokenizer and its
form for the tokenizers library, whose cleaning of a text only tokenizer_config.json describes. `tiny-siglip2` is what the
Hub's SigLIP 2 is: a byte-pair tokenizer of Gemma's kind that does not lower-case by itself, and bilinear resizing.
"""

import io
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import sentencepiece
from tokenizers import AddedToken, processors
from transformers import Siglip2Tokenizer, SiglipConfig, SiglipTokenizer
from transformers.convert_slow_tokenizer import SpmConverter

import families
from tiny_checkpoints import CORPUS, Checkpoint, learn_merges, random_model, write_json

N_PIECES = 150
GEMMA_SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]


@dataclass
class SiglipCheckpoint(Checkpoint):
    """The same with what only SigLIP has."""

    logit_bias: float = 0.0
    family: type = families.Siglip

    def write(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        random_model(self).save_pretrained(folder)
        if self.family is families.Siglip2:
            processor = {"image_processor": self.preprocessor, "processor_class": "SiglipProcessor"}
            write_json(folder / "processor_config.json", processor)
            write_gemma_tokenizer(self.context, folder)
        else:
            write_json(folder / "config.json", short(self.config))
            write_json(folder / "preprocessor_config.json", self.preprocessor)
            write_piece_tokenizer(self.context, folder)


def short(config):
    """A configuration without what is a default, as the Hub's are."""
    plain = SiglipConfig()
    sections = {
        name: {key: value for key, value in getattr(config, name).to_dict().items()
               if key not in ("dtype", "transformers_version") and getattr(getattr(plain, name), key, None) != value}
        for name in ("text_config", "vision_config")
    }  # fmt: skip
    return {"architectures": ["SiglipModel"], "initializer_factor": 1.0, "model_type": "siglip",
            "torch_dtype": "float32", **sections}  # fmt: skip


# --------------------------------------------------------------------------------------------------------------------
# Tokenizers.


class PieceConverter(SpmConverter):
    """SentencePiece to the tokenizers library, with SigLIP's end token."""

    def post_processor(self):
        end = self.original_tokenizer.convert_tokens_to_ids("</s>")
        return processors.TemplateProcessing(single=["$A", "</s>"], special_tokens=[("</s>", end)])


def pieces():
    """A SentencePiece model of the corpus, with SigLIP's ids: </s> is 1 and the padding too, <unk> is 2."""
    sentences = [word for word, count in CORPUS.items() for _ in range(count)] + [" ".join(CORPUS)] * 3
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=model, model_type="unigram", vocab_size=N_PIECES,
        hard_vocab_limit=False, character_coverage=1.0, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        normalization_rule_name="identity", num_threads=1, minloglevel=2,
    )  # fmt: skip
    return model.getvalue()


def n_pieces():
    return sentencepiece.SentencePieceProcessor(model_proto=pieces()).get_piece_size()


def write_piece_tokenizer(context, folder):
    (folder / "spiece.model").write_bytes(pieces())
    slow = SiglipTokenizer(str(folder / "spiece.model"))
    fast = PieceConverter(slow).converted()
    special = {"lstrip": True, "normalized": False, "rstrip": True, "single_word": False}
    fast.add_special_tokens([AddedToken(token, **special) for token in ("</s>", "<unk>")])
    fast.save(str(folder / "tokenizer.json"))
    tokens = {"eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    settings = {"tokenizer_class": "SiglipTokenizer", "do_lower_case": True, "model_max_length": context,
                "model_input_names": ["input_ids"], "sp_model_kwargs": {}, **tokens}  # fmt: skip
    write_json(folder / "tokenizer_config.json", settings)
    mapped = {name: {"content": token, **special} for name, token in tokens.items()}
    write_json(folder / "special_tokens_map.json", mapped)


def gemma_vocabulary():
    """Special tokens, bytes, characters and merged pieces; a blank is ▁ and belongs to the word behind it."""
    words = {tuple("▁" + word): count for word, count in CORPUS.items()}
    merges = learn_merges(words)
    characters = sorted({character for word in words for character in word})
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    tokens = GEMMA_SPECIAL + bytes_ + characters + [a + b for a, b in merges]
    assert len(set(tokens)) == len(tokens)
    return {token: index for index, token in enumerate(tokens)}, merges


def write_gemma_tokenizer(context, folder):
    """As the Hub's files are: they ask for lower case in tokenizer_config.json, and tokenizer.json does not make it."""
    vocab, merges = gemma_vocabulary()
    tokenizer = Siglip2Tokenizer(vocab=vocab, merges=merges, add_eos_token=True, padding_side="right")
    with tempfile.TemporaryDirectory() as temporary:
        tokenizer.save_pretrained(temporary)
        saved = json.loads((Path(temporary) / "tokenizer.json").read_text(encoding="utf-8"))
    lower, *others = saved["normalizer"]["normalizers"]
    assert lower == {"type": "Lowercase"} and len(others) == 1
    saved["normalizer"] = others[0]
    (folder / "tokenizer.json").write_text(json.dumps(saved, ensure_ascii=False), encoding="utf-8")
    settings = {"tokenizer_class": "GemmaTokenizer", "do_lower_case": True, "add_bos_token": False,
                "add_eos_token": True, "padding_side": "right", "model_max_length": context, "bos_token": "<bos>",
                "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}  # fmt: skip
    write_json(folder / "tokenizer_config.json", settings)


# --------------------------------------------------------------------------------------------------------------------
# Checkpoints.


def preprocessor(side, resample):
    return {"do_convert_rgb": None, "do_normalize": True, "do_rescale": True, "do_resize": True,
            "image_mean": [0.5] * 3, "image_processor_type": "SiglipImageProcessor", "image_std": [0.5] * 3,
            "processor_class": "SiglipProcessor", "resample": resample, "rescale_factor": 1 / 255,
            "size": {"height": side, "width": side}}  # fmt: skip


def tiny_siglip():
    """The text is narrower than the picture, so the head's output has another size than its input."""
    text = {"vocab_size": n_pieces(), "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
            "num_attention_heads": 2, "max_position_embeddings": 16, "projection_size": 32}  # fmt: skip
    vision = {"hidden_size": 32, "intermediate_size": 56, "num_hidden_layers": 3, "num_attention_heads": 4,
              "image_size": 48, "patch_size": 8}  # fmt: skip
    return SiglipCheckpoint(
        name="tiny-siglip", seed=20250803, logit_scale=20.0, logit_bias=-3.0, wide_grid=(4, 10),
        preprocessor=preprocessor(48, 3), config=SiglipConfig(text_config=text, vision_config=vision),
        special_tokens_first=False, tokenizer_json=False, half_precision_shards=False,
    )  # fmt: skip


def tiny_siglip2():
    """Epsilons that show where they are wrong, and as many wide patches as trained ones."""
    text = {"vocab_size": len(gemma_vocabulary()[0]), "hidden_size": 28, "intermediate_size": 44,
            "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 20,
            "layer_norm_eps": 2e-3}  # fmt: skip
    vision = {"hidden_size": 28, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2,
              "image_size": 56, "patch_size": 14, "layer_norm_eps": 1e-3}  # fmt: skip
    return SiglipCheckpoint(
        name="tiny-siglip2", seed=20250804, logit_scale=110.0, logit_bias=-16.0, wide_grid=(2, 8),
        preprocessor=preprocessor(56, 2), config=SiglipConfig(text_config=text, vision_config=vision),
        special_tokens_first=False, tokenizer_json=False, half_precision_shards=False, family=families.Siglip2,
    )  # fmt: skip
