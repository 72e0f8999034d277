"""What a fresh machine must have before anything can be installed; says what is missing in plain words.

Stand-alone and for the standard library alone: it runs before Suture is installed, by whatever Python there is.
"""

import importlib.util
import os
import shutil
import sys
import sysconfig

OLDEST = (3, 11)


def missing() -> "list[str]":
    """What is missing, each as a sentence that names the remedy."""
    found = []
    if sys.version_info < OLDEST:
        found.append(f"Python {OLDEST[0]}.{OLDEST[1]} or newer: this is {sys.version.split()[0]} ({sys.executable})")
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            found.append(f"Python's module {module} (Debian: apt-get install python3-venv)")
    header = os.path.join(sysconfig.get_paths()["include"], "Python.h")
    if not os.path.isfile(header):
        found.append(f"Python's headers, {header} (Debian: apt-get install python3-dev)")
    compilers = [os.environ.get("CXX", "").split(" ")[0], "c++", "g++", "clang++"]
    if not any(name and shutil.which(name) for name in compilers):
        found.append("a C++ compiler: c++, g++ or clang++, or name one in CXX (Debian: apt-get install g++)")
    return found


def main() -> int:
    """Print what is missing; 0 where nothing is."""
    found = missing()
    for sentence in found:
        print(f"cannot set up Suture without {sentence}", file=sys.stderr)
    if found:
        print("  next: install it, or choose another Python: make demo PYTHON=python3.12", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
