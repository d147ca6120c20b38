"""InceptionV1 but for its weights: a graph of its names and shapes, fetched, read, run and recorded."""

import functools
import hashlib
import http.server
import io
import json
import re
import threading
import zipfile
from pathlib import Path

import download
import graphs
import inception as script
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bad_input import refused, script_refused

from toylib.networks import frozen_graph, images, inception, pointwise, vision
from toylib.networks.crops import crops, photographs
from toylib.networks.inception import INCEPTION5H, LAST, Archive, load_inception

ROOT = Path(__file__).resolve().parent.parent
SIZE_OF_TENSORFLOWS = 53_884_595  # bytes of tensorflow_inception_graph.pb


def zipped(graph, labels="dummy\n"):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr(INCEPTION5H.graph, graph)
        file.writestr(INCEPTION5H.labels, labels)
    return content.getvalue()


def archive_of(content, url="http://127.0.0.1:9/inception5h.zip"):
    return Archive(url, len(content), hashlib.sha256(content).hexdigest())


@pytest.fixture(scope="module")
def graph():
    return b"".join(graphs.inception())


@pytest.fixture(scope="module")
def at(graph, tmp_path_factory):
    """The path of an archive like TensorFlow's, and what it must be."""
    content = zipped(graph, "\n".join(["dummy", *script.PHOTOGRAPHED.values()]))
    path = tmp_path_factory.mktemp("archive") / INCEPTION5H.name
    path.write_bytes(content)
    return path, archive_of(content)


@pytest.fixture(scope="module")
def network(at):
    return load_inception(at[0], archive=at[1])


def test_the_tests_graph_is_as_long_as_tensorflows_to_the_byte(graph):
    assert len(graph) == SIZE_OF_TENSORFLOWS


# --- the network -----------------------------------------------------------------------------------------


def as_drawn(w, x):
    """InceptionV1 as its paper draws it, by torch's own operations; w: kernels as TensorFlow has them."""

    def unit(name, x, **options):
        kernel = w[f"{name}_w"].permute(3, 2, 0, 1)
        options.setdefault("padding", kernel.shape[2] // 2)
        return F.conv2d(x, kernel, w[f"{name}_b"], **options).relu()

    def normalised(x):
        square = F.pad(x**2, (0, 0, 0, 0, 5, 5)).unfold(1, 11, 1).sum(-1)
        return x / (2 + 1e-4 * square) ** 0.5

    def halved(x):
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    def block(name, x):
        three = unit(f"{name}_3x3", unit(f"{name}_3x3_bottleneck", x))
        five = unit(f"{name}_5x5", unit(f"{name}_5x5_bottleneck", x))
        pooled = unit(f"{name}_pool_reduce", F.max_pool2d(x, 3, 1, padding=1))
        return torch.cat([unit(f"{name}_1x1", x), three, five, pooled], 1)

    x = unit("conv2d0", F.pad(x, (2, 3, 2, 3)), stride=2, padding=0)  # 224 to 112: one more below and right
    x = normalised(halved(x))
    x = halved(normalised(unit("conv2d2", unit("conv2d1", x))))
    for name in graphs.WIDTHS:
        x = block(name, halved(x) if name in graphs.POOLS else x)
    return x.mean((2, 3)) @ w["softmax2_w"] + w["softmax2_b"]


def test_the_graph_computes_what_the_network_does_when_it_is_written_by_hand(graph, network):
    nodes = frozen_graph.nodes(graph, "graph")
    constants = {n.name: torch.from_numpy(n.attributes["value"].copy()) for n in nodes if n.op == "Const"}
    pixels = images.photographs()[0][:2]
    with torch.no_grad():
        found = network.module(network.normalise(pixels))
        expected = as_drawn(constants, pixels.permute(0, 3, 1, 2) - 117.0)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-2)
    assert found.std() > 1


def test_its_layers_are_recorded_from_the_first_to_the_last_with_the_channels_of_the_paper(network):
    found = vision.record(network, torch.zeros(1, 224, 224, 3), reduce=lambda a: torch.tensor([a.shape[1]]))
    widths = [64, 64, 192, 256, 480, 508, 512, 512, 528, 832, 832, 1024]
    assert [int(found[name]) for name in (*inception.CHANNELS, *inception.BLOCKS)] == widths


def test_weights_and_states_give_what_the_blocks_units_compute(at):
    network = load_inception(at[0], archive=at[1], output=LAST)
    pixels, _ = crops(photographs(), 4, size=80)
    layers = pointwise.pointwise_layers(network, pixels)
    assert [layer.name for layer in layers] == ["conv2d1", *inception.BLOCKS]
    assert [layer.states.shape[1] for layer in layers] == [64, 192, 256, 480, 508, 512, 512, 528, 832, 832]
    for name, layer in zip(("mixed4b", "mixed5b"), (layers[4], layers[9]), strict=True):
        assert layer.name == name
        units = [f"{name}_{part}" for part in inception.READERS]
        network.layers = {unit: f"nodes.{unit}" for unit in units}
        recorded = vision.record(network, pixels, reduce=pointwise._at_places)
        outputs = torch.cat([recorded[unit] for unit in units], 2).flatten(0, 1)
        np.testing.assert_allclose(layer.activity(), outputs, rtol=1e-4, atol=1e-2)
        assert outputs.max() > 6  # a ReLU has no ceiling


def test_an_untrained_network_has_other_kernels_that_keep_the_signals_size(at, network):
    drawn, again, other = (
        load_inception(at[0], archive=at[1], pretrained=False, seed=seed).module for seed in (0, 0, 1)
    )
    step = "mixed4c_3x3_pre_relu/conv"
    one, same, two, own = (m.step(step).constant() for m in (drawn, again, other, network.module))
    assert torch.equal(one, same)
    assert not torch.equal(one, two)
    assert not torch.equal(one, own)
    assert drawn.step("mixed4c_3x3_pre_relu").constant().abs().max() == 0
    with torch.no_grad():
        x = network.normalise(images.photographs()[0][:2])
        assert 0.1 < drawn(x).std() / x.std() < 10


@pytest.mark.slow
def test_photographs_count_as_named_if_the_archives_word_for_the_output_is_theirs(at):
    network = load_inception(at[0], archive=at[1])
    pixels, labels = images.photographs()
    with torch.no_grad():
        best = network.module(network.normalise(pixels)).argmax(1).tolist()
    first = dict(zip(reversed(best), reversed(labels.tolist()), strict=True))  # the first photograph of each
    words = [script.PHOTOGRAPHED[first[k]] if k in first else "other" for k in range(1 + max(best))]
    with zipfile.ZipFile(at[0]) as file:
        content = zipped(file.read(INCEPTION5H.graph), "\n".join(words))
    path = at[0].with_name("named.zip")
    path.write_bytes(content)
    expected = sum(first[k] == label for k, label in zip(best, labels.tolist(), strict=True))
    assert script.named(path, archive_of(content)) == expected > 0
    path.unlink()


def test_the_photographs_words_are_one_for_each_label():
    assert set(script.PHOTOGRAPHED) == set(images.photographs()[1].tolist())


# --- what is not the archive -----------------------------------------------------------------------------


def written(folder, content):
    path = folder / INCEPTION5H.name
    path.write_bytes(content)
    return path, archive_of(content)


@pytest.mark.bad_input
def test_another_file_is_named_with_its_length_or_hash_before_it_is_read(tmp_path):
    path, archive = written(tmp_path, zipped(b"no graph"))
    start = f"archive must be inception5h.zip, {archive.size:,} bytes with SHA-256 {archive.sha256}; got "
    refused(
        lambda: load_inception(tmp_path / "none", archive=archive),
        f"{start}{str(tmp_path / 'none')!r}, where there is no file",
    )
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    refused(
        lambda: load_inception(path, archive=archive), f"{start}{str(path)!r} of {archive.size - 1:,} bytes"
    )
    path.write_bytes(content[:-1] + b"x")
    refused(lambda: load_inception(path, archive=archive), f"{start}{str(path)!r} with SHA-256 ")
    refused(
        lambda: load_inception(path), "archive must be inception5h.zip, 49,937,555 bytes with SHA-256 d13569"
    )


@pytest.mark.bad_input
def test_an_archive_without_a_graph_or_with_another_one_is_named(tmp_path):
    path, archive = written(tmp_path, b"no archive")
    refused(
        lambda: load_inception(path, archive=archive), f"archive must hold {archive.graph}; got {str(path)!r}"
    )
    path, archive = written(tmp_path, zipped(b"no graph"))
    refused(lambda: load_inception(path, archive=archive), "path must be a frozen graph; got 'tensorflow_inc")
    refused(
        lambda: load_inception(path, archive=archive, pretrained=1), "pretrained must be True or False; got 1"
    )


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("name", "instead", "message"),
    [
        ("mixed4b_5x5_b", None, "mixed4b_5x5_b is missing"),
        ("mixed4b_5x5", ("Tanh", "mixed4b_5x5_pre_relu"), "mixed4b_5x5 is Tanh, which is not known here"),
        ("mixed4e", ("Identity", "mixed4d"), "mixed4e_1x1_pre_relu/conv is missing"),
    ],
)
def test_a_graph_in_which_something_is_missing_or_odd_is_named(tmp_path, name, instead, message):
    other = b"" if instead is None else graphs.node(name, *instead)
    every = graphs.inception(heads=False)
    kept = [other if frozen_graph.nodes(node, "node")[0].name == name else node for node in every]
    path, archive = written(tmp_path, zipped(b"".join(kept)))
    with pytest.raises(ValueError, match=f"'{INCEPTION5H.graph}', where {re.escape(message)}"):
        load_inception(path, archive=archive)


# --- fetching --------------------------------------------------------------------------------------------


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `content`; cuts the first `cut` answers short; knows ranges if `ranges`."""

    def do_GET(self):
        have, asked = 0, self.headers.get("Range")
        self.server.asked.append(asked)
        if self.server.content is None:
            self.send_error(404)
            return
        if asked and self.server.ranges:
            have = int(asked.removeprefix("bytes=").removesuffix("-"))
        rest = self.server.content[have:]
        self.send_response(206 if have else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if self.server.cut:
            self.server.cut -= 1
            rest = rest[: len(rest) // 2]
        self.wfile.write(rest)

    def log_message(self, *parts):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        server.content, server.cut, server.ranges, server.asked = b"", 0, True, []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def offered(server, content, **settings):
    """The archive that a server has."""
    server.content = content
    for name, value in settings.items():
        setattr(server, name, value)
    return archive_of(content, f"http://127.0.0.1:{server.server_address[1]}/inception5h.zip")


CONTENT = np.random.default_rng(0).bytes(3_000_000)


def test_an_archive_is_fetched_once(server, tmp_path):
    archive = offered(server, CONTENT)
    path = download.fetched(archive, tmp_path / "new")
    assert path.read_bytes() == CONTENT
    assert download.fetched(archive, tmp_path / "new") == path
    assert server.asked == [None]
    assert [each.name for each in path.parent.iterdir()] == ["inception5h.zip"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_stopped_is_continued_or_begun_anew(server, tmp_path, ranges):
    archive = offered(server, CONTENT, cut=1, ranges=ranges)
    with pytest.raises(
        RuntimeError, match=r"\(.*1,500,000.*\): run the command again where there is a network"
    ):
        download.fetched(archive, tmp_path)
    assert download.fetched(archive, tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1500000-"]


def test_a_continued_download_that_does_not_fit_is_begun_anew(server, tmp_path):
    archive = offered(server, CONTENT)
    (tmp_path / "inception5h.zip.part").write_bytes(b"of another day")
    assert download.fetched(archive, tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=14-", None]


@pytest.mark.bad_input
@pytest.mark.parametrize("wrong", [CONTENT[:-1] + b"x", CONTENT + b"more than it should be"])
def test_another_file_from_the_server_is_not_used(server, tmp_path, wrong):
    archive = offered(server, CONTENT)
    server.content = wrong
    with pytest.raises(RuntimeError, match=r"^What was downloaded is not used: archive must be inception5h"):
        download.fetched(archive, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.bad_input
def test_no_file_and_no_server_are_said_in_a_sentence(server, tmp_path):
    archive = offered(server, CONTENT)
    server.content = None
    wanted = (
        r"could not be fetched from http://127\S+ \(.*404.*\): .* bring the file: make inception ARCHIVE="
    )
    with pytest.raises(RuntimeError, match=wanted):
        download.fetched(archive, tmp_path)
    wanted = r"could not be fetched from http://127\S+ \(.*refused.*\)"
    with pytest.raises(RuntimeError, match=wanted) as error:
        download.fetched(archive_of(CONTENT), tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.bad_input
def test_another_file_in_the_folder_is_named(server, tmp_path):
    (tmp_path / "inception5h.zip").write_bytes(b"another")
    refused(
        lambda: download.fetched(offered(server, CONTENT), tmp_path), "archive must be inception5h.zip, 3,"
    )
    assert not server.asked


# --- the record ------------------------------------------------------------------------------------------


class FewStimuli(script.Stimuli):
    """Crops of the photographs alone, which need no apt."""

    def __init__(self, folder):
        self.pixels, source = crops(photographs(), 24, size=64)
        self.kinds = {"photographs": len(photographs())}
        self.picture = np.repeat(source[:, 0], len(pointwise.PLACES))
        self.half = self.picture % 2


@pytest.mark.slow
def test_make_inception_fetches_reads_and_records_and_goes_on_where_it_was(server, at, tmp_path, monkeypatch):
    small = functools.partial(script.record.read, n_atoms=16, top=4, n_steps=3)
    monkeypatch.setattr(script.record, "read", small)
    archive = offered(server, at[0].read_bytes())
    page = tmp_path / "inception.json"
    options = ["--folder", str(tmp_path / "work"), "--page", str(page)]
    with pytest.raises(
        RuntimeError, match=r"must name 10 of the twenty photographs; got \d: the graph is not"
    ):
        script.main(options, archive=archive, stimuli=FewStimuli)
    assert not page.exists()
    script.main(options, archive=archive, stimuli=FewStimuli, least=0)
    record = json.loads(page.read_text())
    network = record["networks"]["inception-v1"]
    assert network["names"] == ["conv2d1", *inception.BLOCKS]
    assert set(network) == {"names", *script.record.WAYS}
    for way in script.record.WAYS:
        assert len(network[way]) == 10
        for row in network[way]:
            assert set(row) == {"logs", "shares", "size"}
            assert np.isfinite([*row["logs"]["B"], *row["shares"]]).all()
    assert record["made"]["torch"] == torch.__version__
    assert server.asked == [None]
    server.content = None  # all of it is there
    script.main(options, archive=archive, stimuli=FewStimuli, least=0)
    assert json.loads(page.read_text())["networks"] == record["networks"]
    brought = ["--archive", str(at[0]), *options]
    script.main(brought, archive=archive, stimuli=FewStimuli, least=0)
    assert json.loads(page.read_text())["networks"] == record["networks"]


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--page", "/nowhere/x.json"], 2, "--page must lie in a folder that is there; got /nowhere/x.json"),
        (["--archive", "/nowhere/x.zip"], 1, "got '/nowhere/x.zip', where there is no file"),
    ],
)
def test_the_script_names_what_it_cannot_use_before_any_work(options, status, message):
    script_refused("inception.py", *options, message=message, status=status)
