# The device of a machine in which ranks talk by verbs: an RDMA device in software (rxe), on the NIC that leads to the other
# machine, where the word verbs_rank says which of two this is, or on one that leads nowhere. Read by init, in the root to be.

address=10.78.0.1
nic=rdma0
for word in $(cat /proc/cmdline); do
  case $word in
    verbs_rank=*) address=10.78.0.$((${word#*=} + 1)) nic=eth0 ;;
  esac
done
[ $nic = rdma0 ] && ip link add rdma0 type dummy
ip link set $nic up
ip addr add $address/24 dev $nic
chroot . rdma link add rxe0 type rxe netdev $nic
