"""What the scripts say where the extras `web` and `share` are not installed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from optlab.web.optional_deps import explain_missing_deps

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_THE_EXTRA = """
import runpy, sys
for name in ("fastapi", "onnxscript", "pydantic", "uvicorn"):
    sys.modules[name] = None  # importing it raises ModuleNotFoundError
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize(
    ("script", "missing", "extra"),
    [
        (["scripts/serve.py"], "uvicorn", "web"),
        (["scripts/predict.py", "seven.png"], "pydantic", "web"),
        (["scripts/share.py", "outputs/mine", "shared"], "onnxscript", "share"),
    ],
)
def test_script_without_the_extra_ends_with_the_command_that_installs_it(
    tmp_path: Path, script: list[str], missing: str, extra: str
) -> None:
    (tmp_path / "seven.png").touch()
    command = [sys.executable, "-c", WITHOUT_THE_EXTRA, str(ROOT / script[0]), *script[1:]]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    hint = rf"hint: pip install -e '\.\[{extra}\]'"
    assert re.fullmatch(rf".*\b{missing}\b.*\n\n{hint}\n", ended.stderr)


def test_missing_module_of_our_own_is_not_blamed_on_the_extra() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"optlab\.web\.nowhere"), explain_missing_deps():
        import optlab.web.nowhere  # noqa: F401
