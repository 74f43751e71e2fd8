#!/bin/sh
# The first process of a host of the lab. It has new namespaces (PID, network, mount, UTS, IPC) and makes the
# host's file system: a root of its own, in which only /usr is the machine's, read-only.
# Arguments: ROOT (a folder with etc/, var/ and boot/ in it), NAME, ADDRESS/BITS in the management network,
# DEVICES beyond the usual ones (kvm, where it works), or folders of them; CONTROLLER of cgroups for its domains, or "".
# Says "ready" when the host is there, and then collects orphans until it is killed.
set -eu
root=$1 name=$2 address=$3 devices=$4 controller=$5

# The cgroup of this process is the root of those that a new namespace shows.
if [ -n "$controller" ] && [ "$#" = 5 ]; then
  mkdir "/sys/fs/cgroup/$name"
  echo 0 >"/sys/fs/cgroup/$name/cgroup.procs"
  exec unshare --cgroup sh "$0" "$@" in-cgroup
fi

hostname "$name"
mount --bind "$root" "$root"
cd "$root"
mkdir -p usr proc sys dev run tmp old
for link in bin sbin lib lib32 lib64 libx32; do [ ! -L "/$link" ] || cp -a "/$link" .; done
mount --bind /usr usr
mount -o remount,bind,ro usr
mount -t proc proc proc
mount -t sysfs sysfs sys
if [ -n "$controller" ]; then
  # A cgroup that gives controllers to others has no process itself.
  mount -t cgroup2 cgroup2 sys/fs/cgroup
  mkdir sys/fs/cgroup/host
  echo 0 >sys/fs/cgroup/host/cgroup.procs
  echo "+$controller" >sys/fs/cgroup/cgroup.subtree_control
fi
for folder in run tmp; do mount -t tmpfs -o mode=755 tmpfs "$folder"; done
chmod 1777 tmp

mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm dev/net
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for device in null zero full random urandom tty net/tun $devices; do
  if [ -d "/dev/$device" ]; then mkdir "dev/$device"; else : >"dev/$device"; fi
  mount --bind "/dev/$device" "dev/$device"
done

pivot_root . old
cd /
umount -l /old
rmdir /old

ip link set lo up
ip addr add "$address" dev mgmt
ip link set mgmt up
ip link add br0 type bridge
ip link set data master br0 up
ip link set br0 up
# What guests keep while they have no virtual function.
ip link add br1 type bridge
ip link set guests master br1 up
ip link set br1 up

# With SIGCHLD ignored the kernel collects what ends; libvirt waits for a guest's process to be gone.
echo ready
exec env --ignore-signal=CHLD sleep infinity >/dev/null 2>&1
