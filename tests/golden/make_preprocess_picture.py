"""The picture that the tests of preprocessing make, too."""

import numpy as np
from PIL import Image


def picture(width, height):
    """Gradients with noise from the linear congruential generator of Numerical Recipes."""
    state, values = 1, []
    for y in range(height):
        for x in range(width):
            for base in (x * 255 // width, y * 255 // height, (x + y) % 256):
                state = (state * 1664525 + 1013904223) % 2**32
                values.append((base * 3 + (state >> 24)) // 4)
    return Image.fromarray(np.array(values, dtype=np.uint8).reshape(height, width, 3))
