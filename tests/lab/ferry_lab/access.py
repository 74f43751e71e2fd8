"""Ways to a host's libvirtd that ask who is there: certificates (TLS), passwords (SASL) and keys (SSH)."""

import shutil
import socket
import subprocess
from pathlib import Path

from .host import Host
from .problem import LabProblem
from .processes import wait_until

USER, PASSWORD = "operator", "correct horse"
PKI = "/etc/ferry-pki"  # in every host
PASSWORDS = "/etc/libvirt/passwords.db"
SSH_PORT = 2222

LIBVIRTD_CONF = f"""\
listen_tls = 1
ca_file = "{PKI}/cacert.pem"
cert_file = "{PKI}/servercert.pem"
key_file = "{PKI}/serverkey.pem"
auth_tls = "sasl"
"""
SASL_CONF = f"mech_list: scram-sha-256\nsasldb_path: {PASSWORDS}\n"


def missing():
    """Why it cannot be had here; None if it can."""
    absent = [name for name in ["openssl", "saslpasswd2", "dropbear", "dropbearkey", "ssh", "virt-ssh-helper"] if not shutil.which(name)]
    return f"not installed: {', '.join(absent)}" if absent else None


class Access:
    """Makes what is needed in `folder`, on the controller's side, and in the hosts, whose libvirtd begin anew."""

    def __init__(self, folder: Path, hosts: list[Host]):
        self.folder, self.hosts = folder, hosts
        folder.mkdir()
        self._make_authority()
        self._certify("client", "ferry")
        self.write_password(PASSWORD)
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key")
        # Hosts that nobody has seen before are noted here, not where the user of this machine has theirs.
        (folder / "ssh").write_text(
            f'#!/bin/sh\nexec ssh -q -F none -o UserKnownHostsFile={folder}/known -o StrictHostKeyChecking=accept-new "$@"\n')
        (folder / "ssh").chmod(0o755)
        for host in hosts:
            self._admit(host)

    def tls(self, host: Host) -> str:
        """With a certificate and a password, from the controller."""
        return f"qemu+tls://{host.address}/system?pkipath={self.folder}&authfile={self.folder}/auth.conf"

    def tls_from_host(self, host: Host) -> str:
        """The same from another host."""
        return f"qemu+tls://{host.address}/system?pkipath={PKI}&authfile={PKI}/auth.conf"

    def ssh(self, host: Host) -> str:
        return f"qemu+ssh://root@{host.address}:{SSH_PORT}/system?keyfile={self.folder}/key&command={self.folder}/ssh"

    def write_password(self, password: str) -> None:
        """What the controller says when it is asked."""
        text = f"[credentials-ferry]\nauthname={USER}\npassword={password}\n\n[auth-libvirt-default]\ncredentials=ferry\n"
        (self.folder / "auth.conf").write_text(text)

    def _make_authority(self) -> None:
        _run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
             "-subj", "/CN=lab", "-keyout", self.folder / "cakey.pem", "-out", self.folder / "cacert.pem")  # fmt: skip

    def _certify(self, role: str, name: str, address: str | None = None) -> None:
        key, request, certificate = (self.folder / f"{role}{part}.pem" for part in ["key", "request", "cert"])
        _run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
             "-keyout", key, "-out", request)  # fmt: skip
        extensions = self.folder / "extensions"
        extensions.write_text(f"subjectAltName=IP:{address}\n" if address else "extendedKeyUsage=clientAuth\n")
        _run("openssl", "x509", "-req", "-days", "2", "-in", request, "-CA", self.folder / "cacert.pem", "-CAkey",
             self.folder / "cakey.pem", "-CAcreateserial", "-extfile", extensions, "-out", certificate)  # fmt: skip

    def _admit(self, host: Host) -> None:
        pki = host.root / PKI[1:]
        pki.mkdir()
        self._certify("server", host.name, host.address)
        for file in ["cacert.pem", "servercert.pem", "serverkey.pem", "clientcert.pem", "clientkey.pem", "auth.conf"]:
            shutil.copy(self.folder / file, pki / file)
        (host.root / "etc/sasl2").mkdir()
        (host.root / "etc/sasl2/libvirt.conf").write_text(SASL_CONF)
        _run("saslpasswd2", "-c", "-p", "-a", "libvirt", "-u", host.name, "-f", host.root / PASSWORDS[1:], USER, said=PASSWORD)
        configuration = host.root / "etc/libvirt/libvirtd.conf"
        configuration.write_text(configuration.read_text().replace("listen_tls = 0\n", LIBVIRTD_CONF))
        host.kill_libvirtd()
        wait_until(f"libvirtd of {host.name} has ended", 30, lambda: not host.libvirtd())
        host.start_libvirtd()

        (host.root / "root/.ssh").mkdir(parents=True, mode=0o700)
        (host.root / "root").chmod(0o700)
        shutil.copy(self.folder / "key.pub", host.root / "root/.ssh/authorized_keys")
        (host.root / "root/.ssh/authorized_keys").chmod(0o600)
        (host.root / "etc/shells").write_text("/bin/sh\n")
        host.run("dropbearkey", "-t", "ed25519", "-f", "/etc/ssh-host-key")
        # It belongs to the host's first process and ends with it.
        host.run("dropbear", "-s", "-r", "/etc/ssh-host-key", "-p", f"{host.address}:{SSH_PORT}", "-P", "/run/dropbear.pid")
        wait_until(f"{host.name} takes connections of ssh", 30, lambda: _listens(host.address, SSH_PORT))


def _listens(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=2):
            return True
    except OSError:
        return False


def _run(*command, said=None) -> None:
    done = subprocess.run([str(word) for word in command], input=said, text=True, capture_output=True)
    if done.returncode != 0:
        raise LabProblem(f"{command[0]} failed: {done.stderr.strip()}")
