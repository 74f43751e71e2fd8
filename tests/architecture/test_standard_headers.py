"""Each source includes the standard headers of what it uses, itself or by the project's headers: builds that compile sources of a
library together would not notice, and those of users who do not would fail."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ["core", "sim_backend", "hw_backend", "controller"]

# The header of a name; several: any of them has it.
NAMES = {
    "algorithm": "all_of any_of none_of find_if sort stable_sort lower_bound upper_bound equal_range clamp count_if remove_if "
                 "binary_search max_element min_element reverse set_difference transform unique",
    "array": "array",
    "atomic": "atomic atomic_ref atomic_thread_fence",
    "bit": "bit_cast bit_ceil bit_width countr_zero has_single_bit popcount",
    "charconv": "from_chars to_chars",
    "chrono": "chrono",
    "condition_variable": "condition_variable",
    "deque": "deque",
    "filesystem": "filesystem",
    "fstream": "ifstream ofstream",
    "functional": "function",
    "limits": "numeric_limits",
    "list": "list",
    "map": "map multimap",
    "memory": "unique_ptr shared_ptr weak_ptr make_unique make_shared",
    "mutex": "mutex lock_guard unique_lock scoped_lock",
    "numeric": "accumulate iota gcd",
    "optional": "optional nullopt",
    "queue": "priority_queue",
    "random": "mt19937 mt19937_64",
    "set": "set multiset",
    "span": "span as_bytes",
    "sstream": "istringstream ostringstream stringstream",
    "stdexcept": "runtime_error logic_error invalid_argument out_of_range",
    "string": "string to_string getline",
    "thread": "thread this_thread",
    "tuple": "tuple tie make_tuple",
    "unordered_map": "unordered_map",
    "unordered_set": "unordered_set",
    "variant": "variant visit get_if holds_alternative monostate",
    "vector": "vector",
    "cmath": "sqrt pow ceil floor round lround llround isfinite isnan log2 exp hypot",
    "cstdlib": "getenv free aligned_alloc system strtol strtoull _Exit",
    "cstring": "memcpy memset memcmp strerror strlen",
    "iostream": "cout cerr cin",
}  # fmt: skip
HEADER = {name: header for header, names in NAMES.items() for name in names.split()}
# What a header cannot do without.
BRINGS = {"fstream": {"string"}, "sstream": {"string"}, "filesystem": {"string", "chrono"}}

INCLUDE = re.compile(r'^#include (?:<([^>]+)>|"([^"]+)")', re.M)
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
USE = re.compile(r"\bstd::([a-z_A-Z0-9]+)")


@cache
def standard_headers(path):
    """Those that the file includes, also by the project's headers."""
    found = set()
    if not (ROOT / path).exists():  # generated
        return found
    for standard, ours in INCLUDE.findall((ROOT / path).read_text()):
        if standard:
            found |= {standard} | BRINGS.get(standard, set())
        elif ours != path:
            found |= standard_headers(ours)
    return found


def missing(path):
    used = USE.findall(COMMENT.sub("", (ROOT / path).read_text()))
    return sorted({f"std::{name} needs <{HEADER[name]}>" for name in used if name in HEADER and HEADER[name] not in standard_headers(path)})


def sources():
    return sorted(str(file.relative_to(ROOT)) for folder in FOLDERS for file in (ROOT / folder).rglob("*.[ch]pp"))


@pytest.mark.parametrize("folder", FOLDERS)
def test_sources_include_the_standard_headers_of_what_they_use(folder):
    lacking = {path: lacks for path in sources() if path.startswith(folder + "/") and (lacks := missing(path))}
    assert not lacking, "\n".join(f"{path}: {', '.join(lacks)}" for path, lacks in lacking.items())


def test_a_missing_header_is_found(tmp_path, monkeypatch):
    (tmp_path / "core").mkdir()
    (tmp_path / "core/a.hpp").write_text("#include <string>\n")
    (tmp_path / "core/a.cpp").write_text('#include "core/a.hpp"\nstd::string a;  // std::map\nstd::vector<int> b;\n')
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    standard_headers.cache_clear()
    try:
        assert missing("core/a.cpp") == ["std::vector needs <vector>"]
    finally:
        standard_headers.cache_clear()
