"""What make_golden.py needs to know of each family of models: transformers' classes, and how pixels become scores.

A family is a plain class with the same functions; make_golden.py calls them without knowing which one it has.
"""

from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer, SiglipImageProcessor, SiglipModel
from transformers import Siglip2Tokenizer, SiglipTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil


def unit(vectors):
    return vectors / vectors.norm(dim=-1, keepdim=True)


class Clip:
    """A class token, a projection of it, and a text tower that does not see padding."""

    model = CLIPModel
    image_processors = {"crop.torchvision": CLIPImageProcessor, "crop.pillow": CLIPImageProcessorPil}
    prefix_tokens = 1

    @staticmethod
    def tokenizer(folder):
        return CLIPTokenizer.from_pretrained(folder)

    @staticmethod
    def text(prompt):
        return prompt

    @staticmethod
    def ids(tokenizer, prompt, context):
        return tokenizer(prompt, truncation=True, max_length=context).input_ids

    @staticmethod
    def scores(model, pooled, text_embeds):
        image_embeds = unit(model.visual_projection(pooled))
        return image_embeds, model.logit_scale.exp() * image_embeds @ text_embeds.T

    @staticmethod
    def first_hidden(vision, pixels):
        return vision.pre_layrnorm(vision.embeddings(pixels, interpolate_pos_encoding=True))

    @staticmethod
    def pooled(vision, hidden):
        return vision.post_layernorm(hidden[:, 0])


class Siglip:
    """No class token, a pooling head that is the end, and a text tower that sees its padding.

    Prompts are stripped first: transformers' SiglipTokenizer gives a text that begins with white space one blank more
    than big_vision, which SigLIP was trained with, and the tokenizers library do.
    """

    model = SiglipModel
    image_processors = {"crop.torchvision": SiglipImageProcessor, "crop.pillow": SiglipImageProcessorPil}
    prefix_tokens = 0

    @staticmethod
    def tokenizer(folder):
        return SiglipTokenizer.from_pretrained(folder)

    @staticmethod
    def text(prompt):
        return prompt.strip()

    @staticmethod
    def ids(tokenizer, prompt, context):
        return tokenizer(prompt, truncation=True, max_length=context, padding="max_length").input_ids

    @staticmethod
    def scores(model, pooled, text_embeds):
        image_embeds = unit(pooled)
        return image_embeds, model.logit_scale.exp() * image_embeds @ text_embeds.T + model.logit_bias

    @staticmethod
    def first_hidden(vision, pixels):
        return vision.embeddings(pixels, interpolate_pos_encoding=True)

    @staticmethod
    def pooled(vision, hidden):
        return vision.head(vision.post_layernorm(hidden))


class Siglip2(Siglip):
    """The same towers with another tokenizer, which keeps white space."""

    @staticmethod
    def text(prompt):
        return prompt

    @staticmethod
    def tokenizer(folder):
        return Siglip2Tokenizer.from_pretrained(folder)
