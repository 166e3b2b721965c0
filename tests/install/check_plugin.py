#!/usr/bin/env python3
"""Opens an installed plugin as NCCL does and looks at what it shows.

usage: check_plugin.py LIBRARY_DIRECTORY
"""

import ctypes
import os
import re
import subprocess
import sys

VERSIONS = range(6, 13)  # NCCL 2.18 to 2.30.


def defined_symbols(path):
    lines = subprocess.run(["nm", "-D", "--defined-only", path], check=True,
                           capture_output=True, text=True).stdout.splitlines()
    return [line.split()[-1] for line in lines]


def main():
    directory = sys.argv[1]
    plugin = os.path.join(directory, "libnccl-net-hawser.so")
    link = os.path.join(directory, "libnccl-net.so")
    if os.path.realpath(link) != os.path.realpath(plugin):
        sys.exit(f"{link} is no link to {plugin}")

    symbols = defined_symbols(plugin)
    strange = [s for s in symbols
               if not re.fullmatch(r"ncclNetPlugin_v\d+", s)]
    if strange:
        sys.exit(f"{plugin} also shows {' '.join(strange[:10])}")

    library = ctypes.CDLL(plugin, mode=os.RTLD_NOW | os.RTLD_LOCAL)
    for version in VERSIONS:
        # The first field of each table is the plugin's name.
        name = ctypes.c_char_p.in_dll(library, f"ncclNetPlugin_v{version}")
        if name.value != b"Hawser":
            sys.exit(f"the name in v{version} is {name.value!r}")
    print(f"{plugin}: {' '.join(sorted(symbols))}")


main()
