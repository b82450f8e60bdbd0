"""Text embeddings: pooled as transformers' model gives them, and what is made of them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sonopsis.data.fetch import default_root
from sonopsis.metrics.embedding import classify, open_embedder, similarity

SENTENCES = ["a dog barks", "rain", "a dog barks on a roof in the rain"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random BERT with a vocabulary of words."""
    transformers = pytest.importorskip("transformers")
    path = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({word for one in SENTENCES for word in one.split()})]
    (path / "vocab.txt").write_text("\n".join(words) + "\n")
    transformers.BertTokenizerFast(vocab={word: i for i, word in enumerate(words)}).save_pretrained(path)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    transformers.BertModel(config).save_pretrained(path)
    return path


def test_vectors_are_means_over_the_words_of_each_sentence_alone(folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    encoder = transformers.AutoModel.from_pretrained(folder).eval()
    found = open_embedder(folder)(SENTENCES)
    for sentence, vector in zip(SENTENCES, found, strict=True):
        with torch.inference_mode():
            mean = encoder(**tokenizer([sentence], return_tensors="pt")).last_hidden_state[0].mean(dim=0)
        np.testing.assert_allclose(vector, (mean / mean.norm()).numpy(), atol=1e-5)


def test_similarity_is_the_mean_cosine_to_the_references() -> None:
    vectors = {"east": [1.0, 0.0], "north": [0.0, 1.0], "north-east": [0.8, 0.6]}
    found = similarity(
        ["east", "north"], [["east", "north-east"], ["east"]], lambda some: np.array([vectors[s] for s in some])
    )
    np.testing.assert_allclose(found, [(1.0 + 0.8) / 2, 0.0])


def test_the_nearest_label_is_the_class_of_a_caption() -> None:
    said: list[str] = []
    vectors = {"dog": [1.0, 0.0], "rain": [0.0, 1.0], "a bark": [0.8, 0.6], "drops": [0.6, 0.8], "a cat": [0.6, 0.8]}

    def embed(sentences: object) -> np.ndarray:
        said.extend(sentences)  # type: ignore[call-overload]
        return np.array([vectors[one.removeprefix("sound of ")] for one in sentences])  # type: ignore[attr-defined]

    figures = classify(["A bark", "drops", "a cat"], [["Dog"], ["Rain"], ["Dog"]], ["Dog", "Rain"], embed)
    assert all(one.startswith("sound of ") for one in said)
    assert (figures["accuracy"], figures["balanced_accuracy"]) == (pytest.approx(2 / 3), pytest.approx(3 / 4))
    assert figures["map"] == pytest.approx(np.mean([(1 + 2 / 3) / 2, 1 / 2]))  # equal scores count as one


def test_an_embedder_that_is_not_there_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SONOPSIS_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="make minilm"):
        open_embedder()
    with pytest.raises(ValueError, match="sentence-transformers"):
        open_embedder(tmp_path)


@pytest.mark.slow
def test_minilm_knows_what_is_alike() -> None:
    if not (default_root() / "pretrained" / "minilm" / "model.safetensors").is_file():
        pytest.skip("fetch the text embedder with `make minilm`")
    dog, bark, rain = open_embedder()(["a dog barks", "a dog is barking", "rain falls on a roof"])
    assert dog @ bark > 0.8 > 0.4 > dog @ rain
