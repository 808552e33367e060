"""Exported files from strangers: whatever is wrong with them is one clear error, before anything is computed."""

import json
from contextlib import suppress

import pytest
from vaekit_runtime import ModelError, Predictor
from vaekit_runtime import files as reading


def _refused(path, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        Predictor(path)


def test_a_path_that_is_not_there(tmp_path) -> None:
    _refused(tmp_path / "nowhere", "there is no file or folder")


@pytest.mark.parametrize(
    ("name", "words"),
    [(None, "neither encode.onnx nor decode.onnx"), ("encode.pt2", "--format onnx"), ("config.json", "vaekit export")],
)
def test_a_folder_without_exported_files(tmp_path, name, words) -> None:
    if name:
        (tmp_path / name).touch()
    _refused(tmp_path, words)


@pytest.mark.parametrize("content", [b"", b"PK\3\4 not this", b"\x3a\xff\xff\xff\xff\x0f", b"\x0a" * 40, b"\x80" * 20])
def test_a_file_that_is_no_onnx(tmp_path, content) -> None:
    (tmp_path / "encode.onnx").write_bytes(content)
    _refused(tmp_path, "encode.onnx is no ONNX file")


def test_a_file_cut_short_or_damaged(make, capfd) -> None:
    made = make()
    path = made.folder / "encode.onnx"
    whole = path.read_bytes()
    for size in range(1, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(ModelError):
            Predictor(path)
    for place in range(0, len(whole) - 1, 11):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with suppress(ModelError):  # some bytes are of weights, and of names that nobody needs
            Predictor(path)
    assert not capfd.readouterr().out


def test_what_is_no_file(make) -> None:
    made = make()
    (made.folder / "encode.onnx").unlink()
    (made.folder / "encode.onnx").mkdir()
    _refused(made.folder, "not a regular file|cannot be read")


def test_a_file_that_is_too_large(make, monkeypatch) -> None:
    made = make()
    monkeypatch.setattr(reading, "_MOST_BYTES", 100)
    _refused(made.folder, "more than the 100 allowed")


def test_an_onnx_file_that_is_not_of_vaekit(make) -> None:
    made = make()
    made.write("encode", None)
    _refused(made.folder, "encode.onnx is not of vaekit")


def test_numbers_in_other_files_are_never_opened(make) -> None:
    onnx = pytest.importorskip("onnx")
    made = make()
    model = made.graph("decode")
    model.metadata_props.add(key="vaekit", value=json.dumps(made.document("decode")))
    onnx.external_data_helper.convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    onnx.save(model, made.folder / "decode.onnx")
    assert (made.folder / "weights.bin").exists()
    _refused(made.folder / "decode.onnx", "in other files, which are never opened")


def test_nor_are_those_of_a_constant_inside_a_branch(make) -> None:
    onnx = pytest.importorskip("onnx")
    made = make()
    away = onnx.TensorProto(name="away", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    away.external_data.add(key="location", value="/etc/hostname")
    inner = onnx.helper.make_graph([onnx.helper.make_node("Constant", [], ["k"], value=away)], "inner", [], [])
    model = made.graph("decode")
    model.graph.node.append(onnx.helper.make_node("If", ["flat"], [], then_branch=inner, else_branch=inner))
    model.metadata_props.add(key="vaekit", value=json.dumps(made.document("decode")))
    (made.folder / "decode.onnx").write_bytes(model.SerializeToString())
    _refused(made.folder / "decode.onnx", "in other files, which are never opened")


def test_nor_are_those_that_a_function_has_by_default(make) -> None:
    onnx = pytest.importorskip("onnx")
    made = make()
    away = onnx.TensorProto(name="away", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    function = onnx.FunctionProto(name="f", domain="d", attribute_proto=[onnx.helper.make_attribute("k", away)])
    path = made.folder / "decode.onnx"
    path.write_bytes(path.read_bytes() + onnx.ModelProto(functions=[function]).SerializeToString())
    _refused(path, "in other files, which are never opened")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (b"\xba\x80\x80\x80\x10\x00", "a field has no number that there can be"),  # a graph, but for bit 32 of the key
        (b"\x3a\x00", "more than one graph"),
        (b"\x08\x08" * 1_000_001, "more than 1,000,000 fields"),
    ],
)
def test_fields_that_hide_others_or_take_long_to_look_at_are_refused(make, fields, words) -> None:
    made = make()
    path = made.folder / "decode.onnx"
    path.write_bytes(path.read_bytes() + fields)
    _refused(path, words)


def test_an_operator_that_there_is_not(make) -> None:
    made = make()
    model = made.graph("decode")
    model.graph.node[0].op_type = "Unheard"
    model.metadata_props.add(key="vaekit", value=json.dumps(made.document("decode")))
    (made.folder / "decode.onnx").write_bytes(model.SerializeToString())
    _refused(made.folder / "decode.onnx", "cannot be computed by ONNX Runtime .*Unheard")


def test_two_files_of_different_models(make) -> None:
    made = make()
    made.write("decode", {**made.document("decode"), "digest": "another"})
    _refused(made.folder, "of different models .their digest differ")
    assert Predictor(made.folder / "decode.onnx").parts == ("decode",)


def test_a_part_under_the_name_of_the_other(make) -> None:
    made = make()
    (made.folder / "encode.onnx").write_bytes((made.folder / "decode.onnx").read_bytes())
    _refused(made.folder, "encode.onnx says that its part is decode")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be trusted"),
        ("[]", "must be an object"),
        ('{"vaekit": 1, "vaekit": 1}', "'vaekit' stands twice"),
        ('{"vaekit": NaN}', "NaN is not JSON"),
        ('{"vaekit": 1e999}', "out of range"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 40 + "1" + "}" * 40, "nested too deeply"),
        ('{"vaekit": "\\ud800"}', "cannot be trusted"),
        (" " * (2**24 + 1), "more than the 16,777,216 allowed"),
        ('{"vaekit": 2}', "format 2 is newer than is read here .1.: pip install --upgrade vaekit-runtime"),
        ('{"vaekit": true}', "vaekit must be a whole number"),
        ("{}", "vaekit is missing"),
    ],
)
def test_metadata_that_are_no_plain_json(make, text, words) -> None:
    made = make()
    made.write("encode", text)
    _refused(made.folder / "encode.onnx", words)


MISSING = object()


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("part", "sample", "part must be one of encode, decode"),
        ("precision", "float8", "precision must be one of"),
        ("name", 3, "name must be text"),
        ("name", "a\x1b[2J", "name must be text"),
        ("source", None, "source must be text"),
        ("digest", MISSING, "digest is missing"),
        ("inputs", [], "inputs must be x, c, and are 0"),
        ("inputs", {}, "inputs must be a list"),
        ("inputs.0.name", "z", r"inputs\[0\].name must be one of x"),
        ("inputs.0.shape", ["batch", 1, 4, 5], r"x is of \('batch', 1, 4, 4\)"),
        ("inputs.0.shape", [1, 1, 4, 4], "shape must be 'batch' and"),
        ("inputs.0.dtype", "float16", "dtype must be one of float32"),
        ("inputs.0.range", [1, 0], "range must be the least"),
        ("inputs.0.range", [0], "range must be the least"),
        ("inputs.0.range", "all", "range must be the least"),
        ("inputs.1", MISSING, "inputs must be x, c, and are 1"),
        ("outputs.0.units", 1, "units must be text"),
        ("outputs.0.meaning", "x" * 2000, "meaning must be text"),
        ("data", None, "data must be an object"),
        ("data.shape", [1, 4, 0], "data.shape must be the lengths"),
        ("data.shape", [True, 4, 4], "data.shape must be the lengths"),
        ("data.shape", [65536, 65536], "data.shape must be the lengths"),
        ("data.shape", [], "data.shape must be the lengths"),
        ("data.binarize", "some", "data.binarize must be one of"),
        ("data.classes", "ab", "data.classes must be a list"),
        ("data.classes", [1], "data.classes must be text"),
        ("latent.shape", [4], r"code is of \('batch', 4\)"),
        ("latent.support", 1, "latent.support must be text"),
        ("prior.standard", 1, "prior.standard must be true or false"),
        ("prior.file", "../../prior.npz", "prior.file must be one of prior.npz"),
        ("prior.file", "prior.npz", "is of a prior that is not standard normal"),
        ("prior.draws", -1, "prior.draws must be a whole number"),
        ("prior.draws", 10**12, "prior.draws must be a whole number"),
        ("context.width", 0, "context.width must be"),
        ("context.width", 3, "rows of 3 numbers"),
        ("context.classes", ["a"], "context.rows are 2, and context.classes 1"),
        ("context", {"name": "labels", "width": 2, "classes": [], "rows": "one-hot"}, "rows are 2, and context.classes 0"),
        ("context.rows", "one-cold", "context.rows must be a list"),
        ("context.rows", [[1, 0], [0]], "rows of 2 numbers"),
        ("context.rows", [], "context.rows are 0"),
        ("context.rows", [[1, 0], [0, "1"]], "rows of 2 numbers"),
        ("parity.random", -1, "parity.random must be a number"),
        ("parity", 0, "parity must be an object"),
        ("config", [], "config must be an object"),
        ("config.data.crop", "5", "config.data.crop must be"),
        ("versions.vaekit", 1, "versions.vaekit must be text"),
    ],
)
def test_metadata_with_a_field_that_is_wrong(make, place, value, words) -> None:
    made = make(conditional=True)
    document = made.document("encode")
    inner = document
    *path, last = [int(key) if key.isdecimal() else key for key in place.split(".")]
    for key in path:
        inner = inner[key]
    if value is MISSING:
        del inner[last]
    else:
        inner[last] = value
    made.write("encode", document)
    _refused(made.folder / "encode.onnx", words)


def test_what_a_later_version_adds_is_let_be(make) -> None:
    made = make()
    made.write("encode", {**made.document("encode"), "more": [1]})
    assert Predictor(made.folder).metadata.document["more"] == [1]
