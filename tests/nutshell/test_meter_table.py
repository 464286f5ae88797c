"""Tables and pictures of a report: for terminals, notebooks and screen readers."""

import io
from html.parser import HTMLParser

import pytest
from rich.console import Console
from torch import nn

from nutshell import meter, models, plots
from nutshell.errors import WrongUse


@pytest.fixture(scope="module")
def lenet():
    return meter.count(models.build("lenet-5-caffe"), (1, 1, 28, 28), name="LeNet-5-Caffe")


class Cells(HTMLParser):
    """The texts of a table's rows."""

    def __init__(self):
        super().__init__()
        self.rows, self.tags, self.label = [], [], None

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "table":
            self.label = dict(attributes).get("aria-label")
        if tag == "tr":
            self.rows.append([])

    def handle_data(self, text):
        if self.tags[-1] in ("td", "th"):
            self.rows[-1].append(text)


def test_the_text_has_a_row_for_each_layer_thousands_separators_and_a_total(lenet):
    text = str(lenet)
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert [line[0] for line in lines] == ["conv1", "pool1", "conv2", "pool2", "fc1", "relu1", "fc2", "total"]
    assert lines[2] == ["conv2", "Conv2d", "1×50×8×8", "25,050", "25,050", "1,600,000", "3,200", "0", "3,200"]
    assert lines[-1] == ["total", "", "", "431,080", "431,080", "2,293,000", "15,230", "15,220", "19,410"]
    assert "LeNet-5-Caffe, input 1×1×28×28" in text
    assert "FLOPs = 2 × MACs = 4,586,000. Parameters take 1,724,320 bytes as they are." in text


def test_the_notebook_gets_the_same_cells_with_a_caption_and_a_label(lenet):
    parser = Cells()
    parser.feed(lenet._repr_html_())
    assert parser.label == "LeNet-5-Caffe, input 1×1×28×28" and "caption" in parser.tags
    assert parser.rows[0][:4] == ["layer", "kind", "output", "parameters"]
    assert parser.rows[3] == ["conv2", "Conv2d", "1×50×8×8", "25,050", "25,050", "1,600,000", "3,200", "0", "3,200"]
    assert parser.rows[-1][0] == "total" and "2,293,000" in parser.rows[-1]


def test_names_are_escaped_in_both():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.add_module("[/b]<i>", nn.Linear(2, 2))

        def forward(self, x):
            return next(self.children())(x)

    report = meter.count(Odd(), (1, 2), name="<script>")
    assert "[/b]<i>" in str(report)
    assert "<script>" not in report._repr_html_() and "&lt;i&gt;" in report._repr_html_()


def test_a_terminal_prints_the_table_in_its_own_width(lenet):
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    console.print(lenet.table())
    assert "\x1b[1m" in console.file.getvalue() and "2,293,000" in console.file.getvalue()


def test_a_table_by_blocks_has_the_same_total():
    report = meter.count(models.build("resnet-20", device="meta"), (1, 3, 32, 32))
    blocks, layers = report.table(depth=1), report.table()
    assert len(blocks.rows) < len(layers.rows) and blocks.rows[-1] == layers.rows[-1]
    assert blocks.rows[3][:2] == ("block1_1", "7 layers")


def test_unknown_nonzeros_are_a_dash():
    assert "–" in str(meter.count(models.build("lenet-5", device="meta"), (1, 1, 28, 28)))


@pytest.mark.parametrize("quantities", [("parameters", "macs", "energy"), ("activations",)])
def test_a_plot_has_a_labelled_panel_for_each_quantity(lenet, quantities):
    figure = lenet.plot(quantities)
    panels = figure.axes
    assert len(panels) == len(quantities) and panels[0].get_ylabel() == "layer"
    assert all("(" in panel.get_xlabel() for panel in panels)  # a unit
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["conv1", "conv2", "fc1", "fc2"]
    colours = {panel.patches[0].get_facecolor()[:3] for panel in panels}
    assert len(colours) == len(quantities)
    assert lenet.alternative_text() in plots.as_html(figure, lenet.alternative_text()).data


def test_the_bars_are_as_long_as_the_counts(lenet):
    panel = lenet.plot(("macs",)).axes[0]
    assert [round(1e6 * bar.get_width()) for bar in panel.patches] == [288_000, 1_600_000, 400_000, 5_000]
    joules = [bar.get_width() for bar in lenet.plot(("energy",)).axes[0].patches]
    estimate = {layer.name: layer.total / 1e6 for layer in meter.energy(lenet).layers}
    assert joules == pytest.approx([estimate[name] for name in ("conv1", "conv2", "fc1", "fc2")])


def test_a_deep_network_is_drawn_by_blocks():
    report = meter.count(models.build("resnet-50", device="meta"), (1, 3, 224, 224))
    bars = report.plot(("macs",)).axes[0].patches
    assert len(bars) <= 30 and sum(bar.get_width() for bar in bars) == pytest.approx(report.macs / 1e6)


def test_an_unknown_quantity_is_refused(lenet):
    with pytest.raises(WrongUse, match="joy"):
        lenet.plot(("joy",))


def test_the_alternative_text_says_where_the_parameters_and_the_work_are(lenet):
    assert lenet.alternative_text() == (
        "Bars by layer of LeNet-5-Caffe: 431,080 parameters, fc1 having most of all (92.9 %); 2,293,000 "
        "multiply-accumulates, conv2 having most of all (69.8 %)."
    )
    assert "0 parameters; 0 multiply-accumulates." in meter.count(nn.ReLU(), (1, 4)).alternative_text()
