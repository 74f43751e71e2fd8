"""The guest image, and whether KVM runs it."""

import re

import pytest
from ferry_lab import accelerator
from ferry_lab.image import READY_MARKER, Image, image


def test_the_image_is_built_once(lab_is_possible):
    first = image()
    built = {file: file.stat().st_mtime_ns for file in [first.kernel, first.initramfs]}
    second = image()
    assert second == first
    assert {file: file.stat().st_mtime_ns for file in built} == built
    assert second.kernel.read_bytes()[:4] == b"\x7fELF"
    assert second.release.endswith("amd64")


@pytest.mark.parametrize(
    ("emulator", "name", "reason"),
    [
        (f"echo {READY_MARKER} vm 1.0; exec sleep 60", "kvm", "a guest on Linux .* was ready in .* s"),
        ("echo Could not access KVM kernel module; exit 1", "tcg", "QEMU ends with KVM: Could not access KVM kernel module"),
        ("exit 1", "tcg", "QEMU ends with KVM: without a word"),
        ("echo Booting; exec sleep 60", "tcg", "/dev/kvm is here, but a guest was not ready after 1 s"),
    ],
)
def test_kvm_is_believed_when_a_guest_gets_ready(tmp_path, monkeypatch, emulator, name, reason):
    script = tmp_path / "emulator"
    script.write_text(f"#!/bin/sh\n{emulator}\n")
    script.chmod(0o755)
    monkeypatch.setattr(accelerator, "EMULATOR", str(script))
    monkeypatch.setattr(accelerator, "PATIENCE_SECONDS", 1 if "not ready" in reason else 30)
    found = accelerator._try_kvm(Image(tmp_path))
    assert found.name == name
    assert re.fullmatch(reason, found.reason)
