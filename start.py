#!/usr/bin/env python3
"""Set up the course and start it, with nothing but Python 3.11 or newer.

    python start.py lab      open JupyterLab at the course
    python start.py test     run the tests
    python start.py demo     run the whole round trip on made-up submissions
    python start.py setup    set up only: everything that lab, test and demo need
    python start.py doctor   say what is missing, and the command that mends it

Everything goes into the folder .venv beside this file; delete it to start afresh. What stands after the command is
passed on: `python start.py lab --no-browser`, `python start.py test -k meter`. A set-up that was interrupted goes on
where it stopped, and one that is complete takes no time.
"""
# Only the standard library, and nothing newer than Python 3.6 in the syntax, so that an old Python can say it is old.
import collections
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "nutshell-setup.json"
LOG = VENV / "nutshell-setup.log"
OLDEST = (3, 11)
EXTRAS = {
    "lab": [],
    "doctor": [],
    "demo": ["instructor"],
    "test": ["dev", "instructor"],
    "setup": ["dev", "instructor"],
}
FOLDERS = {"dev": "tests", "instructor": "autograder"}  # what an extra is for; a bundle may lack the folder
SPACE_NEEDED = 3e9  # bytes; the packages take about half of it, and pip unpacks each beside its download
WHEELS = ROOT / "wheels"  # in a bundle for rooms without a network, with what is pinned; DATA beside it
DATA = ROOT / "data"
CPU_BUILDS = "https://download.pytorch.org/whl/cpu"
STEPS = ("Collecting", "Downloading", "Installing", "Building", "Preparing")  # lines of pip that say how far it is
TROUBLE = 3  # exit code: the machine's own trouble, as everywhere in the course


def main(arguments):
    """Set up what the command needs, then become the command."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(__doc__.strip())
        return 0 if arguments else 2
    command, passed_on = arguments[0], arguments[1:]
    if command not in EXTRAS:
        print("start.py: no command {!r}; choose from: {}".format(command, ", ".join(EXTRAS)), file=sys.stderr)
        return 2
    if sys.version_info < OLDEST:
        return run_with_newer_python(arguments)
    lacking = [FOLDERS[extra] for extra in EXTRAS[command] if not (ROOT / FOLDERS[extra]).is_dir()]
    if lacking and command != "setup":
        print(f"start.py: there is nothing to {command}: this copy of the course has no folder {lacking[0]}/.",
              file=sys.stderr)
        return 2
    environment = dict(os.environ)
    environment["PATH"] = str(PYTHON.parent) + os.pathsep + environment.get("PATH", "")
    environment.pop("PYTHONHOME", None)
    try:
        install([extra for extra in EXTRAS[command] if FOLDERS[extra] not in lacking])
        prepare_data(environment)
    except SetUpError as error:
        print(f"\nSet-up stopped: {error}", file=sys.stderr)
        return TROUBLE
    if command == "setup":
        print("All set. Next: python start.py lab")
        return 0
    if command == "test":
        environment.setdefault("OMP_NUM_THREADS", "1")  # each worker is one core's load
        return become([PYTHON, "-m", "pytest", "-n", str(cores()), "--dist", "loadfile", *passed_on], environment)
    return become([PYTHON, "-m", "nutshell", command, *passed_on], environment)


class SetUpError(Exception):
    """Set-up cannot go on; the message says what to do."""


def run_with_newer_python(arguments):
    """Hand over to a newer Python of this machine, if there is one."""
    for name in ("python3.13", "python3.12", "python3.11", "python3.14"):
        found = shutil.which(name)
        if found and subprocess.call([found, "-c", ""], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0:
            print("Python {}.{} is too old for the course; going on with {}.".format(*sys.version_info[:2], found))
            return subprocess.call([found, str(ROOT / "start.py"), *arguments])
    print("The course needs Python {}.{} or newer, and this is {}.{} ({}).\nGet it from https://www.python.org/downloads/"
          " and run this again with it.".format(*OLDEST, *sys.version_info[:2], sys.executable), file=sys.stderr)
    return TROUBLE


# --- packages ---------------------------------------------------------------------------------------------------------


def install(extras):
    """Make .venv and install what is pinned, unless the stamp says that it stands already."""
    stamp = read_stamp()
    if stamp.get("key") == key() and set(extras) <= set(stamp.get("extras", [])) and works(PYTHON):
        return
    extras = sorted(set(extras) | set(stamp.get("extras", [])))
    print(f"Setting up the course in {VENV} (once; some minutes).")
    make_environment(moved=stamp.get("root", str(ROOT)) != str(ROOT))
    STAMP.write_text(json.dumps({"root": str(ROOT), "extras": extras}), encoding="utf-8")  # no key: not complete
    start = time.monotonic()
    wheels_must_fit()
    install_small_torch()
    what = ".[{}]".format(",".join(extras)) if extras else "."
    quietly(pip("install", "-c", "constraints.txt", "-e", what), "installing packages")
    stamp = {"key": key(), "root": str(ROOT), "extras": extras}
    STAMP.write_text(json.dumps(stamp), encoding="utf-8")
    print(f"Packages are in place ({time.monotonic() - start:.0f} s).")


def make_environment(moved):
    """Make .venv, or mend one that a break has left half made, that was moved, or whose Python is gone."""
    if not moved and works(PYTHON, "import pip"):
        return
    free = shutil.disk_usage(ROOT).free
    if free < SPACE_NEEDED:
        raise SetUpError(f"{free / 1e9:.1f} GB are free in {ROOT}, and set-up needs {SPACE_NEEDED / 1e9:.0f} GB.")
    if VENV.is_symlink() or (VENV.exists() and not VENV.is_dir()):
        raise SetUpError(f"{VENV} is not a folder of its own; remove it and run this again.")
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    if made.returncode:
        raise SetUpError(f"no virtual environment could be made:\n{made.stdout.strip()}\n"
                         "On Debian and Ubuntu: sudo apt install python3-venv")


def wheels_must_fit():
    """Say so if a bundle's wheels are for another Python."""
    wanted = "cp{}{}".format(*sys.version_info)
    torch = [path.name for path in WHEELS.glob("torch-*.whl")] if WHEELS.is_dir() else []
    if torch and not any(wanted in name for name in torch):
        raise SetUpError("the packages in {} are for another Python than {}.{}: {}. Take that one, or delete the "
                         "folder to download packages.".format(WHEELS, *sys.version_info[:2], ", ".join(torch)))


def install_small_torch():
    """On Linux without an NVIDIA GPU take torch's CPU build: plain pip brings gigabytes of CUDA along."""
    if WHEELS.is_dir() or not sys.platform.startswith("linux") or has_nvidia_gpu() or works(PYTHON, "import torch"):
        return
    pinned = "torch==" + pins()["torch"]
    report = subprocess.run(pip("install", "--dry-run", "--no-deps", "--quiet", "--report", "-", pinned),
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if report.returncode == 0 and any("+cpu" in found["metadata"]["version"]
                                      for found in json.loads(report.stdout)["install"]):
        return  # this machine's pip is set up for the small build already
    print(f"No NVIDIA GPU here, so torch comes as its small CPU build (--index-url {CPU_BUILDS}).")
    try:
        quietly(pip("install", "--no-deps", "--index-url", CPU_BUILDS, pinned), "installing torch for the CPU")
    except SetUpError:
        print("That address cannot be reached; going on with the build that pip finds, which may be several GB.\n"
              "To have the small one later:\n"
              f"  {PYTHON} -m pip install --force-reinstall --no-deps --index-url {CPU_BUILDS} {pinned}")


def has_nvidia_gpu():
    """Whether the driver of an NVIDIA GPU is here."""
    return shutil.which("nvidia-smi") is not None or Path("/dev/nvidia0").exists()


def pip(*arguments):
    """Return the command line of the environment's pip, which stays with the bundle's wheels where there are any."""
    command = [str(PYTHON), "-m", "pip", "--no-input", "--disable-pip-version-check", *arguments]
    return [*command, "--no-index", "--find-links", str(WHEELS)] if WHEELS.is_dir() else command


def pins():
    """Return what constraints.txt pins: name to version."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    stated = (line.partition("#")[0].partition(";")[0].strip() for line in lines)
    return dict(line.split("==", 1) for line in stated if "==" in line)


def key():
    """Return the hash of all that decides what must be installed."""
    parts = [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    settings = VENV / "pyvenv.cfg"
    version = [line for line in settings.read_text(encoding="utf-8").splitlines() if line.startswith("version")] \
        if settings.exists() else []
    parts.append(repr((str(ROOT), version)).encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def read_stamp():
    """Return what the last set-up wrote, or an empty dict."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def works(python, code=""):
    """Whether this Python starts and runs the code."""
    if not python.exists():
        return False
    return subprocess.call([str(python), "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0


# --- data -------------------------------------------------------------------------------------------------------------


def prepare_data(environment):
    """Have the data sets at hand: NUTSHELL_DATA, a bundle's own, archives beside the project, or by download."""
    archives = ROOT.parent / "shared" / "data" / "unpack.py"
    if environment.get("NUTSHELL_DATA"):
        return
    if DATA.is_dir():
        environment["NUTSHELL_DATA"] = str(DATA)
        return
    if archives.exists():
        environment["NUTSHELL_DATA"] = str(unpacked(archives))
        return
    stamp = read_stamp()
    if stamp.get("data"):
        return
    print("Fetching the data sets (once).")
    if subprocess.call([str(PYTHON), "-m", "nutshell", "data", "fetch"], cwd=str(ROOT), env=environment):
        print("Not all data are here; stand-ins take their place. To try again: nutshell data fetch")
    stamp["data"] = "asked for"  # what failed now is tried again whenever it is used, and need not hold up each start
    STAMP.write_text(json.dumps(stamp), encoding="utf-8")


def unpacked(archives):
    """Lay the archives out in the publishers' layouts, once; a broken run leaves nothing that looks whole."""
    folder, unfinished = VENV / "data", VENV / "data.unfinished"
    if not folder.exists():
        print(f"Laying out the data sets in {folder} (once).")
        shutil.rmtree(str(unfinished), ignore_errors=True)
        quietly([str(PYTHON), str(archives), str(unfinished)], "laying out data")
        unfinished.rename(folder)
    return folder


# --- running ----------------------------------------------------------------------------------------------------------


def quietly(command, title):
    """Run a command with its output in the log and its latest step on the screen, so that a person sees it move."""
    start, tail, step = time.monotonic(), collections.deque(maxlen=15), [title]
    with LOG.open("a", encoding="utf-8") as log:
        log.write("\n$ {}\n".format(" ".join(command)))
        running = subprocess.Popen(command, cwd=str(ROOT), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, universal_newlines=True, errors="replace")
        stop = threading.Event()
        shown = threading.Thread(target=show_progress, args=(step, stop, start), daemon=True)
        shown.start()
        try:
            for line in running.stdout:
                log.write(line)
                if line.strip():
                    tail.append(line.strip())
                if line.strip().startswith(STEPS):
                    step[0] = line.strip()
            running.wait()
        except KeyboardInterrupt:
            running.terminate()
            raise SetUpError(f"interrupted while {title}. The same command goes on from here.") from None
        finally:
            stop.set()
            shown.join()
    if running.returncode:
        lines = "\n  ".join(tail)
        raise SetUpError(f"{title} failed (exit code {running.returncode}). Its last lines:\n  {lines}\n"
                         f"All of them: {LOG}. No network, or a full disk? Mend that, and run the same again.")


def show_progress(step, stop, start):
    """Show what is being done: on a terminal always in the same place, elsewhere (a log) once in fifteen seconds."""
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns - 1
    while not stop.wait(0.3 if terminal else 15):
        line = f"  {time.monotonic() - start:3.0f} s  {step[0]}"[:width if terminal else 110]
        print("\r" + line.ljust(width) if terminal else line, end="" if terminal else "\n", flush=True)
    if terminal:
        print("\r" + " " * width + "\r", end="", flush=True)


def become(command, environment):
    """Run the command in our place, so that its signals and its exit code are its own."""
    command = [str(part) for part in command]
    sys.stdout.flush()
    os.chdir(str(ROOT))
    if os.name == "posix":
        os.execve(command[0], command, environment)
    try:
        return subprocess.call(command, env=environment)
    except KeyboardInterrupt:
        return 130


def cores():
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
