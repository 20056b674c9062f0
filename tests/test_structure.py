"""The arrows of the house, held by reading the imports of every file."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("pipeline", "sources", "scaffolds", "filters", "training", "flows", "benchmarks")

ARROWS = {
    "pipeline": {"pipeline"},
    "scaffolds": {"pipeline", "scaffolds"},
    "filters": {"pipeline", "filters"},
    "sources": {"pipeline", "sources", "scaffolds"},
    "training": {"pipeline", "scaffolds", "training"},
    "flows": set(FOLDERS) - {"benchmarks"},
    "benchmarks": set(FOLDERS) | {"tests"},
}
SOURCES_MAY_TAKE = ("scaffolds.protocols", "scaffolds.sandboxes", "scaffolds.environments.repository")
ONLY_IN = {
    "prefect": ("flows/",),
    "github": ("sources/github",),
    "vllm": ("scaffolds/engines/vllm.py",),
    "torch": ("training/", "scaffolds/engines/transformers.py", "benchmarks/"),
    "transformers": ("training/", "scaffolds/engines/transformers.py", "benchmarks/"),
    "huggingface_hub": ("pipeline/publish.py",),
}
TRAINING_TAKES = {"torch", "transformers", "tokenizers", "accelerate", "safetensors", "pyarrow", "numpy"}
"""What a bare GPU machine has; beside these, training/ may import the standard library, pipeline and scaffolds."""


def _files() -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def _imports(path: Path, top_level_only: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield f"{node.module}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", _files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_arrows(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    folder = name.split("/")[0]
    for module in _imports(path):
        top = module.split(".")[0]
        if top in FOLDERS or top == "tests":
            assert top in ARROWS[folder], f"{name} imports {module}"
            if folder == "sources" and top == "scaffolds":
                assert any(module.startswith(m) or m.startswith(module) for m in SOURCES_MAY_TAKE), f"{name}: {module}"
        if top in ONLY_IN:
            assert name.startswith(ONLY_IN[top]), f"{name} imports {module}; only {', '.join(ONLY_IN[top])} may"


def test_training_needs_only_what_a_bare_gpu_machine_has() -> None:
    import subprocess
    import sys

    modules = [
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        for path in sorted((ROOT / "training").rglob("*.py"))
        if path.stem != "__main__"
    ]
    # hides what such a machine lacks, then imports every module of training/
    code = (
        "import sys, importlib\n"
        "for name in ('duckdb', 'datasets', 'prefect', 'pydantic', 'vllm', 'github', 'matplotlib'):\n"
        "    sys.modules[name] = None\n"
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_files_stay_readable() -> None:
    long = {str(p.relative_to(ROOT)): n for p in _files() if (n := p.read_text().count("\n")) > 400}
    assert long == {}


def test_every_folder_says_what_lives_there() -> None:
    for folder in {path.parent for path in _files()}:
        first = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
        assert first, f"{folder.relative_to(ROOT)}/__init__.py has no docstring"
