"""Install the course into `.venv`: `python3 tools/install.py`, with `--dev` for what the tests need as well.

`--detectors` installs the extra of that name into an environment of its own over `.venv`, for its tests.

It needs Python 3.11 or newer and nothing else. `make` runs it; on Windows it is run by hand. It may be run
again at any time: what is there is left alone.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
DETECTORS = ROOT / "build/detectors"
VENV_PYTHON = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
PIP = (str(VENV_PYTHON), "-m", "pip", "--disable-pip-version-check")
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"


def main() -> None:
    parser = argparse.ArgumentParser(description="Install the course into .venv.")
    parser.add_argument("--dev", action="store_true", help="also install what the tests need")
    parser.add_argument("--detectors", action="store_true", help="the extra, into build/detectors over .venv")
    parser.add_argument("--here", action="store_true", help="into this Python, whose torch is kept (Colab)")
    options = parser.parse_args()
    if sys.version_info < (3, 11):  # noqa: UP036  (this file is what says so)
        sys.exit(
            f"The course needs Python 3.11 or newer and {sys.executable} is {sys.version.split()[0]}: "
            "install a newer one and name it, as in `make PYTHON=python3.12 lab`."
        )
    if options.here:
        install_here()
        return
    if options.detectors:
        install_detectors()
        return
    make_venv()
    if sys.platform == "linux" and not has_nvidia_gpu():
        install_cpu_torch()
    course = f"{ROOT}[dev,cluster]" if options.dev else str(ROOT)
    subprocess.run([*PIP, "install", "--editable", course], check=True)


def install_here() -> None:
    """Install everything but torch: a notebook service brings a torch made for its own GPU."""
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    others = [line for line in requirements() if line != torch_requirement()]
    subprocess.run([*pip, *others], check=True)
    subprocess.run([*pip, "--no-deps", "--editable", str(ROOT)], check=True)


def install_detectors() -> None:
    """Install what the extra needs and `.venv` lacks: a torchvision there may break what it holds."""
    subprocess.run([str(VENV_PYTHON), "-m", "venv", "--clear", str(DETECTORS)], check=True)
    python = DETECTORS / VENV_PYTHON.relative_to(VENV)
    below, own = (site_packages(one) for one in (VENV_PYTHON, python))
    (Path(own) / "below.pth").write_text(f"import site; site.addsitedir({below!r})\n", encoding="utf-8")
    kept = subprocess.run(
        [*PIP, "list", "--format=freeze"], capture_output=True, text=True, check=True
    ).stdout
    constraints = DETECTORS / "constraints.txt"
    constraints.write_text(
        "".join(f"{line}\n" for line in kept.split() if "lessonlib" not in line), encoding="utf-8"
    )
    pip = (
        str(python),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
        "-c",
        str(constraints),
    )
    subprocess.run([*pip, *requirements("detectors")], check=True)


def site_packages(python: Path) -> str:
    program = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return subprocess.run([python, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def make_venv() -> None:
    """Make `.venv` unless it works already; one whose Python has been removed since is made anew."""
    if VENV_PYTHON.exists():
        return
    if subprocess.run([sys.executable, "-m", "venv", "--clear", VENV]).returncode:
        sys.exit(
            f"{sys.executable} cannot make a virtual environment in {VENV}: "
            "on Debian and Ubuntu install the package python3-venv."
        )


def install_cpu_torch() -> None:
    """Install torch without CUDA.

    PyPI's torch for Linux brings CUDA along, several times the size of everything else together; PyTorch's
    own index has wheels without. Where that index cannot be reached, torch is left to pip's usual index.
    """
    torch = torch_requirement()
    # Already here, or a wheel in a folder that pip is configured to look into?
    if succeeds(*PIP, "install", "--no-deps", "--no-index", torch, seconds=600):
        return
    index = f"--index-url={CPU_WHEELS}"
    if succeeds(*PIP, "index", "versions", "torch", index, "--retries=0", "--timeout=5", seconds=20):
        subprocess.run([*PIP, "install", "--no-deps", index, torch], check=True)
    else:
        print(
            f"{CPU_WHEELS} cannot be reached: taking pip's usual torch, which may bring CUDA along (large)."
        )


def requirements(extra: str = "") -> list:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["optional-dependencies"][extra] if extra else project["dependencies"]


def torch_requirement() -> str:
    return next(line for line in requirements() if line.startswith("torch>"))


def has_nvidia_gpu() -> bool:
    if Path("/dev/nvidia0").exists():
        return True
    smi = shutil.which("nvidia-smi")  # WSL has a GPU without a device file
    return smi is not None and succeeds(smi, "-L", seconds=20)


def succeeds(*command: str, seconds: float) -> bool:
    """Whether the command, run silently, ends well and in time."""
    try:
        return subprocess.run(command, capture_output=True, timeout=seconds).returncode == 0
    except subprocess.TimeoutExpired:
        return False


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError:
        sys.exit("The installation did not finish: pip says why above. Run the same command again to go on.")
    except KeyboardInterrupt:
        sys.exit(130)
