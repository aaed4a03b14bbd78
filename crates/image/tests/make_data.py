"""Writes tests/data: small pictures in forms that our encoders do not write, what Pillow reads from them, and
checksums of what Pillow makes of noise of many sizes. Run from this folder with Pillow 13.0.0 and numpy."""

import json
import pathlib

import numpy
from PIL import Image

DATA = pathlib.Path(__file__).parent / "data"


def noise(n_bytes, seed):
    """The same bytes as `noise` in tests/pillow.rs."""
    state, out = seed, bytearray()
    for _ in range(n_bytes):
        state = (state * 1664525 + 1013904223) % 2**32
        out.append(state >> 24)
    return bytes(out)


def fnv1a(data):
    hash = 0xCBF29CE484222325
    for byte in data:
        hash = (hash ^ byte) * 0x100000001B3 % 2**64
    return f"{hash:016x}"


def resized():
    sizes = [1, 2, 3, 5, 8, 13, 33, 64, 100]
    pairs = [(w, h) for w in sizes for h in sizes if (w * 7 + h * 3) % 4 == 0]
    pairs += [(300, 1), (1, 300), (257, 31), (31, 257)]
    cases = []
    for idx, (width, height) in enumerate(pairs):
        source = Image.frombytes("RGB", (width, height), noise(3 * width * height, idx))
        for to in [(1, 1), (7, 4), (width, 2 * height + 1), (3 * width - 1, height), (max(1, width // 3), 50), (61, 19)]:
            done = source.resize(to, Image.Resampling.BILINEAR)
            cases.append([idx, width, height, *to, fnv1a(done.tobytes())])
    return cases


def smooth(width, height):
    """A picture that lossy formats keep well."""
    y, x = numpy.mgrid[0:height, 0:width]
    return numpy.stack([x * 255 // width, y * 255 // height, 255 - (x + y) * 255 // (width + height)], -1).astype("uint8")


def save(name, picture, **options):
    """Writes the picture, and the RGB bytes that Pillow reads from it, transparent ones on white."""
    path = DATA / name
    picture.save(path, **options)
    read = Image.open(path)
    if read.has_transparency_data:
        white = Image.new("RGBA", read.size, (255, 255, 255))
        read = Image.alpha_composite(white, read.convert("RGBA"))
    rgb = read.convert("RGB")
    return {"file": name, "width": rgb.width, "height": rgb.height, "rgb": rgb.tobytes().hex()}


def pictures():
    rgb = Image.fromarray(smooth(12, 9))
    alpha = Image.fromarray((numpy.arange(108).reshape(9, 12) * 255 // 107).astype("uint8"))
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    palette = rgb.quantize(16)
    yield save("grey.png", rgb.convert("L"))
    yield save("bilevel.png", rgb.convert("L").convert("1"))
    yield save("palette.png", palette)
    yield save("palette_transparent.png", palette, transparency=3)
    yield save("rgba.png", rgba)
    yield save("grey_alpha.png", rgba.convert("LA"))
    yield save("transparent.gif", palette, transparency=3)
    yield save("animated.gif", palette, save_all=True, append_images=[palette.rotate(180)])
    yield save("lossless.webp", rgb, lossless=True)
    yield save("rgba_lossless.webp", rgba, lossless=True, exact=True)
    yield save("lossy.webp", rgb, quality=90)
    yield save("animated.webp", rgb, save_all=True, append_images=[rgb.rotate(180)], lossless=True)
    yield save("progressive.jpg", rgb, quality=95, progressive=True, subsampling=0)
    yield save("subsampled.jpg", rgb, quality=95, subsampling=2)
    yield save("grey.jpg", rgb.convert("L"), quality=95)
    yield save("cmyk.jpg", rgb.convert("CMYK"), quality=95, subsampling=0)
    # Pillow clips these at 255 (see src/decode.rs), so what is expected is the high byte.
    high = numpy.asarray(rgb.convert("L")).astype("uint16")
    case = save("grey16.png", Image.fromarray(high * 256 + 77))
    case["rgb"] = numpy.repeat(high.astype("uint8")[..., None], 3, -1).tobytes().hex()
    yield case


def table(cases):
    return "[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n"


if __name__ == "__main__":
    DATA.mkdir(exist_ok=True)
    (DATA / "resized.json").write_text(table(resized()))
    (DATA / "pictures.json").write_text(table(pictures()))
