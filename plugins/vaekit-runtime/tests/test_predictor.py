"""What a Predictor computes, against the same in numpy."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from vaekit_runtime import DataError, InputError, ModelError, Predictor

RANDOM = np.random.default_rng(1)


def _x(n: int) -> np.ndarray:
    return RANDOM.random((n, 1, 4, 4), np.float32)


def test_a_predictor_says_what_its_model_is(make) -> None:
    predictor = Predictor(make(conditional=True).folder)
    assert predictor.parts == ("encode", "decode")
    assert (predictor.data_shape, predictor.latent_shape) == ((1, 4, 4), (3,))
    assert predictor.conditional
    assert predictor.classes == ("cat", "dog")
    assert predictor.metadata.name == "tiny"
    assert [value.name for value in predictor.described["decode"].inputs] == ["z", "c"]


def test_codes_and_means_are_those_of_the_graph(make) -> None:
    made = make()
    predictor, x = Predictor(made.folder), _x(5)
    z = predictor.encode(x)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z, made.code(x), atol=1e-5)
    code, std = predictor.posterior(x)
    np.testing.assert_array_equal(code, z)
    np.testing.assert_allclose(std, made.std(x), rtol=1e-5)
    np.testing.assert_allclose(predictor.decode(z), made.mean(z), atol=1e-6)
    np.testing.assert_allclose(predictor.reconstruct(x), made.mean(made.code(x)), atol=1e-6)


@pytest.mark.parametrize(
    ("y", "numbers"),
    [
        (1, [1] * 4),
        ("dog", [1] * 4),
        ("1", [1] * 4),
        (["dog", 0, "cat", 1], [1, 0, 0, 1]),
        (np.array([0, 1, 0, 1]), [0, 1, 0, 1]),
    ],
)
def test_a_class_is_told_by_number_or_name(make, y, numbers) -> None:
    made = make(conditional=True)
    predictor, x = Predictor(made.folder), _x(4)
    np.testing.assert_allclose(predictor.encode(x, y), made.code(x, numbers), atol=1e-5)
    z = made.code(x, numbers)
    np.testing.assert_allclose(predictor.decode(z, y), made.mean(z, numbers), atol=1e-6)
    np.testing.assert_array_equal(predictor.encode(x, predictor.context(y, 4)), predictor.encode(x, y))


def test_where_y_is_no_class_c_itself_is_given(make) -> None:
    made = make(conditional=True, change=lambda document: document["context"].update(rows=None, classes=[]))
    predictor, x = Predictor(made.folder), _x(2)
    c = [[0.5, 0.5], [0, 2]]
    wanted = made.code(x) + np.array(c) @ made.weights["V"]
    np.testing.assert_allclose(predictor.encode(x, c), wanted, atol=1e-5)
    np.testing.assert_allclose(predictor.encode(x, np.array(c[:1])), made.code(x) + c[0] @ made.weights["V"], atol=1e-5)
    for wrong in (None, "cat", [[1, 2, 3]], [[0, 1]] * 3):
        with pytest.raises(InputError, match=r"\(N, 2\)|one for all"):
            predictor.encode(x, wrong)
    with pytest.raises(InputError, match="conditional on labels"):
        predictor.sample(2)


@pytest.mark.parametrize("n", [1, 2, 40_000])
def test_results_do_not_depend_on_how_a_batch_is_split(make, n) -> None:
    made = make()  # 40,000 examples are more than are computed at once
    predictor, x = Predictor(made.folder, threads=1), _x(n)
    whole = predictor.encode(x)
    np.testing.assert_allclose(whole, made.code(x), atol=1e-5)
    for at in {1, n // 3, n - 1} - {0, n}:
        np.testing.assert_allclose(np.concatenate([predictor.encode(x[:at]), predictor.encode(x[at:])]), whole, atol=1e-6)
    np.testing.assert_allclose(predictor.decode(whole), made.mean(whole), atol=1e-6)


def test_threads_share_a_predictor(make) -> None:
    predictor = Predictor(make().folder, threads=2)
    batches = [_x(n) for n in (1, 7, 64, 300) for _ in range(10)]
    alone = [predictor.reconstruct(x) for x in batches]
    with ThreadPoolExecutor(8) as pool:
        for one, other in zip(alone, pool.map(predictor.reconstruct, batches), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (np.zeros((1, 1, 4, 4), np.uint8), InputError, "give x / 255"),
        (np.zeros((1, 4, 4), np.float32), InputError, r"shape \(1, 4, 4\); this model takes \(N, 1, 4, 4\)"),
        (np.zeros((0, 1, 4, 4), np.float32), InputError, r"shape \(0, 1, 4, 4\)"),
        (0.5, InputError, r"shape \(\)"),
        ([[1], [1, 2]], InputError, "no array of numbers"),
        ("picture", InputError, "takes floats"),
        (np.zeros((1, 1, 4, 4), complex), InputError, "takes floats"),
        (np.zeros((1, 1, 4, 4), object), InputError, "takes floats"),
        (np.full((1, 1, 4, 4), np.nan), DataError, "not finite"),
        (np.full((1, 1, 4, 4), -np.inf), DataError, "not finite"),
        (np.full((1, 1, 4, 4), 1e300), DataError, "not finite"),
    ],
)
def test_what_is_no_batch_of_examples_is_refused(make, x, error, words) -> None:
    with pytest.raises(error, match=words):
        Predictor(make().folder).encode(x)


def test_other_numbers_are_taken_as_floats(make) -> None:
    predictor, x = Predictor(make().folder), np.ones((2, 1, 4, 4), np.float32)
    for same in (x.astype(np.float64), x.astype(np.int32), x.astype(bool), x.tolist(), np.asfortranarray(x)):
        np.testing.assert_array_equal(predictor.encode(same), predictor.encode(x))


@pytest.mark.parametrize("taken", [True, False])
def test_padding_is_for_models_that_take_it(make, taken) -> None:
    made = make(data_shape=(4, 2), change=lambda document: document["inputs"][0].update(padding=taken))
    x = np.ones((1, 4, 2), np.float32)
    x[:, 2:] = np.nan
    if not taken:
        with pytest.raises(DataError, match="not finite"):
            Predictor(made.folder).encode(x)
        return
    Predictor(made.folder).encode(x)
    x[:, :1] = np.inf
    with pytest.raises(DataError, match="not finite"):
        Predictor(made.folder).encode(x)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (None, "one of 2 classes .cat, dog.: none was given"),
        ("cow", "there is no 'cow'"),
        (2, "there is no 2"),
        (-1, "there is no -1"),
        (True, "there is no True"),
        (0.0, "there is no 0.0"),
        ([0, 1, 1], "3 labels for 2 examples"),
        ([], "0 labels for 2 examples"),
        (np.zeros((2, 5)), r"c has shape \(2, 5\)"),
    ],
)
def test_a_y_that_the_model_does_not_know_is_refused(make, y, words) -> None:
    with pytest.raises(InputError, match=words):
        Predictor(make(conditional=True).folder).encode(_x(2), y)


def test_a_model_that_is_told_nothing_takes_no_y(make) -> None:
    with pytest.raises(InputError, match="takes no y"):
        Predictor(make().folder).decode(np.zeros((1, 3)), 0)


def test_one_file_is_one_part(make) -> None:
    made = make()
    decoder = Predictor(made.folder / "decode.onnx")
    assert decoder.parts == ("decode",)
    z = np.zeros((1, 3), np.float32)
    np.testing.assert_allclose(decoder.decode(z), made.mean(z), atol=1e-6)
    with pytest.raises(InputError, match=r"encode needs encode\.onnx"):
        decoder.encode(_x(1))
    (made.folder / "encode.onnx").rename(made.folder / "other.onnx")
    encoder = Predictor(made.folder / "other.onnx")
    assert encoder.parts == ("encode",)
    for ask in (encoder.sample, encoder.draw):
        with pytest.raises(InputError, match=r"decode needs decode\.onnx"):
            ask(1)
    with pytest.raises(InputError, match="has no encode"):
        Predictor(made.folder, parts=("encode",))


def test_no_std_is_an_error(make) -> None:
    made = make()
    model, document = made.graph("encode"), made.document("encode")
    del model.graph.output[1], document["outputs"][1]
    model.metadata_props.add(key="vaekit", value=json.dumps(document))
    (made.folder / "encode.onnx").write_bytes(model.SerializeToString())
    predictor = Predictor(made.folder)
    assert predictor.encode(_x(1)).shape == (1, 3)
    with pytest.raises(InputError, match="no diagonal Gaussian"):
        predictor.posterior(_x(1))


@pytest.mark.parametrize("threads", [0, -1, 10**6, "2", 1.5, True])
def test_threads_are_one_or_more(make, threads) -> None:
    with pytest.raises(InputError, match="threads is"):
        Predictor(make().folder, threads=threads)
    assert Predictor(make().folder, threads=np.int64(2)).encode(_x(1)).shape == (1, 3)


@pytest.mark.parametrize("parts", [[], (), "encode", ["encoder"], ["encode", None]])
def test_parts_are_named_as_they_are(make, parts) -> None:
    with pytest.raises(InputError, match=r"parts is .*: name encode or decode in a list, or leave it out"):
        Predictor(make().folder, parts=parts)


def test_the_class_of_a_model_of_a_thousand_may_be_told(make) -> None:
    classes = [f"kind {number}" for number in range(1000)]

    def change(document):
        document["context"].update(classes=classes, rows="one-hot")

    predictor = Predictor(make(conditional=True, classes=1000, change=change).folder)
    c = predictor.context(["kind 999", 0, "7"], 3)
    assert c.dtype == np.float32
    np.testing.assert_array_equal(c, np.eye(1000)[[999, 0, 7]])
    z, x = np.zeros((1, 3), np.float32), predictor.sample(4, seed=0)
    assert x.shape == (4, 1, 4, 4)
    np.testing.assert_array_equal(predictor.decode(z, "kind 999"), predictor.decode(z, np.eye(1000)[[999]]))
    with pytest.raises(InputError, match=r"one of 1000 classes .kind 0, .*, ….: there is no 'kind 1000'"):
        predictor.decode(z, "kind 1000")


def test_a_graph_that_is_not_what_its_metadata_say_is_refused(make) -> None:
    made = make()
    document = made.document("encode")
    made.write("encode", {**document, "outputs": document["outputs"][:1]})
    with pytest.raises(ModelError, match=r"has outputs .*std.*, and its metadata say"):
        Predictor(made.folder)
    document["latent"]["shape"] = document["outputs"][0]["shape"][1:] = [5]
    made.write("encode", document)
    with pytest.raises(ModelError, match=r"gave code of shape \(1, 3\)"):
        Predictor(made.folder / "encode.onnx").encode(_x(1))
