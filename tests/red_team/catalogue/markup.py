"""Markup in everything that an instructor will see."""

from tests.red_team.attack import NOT_DONE, OK, RAISED, WRONG, Attack, Notebook, half, of_group

SCRIPT = "<script>pwned()</script>"
IMAGE = "<img src=x onerror=pwned()>"


def outputs(notebook: Notebook) -> None:
    """Saved outputs of every kind that hold markup."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = [
                dict(
                    output_type="display_data",
                    metadata={},
                    data={"text/html": SCRIPT + IMAGE, "application/javascript": "pwned()"},
                ),
                dict(
                    output_type="execute_result",
                    metadata={},
                    execution_count=1,
                    data={"image/svg+xml": f"<svg onload=pwned()>{SCRIPT}</svg>"},
                ),
                dict(output_type="stream", name="stdout", text=SCRIPT),
                dict(output_type="error", ename=SCRIPT, evalue=IMAGE, traceback=[f"\x1b[31m{SCRIPT}"]),
            ]
            cell["execution_count"] = 1


def texts(notebook: Notebook) -> None:
    """Markdown and raw cells full of markup, and released ones rewritten."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] += (
                f"\n\n{SCRIPT}\n\n{IMAGE}\n\n[click](javascript:pwned())\n\n<a href='javascript:pwned()'>x</a>"
            )
    notebook["cells"] += [
        dict(
            cell_type="markdown",
            metadata={},
            source=f"# {SCRIPT}\n\n```html\n{SCRIPT}\n```\n\n$${SCRIPT}$$\n\n<iframe srcdoc='{SCRIPT}'></iframe>",
        ),
        dict(cell_type="raw", metadata={"format": "text/html"}, source=SCRIPT),
        dict(
            cell_type="markdown",
            metadata={},
            source="![x](attachment:a.svg)",
            attachments={"a.svg": {"image/svg+xml": f"<svg>{SCRIPT}</svg>"}},
        ),
    ]


def titles(notebook: Notebook) -> None:
    """Markup in the notebook's metadata, from which pages take titles and languages."""
    notebook["metadata"] = {
        "title": SCRIPT,
        "authors": [{"name": SCRIPT}],
        "language_info": {"name": SCRIPT, "pygments_lexer": IMAGE, "codemirror_mode": SCRIPT},
        "kernelspec": {"display_name": SCRIPT, "name": "python3", "language": SCRIPT},
        "widgets": {"x": SCRIPT},
    }


ATTACKS = of_group(
    "markup",
    Attack(
        "markup in a message",
        "an exception that says <script>",
        (RAISED,),
        half(f"""
        def half(x):
            raise ValueError("{SCRIPT} {IMAGE} & </td></table></body>")
        """),
    ),
    Attack(
        "markup in a name",
        "an exception's class, a function and a file called <script>",
        (RAISED,),
        half(f"""
        def half(x):
            raise type("{SCRIPT}", (Exception,), {{"__module__": "{SCRIPT}"}})("{IMAGE}")
        """),
    ),
    Attack(
        "markup in a class",
        "a returned object of class <script>, with a repr of markup",
        (WRONG,),
        half(f"""
        def half(x):
            shown = {{"__repr__": lambda self: "{IMAGE}", "_repr_html_": lambda self: "{SCRIPT}"}}
            return type("{SCRIPT}", (), shown)()
        """),
    ),
    Attack(
        "markup as a value",
        "a returned text of markup",
        (WRONG,),
        half(f"def half(x):\n    return '{SCRIPT}{IMAGE}'\n"),
    ),
    Attack(
        "markup in keys",
        "a returned dictionary and a nested list of markup",
        (WRONG,),
        half(f"def half(x):\n    return {{'{SCRIPT}': ['{IMAGE}']}}\n"),
    ),
    Attack(
        "markup in state",
        "parameters called <script>",
        (WRONG, RAISED),
        {
            "Scale": f"""class Scale(nn.Module):
    def __init__(self, size):
        super().__init__()
        self._parameters["{SCRIPT}"] = nn.Parameter(torch.ones(size, dtype=torch.float64))

    def forward(self, x):
        return 0 * x
"""
        },
        item="Scale",
    ),
    Attack(
        "markup printed",
        "print, display and a warning",
        (WRONG,),
        half(f"""
        import warnings
        from IPython.display import HTML, Javascript, display
        print("{SCRIPT}")
        display(HTML("{SCRIPT}"), Javascript("pwned()"))
        def half(x):
            print("{SCRIPT}")
            display(HTML("{SCRIPT}"))
            warnings.warn("{SCRIPT}")
            return 0 * x
        """),
    ),
    Attack(
        "markup in the traceback",
        "a line of source, shown in the traceback, that is markup",
        (RAISED,),
        half(f"""
        def half(x):
            raise ValueError(x)  # {SCRIPT}{IMAGE}
        """),
    ),
    Attack(
        "markup in a cell that fails",
        "a cell of its own that raises with markup",
        (OK,),
        before=(f"raise ValueError('{SCRIPT}{IMAGE}')",),
    ),
    Attack(
        "markup in a cell that is no Python",
        "a syntax error in the middle of markup",
        (OK,),
        before=(f"{SCRIPT} <<< {IMAGE}",),
    ),
    Attack(
        "markup in saved outputs", "HTML, SVG, JavaScript and errors in the notebook's outputs", (OK,), edit=outputs
    ),
    Attack("markup in texts", "markdown, raw cells and attachments", (OK,), edit=texts),
    Attack("markup in titles", "the notebook's metadata", (OK,), edit=titles),
    Attack(
        "markup in sources",
        "code cells that end a script element",
        (OK,),
        {"half": f"def half(x):\n    '''{SCRIPT} </pre> {IMAGE} {{{{ 7 }}}}'''\n    return x / 2  # </script>"},
    ),
    Attack(
        "markup in cell names",
        "grade_ids of markup",
        (OK,),
        edit=lambda n: n["cells"].append(
            dict(
                cell_type="code",
                metadata={
                    "nbgrader": dict(
                        grade_id=SCRIPT, grade=True, solution=False, locked=True, points=1, schema_version=3, task=False
                    )
                },
                source="1",
                outputs=[],
                execution_count=None,
            )
        ),
    ),
    Attack(
        "half a character in a message",
        "an exception that can't be written as UTF-8, and control characters",
        (RAISED,),
        half(r"""
        def half(x):
            raise ValueError("\ud800 \udfff \x00 \x1b[31m \u202e \r\n")
        """),
    ),
    Attack(
        "half a character as a value",
        "returned texts that can't be written as UTF-8",
        (WRONG,),
        half(r"""
        def half(x):
            return ["\ud800", {"\udfff": "\x00"}]
        """),
    ),
    Attack(
        "half a character in a class",
        "names that can't be written as UTF-8",
        (WRONG, RAISED),
        half(r"""
        def half(x):
            return type("A\ud800", (), {})() if len(x) > 1 else type("B\udfff", (), {})()
        """),
    ),
    Attack(
        "template in a message",
        "what a template language would evaluate",
        (RAISED,),
        half("""
        def half(x):
            raise ValueError("{{ 7*7 }} {% for x in range(10**9) %} ${7*7} #{7*7} %s %d {0} {x.__class__}")
        """),
    ),
    Attack(
        "formula in a message",
        "what a spreadsheet would run",
        (RAISED,),
        half("""
        def half(x):
            raise ValueError("=cmd|' /C calc'!A0")
        """),
    ),
    Attack(
        "an empty message",
        "a stub with markup",
        (NOT_DONE,),
        half(f"""
        def half(x):
            raise NotImplementedError("{SCRIPT}")
        """),
    ),
)
