# The devices of the machine in which migrations over RDMA are tried: an RDMA device in software (rxe) on a NIC that leads
# nowhere, with an address for each host; cgroups for limits of memory. Read by init, in the root to be.

ip link add rdma0 type dummy
ip link set rdma0 up
for host in 1 2; do ip addr add "10.78.0.$host/24" dev rdma0; done
chroot . rdma link add rxe0 type rxe netdev rdma0
# rxe serves the machine's own network namespace only: hosts get a way into it.
touch dev/network
mount -o bind /proc/1/ns/net dev/network
mount -t cgroup2 cgroup2 sys/fs/cgroup
echo +memory >sys/fs/cgroup/cgroup.subtree_control
# QEMU before 8.0 needs post-copy prepared for RDMA.
echo 1 >/proc/sys/vm/unprivileged_userfaultfd
