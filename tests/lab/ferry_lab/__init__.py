"""Hosts with a libvirtd each and QEMU guests on one machine, for tests of real migrations."""
