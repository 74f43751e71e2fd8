"""The JSON Schemas, made from the reader's descriptions, accept good files and refuse bad ones."""

import json
import os
import pathlib
import subprocess

import jsonschema
import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
GOOD = ROOT / "tests" / "scenario" / "good"
BAD = ROOT / "tests" / "scenario" / "bad"


class Loader(yaml.SafeLoader):
    """As YAML 1.2 has it: `on` and `no` are words, only true and false are booleans."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool" or first in "tTfF"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load(file):
    return yaml.load(file.read_text(), Loader)


def kind_of(content):
    if "ferry_platform" in content:
        return "platform"
    if "ferry_cluster" in content:
        return "cluster"
    return "study" if "study" in content else "scenario"


@pytest.fixture(scope="session")
def validators():
    program = os.environ.get("FERRY_SCHEMA_DUMP")
    if not program:
        pytest.skip("FERRY_SCHEMA_DUMP does not name the program")
    found = {}
    for kind in ("scenario", "study", "platform", "cluster"):
        schema = json.loads(subprocess.check_output([program, kind], text=True))
        jsonschema.Draft202012Validator.check_schema(schema)
        found[kind] = jsonschema.Draft202012Validator(schema)
    return found


def shipped():
    return sorted(GOOD.glob("*.yaml")) + sorted((ROOT / "scenarios").rglob("*.yaml"))


@pytest.mark.parametrize("file", shipped(), ids=lambda file: file.name)
def test_good_files_are_accepted(validators, file):
    content = load(file)
    errors = [f"{list(error.path)}: {error.message}" for error in validators[kind_of(content)].iter_errors(content)]
    assert errors == []


# Files whose fault a schema can see: keys, types, words, units, ranges of numbers.
VISIBLE = [
    "a_list", "channel_costs", "channels", "cluster_empty", "cluster_keys", "cluster_missing_keys", "cluster_unsupported", "cluster_uris",
    "cluster_version", "constants_in_a_scenario", "empty_lists", "laws", "laws_list", "millions_of_millions",
    "missing_keys", "missing_version", "names", "negative", "no_value", "not_numbers", "out_of_range",
    "platform_file_missing_keys", "platform_file_plain_constants", "platform_override_unknown", "study_claims",
    "study_keys", "study_missing_keys", "study_variations", "units", "unknown_keys", "unknown_topology",
    "unknown_values", "unsupported_keys", "unsupported_values", "wrong_types", "wrong_version",
]


@pytest.mark.parametrize("name", VISIBLE)
def test_bad_files_are_refused(validators, name):
    content = load(BAD / f"{name}.yaml")
    assert not validators[kind_of(content)].is_valid(content)


def test_every_key_is_documented(validators):
    def walk(schema, path):
        for key, value in schema.get("properties", {}).items():
            assert value.get("description"), f"{path}.{key} has no description"
            walk(value, f"{path}.{key}")
        for part in schema.get("anyOf", []):
            walk(part, path)
        if isinstance(schema.get("items"), dict):
            walk(schema["items"], path)
        if "propertyNames" in schema:  # items by name
            walk(schema["additionalProperties"], path)

    for kind, validator in validators.items():
        schema = {key: value for key, value in validator.schema.items() if key != "$defs"}
        walk(schema, kind)
