"""A VM of the lab, and the domain that libvirt makes of it."""

from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from .accelerator import EMULATOR, Accelerator
from .host import CONSOLES, INITRAMFS, KERNEL
from .problem import LabProblem

VIRTUAL_FUNCTION_ALIAS = "ua-vf0"
IVSHMEM_ALIAS = "ua-shm0"
IVSHMEM_REGION = "ferry-shm0"  # its name in each host's /dev/shm
AGENT_CHANNEL = "org.qemu.guest_agent.0"
FERRY_CHANNEL = "org.ferry.agent.0"
DATA_BRIDGE = "br0"
KEPT_BRIDGE = "br1"
# Coldplugged devices take some of them; hot-plug needs the others.
ROOT_PORTS = 8


@dataclass(frozen=True)
class Vm:
    """As a scenario's VM; sizes in bytes, rates in bytes of dirtied pages a second."""

    name: str
    host: str
    memory: int
    vcpus: int = 1
    virtual_function: bool = True
    ivshmem: int = 0
    zero: float = 0.4
    working_set: int = 0
    dirty_rate: int = 0  # what it does from the start
    number: int = 0  # in the lab
    kept_nic: bool = False  # on a network of its own: messages of ranks while there is no virtual function

    def __post_init__(self):
        if self.ivshmem and (self.ivshmem < 1 << 20 or self.ivshmem & (self.ivshmem - 1)):
            raise LabProblem(f"{self.name}: ivshmem of {self.ivshmem} bytes; QEMU takes powers of two from 1MiB")

    @property
    def domain(self) -> str:
        return self.name

    @property
    def mac(self) -> str:
        return f"52:54:00:fe:{self.number >> 8:02x}:{self.number & 255:02x}"

    @property
    def kept_mac(self) -> str:
        return f"52:54:00:fa:{self.number >> 8:02x}:{self.number & 255:02x}"

    @property
    def nonzero(self) -> int:
        return round(self.memory * (1 - self.zero))


def _interface_xml(mac: str, bridge: str, alias: str) -> str:
    return f"""\
    <interface type='bridge'>
      <mac address='{mac}'/>
      <source bridge='{bridge}'/>
      <model type='virtio'/>
      <rom enabled='no'/>
      <alias name='{alias}'/>
    </interface>
"""


def network_xml(vm: Vm) -> str:
    """The stand-in for a virtual function: a NIC on the data network that is unplugged and plugged like one."""
    return _interface_xml(vm.mac, DATA_BRIDGE, VIRTUAL_FUNCTION_ALIAS)


def kept_network_xml(vm: Vm) -> str:
    """A NIC that is there before, during and after every move."""
    return _interface_xml(vm.kept_mac, KEPT_BRIDGE, "ua-kept0")


def ivshmem_xml(vm: Vm) -> str:
    return f"""\
    <shmem name='{IVSHMEM_REGION}'>
      <model type='ivshmem-plain'/>
      <size unit='B'>{vm.ivshmem}</size>
      <alias name='{IVSHMEM_ALIAS}'/>
    </shmem>
"""


def domain_xml(vm: Vm, accelerator: Accelerator) -> str:
    kernel_words = [
        "console=ttyS0", "panic=-1", "quiet", "mitigations=off",
        # Pages that the guest gave back are zero again, so that it has as many zero pages as asked.
        "init_on_alloc=0", "init_on_free=1",
        # The program that dirties memory reads the kernel's map of it.
        "nokaslr",
        f"ferry_name={vm.name}", f"ferry_nonzero={vm.nonzero}",
        f"ferry_working_set={vm.working_set}", f"ferry_rate={vm.dirty_rate}",
    ]  # fmt: skip
    if accelerator.name == "tcg":
        # Before version 9.0 QEMU's TCG forgets to tell the processor's TLB that a page is clean again when a migration
        # has looked at it, and then misses writes to it until the guest renews its TLB: without this word 6 of 120
        # migrations of a dirtying guest ended with a crash of its kernel, with it none. (Fixed by "physmem: Fix
        # migration dirty bitmap coherency with TCG memory access", N. Piggin, 2024.)
        kernel_words.append("pti=on")
    if accelerator.name == "kvm":
        cpu = "<cpu mode='host-passthrough' check='none'/>"
    else:
        cpu = "<cpu mode='custom' match='exact' check='none'><model fallback='allow'>qemu64</model></cpu>"
    ports = "".join(f"    <controller type='pci' index='{i + 1}' model='pcie-root-port'/>\n" for i in range(ROOT_PORTS))
    console = quoteattr(f"{CONSOLES}/{vm.name}.log")
    return f"""\
<domain type='{accelerator.domain_type}'>
  <name>{escape(vm.domain)}</name>
  <memory unit='B'>{vm.memory}</memory>
  <vcpu>{vm.vcpus}</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{KERNEL}</kernel>
    <initrd>{INITRAMFS}</initrd>
    <cmdline>{escape(" ".join(kernel_words))}</cmdline>
  </os>
  <features><acpi/><apic/></features>
  {cpu}
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>{EMULATOR}</emulator>
    <controller type='usb' model='none'/>
{ports}    <serial type='file'><source path={console} append='on'/></serial>
    <channel type='unix'><target type='virtio' name='{AGENT_CHANNEL}'/></channel>
    <channel type='unix'><target type='virtio' name='{FERRY_CHANNEL}'/></channel>
{network_xml(vm) if vm.virtual_function else ""}{kept_network_xml(vm) if vm.kept_nic else ""}{ivshmem_xml(vm) if vm.ivshmem else ""}\
    <memballoon model='none'/>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>
"""
