"""What a server that stands in for the SD WebUI's API has to do, case by case, and whose requests are
replayed. With CONFORMANCE=1 a run of tests/api and tests/clients writes docs/sdapi-cases.md:

    CONFORMANCE=1 tests/run.sh build api clients
"""
import ast
from pathlib import Path

FILE = "test_sdapi_cases.py"
R, W = "test_sdapi_shapes.py", "test_webuiapi.py"

# (client, the tests that replay it, or are it)
CLIENTS = [
    ("webuiapi, all of its calls", f"{W}::test_txt2img {W}::test_img2img {W}::test_inpaint {W}::test_extras "
                                   f"{W}::test_scripts {W}::test_async {W}::test_nothing_of_it_is_left_out"),
    ("SillyTavern", f"{R}::test_sillytavern test_openai_shapes.py::test_sillytavern_as_of_stable_diffusion_cpp"),
    ("Open WebUI", f"{R}::test_open_webui"),
    ("cyanic-sd-krita", f"{R}::test_cyanic_krita"),
    ("Auto-Photoshop", f"{R}::test_auto_photoshop"),
    ("KoboldAI Lite", f"{R}::test_kobold_lite"),
    ("LibreChat, n8n", f"{R}::test_librechat_and_n8n"),
    ("Dify", f"{R}::test_dify"),
    ("SDAI", f"{R}::test_sdai_android"),
    ("text-generation-webui", f"{R}::test_text_generation_webui"),
    ("Blender's AI-Render", f"{R}::test_ai_render {R}::test_ai_render_asks_whether_the_api_is_on"),
    ("openOutpaint", f"{R}::test_openoutpaint {R}::test_openoutpaint_paths_end_in_a_slash"),
    ("agnai", f"{R}::test_agnai"),
    ("RisuAI", f"{R}::test_risuai"),
    ("SwarmUI", f"{R}::test_swarmui"),
    ("StableStudio", f"{R}::test_stablestudio"),
]


def cases():
    """{file::function: what it shows}, in order: the tests say it in their first line."""
    tree = ast.parse((Path(__file__).parent / "api" / FILE).read_text())
    return {f"{FILE}::{f.name}": " ".join(ast.get_docstring(f).split()) for f in tree.body
            if isinstance(f, ast.FunctionDef) and f.name.startswith("test_case_")}


def tests():
    """Of all rows: file::function."""
    return set(cases()) | {test for _, names in CLIENTS for test in names.split()}


def state(names, outcomes):
    seen = [outcomes.get(name, set()) for name in names]
    return ("passes" if all(s == {"passed"} for s in seen) else
            "not run" if not all(seen) else "**fails**")


def table(outcomes):
    """The page, from {file::function: {"passed", "failed", ...}}."""
    rows = [f"| {int(name[-2:])} | {what} | {state([name], outcomes)} |" for name, what in cases().items()]
    clients = [f"| {who} | {state(names.split(), outcomes)} | "
               f"{', '.join('`' + name.split('::')[1] + '`' for name in names.split())} |"
               for who, names in CLIENTS]
    return "\n".join([
        "# What clients of the SD WebUI's API stand or fall with", "",
        "Made by a run of the tests (`tests/conformance_sdapi.py`); each line is a test of",
        f"`tests/api/{FILE}` against the running server.", "",
        "| | case | |", "|---|---|---|", *rows, "", "## Clients, by their requests", "",
        "| client | | shown by |", "|---|---|---|", *clients]) + "\n"
