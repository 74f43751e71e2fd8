// A domain as libvirt 9.0 describes it, shortened to what is read.
#pragma once

#include <string>

namespace ferry {

inline const std::string nic_xml =
    "<interface type='bridge'>"
    "<mac address='52:54:00:00:00:01'/><source bridge='br0'/><target dev='vnet0'/>"
    "<model type='virtio'/><alias name='ua-vf0'/><rom enabled='no'/>"
    "<address type='pci' domain='0x0000' bus='0x02' slot='0x00' function='0x0'/>"
    "</interface>";

inline const std::string hostdev_xml =
    "<hostdev mode='subsystem' type='pci' managed='yes'>"
    "<driver name='vfio'/>"
    "<source><address domain='0x0000' bus='0x03' slot='0x00' function='0x1'/></source>"
    "<alias name='ua-vf0'/>"
    "<address type='pci' domain='0x0000' bus='0x05' slot='0x00' function='0x0'/>"
    "</hostdev>";

inline const std::string shmem_xml =
    "<shmem name='ferry-shm0'>"
    "<model type='ivshmem-plain'/><size unit='M'>4</size><alias name='ua-shm0'/>"
    "<address type='pci' domain='0x0000' bus='0x08' slot='0x01' function='0x0'/>"
    "</shmem>";

inline std::string agent_xml(const std::string& state) {
  return "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='" +
         state + "'/></channel>";
}

/// A guest of 160 MiB with two vCPUs and these devices.
inline std::string guest_xml(const std::string& devices, const std::string& more = "") {
  return "<domain type='qemu' id='1'><name>hpc-07</name>"
         "<memory unit='KiB'>163840</memory><vcpu placement='static'>2</vcpu>" +
         more +
         "<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>"
         "<cpu mode='custom' match='exact'><model>qemu64</model></cpu>"
         "<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>" +
         devices + "</devices></domain>";
}

}  // namespace ferry
